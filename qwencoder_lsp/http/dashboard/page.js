// Asks the service for its figures every two seconds while the page can be seen, and writes them into the page. Text goes in as text, never as HTML.
'use strict';

const EVERY_MS = 2000;
const SLOWEST_MS = 10000;
const PATIENCE_MS = 15000;
const RECENT_S = 300;
const DOWN = 'Start it with: qwencoder-lsp serve';

const CODES = {
  engine_crashed: 'An engine ended unexpectedly. It is started again at the next request; see: qwencoder-lsp logs',
  engine_failed: 'A model could not be loaded. See: qwencoder-lsp logs',
  engine_busy: 'Too many requests were waiting, and some were refused.',
  model_missing: 'A request asked for a model that is not installed.',
  model_unknown: 'A request asked for a model that does not exist.',
  model_unsuitable: 'A request asked for something that the model cannot do, or that does not fit into memory.',
  model_corrupt: 'A model file is damaged. Run: qwencoder-lsp models pull NAME',
  request: 'A request was wrong, and was refused.',
  error: 'The service failed on a request. See: qwencoder-lsp logs',
  answer: 'The model gave an answer that could not be used.',
  download: 'A download failed.',
};
// Whose fault these are is the caller's: they do not make the service look ill.
const REFUSALS = new Set(['request', 'model_unknown', 'model_missing', 'model_unsuitable', 'answer', 'engine_busy']);
const STAGES = {
  gather_ms: ['Gather', 0], render_ms: ['Render', 0], generate_ms: ['Generate', 0], queue_ms: ['Queue', 1], prefill_ms: ['Read the prompt', 1],
  first_token_ms: ['First token', 1], decode_ms: ['Write the answer', 1], finish_ms: ['Finish', 0], total_ms: ['All', 2],
};
const EDITOR_ORDER = ['gather_ms', 'render_ms', 'generate_ms', 'queue_ms', 'prefill_ms', 'first_token_ms', 'finish_ms', 'total_ms'];
const SOURCES = { asked: 'The model was asked', joined: 'A request that was running already', memory: 'The rest of a suggestion being typed', ahead: 'Prepared ahead' };
const WORK = { TYPING: 'Typing', EXPLICIT: 'Completion', CHAT: 'Chat, edit', REVIEW: 'Review', BACKGROUND: 'Background' };
const STATES = { ready: 'ready', loading: 'busy', failed: 'bad', unloaded: 'none', missing: 'none', running: 'busy', done: 'ready', cancelled: 'none' };

const at = (id) => document.getElementById(id);
let key = '';
let timer = 0;
let pause = EVERY_MS;
let last = null;
let lost = 0;
let asking = null;

function node(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}
function fill(id, ...children) { at(id).replaceChildren(...children); }

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
function count(n) { return n < 100000 ? whole.format(n) : short.format(n); }
function percent(part, all) { return all ? `${(100 * part / all).toFixed(part && part < all && 100 * part / all < 10 ? 1 : 0)} %` : '–'; }
function ms(value) { return value < 10 ? value.toFixed(1) : count(Math.round(value)); }
function seconds(value) { return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(value < 10000 ? 2 : 1)} s`; }
function bytes(n) { return n >= 2 ** 30 ? `${(n / 2 ** 30).toFixed(1)} GB` : `${whole.format(n / 2 ** 20)} MB`; }
function ago(s) { return s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`; }
function clock(t, long) { return new Date(t * 1000).toLocaleTimeString([], long ? {} : { hour: '2-digit', minute: '2-digit' }); }
function day(t) { return new Date(t * 1000).toLocaleDateString([], { month: 'short', day: 'numeric' }); }
function when(t, period) { return period === 'hour' || period === 'day' ? clock(t) : day(t); }

