// Draws the picture on a canvas: only what is in sight, and only as fine as it can be seen.

import type { Box, Shown } from './grouping.ts';
import type { Layout } from './layout.ts';
import { BOX_HEIGHT, BOX_WIDTH, curve, lines, look, outline, type Shape, type Theme } from './shapes.ts';
import { arrowhead } from './export.ts';

export interface View {
  scale: number;
  x: number;
  y: number;
}

export interface Marks {
  current?: string;
  /** Boxes picked as ends of a way. */
  picked: ReadonlySet<string>;
  /** Boxes and edges (by their number) on a way that was asked for. */
  onPath: ReadonlySet<string>;
  pathEdges: ReadonlySet<number>;
  /** Edges of the current box. */
  near: readonly number[];
}

/** Below this scale words cannot be read, and shapes are plain. */
const COARSE = 0.3;

export class Scene {
  private readonly all = new Path2D();
  private readonly heads = new Path2D();
  private readonly implied = new Path2D();
  private readonly curves: Path2D[] = [];
  private readonly shapes = new Map<Shape, Path2D>();

  constructor(
    readonly shown: Shown,
    readonly layout: Layout,
  ) {
    shown.edges.forEach(({ implied }, at) => {
      const path = new Path2D(curve(layout.routes[at]!));
      (implied ? this.implied : this.all).addPath(path);
      this.heads.addPath(new Path2D(arrowhead(layout.routes[at]!)));
      this.curves.push(path);
    });
  }

  /** The number of the box at a place of the picture; -1 where there is none. */
  at(x: number, y: number): number {
    return this.shown.boxes.findIndex(
      (_, at) => x >= this.layout.x[at]! && x <= this.layout.x[at]! + BOX_WIDTH && y >= this.layout.y[at]! && y <= this.layout.y[at]! + BOX_HEIGHT,
    );
  }

  draw(context: CanvasRenderingContext2D, width: number, height: number, ratio: number, view: View, theme: Theme, marks: Marks): void {
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = theme.page;
    context.fillRect(0, 0, width, height);
    context.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
    const coarse = view.scale < COARSE;
    this.edges(context, view.scale, coarse, theme, marks);
    const [left, top] = [-view.x / view.scale, -view.y / view.scale];
    const [right, bottom] = [left + width / view.scale, top + height / view.scale];
    const inSight = (at: number) =>
      this.layout.x[at]! + BOX_WIDTH + 8 >= left && this.layout.x[at]! - 8 <= right && this.layout.y[at]! + BOX_HEIGHT + 8 >= top && this.layout.y[at]! - 8 <= bottom;
    this.shown.boxes.forEach((box, at) => {
      if (!inSight(at)) return;
      if (coarse) this.plain(context, box, at, theme, marks);
      else this.box(context, box, at, theme, marks);
    });
  }

  private edges(context: CanvasRenderingContext2D, scale: number, coarse: boolean, theme: Theme, marks: Marks): void {
    context.lineWidth = Math.max(1.2, 0.7 / scale);
    context.strokeStyle = theme.edge;
    context.globalAlpha = this.curves.length > 2_000 ? 0.35 : 1;
    context.stroke(this.all);
    context.setLineDash([4, 4]);
    context.stroke(this.implied);
    context.setLineDash([]);
    context.globalAlpha = 1;
    if (!coarse) {
      context.fillStyle = theme.edge;
      context.fill(this.heads);
    }
    context.lineWidth = Math.max(2.5, 1.5 / scale);
    context.strokeStyle = theme.chosen;
    for (const at of marks.near) context.stroke(this.curves[at]!);
    context.strokeStyle = theme.path;
    for (const at of marks.pathEdges) context.stroke(this.curves[at]!);
  }

  private plain(context: CanvasRenderingContext2D, { id, node }: Box, at: number, theme: Theme, marks: Marks): void {
    const { fill, line } = look(node.kind, node.restricted, theme);
    context.fillStyle = marks.onPath.has(id) ? theme.path : marks.current === id || marks.picked.has(id) ? theme.chosen : node.root ? line : fill;
    context.fillRect(this.layout.x[at]!, this.layout.y[at]!, BOX_WIDTH, BOX_HEIGHT);
    context.strokeStyle = line;
    context.lineWidth = 3;
    context.strokeRect(this.layout.x[at]!, this.layout.y[at]!, BOX_WIDTH, BOX_HEIGHT);
  }

  private box(context: CanvasRenderingContext2D, { id, node, members }: Box, at: number, theme: Theme, marks: Marks): void {
    const { shape, fill, line, dashed } = look(node.kind, node.restricted, theme);
    const path = this.shape(shape);
    const [x, y] = [this.layout.x[at]!, this.layout.y[at]!];
    context.save();
    context.translate(x, y);
    context.fillStyle = fill;
    context.strokeStyle = marks.onPath.has(id) ? theme.path : line;
    context.lineWidth = marks.onPath.has(id) || node.root ? 3 : 1.5;
    if (dashed) context.setLineDash([4, 3]);
    if (members.length > 1) {
      context.translate(5, 5);
      context.fill(path);
      context.stroke(path);
      context.translate(-5, -5);
    }
    context.fill(path);
    context.stroke(path);
    context.setLineDash([]);
    if (marks.current === id || marks.picked.has(id)) {
      context.strokeStyle = theme.chosen;
      context.lineWidth = 2.5;
      if (marks.current !== id) context.setLineDash([6, 3]);
      context.strokeRect(-5, -5, BOX_WIDTH + 10, BOX_HEIGHT + 10);
      context.setLineDash([]);
    }
    const [first, second] = lines(node.kind, node.name, members.length, node.restricted);
    context.fillStyle = node.restricted ? theme.faint : theme.ink;
    context.font = '600 13px system-ui, sans-serif';
    context.fillText(first, 16, 21, BOX_WIDTH - 32);
    context.fillStyle = theme.faint;
    context.font = '11px system-ui, sans-serif';
    context.fillText(node.frontier ? `${second} · more behind it` : second, 16, 37, BOX_WIDTH - 32);
    context.restore();
  }

  private shape(shape: Shape): Path2D {
    const known = this.shapes.get(shape) ?? new Path2D(outline(shape, BOX_WIDTH, BOX_HEIGHT));
    this.shapes.set(shape, known);
    return known;
  }
}
