// The picture as Mermaid and as SVG. What it says comes from the store: everything is escaped.

import { spoken } from './graph.ts';
import type { Shown } from './grouping.ts';
import type { Layout } from './layout.ts';
import { BOX_HEIGHT, BOX_WIDTH, curve, lines, look, outline, type Shape, type Theme } from './shapes.ts';

const MERMAID_SHAPES: Record<Shape, [string, string]> = {
  round: ['(', ')'], cylinder: ['[(', ')]'], hexagon: ['{{', '}}'], flag: ['>', ']'],
  ticket: ['[[', ']]'], sheet: ['[/', '/]'], pill: ['([', '])'], box: ['[', ']'],
};

/** Text in quotes as Mermaid takes it: by HTML's entities, of which # begins its own. */
const quoted = (text: string): string =>
  `"${text.replaceAll('&', '&amp;').replaceAll('#', '#35;').replaceAll('"', '#quot;').replaceAll('<', '#lt;').replaceAll('>', '#gt;').replaceAll('\n', ' ')}"`;

/** A flowchart, causes on the left, each arrow from a cause to what came of it. */
export function toMermaid({ boxes, edges }: Shown, theme: Theme): string {
  const number = new Map(boxes.map(({ id }, at) => [id, `n${at}`]));
  const out = ['flowchart LR'];
  for (const { id, node, members } of boxes) {
    const { shape } = look(node.kind, node.restricted, theme);
    const [open, close] = MERMAID_SHAPES[shape];
    const [first, second] = members.length > 1 ? lines(node.kind, node.name, members.length, node.restricted) : [node.name, spoken(node.kind)];
    out.push(`    ${number.get(id)}${open}${quoted(second ? `${first} (${second})` : first)}${close}${node.restricted ? ':::restricted' : ''}`);
  }
  for (const { source, target, kind, detail, implied } of edges) {
    const said = [kind, detail].filter(Boolean).join(' ');
    const arrow = implied ? '-.->' : '-->';
    out.push(`    ${number.get(target)} ${arrow}${said ? `|${quoted(said)}|` : ''} ${number.get(source)}`);
  }
  if (boxes.some(({ node }) => node.restricted)) out.push('    classDef restricted stroke-dasharray: 4, color: #666');
  return `${out.join('\n')}\n`;
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** The whole picture as a document of its own, which needs no script, style or font from elsewhere. */
export function toSvg({ boxes, edges }: Shown, { x, y, routes, width, height }: Layout, theme: Theme, notes: readonly string[] = []): string {
  const margin = 24;
  const above = margin + notes.length * 18;
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${Math.ceil(width + 2 * margin)} ${Math.ceil(height + margin + above)}" ` +
      `width="${Math.ceil(width + 2 * margin)}" height="${Math.ceil(height + margin + above)}" font-family="sans-serif" font-size="13">`,
    `<rect width="100%" height="100%" fill="${theme.page}"/>`,
    ...notes.map((note, at) => `<text x="${margin}" y="${margin + at * 18}" fill="${theme.path}">${escaped(note)}</text>`),
    `<g transform="translate(${margin} ${above})">`,
  ];
  edges.forEach(({ kind, implied }, at) => {
    const dash = implied ? ' stroke-dasharray="3 3"' : '';
    out.push(`<path d="${curve(routes[at]!)}" fill="none" stroke="${theme.edge}"${dash}><title>${escaped(kind)}</title></path>`);
    out.push(`<path d="${arrowhead(routes[at]!)}" fill="${theme.edge}"/>`);
  });
  boxes.forEach(({ node, members }, at) => {
    const { shape, fill, line, dashed } = look(node.kind, node.restricted, theme);
    const [first, second] = lines(node.kind, node.name, members.length, node.restricted);
    const dash = dashed ? ' stroke-dasharray="4 3"' : '';
    out.push(
      `<g transform="translate(${round(x[at]!)} ${round(y[at]!)})"><title>${escaped(node.address ?? node.name)}</title>`,
      ...(members.length > 1 ? [`<path d="${outline(shape, BOX_WIDTH, BOX_HEIGHT)}" transform="translate(5 5)" fill="${fill}" stroke="${line}"/>`] : []),
      `<path d="${outline(shape, BOX_WIDTH, BOX_HEIGHT)}" fill="${fill}" stroke="${line}" stroke-width="${node.root ? 3 : 1.5}"${dash}/>`,
      `<text x="16" y="21" fill="${theme.ink}" font-weight="600">${escaped(first)}</text>`,
      `<text x="16" y="37" fill="${theme.faint}" font-size="11">${escaped(second)}</text></g>`,
    );
  });
  return `${out.join('\n')}\n</g></svg>\n`;
}

const round = (value: number): number => Math.round(value * 10) / 10;

/** A small triangle at the end of a route. */
export function arrowhead(points: readonly number[]): string {
  const [x, y] = [points.at(-2)!, points.at(-1)!];
  return `M${x},${y}l-8,-4v8Z`;
}
