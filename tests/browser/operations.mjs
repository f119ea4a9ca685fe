// GraphiQL with documents of several operations and tabs of several times: what the picture asks, and of when it says it is.
import { drawn, find, given, walk } from './lib.mjs';

const DOCUMENT = `mutation Promote { setAlias(input: { model: "models:/none", name: "champion", version: "models:/none/1" }) { version { id } } }

query Other { viewer { name } }

query Look { lineage(of: ["${given.version}"], direction: UPSTREAM, depth: 1) {
  nodes { id kind distance restricted node { name address } }
  edges { kind source target since }
} }
`;

await walk(async (page) => {
  const asked = [];
  page.on('request', (request) => {
    const { operationName, query } = request.method() === 'POST' ? request.postDataJSON() : {};
    if (query && operationName !== 'IntrospectionQuery') asked.push({ operationName, query });
  });
  const said = () => page.locator('.lp-time output').innerText();
  const texts = () => page.evaluate(() => window.__MONACO.editor.getModels().map((model) => model.getValue()));
  const tabs = page.locator('.graphiql-tab-button');
  const run = async (name) => {
    await page.locator('.graphiql-execute-button').click();
    await page.getByRole('menuitem', { name }).click();
  };
  /** What was asked from here on, once the answer is drawn. */
  const after = async (act) => {
    const from = asked.length;
    await drawn(page, act);
    return asked.slice(from);
  };

  await page.goto(`${given.base}/graphiql#token=${given.token}`);
  await page.locator('.graphiql-execute-button').waitFor();
  await page.goto(`${given.base}/graphiql#${new URLSearchParams({ query: DOCUMENT })}`);
  await page.reload();
  await page.locator('.graphiql-execute-button').waitFor();
  const looked = await after(() => run('Look'));
  const now = await said();
  const slider = page.getByLabel('As of', { exact: true });
  await slider.focus();
  const slid = await after(() => slider.press('ArrowLeft'));
  const slidTo = await said();
  await find(page, given.version);
  const expanded = await after(() => page.getByRole('button', { name: 'Expand upstream' }).click());
  const expandedAt = await said();

  // A tab of now beside it, and back.
  const first = await tabs.count();
  await drawn(page, () => page.locator('.examples').selectOption({ index: 2 }));
  const beside = await said();
  await drawn(page, () => tabs.nth(first - 1).click());
  const back = await said();

  // A time that was typed, and one of a variable.
  const ask = async (query, variables) => {
    await page.evaluate(([text, values]) => {
      for (const model of window.__MONACO.editor.getModels()) {
        if (model.uri.path.endsWith('operation.graphql')) model.setValue(text);
        if (model.uri.path.endsWith('variables.json')) model.setValue(values);
      }
    }, [query, variables]);
    // GraphiQL looks at what was typed after a tenth of a second.
    await page.waitForTimeout(500);
    await drawn(page, () => page.locator('.graphiql-execute-button').click());
    return said();
  };
  const field = (time) => `lineage(of: ["${given.version}"], direction: UPSTREAM, asOf: ${time}) { nodes { id } }`;
  const typed = await ask(`{ ${field('"2027-01-02T03:04:05Z"')} }`, '');
  const variable = await ask(`query Q($t: DateTime) { ${field('$t')} }`, '{"t": "2028-01-02T03:04:05Z"}');
  const several = await ask(`{ a: ${field('"2027-01-02T03:04:05Z"')} b: ${field('null')} }`, '');

  // What is drawn is no more in the document.
  await ask(DOCUMENT.slice(DOCUMENT.indexOf('query Look')), '');
  // Other words than before: the field tells of a change alone.
  await find(page, given.version.slice(0, -1));
  const mutation = DOCUMENT.split('\n')[0];
  await page.evaluate((text) => window.__MONACO.editor.getModels().find((model) => model.uri.path.endsWith('operation.graphql')).setValue(text), mutation);
  await page.waitForTimeout(500);
  const before = asked.length;
  await page.getByRole('button', { name: 'Now' }).click();
  const refused = await said();
  const unasked = asked.length === before;
  const count = await tabs.count();
  const alone = await after(() => page.getByRole('button', { name: 'Expand upstream' }).click());
  const opened = (await tabs.count()) - count;
  await tabs.nth(first - 1).click();
  await page.waitForFunction((text) => window.__MONACO.editor.getModels().some((model) => model.getValue() === text), mutation);
  const kept = (await texts()).includes(mutation);

  return { looked, now, slid, slidTo, expanded, expandedAt, beside, back, typed, variable, several, refused, unasked, alone, opened, kept };
});
