// What is known of the box that is chosen, and what can be done with it.

import { h } from './dom.ts';
import { spoken } from './graph.ts';
import type { Box } from './grouping.ts';

interface Actions {
  picked: readonly string[];
  expand(direction: 'UPSTREAM' | 'DOWNSTREAM'): void;
  pick(): void;
  open(): void;
  close(): void;
}

const MOST_MEMBERS = 100;
const TOLD = new Set(['id', 'kind', 'name', 'address', 'distance', 'restricted', '__typename']);

export function details({ node, members }: Box, { picked, expand, pick, open, close }: Actions): DocumentFragment {
  const button = (label: string, click: () => void) => h('button', { type: 'button', click }, label);
  const out = document.createDocumentFragment();
  const shut = h('button', { type: 'button', class: 'lp-close', 'aria-label': 'Close details', click: close }, '×');
  if (members.length > 1) {
    out.append(
      h('header', {}, h('h3', {}, `${members.length} ${spoken(node.kind)}s`), shut),
      h('p', {}, 'They have the same neighbours, so they share one box.'),
      h('p', { class: 'lp-actions' }, button('Open group', open)),
      h('ul', {}, ...members.slice(0, MOST_MEMBERS).map(({ name }) => h('li', {}, name))),
      ...(members.length > MOST_MEMBERS ? [h('p', {}, `… and ${members.length - MOST_MEMBERS} more`)] : []),
    );
    return out;
  }
  const rows: [string, string][] = [['kind', spoken(node.kind)]];
  if (node.address) rows.push(['address', node.address]);
  rows.push(['id', node.id]);
  if (node.distance !== undefined) rows.push(['distance', `${node.distance} ${node.distance === 1 ? 'hop' : 'hops'}`]);
  for (const [name, value] of Object.entries(node.facts)) if (!TOLD.has(name)) rows.push([name, String(value)]);
  out.append(h('header', {}, h('h3', {}, node.restricted ? 'Restricted' : node.name), shut));
  if (node.restricted) {
    out.append(h('p', {}, 'It is there, and lineage goes on behind it, but you may not read what it is.'));
  } else {
    out.append(h('p', { class: 'lp-actions' },
      button('Expand upstream', () => expand('UPSTREAM')), button('Expand downstream', () => expand('DOWNSTREAM')),
      button(picked.includes(node.id) ? 'Picked: pick another' : picked.length ? 'Way to here' : 'Way from here', pick)));
  }
  out.append(h('dl', {}, ...rows.flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)])));
  return out;
}
