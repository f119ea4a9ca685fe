// The picture as a page of its own: linked to, restricted, incomplete, in another page, and with thousands of nodes.
import { createServer } from 'node:http';
import { axe, drawn, given, picture, shot, walk } from './lib.mjs';

const MOVES = 30;

/** Counts in the page what is drawn in each frame, what is laid out by the worker, and how long nothing else could happen. */
function counting() {
  const work = (window.work = { frames: [], laidOut: [], blocked: [0] });
  const drawing = CanvasRenderingContext2D.prototype;
  const before = (target, name, count) => {
    const original = target[name];
    target[name] = function (...given) {
      count(...given);
      return original.apply(this, given);
    };
  };
  before(drawing, 'fillRect', (x, y) => x === 0 && y === 0 && work.frames.push({ boxes: 0, words: 0 }));
  before(drawing, 'strokeRect', () => work.frames.at(-1).boxes++);
  before(drawing, 'fillText', () => work.frames.at(-1).words++);
  before(Worker.prototype, 'postMessage', ({ boxes }) => work.laidOut.push(boxes.length));
  new PerformanceObserver((list) => work.blocked.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });
}

/** How long the same work takes, by turns undisturbed and disturbed by what else the machine does: milliseconds. */
function same() {
  return Array.from({ length: 20 }, () => {
    const start = performance.now();
    let sum = 0;
    for (let n = 0; n < 20_000_000; n++) sum += Math.sqrt(n) % 7;
    return sum && performance.now() - start;
  });
}

await walk(async (page, context) => {
  await context.addInitScript(counting);
  const work = () => page.evaluate(() => window.work);
  const ticks = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  const at = (parameters, token = given.token) => `${given.base}/lineage?${new URLSearchParams(parameters)}#token=${token}`;
  const linked = await drawn(page, () => page.goto(at({ of: given.version })));
  await shot(page, 'lineage');
  const light = await axe(page);
  await page.getByLabel('As of, exactly').fill('2001-01-01T00:00:00');
  await drawn(page, () => page.getByLabel('As of, exactly').blur());
  const dated = page.url();
  const linkedTo = await drawn(page, () => page.goto(at({ of: given.version, asOf: '2027-01-02T03:04:05Z' })));
  const linkedTime = await page.locator('.lp-time output').innerText();
  await drawn(page, () => page.getByRole('button', { name: 'Now' }).click());
  const linkedNow = await page.locator('.lp-time output').innerText();
  const open = page.getByRole('link', { name: 'Open in GraphiQL' });
  await open.evaluate((link) => link.addEventListener('click', (event) => event.preventDefault()));
  await open.click();
  const opens = await open.getAttribute('href');

  const restricted = await drawn(page, () => page.goto(at({ of: given.version, direction: 'UPSTREAM', bare: '' }, given.narrow)));
  await shot(page, 'restricted');
  const cut = await drawn(page, () => page.goto(at({ of: given.version, direction: 'UPSTREAM', depth: '1', theme: 'dark', x: '1' })));
  await shot(page, 'cut');
  const dark = await axe(page);
  const nothing = await drawn(page, () => page.goto(at({ of: 'models:/nothing', y: '1' })));
  await page.goto(at({}));
  const unasked = await page.locator('.lp-notes p').innerText();

  const start = Date.now();
  const count = async () => Number(await page.locator('.lp').getAttribute('data-drawn'));
  const many = await drawn(page, () => page.goto(at({ of: given.big, direction: 'DOWNSTREAM', limit: '20000', z: '1' })));
  const grouped = await count();
  await drawn(page, () => page.getByRole('button', { name: 'Open all groups' }).click());
  const drawnIn = Date.now() - start;
  const boxes = await count();
  const whole = await work();
  await shot(page, 'many');
  const still = await picture(page);
  const box = await page.locator('.lp canvas').boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  for (let step = 1; step <= MOVES; step++) await page.mouse.move(box.x + box.width / 2 + step * 6, box.y + box.height / 2 + step * 3);
  await page.mouse.up();
  await ticks();
  const moved = await work();
  const panned = (await picture(page)) !== still;
  await page.mouse.wheel(0, -2_000);
  await ticks();
  const near = await work();
  await shot(page, 'many-near');

  await page.goto(at({}));
  const empty = await page.evaluate(same);

  // A page of another origin that shows the picture in a frame.
  const other = createServer((_, response) => response.setHeader('content-type', 'text/html').end(`<!doctype html><title>wiki</title><iframe src="${given.base}/lineage?of=${encodeURIComponent(given.version)}&bare#token=${given.token}"></iframe>`)).listen(given.embedder, '127.0.0.1');
  await page.goto(`http://127.0.0.1:${given.embedder}/`);
  await page.frameLocator('iframe').locator('.lp[data-drawn]').waitFor();
  const embedded = await page.frameLocator('iframe').locator('.lp-counts').innerText();
  other.close();
  other.closeAllConnections();

  return { linked, dated, linkedTo, linkedTime, linkedNow, opens, restricted, cut, nothing, unasked, many, grouped, boxes, panned, drawnIn, laidOut: whole.laidOut, whole: whole.frames.at(-1), panning: moved.frames.slice(whole.frames.length), moves: MOVES, near: near.frames.at(-1), blocked: Math.max(...near.blocked), empty, embedded, light, dark };
});
