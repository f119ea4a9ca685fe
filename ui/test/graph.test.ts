import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { buildSchema, parse, print, validate } from 'graphql';
import { examples, FIND, found } from '../src/examples.ts';
import { toMermaid, toSvg } from '../src/export.ts';
import { readAnswer } from '../src/graph.ts';
import { grouped } from '../src/grouping.ts';
import { layout } from '../src/layout.ts';
import { asOfQuery, lineageQuery, timesOf, withExpansion, withWays, WRITTEN } from '../src/queries.ts';
import { LIGHT } from '../src/shapes.ts';

const lineage = (more: object = {}) => ({
  data: {
    impact: {
      complete: true,
      roots: [{ id: 'ds_1', kind: 'DATASET', name: 'NQ', address: 'datasets:/NQ' }],
      nodes: [
        { id: 'dv_1', kind: 'DATASET_VERSION', distance: 0, restricted: false, node: { name: 'unversioned', address: 'datasets:/NQ/unversioned' } },
        { id: 'mv_1', kind: 'MODEL_VERSION', distance: 1, restricted: false, node: { name: '1', address: 'models:/BAAI%2Fbge/1' } },
        { id: 'restricted_7', kind: 'DEPLOYMENT', distance: 2, restricted: true, node: null },
      ],
      edges: [
        { kind: 'TRAINED_ON', source: 'mv_1', target: 'dv_1', discriminator: 'train', since: '2026-01-02T00:00:00Z' },
        { kind: 'SERVES', source: 'restricted_7', target: 'mv_1', weight: 0.25, since: '2026-01-03T00:00:00Z' },
      ],
      ...more,
    },
  },
});

describe('an answer', () => {
  it('is read as nodes and edges, a container joined to its parts', () => {
    const { nodes, edges, missing, earliest } = readAnswer(lineage());
    assert.deepEqual([...nodes.values()].map(({ id, name, kind }) => [id, name, kind]), [
      ['ds_1', 'NQ', 'DATASET'], ['dv_1', 'NQ', 'DATASET_VERSION'], ['mv_1', 'BAAI/bge v1', 'MODEL_VERSION'], ['restricted_7', 'restricted', 'DEPLOYMENT'],
    ]);
    assert.deepEqual(edges.map(({ source, target, kind, detail, implied }) => [source, kind, target, detail, implied]), [
      ['mv_1', 'TRAINED_ON', 'dv_1', 'train', false], ['restricted_7', 'SERVES', 'mv_1', '25 %', false], ['dv_1', 'PART_OF', 'ds_1', '', true],
    ]);
    assert.equal(nodes.get('restricted_7')!.restricted, true);
    assert.equal(nodes.get('ds_1')!.root, true);
    assert.deepEqual(missing, []);
    assert.equal(earliest, '2026-01-02T00:00:00Z');
  });
  it('that is cut says so, and where to go on from', () => {
    const { nodes, missing } = readAnswer(lineage({ complete: false, frontierCount: 1, frontier: ['mv_1'] }));
    assert.deepEqual(missing, ['“impact” is not complete: 1 of its nodes has more behind it.']);
    assert.equal(nodes.get('mv_1')!.frontier, true);
    const page = { models: { totalCount: 9, pageInfo: { hasNextPage: true }, nodes: [{ id: 'mo_1', name: 'a' }] } };
    assert.deepEqual(readAnswer({ data: page }).missing, ['“models” has more: 1 of 9 are here.']);
    assert.deepEqual(readAnswer(lineage({ complete: false })).missing, ['“impact” is not complete: more lies behind it.']);
  });
  it('of nested things draws what stands inside what, causes first', () => {
    const data = {
      model: {
        id: 'mo_1', name: 'bert', workspace: { id: 'ws_1', name: 'default' },
        versions: { nodes: [{ id: 'mv_1', number: 1, trainedOn: { edges: [{ node: { id: 'dv_1', name: 'v1' } }] } }] },
      },
    };
    const { nodes, edges } = readAnswer({ data });
    assert.deepEqual([...nodes.keys()], ['mo_1', 'mv_1', 'dv_1']);
    assert.deepEqual(edges.map(({ source, kind, target }) => [source, kind, target]), [['mv_1', 'VERSIONS', 'mo_1'], ['mv_1', 'TRAINED_ON', 'dv_1']]);
  });
  it('names a thing by its address until its id is known', () => {
    const { nodes } = readAnswer({ data: { a: { address: 'models:/bert' }, b: { id: 'mo_1', address: 'models:/bert' } } });
    assert.deepEqual([...nodes.keys()], ['mo_1']);
    assert.equal(nodes.get('mo_1')!.kind, 'MODEL');
  });
  it('holds what its edges lead to, and its paths', () => {
    const hops = [{ edges: [{ kind: 'DERIVED_FROM', source: 'mv_2', target: 'mv_1' }] }];
    const { nodes, paths, soughtPaths } = readAnswer({ data: { paths: { count: '1', complete: true, paths: [{ length: 1, nodes: [{ id: 'mv_2' }, { id: 'mv_1' }], hops }] } } });
    assert.deepEqual([nodes.size, paths, soughtPaths], [2, [['mv_2', 'mv_1']], true]);
    assert.deepEqual([...readAnswer({ data: { e: [{ source: 'restricted_1', target: 'mv_9' }] } }).nodes.values()].map(({ kind, restricted }) => [kind, restricted]), [['', true], ['MODEL_VERSION', false]]);
  });
  it('without data has its errors, and anything else is nothing', () => {
    assert.deepEqual(readAnswer({ data: null, errors: [{ message: 'no' }, {}] }).errors, ['no', 'an error without a message']);
    for (const other of [null, 3, 'x', [], {}, { data: { __schema: { types: [{ id: 'x' }] } } }]) assert.equal(readAnswer(other).nodes.size, 0);
  });
});

