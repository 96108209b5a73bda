// Replays steps in VS Code's web page and prints a JSON report. Input (stdin): {playwright, chromium, url, screenshot, steps}.
//
// Steps: {type: text}       keys without pauses
//        {press: key}       one key, such as "Tab" or "Control+End"
//        {save: true}       save, and wait until the editor's tab is no longer marked as changed
//        {ghost: true}      wait for ghost text; reported in `ghosts`, with the milliseconds since the last key in `waits`
//        {noGhost: ms}      fail when ghost text appears within this time
//        {status: text}     wait until the status bar item's text or tooltip contains it
//        {command: title}   run a command from the palette
import { createRequire } from 'node:module';

const TIMEOUT = 45_000;
const GHOST = '.monaco-editor .ghost-text-decoration, .monaco-editor .ghost-text-decoration-preview';
const GHOST_BELOW = '.monaco-editor .suggest-preview-text .view-line';

const task = JSON.parse(await readAll(process.stdin));
const { chromium } = createRequire(import.meta.url)(task.playwright);
const browser = await chromium.launch({ executablePath: task.chromium, args: ['--no-sandbox'] });
const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
page.setDefaultTimeout(TIMEOUT);
const report = { ghosts: [], waits: [] };
let lastKey = 0;

const actions = {
  async type(text) {
    await page.keyboard.type(text);
    lastKey = performance.now();
  },
  async press(key) {
    await page.keyboard.press(key);
    lastKey = performance.now();
  },
  async save() {
    await page.keyboard.press('Control+S');
    await page.locator('.tab.active.dirty').waitFor({ state: 'detached' });
  },
  async ghost() {
    await page.locator(GHOST).or(page.locator(GHOST_BELOW)).first().waitFor({ state: 'attached' });
    report.waits.push(performance.now() - lastKey);
    // The rest of the current line, then the lines below; spaces are drawn as no-break spaces.
    const lines = [(await page.locator(GHOST).allTextContents()).join(''), ...(await page.locator(GHOST_BELOW).allTextContents())];
    report.ghosts.push(lines.join('\n').replaceAll('\u00a0', ' '));
  },
  async noGhost(milliseconds) {
    await page.waitForTimeout(milliseconds);
    if ((await page.locator(GHOST).count()) > 0) {
      throw new Error('ghost text appeared');
    }
  },
  async status(text) {
    await page.locator(`.statusbar-item[id*="qwencoder"] [aria-label*="${text}"]`).first().waitFor();
  },
  async command(title) {
    await page.keyboard.press('F1');
    await page.locator('.quick-input-widget input').first().fill(`>${title}`);
    await page.locator('.quick-input-list .monaco-list-row').filter({ hasText: title }).first().click();
  },
};

try {
  await page.goto(task.url);
  const lines = page.locator('.monaco-editor .view-lines').first();
  await lines.waitFor();
  await lines.click();
  for (const step of task.steps) {
    const [[name, value]] = Object.entries(step);
    await actions[name](value);
  }
  process.stdout.write(JSON.stringify(report));
} catch (error) {
  await page.screenshot({ path: task.screenshot });
  process.stderr.write(`${error}\nscreenshot: ${task.screenshot}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

async function readAll(stream) {
  let text = '';
  for await (const chunk of stream.setEncoding('utf8')) {
    text += chunk;
  }
  return text;
}