function table(label, heads, rows) {
  const head = node('thead', {}, node('tr', {}, ...heads.map((text) => node('th', { scope: 'col' }, text))));
  const body = node('tbody', {}, ...rows.map(({ cells, kind }) => node('tr', kind ? { class: kind } : {},
    ...cells.map((cell, i) => node(i ? 'td' : 'th', i ? {} : { scope: 'row' }, cell)))));
  return node('table', { 'aria-label': label }, head, body);
}
function empty(text) { return node('p', { class: 'empty' }, text); }
function bar(share) {
  const inner = node('i');
  inner.style.width = `${Math.max(0, Math.min(100, 100 * share))}%`;
  return node('span', { class: 'bar', 'aria-hidden': 'true' }, inner);
}
function tag(state) { return node('span', { class: `tag ${STATES[state] || 'none'}` }, state); }

function health(d) {
  const by = (state) => d.models.filter((model) => model.state === state);
  const running = d.running_count;
  const failed = by('failed'), loading = by('loading'), ready = by('ready');
  const [time, code] = d.history?.last_failure || [0, ''];
  const problems = failed.map((model) => ['bad', `${model.name} cannot be used: `, model.detail]);
  const fresh = code && d.at - time < RECENT_S && !REFUSALS.has(code);
  const broken = fresh && code.startsWith('engine') && !ready.length && !loading.length;
  if (fresh && !(code === 'engine_failed' && failed.length)) problems.push(['bad', `At ${clock(time, true)}: `, CODES[code] || `A request failed (${code}).`]);
  if (!d.auto.completion.model) problems.push(['warn', 'Completion: ', d.auto.completion.why]);
  if (!d.auto.chat.model && d.auto.chat.why !== d.auto.completion.why) problems.push(['warn', 'Chat: ', d.auto.chat.why]);
  if (d.history_problem) problems.push(['warn', 'History: ', d.history_problem]);
  let state;
  if (failed.length) state = ['bad', `${failed[0].name} failed`];
  else if (broken) state = ['bad', 'An engine failed'];
  else if (!d.auto.completion.model && !d.auto.chat.model) state = ['warn', 'No model installed'];
  else if (loading.length) state = ['busy', `Loading ${loading[0].name}`];
  else if (running) state = ['busy', `Working on ${running} ${running === 1 ? 'request' : 'requests'}`];
  else if (ready.length) state = ['ready', `Ready: ${ready.map((model) => model.name).join(', ')}`];
  else state = ['ready', 'Ready; the model is loaded at the first request'];
  return { state, problems };
}

function say(kind, text) {
  at('state').className = kind;
  if (at('state-text').textContent !== text) at('state-text').textContent = text;
}
let announced = '';
function banners(problems) {
  const text = JSON.stringify(problems);
  if (text === announced) return; // a screen reader would read it out again
  announced = text;
  fill('banners', ...problems.map(([kind, head, rest]) => node('p', { class: `banner ${kind}` }, node('b', {}, head), node('span', {}, rest))));
}

function tile(name, value, of, kind) {
  return node('div', {}, node('dt', {}, name), node('dd', { class: `value ${kind || ''}` }, value), node('dd', { class: 'of' }, of));
}
function tiles(h) {
  const sum = (field) => h.languages.reduce((all, language) => all + language[field], 0);
  const offered = sum('offered'), accepted = sum('accepted') + sum('partly'), t = h.tokens;
  const total = h.editor.find((stage) => stage.name === 'total_ms');
  const refused = Object.entries(h.failures).filter(([code]) => REFUSALS.has(code)).reduce((all, [, n]) => all + n, 0);
  const failed = h.failed - refused;
  fill('tiles',
    tile('Suggestion shown', percent(h.shown, h.answers), `${count(h.shown)} of ${count(h.answers)} answers`),
    tile('Accepted', percent(accepted, offered), `${count(accepted)} of ${count(offered)} new suggestions`),
    tile('Answer, median', total.n ? seconds(total.p50) : '–', total.n ? `95 % within ${seconds(total.p95)}` : 'in the editor'),
    tile('Prompt reused', percent(t.reused, t.prompt), `${count(t.reused)} of ${count(t.prompt)} tokens`),
    tile('Writing speed', t.decode_ms ? `${(1000 * t.generated / t.decode_ms).toFixed(1)}` : '–', `tokens/s of one answer`),
    tile('Failed', percent(failed, h.runs), `${count(failed)} of ${count(h.runs)} requests${refused ? `; ${count(refused)} refused` : ''}`, failed ? 'bad' : ''));
}

