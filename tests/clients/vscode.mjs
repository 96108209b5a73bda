// Replays steps in VS Code's web page and prints a JSON report. Input (stdin): {playwright, chromium, url, screenshot, steps}.
//
// Steps: {type: text}            keys without pauses
//        {press: key}            one key, such as "Tab" or "Control+S"
//        {ghost: true}           wait for ghost text; reported in `ghosts`, with the milliseconds since the last key in `waits`
//        {status: text}          wait until the status bar item's text or tooltip contains it
//        {command: title}        run a command from the palette
//        {problem: text}         wait until the problems panel's list contains it
//        {pause: ms}
import { createRequire } from 'node:module';

const TIMEOUT = 60_000;
const task = JSON.parse(await readAll(process.stdin));
const { chromium } = createRequire(import.meta.url)(task.playwright);
const browser = await chromium.launch({ executablePath: task.chromium, args: ['--no-sandbox'] });
const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
page.setDefaultTimeout(TIMEOUT);
const report = { ghosts: [], waits: [], status: [] };
let lastKey = 0;

try {
  await page.goto(task.url);
  const lines = page.locator('.monaco-editor .view-lines').first();
  await lines.waitFor();
  await lines.click();
  for (const step of task.steps) {
    await perform(step);
  }
  process.stdout.write(JSON.stringify(report));
} catch (error) {
  await page.screenshot({ path: task.screenshot });
  process.stderr.write(`${error}\nscreenshot: ${task.screenshot}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

async function perform(step) {
  if (step.type !== undefined) {
    await page.keyboard.type(step.type);
    lastKey = performance.now();
  } else if (step.press !== undefined) {
    await page.keyboard.press(step.press);
    lastKey = performance.now();
  } else if (step.ghost) {
    report.ghosts.push(await ghost());
    report.waits.push(performance.now() - lastKey);
  } else if (step.status !== undefined) {
    report.status.push(await status(step.status));
  } else if (step.command !== undefined) {
    await page.keyboard.press('F1');
    await page.locator('.quick-input-widget input').fill(`>${step.command}`);
    await page.locator('.quick-input-list .monaco-list-row').filter({ hasText: step.command }).first().click();
  } else if (step.problem !== undefined) {
    await page.locator('.markers-panel .monaco-list-row').filter({ hasText: step.problem }).first().waitFor();
  } else {
    await page.waitForTimeout(step.pause);
  }
}

/** The ghost text on screen: the rest of the current line, then the lines below. VS Code draws spaces as no-break spaces. */
async function ghost() {
  const first = page.locator('.monaco-editor .ghost-text-decoration, .monaco-editor .ghost-text-decoration-preview');
  await first.first().waitFor({ state: 'attached' });
  const parts = [(await first.allTextContents()).join('')];
  for (const line of await page.locator('.monaco-editor .suggest-preview-text .view-line').allTextContents()) {
    parts.push(line);
  }
  return parts.join('\n').replaceAll('\u00a0', ' ');
}

async function status(text) {
  const item = page.locator('.statusbar-item[id*="qwencoder" i]').filter({ hasText: text });
  const named = page.locator(`.statusbar-item[id*="qwencoder" i] [aria-label*="${text}"]`);
  await item.or(named).first().waitFor();
  return page.locator('.statusbar-item[id*="qwencoder" i] a').first().getAttribute('aria-label');
}

async function readAll(stream) {
  let text = '';
  for await (const chunk of stream.setEncoding('utf8')) {
    text += chunk;
  }
  return text;
}
