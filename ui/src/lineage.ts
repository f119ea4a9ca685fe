// The lineage picture as a page of its own: /lineage?of=…, to link to and to put into other pages.

import './lineage.css';
import './lineage-page.css';
import { account } from './account.ts';
import { h } from './dom.ts';
import { readAnswer } from './graph.ts';
import { type Direction, Picture } from './picture.ts';
import { asOfQuery, lineageQuery, timesOf, withExpansion, withWays } from './queries.ts';
import { ask, base, config, tokenFromAddress } from './signin.ts';

const asked = new URLSearchParams(location.search);
const of = asked.getAll('of').filter(Boolean);
const direction = asked.get('direction')?.toUpperCase() ?? 'BOTH';
const directions: Direction[] = direction === 'UPSTREAM' || direction === 'DOWNSTREAM' ? [direction] : ['UPSTREAM', 'DOWNSTREAM'];
const number = (name: string, otherwise: number) => Number.parseInt(asked.get(name) ?? '', 10) || otherwise;

let query = lineageQuery({ of, directions, depth: number('depth', 20), limit: number('limit', 1_000), asOf: asked.get('asOf') ?? undefined, kinds: asked.getAll('kinds').flatMap((each) => each.split(',')).filter(Boolean) });

const bar = document.getElementById('bar')!;
const picture = new Picture(document.getElementById('app')!, {
  expand: (id, towards) => again(withExpansion({ query }, id, towards)),
  way: (from, to, towards) => again(withWays({ query }, from, to, towards)),
  asOf: (time) => {
    const changed = asOfQuery({ query }, time);
    if (typeof changed === 'string') return changed;
    if (time) asked.set('asOf', time);
    else asked.delete('asOf');
    history.replaceState(null, '', `${location.pathname}?${asked}`);
    again(changed);
    return undefined;
  },
});

function again(changed: { query: string }): void {
  query = changed.query;
  void run(true);
}

async function run(keep = false): Promise<void> {
  if (!of.length) {
    picture.note('Say what to draw: an address such as datasets:/NQ or models:/name/3, or an id.');
    return;
  }
  const body = { query };
  try {
    picture.show(readAnswer(await ask(body)), timesOf(body), keep);
  } catch (error) {
    picture.note(`Lineal cannot be reached: ${(error as Error).message}`);
  }
}

function form(): HTMLElement {
  const choice = (value: string, label: string) => h('option', { value, selected: value === (directions.length > 1 ? 'BOTH' : direction) }, label);
  const open = h('a', { href: '#', target: '_top' }, 'Open in GraphiQL');
  open.addEventListener('click', () => { open.href = `${new URL('graphiql', base).href}#${new URLSearchParams({ query })}`; });
  return h('form', { class: 'page-form', method: 'get', submit: go },
    h('input', { name: 'of', 'aria-label': 'Lineage of', value: of.join(' '), placeholder: 'datasets:/NQ' }),
    h('select', { name: 'direction', 'aria-label': 'Direction' }, choice('BOTH', 'both ways'), choice('UPSTREAM', 'upstream'), choice('DOWNSTREAM', 'downstream')),
    h('button', {}, 'Draw'), open);
}

/** The page's policy lets no form be sent, so the address is changed here. */
function go(event: Event): void {
  event.preventDefault();
  const given = new FormData(event.target as HTMLFormElement);
  const next = new URLSearchParams(asked);
  next.delete('of');
  for (const each of String(given.get('of')).split(/\s+/).filter(Boolean)) next.append('of', each);
  next.set('direction', String(given.get('direction')));
  location.search = next.toString();
}

async function start(): Promise<void> {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const theme = asked.get('theme');
  const follow = () => {
    const isDark = theme ? theme === 'dark' : dark.matches;
    document.documentElement.classList.toggle('dark', isDark);
    picture.setDark(isDark);
  };
  follow();
  dark.addEventListener('change', follow);
  tokenFromAddress();
  bar.hidden = asked.has('bare');
  bar.append(h('h1', {}, 'Lineage'), form(), h('span', { class: 'lp-space' }));
  try {
    if (await account(bar, await config())) await run();
    else picture.note('Sign in to see lineage.');
  } catch (error) {
    picture.note(`Lineal cannot be reached: ${(error as Error).message}`);
  }
}

void start();
