// An OpenID provider for tests: node oidc.mjs PORT, with CONFIG in the environment (see tests/oidc.py).
// Everything is kept in memory; a line "ready" on stdout says that it listens.
//
// Beside the provider's own paths:
//   POST /test/rotate?keep=N  makes a new signing key, and goes on publishing the N newest of the earlier ones
//   GET  /test/requests       how often each path has been asked for
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const issuer = `http://127.0.0.1:${process.argv[2]}`;
const { scopes, resource, other, redirects, lifetime, groups } = JSON.parse(process.env.CONFIG);

// What a client's access tokens are like, beside JWTs that are good for five minutes.
const kinds = {
  opaque: { accessTokenFormat: 'opaque' },
  brief: { accessTokenTTL: lifetime },
};

const machine = (client_id) => ({
  client_id,
  client_secret: `${client_id}-secret`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  token_endpoint_auth_method: 'client_secret_basic',
});

const person = (client_id) => ({
  client_id,
  token_endpoint_auth_method: 'none',
  application_type: 'native',
  redirect_uris: redirects,
});

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: randomUUID() };
}

function listenerOf(keys) {
  const provider = new Provider(issuer, {
    clients: [machine('ci'), machine('opaque'), machine('brief'), machine('resource-server'), person('browser')],
    jwks: { keys },
    cookies: { keys: ['test'] },
    scopes: ['openid', ...scopes],
    pkce: { required: () => true },
    // Pages of other origins ask for its metadata and for tokens.
    clientBasedCORS: () => true,
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, name: id, groups: groups[id] }) }),
    claims: { openid: ['sub', 'name', 'groups'] },
    // Access tokens say which groups people and clients are in, as those of most identity providers can.
    extraTokenClaims: (ctx, token) => { const mine = groups[token.accountId ?? token.clientId]; return mine ? { groups: mine } : {}; },
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId === 'resource-server' },
      revocation: { enabled: true, allowedPolicy: (ctx, client, token) => token.clientId === client.clientId },
      dPoP: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, asked, client) => {
          if (asked !== resource && asked !== other) throw new Error(`no such resource: ${asked}`);
          return {
            scope: scopes.join(' '),
            audience: asked,
            accessTokenTTL: 300,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: 'RS256' } },
            ...kinds[client.clientId],
          };
        },
      },
    },
  });
  return provider.callback();
}

let keys = [newKey()];
let listener = listenerOf(keys);
const requests = {};

function administer(request, response) {
  const { pathname, searchParams } = new URL(request.url, issuer);
  if (request.method === 'POST' && pathname === '/test/rotate') {
    keys = [newKey(), ...keys.slice(0, Number(searchParams.get('keep')))];
    listener = listenerOf(keys);
    response.end(JSON.stringify(keys.map(({ kid }) => kid)));
  } else if (request.method === 'GET' && pathname === '/test/requests') {
    response.end(JSON.stringify(requests));
  } else {
    response.writeHead(404).end();
  }
}

createServer((request, response) => {
  const { pathname } = new URL(request.url, issuer);
  if (pathname.startsWith('/test/')) return administer(request, response);
  requests[pathname] = (requests[pathname] ?? 0) + 1;
  return listener(request, response);
}).listen(process.argv[2], '127.0.0.1', () => console.log('ready'));