const star = (count: number) => readAnswer({
  data: { l: { roots: [{ id: 'dv_0', kind: 'DATASET_VERSION' }], nodes: Array.from({ length: count }, (_, at) => ({ id: `mv_${at}`, kind: 'MODEL_VERSION', distance: 1, restricted: at % 2 === 1, node: null })), edges: Array.from({ length: count }, (_, at) => ({ kind: 'TRAINED_ON', source: `mv_${at}`, target: 'dv_0' })) } },
});

describe('groups', () => {
  it('share a box where kind and neighbours are the same', () => {
    const shown = grouped(readAnswer({ data: { l: { nodes: star(20).nodes.size && [...star(20).nodes.values()], edges: star(20).edges } } }), new Set());
    assert.equal(shown.boxes.filter(({ members }) => members.length > 1).length, 2);
    assert.equal(shown.boxes.length, 3);
    assert.equal(shown.edges.length, 2);
  });
  it('open one by one, or all, and leave out what is kept', () => {
    const graph = star(20);
    const [group] = grouped(graph, new Set()).boxes.filter(({ members }) => members.length > 1);
    assert.equal(grouped(graph, new Set([group!.id])).boxes.some(({ id }) => id === group!.id), false);
    assert.equal(grouped(graph, 'all').boxes.length, 21);
    assert.equal(grouped(graph, new Set(), new Set(['mv_3'])).boxOf.get('mv_3'), 'mv_3');
    assert.equal(grouped(star(5), new Set()).boxes.length, 6);
  });
});

const measure = (graph: ReturnType<typeof star>) => {
  const shown = grouped(graph, 'all');
  return { shown, placed: layout({ boxes: shown.boxes.map(({ id }) => ({ id, width: 200, height: 46 })), edges: shown.edges }) };
};