const SVG = 'http://www.w3.org/2000/svg';
function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
function timeline(h, period) {
  const bars = h.line.map((b) => {
    const failed = b.failed, silent = b.answers - b.shown;
    return { ...b, parts: [['shown', b.shown], ['silent', silent], ['programs', Math.max(0, b.runs - b.failed - b.answers)], ['failed', failed]] };
  });
  at('line-details').hidden = !h.answers && !h.runs;
  if (!h.answers && !h.runs) {
    fill('line', empty('No requests in this period.'));
    return fill('line-table');
  }
  const highest = Math.max(1, ...bars.map((b) => b.parts.reduce((all, [, n]) => all + n, 0)));
  const width = 1000, height = 120, step = width / bars.length;
  const svg = shape('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img',
    'aria-label': `${count(h.answers)} answers in editors, ${count(h.shown)} of them with a suggestion; ${count(h.runs)} engine requests, ${count(h.failed)} failed. The table below has the numbers.` });
  svg.append(shape('line', { x1: 0, x2: width, y1: height - .5, y2: height - .5, class: 'base' }));
  bars.forEach((b, i) => {
    let y = height - 1;
    const group = svg.appendChild(shape('g', {}));
    group.appendChild(shape('title', {})).textContent = `From ${when(b.at, period)}: ${count(b.answers)} answers, ${count(b.shown)} shown; ${count(b.runs)} engine requests, ${count(b.failed)} failed`;
    for (const [kind, n] of b.parts) {
      if (!n) continue;
      const tall = Math.max(1.5, (height - 6) * n / highest);
      y -= tall;
      group.append(shape('rect', { class: kind, x: i * step + step * .12, y, width: step * .76, height: tall }));
    }
  });
  const ticks = node('div', { class: 'ticks', 'aria-hidden': 'true' }, node('span', {}, when(h.since, period)),
    node('span', {}, `highest bar: ${count(highest)}`), node('span', {}, 'now'));
  fill('line', svg, ticks);
  const used = bars.filter((b) => b.answers || b.runs).reverse();
  return fill('line-table', ...table('', ['From', 'Answers', 'Shown', 'Engine', 'Failed', '95 % ms'],
    used.map((b) => ({ cells: [`${period === 'hour' || period === 'day' ? '' : `${day(b.at)} `}${clock(b.at)}`, count(b.answers), count(b.shown), count(b.runs), count(b.failed), b.p95_ms ? ms(b.p95_ms) : '–'] }))).children);
}

function stages(id, found, order, label, levels) {
  const rows = order.map((name) => found.find((stage) => stage.name === name)).filter((stage) => stage && stage.n);
  if (!rows.length) return fill(id, empty('No requests in this period.'));
  return fill(id, table(label, ['', 'Median', '90 %', '95 %', '99 %'], rows.map((stage) => {
    const [title, level] = STAGES[stage.name];
    return { cells: [title, ms(stage.p50), ms(stage.p90), ms(stage.p95), ms(stage.p99)], kind: ['', levels ? 'inner' : '', 'strong'][level] };
  })));
}

function languages(h) {
  if (!h.languages.length) return fill('languages', empty('No editor has asked in this period.'));
  return fill('languages', table('Suggestions by language', ['', 'Answers', 'Shown', 'New', 'Accepted', 'Rejected'], h.languages.map((l) => ({
    cells: [l.name || 'unknown', count(l.asked), percent(l.shown, l.asked), count(l.offered), percent(l.accepted + l.partly, l.offered), percent(l.rejected, l.offered)],
  }))));
}

