// Replays steps in VS Code's web page and prints a JSON report. Input (stdin): {playwright, chromium, url, screenshot, steps}.
//
// Steps: {type: text}         keys without pauses
//        {typing: seconds}    write functions for so long, and accept, dismiss, walk and undo in turn
//        {press: key}         one key, such as "Tab" or "Control+End"
//        {save: true}         save, and wait until the editor's tab is no longer marked as changed
//        {ghost: true}        wait for ghost text; reported in `ghosts`, with the milliseconds since the last key in `waits`
//        {noGhost: ms}        fail when ghost text appears within this time
//        {gone: true}         wait until there is no ghost text
//        {anotherGhost: true} wait for ghost text other than the latest; reported like `ghost`
//        {status: text}       wait until the status bar item's text or tooltip contains it
//        {command: title}     run a command from the palette
//        {pick: text}         choose the row with this text in the quick pick or in the list of actions
//        {answer: text}       type into the input box, and Enter
//        {button: text}       press a button of a dialogue or notification
//        {lens: text}         press a lens above a function
//        {shows: text}        wait until the page, or a page inside it, shows this text
//        {squiggles: bool}    wait until problems are marked in the editor, or none are
//        {write: [path, text]}, {disk: [path, text]}   write a file; wait until a file has this text
//        {diskHas: [path, text]}   wait until the text is in a file
//        {kill: path}         SIGKILL for the process whose id is in this file
//        {shot: path}, {shotOfStatus: path}            a picture of the page, or of its status bar's right half
//        {wait: ms}           only before pictures, for animations
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
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
  async typing(seconds) {
    const turns = ['Tab', 'Control+ArrowRight', 'Escape', 'Alt+]', 'Backspace', 'Control+Z'];
    const end = performance.now() + 1000 * seconds;
    for (let number = 0; performance.now() < end; number++) {
      await page.keyboard.type(`def f${number}(a, b):\nx = a + b`, { delay: 20 });
      await page.waitForTimeout(150);
      await page.keyboard.press(turns[number % turns.length]);
      await page.keyboard.press('Escape');
      await page.keyboard.press('Control+End');
      await page.keyboard.type('\n');
      await page.keyboard.press('Shift+Home');
      await page.keyboard.press('Delete');
    }
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
    report.ghosts.push(await ghostText());
  },
  async noGhost(milliseconds) {
    await page.waitForTimeout(milliseconds);
    if ((await page.locator(GHOST).count()) > 0) {
      throw new Error('ghost text appeared');
    }
  },
  async gone() {
    await page.locator(GHOST).or(page.locator(GHOST_BELOW)).first().waitFor({ state: 'detached' });
  },
  async anotherGhost() {
    const before = report.ghosts.at(-1);
    await until(async () => (await page.locator(GHOST).count()) > 0 && (await ghostText()) !== before);
    report.ghosts.push(await ghostText());
  },
  async pick(text) {
    await page.locator('.quick-input-list .monaco-list-row, .action-widget .monaco-list-row').filter({ hasText: text }).first().click();
  },
  async answer(text) {
    await page.locator('.quick-input-widget input').first().fill(text);
    await page.keyboard.press('Enter');
  },
  async button(text) {
    await page.locator('.monaco-dialog-box .monaco-button, .notifications-toasts .monaco-button').filter({ hasText: text }).first().click();
  },
  async lens(text) {
    await page.locator('.codelens-decoration a').filter({ hasText: text }).first().click();
  },
  async shows(text) {
    await until(async () => {
      for (const frame of page.frames()) {
        if (await frame.evaluate(wanted => document.body?.innerText.replaceAll('\u00a0', ' ').includes(wanted), text).catch(() => false)) {
          return true;
        }
      }
      return false;
    });
  },
  async squiggles(some) {
    await page.locator('.squiggly-error, .squiggly-warning, .squiggly-info').first().waitFor({ state: some ? 'attached' : 'detached' });
  },
  write([path, text]) {
    writeFileSync(path, text);
  },
  async disk([path, text]) {
    await until(() => readFileSync(path, 'utf8') === text);
  },
  async diskHas([path, text]) {
    await until(() => existsSync(path) && readFileSync(path, 'utf8').includes(text));
  },
  kill(path) {
    process.kill(Number(readFileSync(path, 'utf8')), 'SIGKILL');
  },
  async shot(path) {
    await page.screenshot({ path });
  },
  async shotOfStatus(path) {
    await page.screenshot({ path, clip: { x: 700, y: 800, width: 700, height: 100 } });
  },
  async wait(milliseconds) {
    await page.waitForTimeout(milliseconds);
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

let at = 'opening the page';
try {
  await page.goto(task.url);
  const lines = page.locator('.monaco-editor .view-lines').first();
  await lines.waitFor();
  await lines.click();
  for (const step of task.steps) {
    const [[name, value]] = Object.entries(step);
    at = JSON.stringify(step);
    await actions[name](value);
  }
  process.stdout.write(JSON.stringify(report));
} catch (error) {
  await page.screenshot({ path: task.screenshot });
  process.stderr.write(`${at}: ${error}\nscreenshot: ${task.screenshot}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

/** The rest of the current line, then the lines below; spaces are drawn as no-break spaces. */
async function ghostText() {
  const lines = [(await page.locator(GHOST).allTextContents()).join(''), ...(await page.locator(GHOST_BELOW).allTextContents())];
  return lines.join('\n').replaceAll('\u00a0', ' ');
}

async function until(condition) {
  const deadline = performance.now() + TIMEOUT;
  while (!(await condition())) {
    if (performance.now() > deadline) {
      throw new Error('what was waited for did not come');
    }
    await page.waitForTimeout(100);
  }
}

async function readAll(stream) {
  let text = '';
  for await (const chunk of stream.setEncoding('utf8')) {
    text += chunk;
  }
  return text;
}
