// GraphiQL with the picture: the flagship question, and all that can be done with its answer.
import { axe, download, drawn, find, given, picture, placing, shot, walk } from './lib.mjs';

const text = (page) => page.evaluate(() => window.__MONACO.editor.getModels().map((model) => model.getValue()).join('\n'));
const details = (page) => page.locator('.lp-details').innerText();

await walk(async (page, context) => {
  await context.addInitScript(placing);
  await page.goto(`${given.base}/graphiql#token=${given.token}`);
  await page.locator('.graphiql-execute-button').waitFor();
  const address = page.url();
  const flagship = await drawn(page, () => page.locator('.graphiql-execute-button').click());
  await page.mouse.move(5, 5);
  await shot(page, 'graphiql');
  const light = await axe(page);

  await page.locator('.account-scopes summary').click();
  const scopes = await page.locator('.account-scopes').innerText();
  await page.locator('.account-scopes summary').click();

  const svg = await download(page, 'Export as SVG');
  const png = await download(page, 'Export as PNG');
  const mermaid = await download(page, 'Export as Mermaid');

  await find(page, given.served);
  await shot(page, 'details');
  const chosen = await details(page);
  await page.locator('.lp canvas').press('Escape');
  const let_go = await page.locator('.lp-details').isHidden();
  await page.evaluate(() => { window.places = {}; });
  await page.keyboard.press('+');
  await page.waitForFunction((name) => window.places[name], given.served);
  const place = await page.evaluate((name) => window.places[name], given.served);
  const canvas = await page.locator('.lp canvas').boundingBox();
  await page.mouse.click(canvas.x + place.x + 5, canvas.y + place.y);
  await page.locator('.lp-details:not([hidden])').waitFor();
  const clicked = await details(page);
  await find(page, given.version);
  const expanded = await drawn(page, () => page.getByRole('button', { name: 'Expand upstream' }).click());
  const expandedQuery = await text(page);

  await find(page, given.served);
  await page.locator('.lp canvas').press('p');
  await find(page, given.dataset);
  const way = await drawn(page, () => page.locator('.lp canvas').press('p'));
  const wayQuery = await text(page);
  await shot(page, 'way');

  await page.getByLabel('As of', { exact: true }).focus();
  const before = await drawn(page, () => page.getByLabel('As of', { exact: true }).press('Home'));
  const time = await page.locator('.lp-time output').innerText();
  const now = await drawn(page, () => page.getByRole('button', { name: 'Now' }).click());

  await page.getByRole('button', { name: 'Fit all in' }).click();
  await page.locator('.lp canvas').focus();
  const steps = [];
  for (const key of ['ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowDown', 'ArrowLeft']) {
    await page.keyboard.press(key);
    steps.push(await page.locator('.lp-said').textContent());
  }
  const near = await picture(page);
  await page.keyboard.press('+');
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  const nearer = await picture(page);
  await page.keyboard.press('Escape');
  const closed = await page.locator('.lp-details').isHidden();

  const groups = await drawn(page, () => page.getByRole('button', { name: 'Open all groups' }).click());

  await page.getByRole('button', { name: /history/i }).first().click();
  const history = await page.locator('.graphiql-history').innerText();
  await page.getByRole('button', { name: /lineage/i }).first().click();

  const questions = await page.locator('.examples option').allInnerTexts();
  const answers = {};
  for (const [index, title] of questions.entries()) {
    if (!index) continue;
    const answered = page.waitForResponse((response) => response.url().endsWith('/graphql') && response.request().postData()?.includes('IntrospectionQuery') === false);
    await page.locator('.examples').selectOption({ label: title });
    const { data, errors } = await (await answered).json();
    answers[title] = errors ? errors[0].message : Object.values(data).every((value) => value !== null);
  }

  await page.emulateMedia({ colorScheme: 'dark' });
  await page.reload();
  await page.locator('.graphiql-execute-button').waitFor();
  await drawn(page, () => page.locator('.examples').selectOption({ label: questions[1] }));
  await page.mouse.move(5, 5);
  await shot(page, 'graphiql-dark');
  const dark = await axe(page);
  const background = await page.evaluate(() => getComputedStyle(document.querySelector('#bar')).backgroundColor);

  return {
    address, flagship, light, dark, background, scopes, chosen, let_go, clicked, expanded, expandedQuery, way, wayQuery, before, time, now, steps, closed, groups, history, answers,
    zoomed: near !== nearer,
    svg: svg.bytes.toString().slice(0, 400) + svg.bytes.toString().slice(-200), png: [...png.bytes.subarray(0, 8)], size: png.bytes.length, mermaid: mermaid.bytes.toString().slice(0, 2_000),
    names: [svg.name, png.name, mermaid.name],
  };
});