describe('the layout', () => {
  it('puts causes to the left of what came of them, and nothing upon another', () => {
    const { shown, placed } = measure(star(120));
    const at = new Map(shown.boxes.map(({ id }, index) => [id, index]));
    for (const { source, target } of shown.edges) assert.ok(placed.x[at.get(target)!]! + 200 < placed.x[at.get(source)!]!);
    for (let a = 0; a < at.size; a++) {
      for (let b = 0; b < a; b++) assert.ok(Math.abs(placed.x[a]! - placed.x[b]!) >= 200 || Math.abs(placed.y[a]! - placed.y[b]!) >= 46 - 1e-6);
    }
    assert.ok(placed.width / placed.height < 10 && placed.height / placed.width < 10);
    assert.deepEqual(placed, measure(star(120)).placed);
  });
  it('takes circles and empty pictures, and leads long edges between the boxes', () => {
    const boxes = ['a', 'b', 'c'].map((id) => ({ id, width: 200, height: 46 }));
    const circle = layout({ boxes, edges: [{ source: 'a', target: 'b' }, { source: 'b', target: 'c' }, { source: 'c', target: 'a' }] });
    assert.ok(circle.x.every(Number.isFinite) && circle.y.every(Number.isFinite));
    assert.equal(layout({ boxes: [], edges: [] }).routes.length, 0);
    const long = layout({ boxes, edges: [{ source: 'c', target: 'b' }, { source: 'b', target: 'a' }, { source: 'c', target: 'a' }] });
    assert.equal(long.routes[2]!.length, 6);
  });
});

describe('exports', () => {
  const graph = readAnswer({ data: { model: { id: 'mo_1', name: '<b>"x" & #1</b>', versions: { nodes: [{ id: 'restricted_1', kind: 'MODEL_VERSION' }] } } } });
  it('as Mermaid and SVG escape what the store says', () => {
    const { shown, placed } = measure(graph);
    const mermaid = toMermaid(shown, LIGHT);
    assert.match(mermaid, /^flowchart LR\n {4}n0\("#lt;b#gt;#quot;x#quot; &amp; #35;1#lt;\/b#gt; \(model\)"\)\n/);
    assert.match(mermaid, /n0 -\.->\|"VERSIONS"\| n1\n/);
    assert.match(mermaid, /:::restricted/);
    const svg = toSvg(shown, placed, LIGHT, ['“models” has <more>']);
    assert.ok(svg.includes('&lt;b&gt;&quot;x&quot; &amp; #1&lt;/b&gt;') && svg.includes('has &lt;more&gt;') && !svg.includes('<b>'));
  });
});

