// Who asks: a token of an issuer, by authorization code with PKCE (RFC 7636, RFC 9700), or one of Lineal's own.
//
// A token is kept for this tab alone and sent nowhere but to Lineal.

export interface IssuerChoice {
  name: string;
  url: string;
  clientId: string;
  scopes: string[];
}

export interface Config {
  /** Those that people can sign in at here. */
  issuers: IssuerChoice[];
  /** What tokens are for (RFC 8707). */
  resource: string;
  /** Whether Lineal signs its own tokens, since it has no issuer. */
  local: boolean;
  /** Whether those without a token may read what is public. */
  anonymous: boolean;
}

interface Kept {
  token: string;
  /** Milliseconds since the epoch. */
  until?: number;
}

interface Pending {
  issuer: string;
  state: string;
  verifier: string;
  tokenEndpoint: string;
  back: string;
}

const TOKEN = 'lineal.token';
const PENDING = 'lineal.sign-in';

/** Where this Lineal is: pages stand one step below it. */
export const base = new URL('.', location.href.split(/[?#]/)[0]);
export const redirectUri = new URL('graphiql', base).href;

export async function config(): Promise<Config> {
  const response = await fetch(new URL('graphiql/config.json', base));
  if (!response.ok) throw new Error(`the page's settings could not be had: status ${response.status}`);
  return (await response.json()) as Config;
}

export function token(): string | undefined {
  const kept = JSON.parse(sessionStorage.getItem(TOKEN) ?? 'null') as Kept | null;
  if (!kept || (kept.until !== undefined && kept.until < Date.now())) return undefined;
  return kept.token;
}

export function use(value: string, seconds?: number): void {
  const kept: Kept = { token: value.trim(), ...(seconds ? { until: Date.now() + seconds * 1000 } : {}) };
  sessionStorage.setItem(TOKEN, JSON.stringify(kept));
}

export function signOut(): void {
  sessionStorage.removeItem(TOKEN);
}

/** Takes a token out of the address, where `lineal demo` puts it, so that it is neither sent nor seen. */
export function tokenFromAddress(): void {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!given) return;
  use(given);
  history.replaceState(null, '', location.pathname + location.search);
}

const encoded = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
const random = (): string => encoded(crypto.getRandomValues(new Uint8Array(32)));

interface Metadata {
  issuer: string;
  authorization_endpoint: string;
  token_endpoint: string;
}

/** What the issuer says of itself (OpenID Connect Discovery, or RFC 8414). */
async function metadata(issuer: string): Promise<Metadata> {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, '');
  for (const place of [`${origin}${path}/.well-known/openid-configuration`, `${origin}/.well-known/oauth-authorization-server${path}`]) {
    const response = await fetch(place);
    if (!response.ok) continue;
    const told = (await response.json()) as Metadata;
    if (told.issuer !== issuer) throw new Error(`${place} speaks for another issuer`);
    return told;
  }
  throw new Error(`${issuer} does not say where to sign in`);
}

/** Leaves this page for the issuer's. */
export async function signIn(issuer: IssuerChoice, resource: string): Promise<void> {
  const told = await metadata(issuer.url);
  const verifier = random();
  const pending: Pending = { issuer: issuer.url, state: random(), verifier, tokenEndpoint: told.token_endpoint, back: location.href };
  sessionStorage.setItem(PENDING, JSON.stringify(pending));
  const challenge = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
  const asked = new URL(told.authorization_endpoint);
  for (const [name, value] of Object.entries({
    response_type: 'code',
    client_id: issuer.clientId,
    redirect_uri: redirectUri,
    scope: issuer.scopes.join(' '),
    resource,
    state: pending.state,
    code_challenge: encoded(new Uint8Array(challenge)),
    code_challenge_method: 'S256',
  })) asked.searchParams.set(name, value);
  location.assign(asked);
}

/**
 * Ends what `signIn` began, where the issuer sent the browser back with a code. Gives the page to go back to, where it
 * is another one. Raises Error with what the issuer said.
 */
export async function finish({ issuers, resource }: Config): Promise<string | undefined> {
  const answer = new URLSearchParams(location.search);
  if (!answer.has('state') || !(answer.has('code') || answer.has('error'))) return undefined;
  const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? 'null') as Pending | null;
  sessionStorage.removeItem(PENDING);
  history.replaceState(null, '', location.pathname);
  const issuer = issuers.find(({ url }) => url === pending?.issuer);
  if (!pending || !issuer || answer.get('state') !== pending.state) throw new Error('this answer belongs to no sign-in of this tab');
  // RFC 9207: another issuer must not be able to pass its answer off as this one's.
  if (answer.has('iss') && answer.get('iss') !== issuer.url) throw new Error('the answer comes from another issuer');
  if (answer.has('error')) throw new Error(answer.get('error_description') ?? answer.get('error')!);
  const response = await fetch(pending.tokenEndpoint, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code: answer.get('code')!,
      redirect_uri: redirectUri,
      client_id: issuer.clientId,
      code_verifier: pending.verifier,
      resource,
    }),
  });
  const told = (await response.json()) as { access_token?: string; expires_in?: number; error?: string; error_description?: string };
  if (!told.access_token) throw new Error(told.error_description ?? told.error ?? 'the issuer gave no token');
  use(told.access_token, told.expires_in);
  return new URL(pending.back).pathname === location.pathname ? undefined : pending.back;
}

export interface Answer {
  data?: Record<string, unknown> | null;
  errors?: { message: string; extensions?: Record<string, unknown> }[];
}

/** Asks Lineal. Raises Error where there is no answer that could be read. */
export async function ask(body: { query: string; variables?: unknown; operationName?: string | null }): Promise<Answer> {
  const bearer = token();
  const response = await fetch(new URL('graphql', base), {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/graphql-response+json, application/json',
      ...(bearer ? { authorization: `Bearer ${bearer}` } : {}),
    },
    body: JSON.stringify(body),
  });
  try {
    return (await response.json()) as Answer;
  } catch {
    throw new Error(`Lineal answered with status ${response.status}, and not in JSON`);
  }
}
