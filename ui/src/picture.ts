// The lineage picture: a canvas with what stands around it. It knows no GraphQL; its host asks for more.

import { Scene, type Marks, type View } from './canvas.ts';
import { details } from './details.ts';
import { h, save } from './dom.ts';
import { toMermaid, toSvg } from './export.ts';
import { type Graph, spoken } from './graph.ts';
import { type Box, grouped } from './grouping.ts';
import type { Layout } from './layout.ts';
import { BOX_HEIGHT, BOX_WIDTH, DARK, FAMILIES, LIGHT, look, outline, type Theme } from './shapes.ts';
import { TimeBar } from './time.ts';

export type Direction = 'UPSTREAM' | 'DOWNSTREAM';

export interface Host {
  /** Ask for what is next to a thing. */
  expand(id: string, direction: Direction): void;
  /** Ask for the ways from one thing to another. */
  way(from: string, to: string, direction: Direction): void;
  /** Ask the same of another time, or of now; gives why that cannot be done. */
  asOf(time: string | undefined): string | undefined;
}

const EMPTY: Marks = { picked: new Set(), onPath: new Set(), pathEdges: new Set(), near: [] };
const LARGEST_PNG = 4_096;
const KEYS = 'Arrow keys go along the arrows and within a layer, Enter opens a group, U and D expand upstream and downstream, P picks the ends of a way, plus, minus and 0 zoom.';

export class Picture {
  private graph?: Graph;
  private scene?: Scene;
  private view: View = { scale: 1, x: 0, y: 0 };
  private theme: Theme = LIGHT;
  private open: Set<string> | 'all' = new Set();
  private current?: string;
  private picked: string[] = [];
  private marks: Marks = EMPTY;
  private turn = 0;
  private drawing = false;
  private touched = false;
  private sought = false;
  private readonly worker = new Worker(new URL('layout.worker.js', import.meta.url), { type: 'module' });
  private readonly canvas = h('canvas', { tabindex: 0, role: 'application', 'aria-roledescription': 'lineage picture', 'aria-label': 'Lineage picture', 'aria-description': KEYS });
  private readonly notes = h('div', { class: 'lp-notes', role: 'status' });
  private readonly said = h('div', { class: 'lp-said', 'aria-live': 'polite' });
  private readonly counts = h('span', { class: 'lp-counts' });
  private readonly aside = h('aside', { class: 'lp-details', 'aria-label': 'Details', tabindex: 0, hidden: true });
  private readonly find = h('input', { type: 'search', placeholder: 'Find', 'aria-label': 'Find in the picture', list: 'lp-names' });
  private readonly names = h('datalist', { id: 'lp-names' });
  private readonly groups = h('button', { type: 'button', class: 'lp-groups', click: () => this.toggleGroups() }, 'Open all groups');
  private readonly time: TimeBar;

  constructor(
    private readonly root: HTMLElement,
    private readonly host: Host,
  ) {
    this.time = new TimeBar((time) => this.host.asOf(time));
    const button = (label: string, click: () => void, title = label) => h('button', { type: 'button', title, 'aria-label': title, click }, label);
    root.classList.add('lp');
    root.replaceChildren(
      h('div', { class: 'lp-bar', role: 'toolbar', 'aria-label': 'Picture' },
        this.find, this.names, this.groups,
        button('Fit', () => this.fit(), 'Fit all in'), button('−', () => this.zoom(1 / 1.3), 'Smaller'), button('+', () => this.zoom(1.3), 'Larger'),
        h('span', { class: 'lp-space' }), h('span', { class: 'lp-word' }, 'Export'),
        button('SVG', () => this.exportSvg(), 'Export as SVG'), button('PNG', () => this.exportPng(), 'Export as PNG'), button('Mermaid', () => this.exportMermaid(), 'Export as Mermaid')),
      this.time.element,
      this.notes,
      h('div', { class: 'lp-stage' }, this.canvas, this.aside),
      h('div', { class: 'lp-foot' }, this.legend(), this.counts),
      this.said,
    );
    this.worker.onmessage = ({ data }: MessageEvent<Layout & { turn: number }>) => this.laidOut(data);
    this.find.addEventListener('change', () => this.search());
    this.listen();
    new ResizeObserver(() => (this.touched ? this.redraw() : this.fit())).observe(this.canvas);
  }