describe('queries', () => {
  const schema = buildSchema(readFileSync(join(process.env.SCHEMA ?? join('..', 'schema', 'lineal.graphql')), 'utf8'), { assumeValidSDL: true });
  const valid = (text: string) => assert.deepEqual(validate(schema, parse(text)).map(({ message }) => message), []);
  const question = '# Why\nquery Q($t: DateTime) { l: lineage(of: ["a"], direction: UPSTREAM, asOf: $t) { complete } }';
  it('of examples, pages, expansions and ways are those of the schema', () => {
    for (const { query } of examples({ versions: ['models:/a/1', 'models:/a/2'] })) valid(query);
    valid(FIND);
    valid(lineageQuery({ of: ['models:/"a"'], directions: ['UPSTREAM', 'DOWNSTREAM'], depth: 3, asOf: '2026-01-01T00:00:00Z', kinds: ['MODEL', 'x) { y'] }));
    valid(withExpansion({ query: question }, 'mv_1', 'DOWNSTREAM').query);
    valid(withExpansion({ query: '' }, 'mv_1', 'DOWNSTREAM', '2026-01-01T00:00:00Z').query);
    valid(withWays({ query: question }, 'mv_1', 'mv_2', 'DOWNSTREAM').query);
  });
  it('grow by what is expanded, each once', () => {
    const { query: twice } = withExpansion(withExpansion(withExpansion({ query: question }, 'a', 'UPSTREAM'), 'b', 'UPSTREAM'), 'a', 'UPSTREAM');
    assert.equal(twice.match(/moreUpstream/g)!.length, 1);
    assert.match(twice, /of: \["b", "a"\]/);
    assert.match(twice, /^# Why\n/);
    assert.ok(withWays(withWays({ query: twice }, 'a', 'b', 'UPSTREAM'), 'a', 'c', 'UPSTREAM').query.includes('to: "c"'));
    assert.equal(withExpansion({ query: question }, 'a', 'UPSTREAM').alone, false);
    for (const query of ['mutation { x }', 'nonsense {', '', 'query A { x } query B { x }']) {
      const { query: written, alone } = withExpansion({ query }, 'a', 'UPSTREAM', '2026-01-01T00:00:00Z');
      assert.ok(alone && written.startsWith(WRITTEN) && written.includes('asOf: "2026'));
    }
  });
  it('are of the operation that was run, and of no other', () => {
    const query = `mutation Promote { x } query Other { ...Rest } ${question.replace('}', '...Used }')} fragment Rest on Query { lineage(of: "b") { complete } } fragment Used on Query { paths(from: "a", to: "b") { count } }`;
    const operations = (text: string) => parse(text).definitions.map((each) => print(each));
    const differ = (text: string) => operations(text).flatMap((each, at) => (each === operations(query)[at] ? [] : [at]));
    const asked = { query, operationName: 'Q' };
    assert.deepEqual(differ(withExpansion(asked, 'a', 'UPSTREAM').query), [2]);
    assert.deepEqual(differ(withWays(asked, 'a', 'b', 'UPSTREAM').query), [2]);
    const dated = asOfQuery(asked, '2026-01-01T00:00:00Z');
    assert.ok(typeof dated === 'object');
    assert.deepEqual([differ(dated.query), dated.variables], [[4], ['t']]);
    for (const operationName of ['Promote', 'Gone', undefined]) {
      assert.equal(withExpansion({ query, operationName }, 'a', 'UPSTREAM').alone, true);
      assert.match(asOfQuery({ query, operationName }, undefined) as string, /no query/);
    }
  });
  it('are all of one time, which is said', () => {
    const variables = { t: '2025-01-01T00:00:00Z' };
    assert.deepEqual(timesOf({ query: question, variables }), ['2025-01-01T00:00:00Z']);
    assert.deepEqual(timesOf({ query: question, variables: { t: null } }), [undefined]);
    const defaulted = question.replace('DateTime', 'DateTime = "2024-01-01T00:00:00Z"');
    assert.deepEqual(timesOf({ query: defaulted }), ['2024-01-01T00:00:00Z']);
    assert.deepEqual(timesOf({ query: defaulted, variables: { t: null } }), [undefined]);
    for (const query of ['{ viewer { name } }', 'mutation { x }', '', question]) assert.deepEqual(timesOf({ query }), [undefined]);
    assert.deepEqual(timesOf({ query: '{ a: lineage(of: ["a"], asOf: "2025") { complete } b: lineage(of: ["a"]) { complete } }' }), ['2025', undefined]);

    const grown = withWays(withExpansion({ query: question }, 'a', 'UPSTREAM', '2026-01-01T00:00:00Z'), 'a', 'b', 'UPSTREAM');
    assert.deepEqual(timesOf({ ...grown, variables }), Array(3).fill('2025-01-01T00:00:00Z'));
    const literal = { query: question.replace('asOf: $t', 'asOf: "2023-01-01T00:00:00Z"') };
    assert.deepEqual(timesOf(withExpansion(literal, 'a', 'UPSTREAM')), Array(2).fill('2023-01-01T00:00:00Z'));
  });
  it('ask of another time where something in them has one', () => {
    assert.deepEqual(asOfQuery({ query: question }, '2026-01-01T00:00:00Z'), { query: question, variables: ['t'] });
    const dated = asOfQuery({ query: '{ lineage(of: ["a"], direction: UPSTREAM) { complete } paths(from: "a", to: "b") { paths { length } } }' }, '2026-01-01T00:00:00Z');
    assert.ok(typeof dated === 'object');
    valid(dated.query);
    assert.equal(dated.query.match(/asOf: "2026/g)!.length, 2);
    const back = asOfQuery({ query: dated.query }, undefined);
    assert.ok(typeof back === 'object' && !back.query.includes('asOf'));
    assert.match(asOfQuery({ query: '{ viewer { name } }' }, undefined) as string, /has a time/);
    assert.match(asOfQuery({ query: 'nonsense {' }, undefined) as string, /no query/);
  });
  it('of examples speak of what the store has', () => {
    assert.deepEqual(found(undefined), { dataset: undefined, version: undefined, versions: [] });
    const data = { nq: null, datasets: { nodes: [{ address: 'd' }] }, deployments: { nodes: [] }, modelVersions: { nodes: [{ address: 'm' }, { address: 'n' }] } };
    assert.deepEqual(found(data), { dataset: 'd', version: 'm', versions: ['m', 'n'] });
  });
});