function shares(id, found, none, names) {
  const entries = Object.entries(found);
  const all = entries.reduce((sum, [, n]) => sum + n, 0);
  if (!all) return fill(id, empty(none));
  return fill(id, table(id, ['', 'Answers', 'Share'], entries.map(([name, n]) => ({
    cells: [node('span', {}, (names && names[name]) || name.charAt(0).toUpperCase() + name.slice(1), bar(n / all)), count(n), percent(n, all)],
  }))));
}

function tokens(h) {
  const t = h.tokens;
  if (!t.prompt) return fill('tokens', empty('No requests in this period.'));
  const computed = t.prompt - t.reused;
  const rows = [
    ['Prompt tokens', count(t.prompt), '', 'strong'],
    ['Still in the KV memory', count(t.reused - t.restored), percent(t.reused - t.restored, t.prompt), 'inner'],
    ['Brought back from main memory', count(t.restored), percent(t.restored, t.prompt), 'inner'],
    ['Computed', count(computed), percent(computed, t.prompt), 'inner'],
    ['Written tokens', count(t.generated), '', 'strong'],
    ['Guessed right ahead', count(t.accepted), percent(t.accepted, t.generated), 'inner'],
  ];
  if (t.prefill_ms) rows.push(['Reading speed', `${count(1000 * computed / t.prefill_ms)}/s`, '', '']);
  return fill('tokens', table('Tokens and reuse', ['', 'Tokens', 'Share'], rows.map(([name, n, share, kind]) => ({ cells: [name, n, share], kind }))));
}

function models(d) {
  const rows = d.models.map((m) => {
    const speed = m.prefill_speed ? `reads ${count(m.prefill_speed)} and writes ${m.decode_speed < 100 ? m.decode_speed.toFixed(1) : count(m.decode_speed)} tokens/s` : '';
    const facts = [m.device, m.resident_bytes ? bytes(m.resident_bytes) : '', speed].filter(Boolean).join(' · ');
    return node('div', { class: 'model' }, node('div', { class: 'name' }, node('span', {}, m.name), tag(m.state)),
      facts ? node('p', { class: 'note' }, facts) : null, m.detail ? node('p', { class: 'detail' }, m.detail) : null);
  });
  fill('models', ...(rows.length ? rows : [empty('No model was asked for since the service started.')]));
  const used = d.memory.total_bytes - d.memory.available_bytes;
  fill('memory', node('p', { class: 'note' }, `Engines ${bytes(d.memory.engines_bytes)}, service ${bytes(d.memory.gateway_bytes)}; the machine uses ${bytes(used)} of ${bytes(d.memory.total_bytes)}.`, bar(used / d.memory.total_bytes)));
}

function running(d) {
  if (!d.running.length) return fill('running', empty('Nothing.'));
  const more = d.running_count - d.running.length;
  return fill('running', table('Running now', ['', 'Model', 'For', 'Prompt', 'Written'], d.running.map((r) => ({
    cells: [WORK[r.work] || r.work, r.model, `${r.seconds.toFixed(1)} s`, count(r.prompt), count(r.generated)],
  }))), more ? empty(`and ${count(more)} more`) : '');
}

function downloads(d) {
  at('downloads-card').hidden = !d.downloads.length;
  fill('downloads', ...d.downloads.map((x) => node('div', { class: 'model' }, node('div', { class: 'name' }, node('span', {}, x.model_name), tag(x.state)),
    node('p', { class: 'note' }, `${bytes(x.done)} of ${x.total ? bytes(x.total) : 'unknown size'}${x.total ? `, ${percent(x.done, x.total)}` : ''}`, x.total ? bar(x.done / x.total) : null),
    x.message ? node('p', { class: x.state === 'failed' ? 'detail' : 'note' }, x.message) : null)));
}

function failures(h) {
  const entries = Object.entries(h.failures);
  at('failures-card').hidden = !entries.length;
  fill('failures', table('Failures', ['', 'Requests'], entries.map(([code, n]) => ({ cells: [CODES[code] || code, count(n)] }))));
}

