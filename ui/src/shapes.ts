// Kinds by shape and colour: SVG paths, which a canvas draws too.

import { spoken } from './graph.ts';

export type Shape = 'round' | 'cylinder' | 'hexagon' | 'flag' | 'ticket' | 'sheet' | 'pill' | 'box';

interface Family {
  shape: Shape;
  light: [fill: string, line: string];
  dark: [fill: string, line: string];
}

const MODELS: Family = { shape: 'round', light: ['#dbe9ff', '#1d5fbf'], dark: ['#16305c', '#79b0ff'] };
const DATA: Family = { shape: 'cylinder', light: ['#d9f2e1', '#1a7a3e'], dark: ['#123d24', '#62d08d'] };
const WORK: Family = { shape: 'hexagon', light: ['#ffeccc', '#9a5b00'], dark: ['#4a3006', '#f5b84c'] };
const SERVED: Family = { shape: 'flag', light: ['#fbdde6', '#b0214f'], dark: ['#541a2e', '#ff86a9'] };
const JUDGED: Family = { shape: 'ticket', light: ['#eadffb', '#6a35b5'], dark: ['#35205c', '#bd98ff'] };
const FILES: Family = { shape: 'sheet', light: ['#e8eaee', '#4f5a6b'], dark: ['#2d333d', '#aab6c8'] };
const PEOPLE: Family = { shape: 'pill', light: ['#d8f1f5', '#0c6c7d'], dark: ['#0f3c45', '#5fd0e3'] };
const OTHERS: Family = { shape: 'box', light: ['#f0f0f2', '#5c6270'], dark: ['#2b2e35', '#a6adba'] };

export const FAMILIES: readonly (readonly [name: string, family: Family, kinds: readonly string[]])[] = [
  ['Models', MODELS, ['MODEL', 'MODEL_VERSION']],
  ['Data', DATA, ['DATASET', 'DATASET_VERSION', 'FIELD']],
  ['Runs', WORK, ['RUN', 'EXPERIMENT', 'PIPELINE']],
  ['Deployments', SERVED, ['DEPLOYMENT', 'DEPLOYMENT_REVISION', 'ENVIRONMENT', 'SERVING_TARGET']],
  ['Evaluations', JUDGED, ['EVALUATION', 'VALIDATION', 'GATE', 'APPROVAL', 'MARK']],
  ['Files and code', FILES, ['ARTIFACT', 'CODE_REVISION', 'UPLOAD']],
  ['People', PEOPLE, ['PRINCIPAL', 'TEAM', 'WORKSPACE']],
];

const BY_KIND = new Map(FAMILIES.flatMap(([, family, kinds]) => kinds.map((kind) => [kind, family] as const)));

export interface Look {
  shape: Shape;
  fill: string;
  line: string;
  dashed: boolean;
}

export interface Theme {
  dark: boolean;
  page: string;
  ink: string;
  faint: string;
  edge: string;
  chosen: string;
  path: string;
}

export const LIGHT: Theme = { dark: false, page: '#ffffff', ink: '#1a2130', faint: '#545d6c', edge: '#8791a1', chosen: '#d60590', path: '#d04a00' };
export const DARK: Theme = { dark: true, page: '#1b212b', ink: '#eef1f6', faint: '#b3bccb', edge: '#76849a', chosen: '#ff5cc6', path: '#ff9a57' };

export function look(kind: string, restricted: boolean, { dark }: Theme): Look {
  const { shape, light, dark: night } = BY_KIND.get(kind) ?? OTHERS;
  const [fill, line] = restricted ? (dark ? ['#24272d', '#868d98'] : ['#ececec', '#6d727b']) : dark ? night : light;
  return { shape, fill, line, dashed: restricted };
}

/** The outline of a box with its upper left corner at 0, 0. */
export function outline(shape: Shape, w: number, h: number): string {
  const m = h / 2;
  switch (shape) {
    case 'round':
      return `M8,0H${w - 8}Q${w},0 ${w},8V${h - 8}Q${w},${h} ${w - 8},${h}H8Q0,${h} 0,${h - 8}V8Q0,0 8,0Z`;
    case 'cylinder':
      return `M0,4Q${w / 2},-4 ${w},4V${h - 4}Q${w / 2},${h + 4} 0,${h - 4}ZM${w},4Q${w / 2},10 0,4`;
    case 'hexagon':
      return `M12,0H${w - 12}L${w},${m}L${w - 12},${h}H12L0,${m}Z`;
    case 'flag':
      return `M0,0H${w - 14}L${w},${m}L${w - 14},${h}H0Z`;
    case 'ticket':
      return `M0,0H${w}V${m - 7}Q${w - 7},${m} ${w},${m + 7}V${h}H0V${m + 7}Q7,${m} 0,${m - 7}Z`;
    case 'sheet':
      return `M0,0H${w - 12}L${w},12V${h}H0ZM${w - 12},0V12H${w}`;
    case 'pill':
      return `M${m},0H${w - m}A${m},${m} 0 0 1 ${w - m},${h}H${m}A${m},${m} 0 0 1 ${m},0Z`;
    case 'box':
      return `M0,0H${w}V${h}H0Z`;
  }
}

/** A curve through points that leaves and arrives level. */
export function curve(points: readonly number[]): string {
  let path = `M${points[0]},${points[1]}`;
  for (let at = 2; at < points.length; at += 2) {
    const [x0, y0, x1, y1] = [points[at - 2]!, points[at - 1]!, points[at]!, points[at + 1]!];
    const bow = Math.max(20, Math.abs(x1 - x0) / 2);
    path += `C${x0 + bow},${y0} ${x1 - bow},${y1} ${x1},${y1}`;
  }
  return path;
}

export const BOX_WIDTH = 200;
export const BOX_HEIGHT = 46;
const LETTERS = 27;

export const short = (text: string, letters = LETTERS): string => (text.length > letters ? `${text.slice(0, letters - 1)}…` : text);

/** The two lines in a box. */
export function lines(kind: string, name: string, members: number, restricted: boolean): [string, string] {
  const word = spoken(kind) || 'node';
  if (members > 1) return [`${members} ${word.endsWith('y') ? `${word.slice(0, -1)}ies` : `${word}s`}`, restricted ? 'not for you to read' : 'alike around a hub: open'];
  return [short(restricted ? 'Restricted' : name), restricted ? `${word}: not for you to read` : word];
}
