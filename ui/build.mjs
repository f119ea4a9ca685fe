// Builds the pages: node build.mjs [--out FOLDER], or the tests alone: node build.mjs --test.
//
// The same sources and packages give the same bytes, wherever they are built.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
process.chdir(here);
const given = process.argv.indexOf('--out');
const out = given > 0 ? process.argv[given + 1] : join(here, '..', 'gateway', 'ui', 'bundle');

/** What the bundle is made of, beside the packages that package-lock.json pins. */
export function digest() {
  const names = ['build.mjs', 'package-lock.json', 'package.json', ...readdirSync('src').map((name) => `src/${name}`)].sort();
  const hash = createHash('sha256');
  for (const name of names) hash.update(name).update('\0').update(readFileSync(name)).update('\0');
  return hash.digest('hex');
}

/** JSON needs no parser of JavaScript: see src/prettier.ts. */
const smallPrettier = {
  name: 'small-prettier',
  setup({ onResolve }) {
    onResolve({ filter: /^prettier\/(standalone|plugins\/estree|parser-babel)$/ }, ({ importer }) =>
      importer.startsWith(join(here, 'src')) ? undefined : { path: join(here, 'src', 'prettier.ts') },
    );
  },
};

const common = {
  plugins: [smallPrettier],
  absWorkingDir: here,
  bundle: true,
  format: 'esm',
  target: ['es2022'],
  preserveSymlinks: true,
  jsx: 'automatic',
  loader: { '.ttf': 'file', '.woff2': 'empty', '.woff': 'empty' },
  define: { 'process.env.NODE_ENV': '"production"' },
  logLevel: 'warning',
};

if (process.argv.includes('--test')) {
  const tests = readdirSync('test').filter((name) => name.endsWith('.test.ts'));
  await build({ ...common, entryPoints: tests.map((name) => `test/${name}`), outdir: 'build/test', platform: 'node', outExtension: { '.js': '.mjs' } });
} else {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const shared = { ...common, outdir: out, minify: true, legalComments: 'none', assetNames: '[name]', chunkNames: 'chunk-[hash]' };
  await build({ ...shared, splitting: true, entryPoints: ['src/graphiql.tsx', 'src/lineage.ts'] });
  await build({
    ...shared,
    entryPoints: {
      'layout.worker': 'src/layout.worker.ts',
      'editor.worker': 'monaco-editor/esm/vs/editor/editor.worker.js',
      'json.worker': 'monaco-editor/esm/vs/language/json/json.worker.js',
      'graphql.worker': 'monaco-graphql/esm/graphql.worker.js',
    },
  });
  writeFileSync(join(out, 'SOURCES.sha256'), `${digest()}\n`);
}
