// The bar on top: who asks, by which scopes, and how to become somebody else.

import { h } from './dom.ts';
import { ask, type Config, signIn, signOut, token, use } from './signin.ts';

interface Viewer {
  name: string;
  anonymous: boolean;
  scopes: string[];
}

/** Fills the bar, and says whether anything may be asked at all. Whoever signs in or out gets the page anew. */
export async function account(bar: HTMLElement, settings: Config, problem?: string): Promise<boolean> {
  const again = () => location.reload();
  const status = h('span', { class: 'account-problem', role: 'alert' }, problem ?? '');
  const who = h('span', { class: 'account-who' });
  const button = (label: string, click: () => void) => h('button', { type: 'button', click }, label);
  const { viewer, refused } = token() || settings.anonymous ? await whoever() : {};
  if (viewer && !viewer.anonymous) {
    who.append(h('span', { class: 'account-name' }, viewer.name), scopes(viewer.scopes), button('Sign out', () => { signOut(); again(); }));
  } else {
    if (token()) status.textContent = refused || 'Your token is not good any more.';
    else if (!viewer && !problem) status.textContent = 'Sign in to ask.';
    if (viewer) who.append(h('span', { class: 'account-name' }, 'Reading what is public'), scopes(viewer.scopes));
    for (const issuer of settings.issuers) {
      who.append(button(`Sign in with ${issuer.name}`, () => {
        signIn(issuer, settings.resource).catch((error: Error) => { status.textContent = `Signing in failed: ${error.message}`; });
      }));
    }
    if (!settings.issuers.length) who.append(entry(settings.local));
  }
  bar.append(status, who);
  return viewer !== undefined;
}

async function whoever(): Promise<{ viewer?: Viewer; refused?: string }> {
  const { data, errors } = await ask({ query: '{ viewer { name anonymous scopes } }' });
  return { viewer: data?.viewer as Viewer | undefined, refused: errors?.[0]?.message };
}

function scopes(held: string[]): HTMLElement {
  return h('details', { class: 'account-scopes' }, h('summary', {}, `${held.length} scopes`), h('ul', {}, ...held.map((scope) => h('li', {}, scope))));
}

function entry(local: boolean): HTMLElement {
  const field = h('input', { type: 'password', autocomplete: 'off', 'aria-label': 'Token', placeholder: local ? 'Token, of “lineal token”' : 'Access token of your issuer' });
  const form = h('form', { class: 'account-entry', submit: (event) => { event.preventDefault(); if (field.value.trim()) { use(field.value); location.reload(); } } }, field, h('button', {}, 'Use'));
  return form;
}