  /** Show this, which is of these times (undefined for now); what is open and where one looks stays with `keep`. */
  show(graph: Graph, times: readonly (string | undefined)[], keep = false): void {
    this.graph = graph;
    if (!keep) {
      this.open = new Set();
      this.current = undefined;
      this.picked = [];
      this.touched = false;
      this.aside.hidden = true;
    }
    this.time.set(times, graph.earliest);
    this.tell(graph);
    this.arrange();
  }

  setDark(dark: boolean): void {
    this.theme = dark ? DARK : LIGHT;
    this.root.classList.toggle('lp-dark', dark);
    this.root.querySelector('.lp-legend')?.replaceWith(this.legend());
    this.redraw();
  }

  /** Say something in plain sight, such as why there is nothing to see. */
  note(text: string): void {
    this.notes.replaceChildren(h('p', {}, text));
  }

  destroy(): void {
    this.worker.terminate();
  }

  private tell(graph: Graph): void {
    const ways = graph.soughtPaths && !graph.paths.length ? ['There is no way between the two.'] : [];
    const restricted = [...graph.nodes.values()].filter(({ restricted }) => restricted).length;
    const hidden = restricted ? [`${restricted} ${restricted === 1 ? 'thing is' : 'things are'} restricted: there, but not for you to read.`] : [];
    const lines = [...graph.errors.slice(0, 3), ...graph.missing, ...ways, ...hidden];
    this.notes.replaceChildren(...lines.map((line) => h('p', {}, line)));
    this.notes.classList.toggle('lp-warns', graph.errors.length + graph.missing.length > 0);
    if (!graph.nodes.size && !lines.length) this.note('This answer holds nothing that can be drawn. Ask for id, kind and name of things, and for the edges of lineage.');
    this.names.replaceChildren(...[...graph.nodes.values()].slice(0, 500).map(({ name }) => h('option', { value: name })));
  }

  // ── Where everything stands ──────────────────────────────────────────────────────────────────

  private arrange(): void {
    if (!this.graph) return;
    const keep = new Set([...this.picked, ...this.graph.paths.flat()]);
    const shown = grouped(this.graph, this.open, keep);
    this.pendingShown = shown;
    const boxes = shown.boxes.map(({ id }) => ({ id, width: BOX_WIDTH, height: BOX_HEIGHT }));
    this.root.setAttribute('aria-busy', 'true');
    this.worker.postMessage({ turn: ++this.turn, boxes, edges: shown.edges.map(({ source, target }) => ({ source, target })) });
    const closed = shown.boxes.filter(({ members }) => members.length > 1).length;
    this.groups.textContent = closed ? 'Open all groups' : 'Group';
    this.groups.disabled = !closed && this.open !== 'all' && this.open.size === 0;
    const { nodes, edges } = this.graph;
    this.counts.textContent = `${nodes.size} ${nodes.size === 1 ? "node" : "nodes"}, ${edges.length} ${edges.length === 1 ? "edge" : "edges"}${closed ? `, ${closed} group${closed === 1 ? '' : 's'}` : ''}`;
  }

  private pendingShown = grouped({ nodes: new Map(), edges: [], missing: [], errors: [], paths: [], soughtPaths: false }, 'all');

  private laidOut(layout: Layout & { turn: number }): void {
    if (layout.turn !== this.turn) return;
    this.scene = new Scene(this.pendingShown, layout);
    this.root.removeAttribute('aria-busy');
    this.root.dataset.drawn = String(this.pendingShown.boxes.length);
    if (this.current && !this.pendingShown.boxes.some(({ id }) => id === this.current)) this.current = this.pendingShown.boxOf.get(this.current);
    const ways = new Set(this.sought ? this.graph?.paths.flat().map((id) => this.pendingShown.boxOf.get(id)) : []);
    if (ways.size) this.fit((at) => ways.has(this.pendingShown.boxes[at]!.id));
    else if (!this.touched) this.fit();
    else if (this.current) this.centre(this.current);
    this.sought = false;
    this.mark();
  }

