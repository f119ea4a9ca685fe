// The example frontend: models, versions, a comparison, a lineage picture.
import { axe, given, shot, walk } from './lib.mjs';

await walk(async (page) => {
  await page.goto(`${given.base}/`);
  await page.evaluate((token) => sessionStorage.setItem('token', token), given.token);
  await page.reload();
  await page.getByRole('link', { name: 'bert' }).waitFor();
  const models = await page.locator('h1').innerText();
  await page.getByRole('link', { name: 'bert' }).click();
  await page.getByLabel('Compare version 1').check();
  await page.getByLabel('Compare version 2').check();
  await shot(page, 'frontend');
  await page.getByRole('link', { name: 'Compare the two' }).click();
  await page.getByRole('heading', { name: 'Side by side' }).waitFor();
  const compared = await page.locator('table').innerText();
  const serious = await axe(page);
  await page.goBack();
  await page.getByRole('link', { name: 'Lineage' }).first().click();
  const lineage = await page.getByRole('img').getAttribute('aria-label');
  const nodes = await page.locator('svg g > title').allTextContents();
  const edges = await page.locator('svg path > title').allTextContents();
  return { models, compared, lineage, nodes, edges, serious };
});
