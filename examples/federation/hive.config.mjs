// Hive Gateway in front of the secured flavour: it holds fields to their scopes itself, and hands on the token.
//
//   SIGNING_KEY (PEM), AUDIENCE and ALGORITHM say whose tokens are taken.
import { createInlineSigningKeyProvider, defineConfig, extractFromHeader } from '@graphql-hive/gateway';

export const gatewayConfig = defineConfig({
  supergraph: 'supergraph.graphql',
  graphiql: false,
  landingPage: false,
  jwt: {
    tokenLookupLocations: [extractFromHeader({ name: 'authorization', prefix: 'Bearer' })],
    signingKeyProviders: [createInlineSigningKeyProvider(process.env.SIGNING_KEY)],
    tokenVerification: { algorithms: [process.env.ALGORITHM ?? 'RS256'], audience: process.env.AUDIENCE },
    reject: { missingToken: false, invalidToken: true },
    forward: { token: true, payload: false },
  },
  genericAuth: {
    mode: 'protect-granular',
    resolveUserFn: (context) => context.jwt?.payload,
    extractScopes: (user) => (user?.scope ?? '').split(' '),
    rejectUnauthenticated: false,
  },
  propagateHeaders: {
    fromClientToSubgraphs: ({ request }) => ({ authorization: request.headers.get('authorization') ?? '' }),
  },
});
