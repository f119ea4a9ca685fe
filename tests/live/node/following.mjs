// Many clients that follow everything: `node following.mjs URL TOKEN COUNT AFTER TRANSPORT,…`.
// Says "following" once each was told something, takes the last sequence from standard input, and prints what they
// were told once all of them have got there: how many clients, the distinct digests, how often they connected, and how often they were told to come again.
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { createClient as createSocketClient } from 'graphql-ws';
import { createClient as createStreamClient } from 'graphql-sse';
import WebSocket from 'ws';

const [url, token, count, after, transports] = process.argv.slice(2);
const headers = { authorization: `Bearer ${token}` };
const query = 'subscription ($after: String) { events(after: $after) { sequence } }';
const kinds = transports.split(',');
let connections = 0;
let last = null;
let began = 0;
let again = 0;

class Plain extends WebSocket {
  constructor(address, protocols) {
    super(address, protocols, { perMessageDeflate: false });
  }
}

const retrying = {
  retryAttempts: Infinity,
  shouldRetry: () => true,
  retryWait: () => new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 400)),
};

function follow(transport) {
  const client =
    transport === 'sse'
      ? createStreamClient({ url, headers, ...retrying, on: { connected: () => connections++ } })
      : createSocketClient({
          url: url.replace('http', 'ws'),
          webSocketImpl: Plain,
          connectionParams: headers,
          ...retrying,
          on: { connected: () => connections++ },
        });
  const state = { digest: createHash('sha256'), told: 0, at: after, wrong: 0 };
  const variables = { after };
  state.done = new Promise((resolve, reject) => {
    state.check = () => {
      if (last !== null && state.at >= last) resolve();
    };
    let refused = false;
    const subscribe = () =>
      client.subscribe(
        { query, variables },
        {
          next: ({ data, errors }) => {
            if (errors) return refuse(errors);
            const { sequence } = data.events;
            if (sequence <= state.at) state.wrong += 1;
            if (!state.told) began += 1;
            if (began === Number(count) && !state.told) console.log('following');
            state.told += 1;
            state.at = sequence;
            state.digest.update(`${sequence}\n`);
            variables.after = sequence;
            state.check();
          },
          error: (error) => {
            if (!Array.isArray(error)) return reject(error instanceof Error ? error : new Error(JSON.stringify(error.code)));
            refuse(error);
            comeAgain();
          },
          // Over server-sent events a refusal is a result, after which it is completed.
          complete: () => (refused ? comeAgain() : reject(new Error('it was completed'))),
        },
      );
    // Who is told to come again comes again.
    const refuse = (errors) => {
      const codes = errors.map(({ extensions }) => extensions?.code);
      if (!codes.every((code) => ['UNAVAILABLE', 'LIMIT_EXCEEDED'].includes(code))) reject(new Error(JSON.stringify(errors)));
      again += 1;
      refused = true;
    };
    const comeAgain = () => {
      refused = false;
      setTimeout(subscribe, 1000 + Math.random() * 1000);
    };
    subscribe();
  });
  return state;
}

const clients = Array.from({ length: Number(count) }, (_, n) => follow(kinds[n % kinds.length]));
createInterface({ input: process.stdin }).once('line', (line) => {
  last = line.trim();
  clients.forEach((client) => client.check());
});
await Promise.all(clients.map((client) => client.done));
console.log(
  JSON.stringify({
    clients: clients.length,
    told: [...new Set(clients.map((client) => client.told))],
    digests: [...new Set(clients.map((client) => client.digest.digest('hex')))],
    wrong: clients.reduce((sum, client) => sum + client.wrong, 0),
    connections,
    again,
  }),
);
process.exit(0);
