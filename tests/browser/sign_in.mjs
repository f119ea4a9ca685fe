// Signing in at a real OpenID provider, by PKCE, and out again.
import { given, walk } from './lib.mjs';

await walk(async (page) => {
  const bar = page.locator('#bar');
  await page.goto(`${given.base}/graphiql`);
  await page.getByRole('button', { name: 'Sign in with corp' }).waitFor();
  const nobody = await bar.innerText();
  await page.getByRole('button', { name: 'Sign in with corp' }).click();
  await page.waitForURL(`${given.allowed[0]}/**`);
  await page.fill('input[name=login]', 'alice');
  await page.fill('input[name=password]', 'any');
  await page.click('button[type=submit]');
  const asked = await page.locator('body').innerText();
  await page.click('button[type=submit]');
  await page.waitForURL(`${given.base}/graphiql`);
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
  const somebody = await bar.innerText();
  await page.locator('.account-scopes summary').click();
  const scopes = await page.locator('.account-scopes').innerText();
  const address = page.url();

  // The same tab's other page has the same token.
  await page.goto(`${given.base}/lineage?of=models:/bert`);
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
  await page.locator('.lp[data-drawn]').waitFor();
  const drawn = await page.locator('.lp-counts').innerText();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Sign in with corp' }).waitFor();
  const out = await bar.innerText();

  // Back to where one was.
  await page.getByRole('button', { name: 'Sign in with corp' }).click();
  await page.waitForURL(`${given.allowed[0]}/interaction/**`);
  await page.click('button[type=submit]');
  await page.waitForURL(`${given.base}/lineage?of=models:/bert`);
  await page.getByRole('button', { name: 'Sign out' }).waitFor();

  // An answer that this tab never asked for.
  await page.goto(`${given.base}/graphiql?code=stolen&state=forged&iss=${encodeURIComponent(given.allowed[0])}`);
  await page.locator('.account-problem', { hasText: 'no sign-in of this tab' }).waitFor();
  const forged = page.url();
  return { nobody, asked, somebody, scopes, address, drawn, out, forged };
});
