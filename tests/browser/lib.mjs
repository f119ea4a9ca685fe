// What every walk through the pages shares: a browser that reaches Lineal and what is named, and nothing else.
//
// A walk gets its settings as JSON in WALK and says what it saw as one line of JSON on stdout.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);
export const given = JSON.parse(process.env.WALK);

export async function walk(steps, options = {}) {
  const browser = await chromium.launch({ executablePath: given.chromium, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  context.setDefaultTimeout(60_000);
  const seen = { elsewhere: [], console: [], violations: [] };
  await context.route('**/*', (route) => {
    const { origin, protocol } = new URL(route.request().url());
    if ([given.base, ...(given.allowed ?? [])].includes(origin) || ['data:', 'blob:'].includes(protocol)) return route.continue();
    // The provider's own pages may ask for what they like, and get nothing.
    if (route.request().frame().url().startsWith(given.base)) seen.elsewhere.push(route.request().url());
    return route.abort();
  });
  await context.exposeFunction('sawViolation', (text) => seen.violations.push(text));
  await context.addInitScript(() => addEventListener('securitypolicyviolation', (e) => window.sawViolation(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}`)));
  const page = await context.newPage();
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type()) && page.url().startsWith(given.base)) seen.console.push(`${message.text()} ${message.location().url}`); });
  page.on('pageerror', (error) => seen.console.push(error.message));
  try {
    Object.assign(seen, await steps(page, context));
    console.log(JSON.stringify(seen));
  } catch (error) {
    if (given.pictures) await page.screenshot({ path: `${given.pictures}/failed.png` });
    console.error(JSON.stringify(seen));
    throw error;
  } finally {
    await browser.close();
  }
}

/**
 * What axe finds that is serious or worse, as one line for each. GraphiQL's own tabs are left out: they have buttons
 * inside of tabs, which is theirs to mend.
 */
export async function axe(page) {
  await page.evaluate(readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
  const { violations } = await page.evaluate(() => window.axe.run({ exclude: ['.graphiql-tabs'] }));
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 8).map(({ html, any }) => `${html.slice(0, 120)} ${any[0]?.message ?? ''}`).join(' | ')}`);
}

/** Waits until the picture has been drawn again after `act`. */
export async function drawn(page, act = async () => {}) {
  await page.evaluate(() => delete document.querySelector('.lp')?.dataset.drawn);
  await act();
  await page.waitForSelector('.lp[data-drawn]:not([aria-busy])');
  return page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(document.querySelector('.lp').innerText)))));
}

export const picture = (page) => page.evaluate(() => document.querySelector('.lp canvas').toDataURL());

/** Has the page keep where words were last drawn, in pixels of the canvas as the mouse counts them. */
export function placing() {
  const drawing = CanvasRenderingContext2D.prototype;
  const draw = drawing.fillText;
  window.places = {};
  drawing.fillText = function (text, x, y, ...rest) {
    const at = this.getTransform().transformPoint({ x, y });
    window.places[text] = { x: at.x / devicePixelRatio, y: at.y / devicePixelRatio };
    return draw.call(this, text, x, y, ...rest);
  };
}

export async function download(page, label) {
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: label }).click()]);
  return { name: file.suggestedFilename(), bytes: readFileSync(await file.path()) };
}

export async function find(page, name) {
  await page.getByLabel('Find in the picture').fill(name);
  await page.getByLabel('Find in the picture').press('Enter');
  await page.locator('.lp-details:not([hidden])').waitFor();
}

/** A picture for people, where they are asked for. */
export async function shot(page, name) {
  if (given.pictures) await page.screenshot({ path: `${given.pictures}/${name}.png` });
}
