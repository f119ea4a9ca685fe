// Builds into dist/, with --trusted a page that asks for its documents by name; with --serve PORT serves it too, and hands /graphql on to the Lineal that LINEAL names.
import { copyFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { build } from 'esbuild';

await build({ entryPoints: { app: 'src/app.tsx' }, outdir: 'dist', bundle: true, format: 'esm', target: 'es2022', minify: true, jsx: 'automatic', define: { 'process.env.NODE_ENV': '"production"', TRUSTED: String(process.argv.includes('--trusted')) } });
copyFileSync('index.html', 'dist/index.html');

const at = process.argv.indexOf('--serve');
if (at > 0) {
  const lineal = new URL('/graphql', process.env.LINEAL ?? 'http://127.0.0.1:8321');
  const types = { '/app.js': 'text/javascript', '/app.css': 'text/css', '/index.html': 'text/html' };
  createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const path = pathname === '/' ? '/index.html' : pathname;
    if (pathname === '/graphql' && request.method === 'POST') {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const { authorization } = request.headers;
      const answer = await fetch(lineal, { method: 'POST', headers: { 'content-type': 'application/json', ...(authorization ? { authorization } : {}) }, body: Buffer.concat(chunks) });
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') }).end(Buffer.from(await answer.arrayBuffer()));
    } else if (types[path]) {
      response.writeHead(200, { 'content-type': types[path] }).end(readFileSync(`dist${path}`));
    } else {
      response.writeHead(404).end();
    }
  }).listen(Number(process.argv[at + 1]), '127.0.0.1', () => console.log('ready'));
}
