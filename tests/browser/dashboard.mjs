// Looks at the dashboard in Chromium and prints a JSON report. Input (stdin): {playwright, chromium, url, steps}.
//
// Steps: {see: text}              wait until the page shows the text
//        {gone: selector}         wait until it is not shown
//        {fill: [label, text]}    write into the field with that label
//        {press: key}             one key
//        {click: name}            press the button with that name
//        {pick: [label, value]}   choose from a list
//        {shot: {path, width, height, scheme}}   a screenshot of the whole page at that size, "light" or "dark"; the report's `overflow` says
//                                 by how many pixels the page was wider than the window
//        {text: name}             reported in `texts` under that name: what the page shows
//        {run: [program, ...]}    run a program to its end, between two steps
// Reported as well: `outside`, requests to anywhere else; `errors`, of the page and its console; `unnamed`, tables, pictures and fields without a name.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';

const TIMEOUT = 30_000;
let input = '';
for await (const part of process.stdin.setEncoding('utf8')) {
  input += part;
}
const task = JSON.parse(input);
const { chromium } = createRequire(import.meta.url)(task.playwright);
const browser = await chromium.launch({ executablePath: task.chromium, args: ['--no-sandbox'] });
const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme: 'light', reducedMotion: 'reduce' });
page.setDefaultTimeout(TIMEOUT);
const report = { outside: [], errors: [], unnamed: [], texts: {}, overflow: [] };
page.on('request', (request) => {
  if (new URL(request.url()).origin !== new URL(task.url).origin && !request.url().startsWith('data:')) {
    report.outside.push(request.url());
  }
});
page.on('pageerror', (error) => report.errors.push(String(error)));
page.on('console', (message) => {
  if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) {
    report.errors.push(message.text());
  }
});

const actions = {
  see: (text) => page.getByText(text).filter({ visible: true }).first().waitFor(),
  gone: (selector) => page.locator(selector).waitFor({ state: 'hidden' }),
  fill: ([label, text]) => page.getByLabel(label).fill(text),
  press: (key) => page.keyboard.press(key),
  click: (name) => page.getByRole('button', { name }).click(),
  pick: ([label, value]) => page.getByLabel(label).selectOption(value),
  async shot({ path, width, height, scheme }) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme });
    report.overflow.push(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth));
    await page.screenshot({ path, fullPage: true });
  },
  async text(name) {
    report.texts[name] = await page.locator('body').innerText();
  },
  run: ([program, ...words]) => execFileSync(program, words),
};

try {
  await page.goto(task.url);
  for (const step of task.steps) {
    const [[name, value]] = Object.entries(step);
    await actions[name](value);
  }
  report.unnamed = await page.evaluate(() =>
    [...document.querySelectorAll('table, svg, select, input, [role=region], section')]
      .filter((element) => element.checkVisibility())
      .filter((element) => !(element.getAttribute('aria-label') || element.getAttribute('aria-labelledby') || element.labels?.length || element.closest('[aria-label], [role=region][aria-labelledby]')))
      .map((element) => element.outerHTML.slice(0, 120)),
  );
  process.stdout.write(JSON.stringify(report));
} catch (error) {
  process.stderr.write(`${error}\n${JSON.stringify(report)}\n${await page.locator('body').innerText()}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