function show(d) {
  const { state, problems } = health(d);
  document.body.classList.remove('stale');
  say(...state);
  banners(problems);
  at('main').hidden = false;
  at('key-form').hidden = true;
  at('controls').hidden = false;
  const h = d.history;
  for (const id of ['tiles', 'line', 'editor', 'engine', 'languages', 'silence', 'sources', 'tokens']) {
    at(id).closest('section').hidden = !h;
  }
  if (h) {
    tiles(h);
    timeline(h, d.period);
    stages('editor', h.editor, EDITOR_ORDER, 'Latency in the editor, milliseconds', true);
    stages('engine', h.engine, ['queue_ms', 'prefill_ms', 'decode_ms', 'total_ms'], 'Latency in the engine, milliseconds', false);
    languages(h);
    shares('silence', h.silence, h.answers ? 'Every answer in this period had a suggestion.' : 'No answers in this period.');
    shares('sources', h.sources, 'No answers in this period.', SOURCES);
    tokens(h);
    failures(h);
  } else at('failures-card').hidden = true;
  models(d);
  running(d);
  downloads(d);
  at('updated').textContent = `Updated ${clock(d.at, true)}`;
  const where = d.listening ? ` on ${d.listening}` : '';
  fill('footer', `Version ${d.version}, process ${d.pid}${where}, up for ${ago(d.at - d.started)}, ${d.windows} ${d.windows === 1 ? 'editor window' : 'editor windows'}. ${d.history_on_disk ? 'The history holds numbers only, never text.' : 'The history is kept in memory, until the service ends.'}`);
}

function down(reason) {
  lost = lost || Date.now();
  document.body.classList.add('stale');
  say('bad', 'The service does not answer');
  const since = `Since ${new Date(lost).toLocaleTimeString()}`;
  const old = last ? ` The figures below are those of ${clock(last.at, true)}.` : '';
  banners([['bad', `${since}: `, `${reason} ${DOWN}.${old}`]]);
}

function askForKey(problem) {
  document.body.classList.remove('stale');
  banners([]);
  say('warn', 'Locked');
  at('main').hidden = true;
  at('key-form').hidden = false;
  at('controls').hidden = true;
  at('key-problem').textContent = problem;
  at('key').focus();
}

async function look() {
  clearTimeout(timer);
  if (asking) asking.abort();
  const own = asking = new AbortController();
  const patience = setTimeout(() => own.abort(), PATIENCE_MS);
  let again = true;
  try {
    const headers = key ? { authorization: `Bearer ${key}` } : {};
    const reply = await fetch(`dashboard/data?period=${at('period').value}`, { headers, signal: own.signal, cache: 'no-store', credentials: 'omit' });
    const body = await reply.json().catch(() => null);
    if (own !== asking) return;
    if (reply.status === 401) {
      again = false;
      askForKey(key ? 'The service does not know this key.' : '');
      key = '';
    } else if (!reply.ok || !body) {
      down(`It answered with status ${reply.status}${body && body.error ? `: ${body.error.message}` : '.'}`);
    } else {
      last = body;
      lost = 0;
      pause = EVERY_MS;
      show(body);
    }
  } catch (error) {
    if (own !== asking) return;
    pause = Math.min(SLOWEST_MS, pause * 1.5);
    down(error.name === 'AbortError' ? 'It takes longer than 15 s to answer.' : 'It cannot be reached.');
  } finally {
    clearTimeout(patience);
    if (own === asking) asking = null;
  }
  if (again) later();
}
function paused() { return at('pause').getAttribute('aria-pressed') === 'true'; }
function later() { if (!document.hidden && !paused()) timer = setTimeout(look, pause); }

at('period').addEventListener('change', look);
at('pause').addEventListener('click', () => {
  const stop = !paused();
  at('pause').setAttribute('aria-pressed', String(stop));
  clearTimeout(timer);
  if (!stop) look();
});
at('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  key = at('key').value.trim();
  at('key').value = '';
  look();
});
document.addEventListener('visibilitychange', () => { if (!document.hidden && !paused() && at('key-form').hidden) look(); });
look();