  private mark(): void {
    const { shown } = this.scene ?? {};
    if (!shown || !this.graph) return;
    const onPath = new Set<string>();
    const steps = new Set<string>();
    for (const path of this.graph.paths) {
      const boxes = path.map((id) => shown.boxOf.get(id) ?? id);
      boxes.forEach((box, at) => {
        onPath.add(box);
        if (at) steps.add(`${boxes[at - 1]}\n${box}`).add(`${box}\n${boxes[at - 1]}`);
      });
    }
    const near: number[] = [];
    const pathEdges = new Set<number>();
    shown.edges.forEach(({ source, target }, at) => {
      if (source === this.current || target === this.current) near.push(at);
      if (steps.has(`${source}\n${target}`)) pathEdges.add(at);
    });
    const picked = new Set(this.picked.map((id) => shown.boxOf.get(id) ?? id));
    this.marks = { current: this.current, picked, onPath, pathEdges, near };
    this.redraw();
  }

  // ── Drawing ──────────────────────────────────────────────────────────────────────────────────

  private redraw(): void {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      const { clientWidth: width, clientHeight: height } = this.canvas;
      if (!width || !height) return;
      const ratio = devicePixelRatio || 1;
      if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
        this.canvas.width = Math.round(width * ratio);
        this.canvas.height = Math.round(height * ratio);
      }
      const context = this.canvas.getContext('2d')!;
      if (this.scene) this.scene.draw(context, width, height, ratio, this.view, this.theme, this.marks);
      else context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    });
  }

  /** Everything in sight, or these boxes alone. */
  private fit(among: (at: number) => boolean = () => true): void {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!this.scene || !width || !height) return;
    const { x, y } = this.scene.layout;
    const [xs, ys] = [x.filter((_, at) => among(at)), y.filter((_, at) => among(at))];
    const least = (values: number[]) => values.reduce((a, b) => Math.min(a, b), Infinity);
    const most = (values: number[]) => values.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!xs.length) return;
    const [left, top] = [least(xs), least(ys)];
    const [wide, high] = [most(xs) + BOX_WIDTH - left, most(ys) + BOX_HEIGHT - top];
    const scale = Math.min(1.2, (width - 40) / wide, (height - 40) / high);
    this.view = { scale, x: (width - wide * scale) / 2 - left * scale, y: (height - high * scale) / 2 - top * scale };
    this.touched = false;
    this.redraw();
  }

  private zoom(factor: number, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2): void {
    const scale = Math.min(3, Math.max(0.01, this.view.scale * factor));
    const by = scale / this.view.scale;
    this.view = { scale, x: x - (x - this.view.x) * by, y: y - (y - this.view.y) * by };
    this.touched = true;
    this.redraw();
  }

  private centre(id: string): void {
    const at = this.scene?.shown.boxes.findIndex((box) => box.id === id) ?? -1;
    if (!this.scene || at < 0) return;
    const scale = Math.max(0.8, this.view.scale);
    const { x, y } = this.scene.layout;
    this.view = {
      scale,
      x: this.canvas.clientWidth / 2 - (x[at]! + BOX_WIDTH / 2) * scale,
      y: this.canvas.clientHeight / 2 - (y[at]! + BOX_HEIGHT / 2) * scale,
    };
    this.touched = true;
  }

  // ── What people do ───────────────────────────────────────────────────────────────────────────

  private listen(): void {
    let from: { x: number; y: number; moved: boolean } | undefined;
    const place = ({ offsetX, offsetY }: MouseEvent) => this.scene?.at((offsetX - this.view.x) / this.view.scale, (offsetY - this.view.y) / this.view.scale) ?? -1;
    this.canvas.addEventListener('pointerdown', (event) => {
      from = { x: event.clientX, y: event.clientY, moved: false };
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener('pointermove', (event) => {
      if (!from) {
        this.canvas.classList.toggle('lp-over', place(event) >= 0);
        return;
      }
      const [x, y] = [event.clientX - from.x, event.clientY - from.y];
      if (!from.moved && Math.hypot(x, y) < 4) return;
      this.view = { ...this.view, x: this.view.x + x, y: this.view.y + y };
      this.touched = true;
      from = { x: event.clientX, y: event.clientY, moved: true };
      this.redraw();
    });
    this.canvas.addEventListener('pointerup', (event) => {
      if (from && !from.moved) this.choose(this.scene?.shown.boxes[place(event)]?.id);
      from = undefined;
    });
    this.canvas.addEventListener('dblclick', () => this.openGroup());
    this.canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    }, { passive: false });
    this.canvas.addEventListener('keydown', (event) => this.key(event));
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions: Record<string, () => void> = {
      ArrowRight: () => this.step('right'), ArrowLeft: () => this.step('left'), ArrowUp: () => this.step('up'), ArrowDown: () => this.step('down'),
      Enter: () => this.openGroup(), '+': () => this.zoom(1.3), '-': () => this.zoom(1 / 1.3), '0': () => this.fit(),
      u: () => this.expand('UPSTREAM'), d: () => this.expand('DOWNSTREAM'), p: () => this.pick(), Escape: () => this.choose(undefined),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  /** Go to the nearest neighbour along the arrows, or to the next box of the same layer. */
  private step(to: 'left' | 'right' | 'up' | 'down'): void {
    const { shown, layout } = this.scene ?? {};
    if (!shown || !layout || !shown.boxes.length) return;
    const number = new Map(shown.boxes.map(({ id }, at) => [id, at]));
    const here = this.current === undefined ? undefined : number.get(this.current);
    if (here === undefined) {
      const root = shown.boxes.find(({ node }) => node.root) ?? shown.boxes[0]!;
      this.choose(root.id, true);
      return;
    }
    const along = to === 'left' || to === 'right';
    const candidates = along
      ? shown.edges.flatMap(({ source, target }) => {
          if (to === 'right') return target === this.current ? [number.get(source)!] : [];
          return source === this.current ? [number.get(target)!] : [];
        })
      : shown.boxes.flatMap((_, at) => {
          const apart = layout.y[at]! - layout.y[here]!;
          return Math.abs(layout.x[at]! - layout.x[here]!) < BOX_WIDTH / 2 && (to === 'down' ? apart > 0 : apart < 0) ? [at] : [];
        });
    const far = (at: number) => Math.abs(layout.y[at]! - layout.y[here]!) + (along ? Math.abs(layout.x[at]! - layout.x[here]!) : 0);
    const nearest = candidates.sort((a, b) => far(a) - far(b))[0];
    if (nearest !== undefined) this.choose(shown.boxes[nearest]!.id, true);
  }

  private box(id = this.current): Box | undefined {
    return this.scene?.shown.boxes.find((box) => box.id === id);
  }

  private choose(id: string | undefined, centre = false): void {
    this.current = id;
    if (id && centre) this.centre(id);
    const box = this.box(id);
    this.aside.hidden = !box;
    if (box) {
      this.aside.replaceChildren(details(box, {
        picked: this.picked,
        expand: (direction) => this.expand(direction),
        pick: () => this.pick(),
        open: () => this.openGroup(),
        close: () => this.choose(undefined),
      }));
      const { node, members } = box;
      this.said.textContent = members.length > 1 ? `A group of ${members.length} ${spoken(node.kind)}s` : `${node.name}, ${spoken(node.kind)}`;
    }
    this.mark();
  }

  private search(): void {
    const words = this.find.value.trim().toLowerCase();
    if (!words || !this.graph) return;
    const nodes = [...this.graph.nodes.values()];
    const found = nodes.find(({ name }) => name.toLowerCase() === words) ?? nodes.find(({ name, address }) => `${name} ${address ?? ''}`.toLowerCase().includes(words));
    if (!found) {
      this.said.textContent = `Nothing in the picture is called ${this.find.value}`;
      return;
    }
    this.choose(this.scene?.shown.boxOf.get(found.id), true);
    this.canvas.focus();
  }

  private openGroup(): void {
    const box = this.box();
    if (!box || box.members.length < 2) return;
    if (this.open !== 'all') this.open.add(box.id);
    this.current = box.members[0]!.id;
    this.touched = true;
    this.arrange();
    this.aside.hidden = true;
  }

  private toggleGroups(): void {
    this.open = this.groups.textContent === 'Open all groups' ? 'all' : new Set();
    this.touched = false;
    this.arrange();
  }

  private expand(direction: Direction): void {
    const box = this.box();
    if (!box || box.members.length > 1 || box.node.restricted) return;
    this.touched = true;
    this.host.expand(box.node.id, direction);
  }

  private pick(): void {
    const box = this.box();
    if (!box || box.members.length > 1 || box.node.restricted) return;
    const { id } = box.node;
    this.picked = this.picked.includes(id) ? this.picked.filter((each) => each !== id) : [...this.picked, id].slice(-2);
    const [from, to] = this.picked;
    this.choose(this.current);
    if (!from || !to || !this.scene) {
      this.said.textContent = this.picked.length ? 'Now pick the other end of the way' : '';
      return;
    }
    const x = (node: string) => this.scene!.layout.x[this.scene!.shown.boxes.findIndex(({ id }) => id === this.scene!.shown.boxOf.get(node))] ?? 0;
    this.picked = [];
    this.choose(undefined);
    this.sought = true;
    this.host.way(from, to, x(from) <= x(to) ? 'DOWNSTREAM' : 'UPSTREAM');
  }

  // ── Export ───────────────────────────────────────────────────────────────────────────────────

  private exportSvg(): void {
    if (!this.scene) return;
    const svg = toSvg(this.scene.shown, this.scene.layout, this.theme, this.graph?.missing);
    save('lineage.svg', new Blob([svg], { type: 'image/svg+xml' }));
  }

  private exportMermaid(): void {
    if (this.scene) save('lineage.mmd', new Blob([toMermaid(this.scene.shown, this.theme)], { type: 'text/plain' }));
  }

  private exportPng(): void {
    if (!this.scene) return;
    const { width, height } = this.scene.layout;
    const scale = Math.min(2, LARGEST_PNG / (width + 40), LARGEST_PNG / (height + 40));
    const [w, high] = [Math.ceil((width + 40) * scale), Math.ceil((height + 40) * scale)];
    const canvas = h('canvas', { width: w, height: high });
    this.scene.draw(canvas.getContext('2d')!, w, high, 1, { scale, x: 20 * scale, y: 20 * scale }, this.theme, { ...this.marks, current: undefined, near: [] });
    canvas.toBlob((blob) => blob && save('lineage.png', blob), 'image/png');
  }

  private legend(): HTMLElement {
    const swatch = (kind: string, restricted: boolean) => {
      const { shape, fill, line, dashed } = look(kind, restricted, this.theme);
      const namespace = 'http://www.w3.org/2000/svg';
      const svg = document.createElementNS(namespace, 'svg');
      const path = document.createElementNS(namespace, 'path');
      for (const [name, value] of Object.entries({ viewBox: '-1 -4 42 28', width: '28', height: '18', 'aria-hidden': 'true' })) svg.setAttribute(name, value);
      for (const [name, value] of Object.entries({ d: outline(shape, 40, 20), fill, stroke: line, 'stroke-width': '2', ...(dashed ? { 'stroke-dasharray': '4 3' } : {}) })) path.setAttribute(name, value);
      svg.append(path);
      return svg;
    };
    const items = FAMILIES.map(([name, , kinds]) => h('li', {}, swatch(kinds[0]!, false), name));
    return h('ul', { class: 'lp-legend', 'aria-label': 'Kinds' }, ...items, h('li', {}, swatch('MODEL', true), 'Restricted'));
  }
}
