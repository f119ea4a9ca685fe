// What the clients graphql-ws and graphql-sse meet with at a Lineal: `node clients.mjs ws|sse URL TOKEN`.
// Prints one JSON object with what came of each step.
import { createClient as createSocketClient } from 'graphql-ws';
import { createClient as createStreamClient } from 'graphql-sse';
import WebSocket from 'ws';

const [transport, url, token] = process.argv.slice(2);
const sockets = [];

function client(authorization, more = {}) {
  if (transport === 'sse') {
    return createStreamClient({ url, retryAttempts: 0, headers: () => ({ authorization }), ...more });
  }
  return createSocketClient({
    url: url.replace('http', 'ws'),
    webSocketImpl: WebSocket,
    connectionParams: () => ({ authorization }),
    retryAttempts: 0,
    on: { opened: (socket) => sockets.push(socket) },
    ...more,
  });
}

// The results of an operation, and how it ended; `each` may end it by returning true.
function run(client, query, variables = {}, each = () => false) {
  return new Promise((resolve) => {
    const results = [];
    let end = () => {};
    let over = false;
    const finish = (how) => resolve({ results, ...how });
    end = client.subscribe(
      { query, variables },
      {
        next: (result) => {
          if (over) return;
          results.push(result);
          if (each(result, results)) {
            over = true;
            setImmediate(() => end());
          }
        },
        error: (error) => finish({ error: Array.isArray(error) ? error : { code: error.code, status: error.response?.status } }),
        complete: () => finish({ complete: true }),
      },
    );
  });
}

const register = (name) => `mutation { registerModel(input: { name: "${name}" }) { model { name } } }`;
const EVENTS = 'subscription ($after: String) { events(after: $after, kinds: [MODEL]) { sequence name } }';
const said = {};
const bearer = `Bearer ${token}`;
const ours = client(bearer);

said.query = await run(ours, '{ models { nodes { name } } sequence }');
const start = said.query.results[0].data.sequence;
said.mutation = await run(ours, register('first'));
said.invalid = await run(ours, '{ nope }');
said.refused = await run(ours, 'subscription { events(after: "x") { sequence } }');
said.stranger = await run(client('Bearer nonsense'), '{ __typename }');

// Follow, and write meanwhile.
const followed = run(ours, EVENTS, { after: start }, (_, all) => all.length === 3);
await run(ours, register('second'));
await run(ours, register('third'));
said.followed = await followed;

// A connection that breaks: the client comes again by itself, and sends the last sequence. What it was still told over the
// broken one is lost. It breaks while the client waits: graphql-sse takes a break between two results for fatal.
const variables = { after: start };
const retrying = { retryAttempts: 100, retryWait: () => new Promise((r) => setTimeout(r, 50)), shouldRetry: () => true };
let broken = 0;
let lost = false;
let breakOff = () => sockets.at(-1).terminate();
const fetchFn = async (input, init) => {
  const control = new AbortController();
  breakOff = () => control.abort();
  return fetch(input, { ...init, signal: AbortSignal.any([init.signal, control.signal]) });
};
const on = { connected: () => (lost = false), opened: (socket) => sockets.push(socket) };
const resuming = client(bearer, transport === 'sse' ? { ...retrying, on, fetchFn } : { ...retrying, on });
const told = [];
await run(resuming, EVENTS, variables, ({ data }) => {
  if (lost) return false;
  told.push(data.events.name);
  variables.after = data.events.sequence;
  if (told.length < 3) {
    lost = true;
    broken += 1;
    setImmediate(() => breakOff());
  }
  return told.length === 3;
});
said.resumed = told;
said.broken = broken;
console.log(JSON.stringify(said));
process.exit(0);
