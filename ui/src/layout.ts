// A layered layout, causes on the left and what came of them on the right (Sugiyama, Tagawa, Toda 1981).
//
// Linear in nodes, edges and the layers that edges cross, so that thousands of nodes take a fraction of a second.

export interface LayoutInput {
  boxes: { id: string; width: number; height: number }[];
  /** `source` exists because of `target`: it is drawn to the right of it. */
  edges: { source: string; target: string }[];
}

export interface Layout {
  /** The upper left corner of each box, in the order given. */
  x: number[];
  y: number[];
  /** The points that each edge passes, from the cause to what came of it; pairs x, y. */
  routes: number[][];
  width: number;
  height: number;
}

const LAYER_GAP = 90;
const ROW_GAP = 14;
const BEND_HEIGHT = 10;
const COLUMN_GAP = 28;
const SWEEPS = 4;
/** More than this would be most of the picture: edges then go straight. */
const MAX_BENDS = 1_500;

interface Item {
  box: number;
  height: number;
  /** The column that it stands in; a layer has several where it would be a tower. */
  column: number;
  y: number;
  left: number[];
  right: number[];
}

export function layout({ boxes, edges }: LayoutInput): Layout {
  const index = new Map(boxes.map((box, at) => [box.id, at]));
  const causes = boxes.map(() => [] as number[]);
  const effects = boxes.map(() => [] as number[]);
  const ends = edges.map(({ source, target }) => [index.get(target)!, index.get(source)!] as const);
  for (const [cause, effect] of ends) {
    causes[effect]!.push(cause);
    effects[cause]!.push(effect);
  }
  const layers = ranks(boxes.length, causes, effects);
  const { columnOf, firstOf } = columns(layers, effects);
  const items: Item[] = boxes.map(({ height }, box) => ({ box, height, column: columnOf[box]!, y: 0, left: [], right: [] }));
  const spans = ends.reduce((sum, [cause, effect]) => sum + Math.max(0, layers[effect]! - layers[cause]! - 1), 0);
  const bends = ends.map(([cause, effect]) => {
    const [from, to] = layers[cause]! <= layers[effect]! ? [cause, effect] : [effect, cause];
    const chain = [from];
    for (let layer = layers[from]! + 1; layer < layers[to]! && spans <= MAX_BENDS; layer++) {
      chain.push(items.push({ box: -1, height: BEND_HEIGHT, column: firstOf[layer]!, y: 0, left: [], right: [] }) - 1);
    }
    chain.push(to);
    for (let at = 1; at < chain.length; at++) {
      if (items[chain[at - 1]!]!.column === items[chain[at]!]!.column) continue;
      items[chain[at - 1]!]!.right.push(chain[at]!);
      items[chain[at]!]!.left.push(chain[at - 1]!);
    }
    return from === cause ? chain : chain.reverse();
  });
  const sparse: number[][] = [];
  items.forEach(({ column }, at) => (sparse[column] ??= []).push(at));
  const rows = Array.from(sparse, (row) => row ?? []);
  order(items, rows);
  place(items, rows);
  return drawn(boxes, items, rows, bends, new Set(firstOf));
}

/** Layers of hundreds would be towers a few pixels wide: they stand in several columns, leaves before the others. */
function columns(layers: number[], effects: number[][]): { columnOf: number[]; firstOf: number[] } {
  const most = Math.max(14, Math.ceil(1.2 * Math.sqrt(layers.length)));
  const members: number[][] = [];
  layers.forEach((layer, at) => (members[layer] ??= []).push(at));
  const columnOf = new Array<number>(layers.length).fill(0);
  const firstOf: number[] = [];
  let next = 0;
  for (const layer of Array.from(members, (each) => each ?? [])) {
    firstOf.push(next);
    const count = Math.max(1, Math.ceil(layer.length / most));
    const sorted = layer.toSorted((a, b) => effects[a]!.length - effects[b]!.length);
    sorted.forEach((at, index) => (columnOf[at] = next + Math.floor((index * count) / layer.length)));
    next += count;
  }
  return { columnOf, firstOf };
}

/** The longest way from a cause gives the layer; what has no cause stands just left of what came of it. */
function ranks(count: number, causes: number[][], effects: number[][]): number[] {
  const waiting = causes.map((each) => each.length);
  const rank = new Array<number>(count).fill(0);
  const done = new Array<boolean>(count).fill(false);
  const queue = waiting.flatMap((left, at) => (left === 0 ? [at] : []));
  let next = 0;
  const sorted: number[] = [];
  for (let head = 0; sorted.length < count; ) {
    if (head === queue.length) {
      // Only a circle is left, which lineage has not but answers in general may: it is cut at its first.
      while (done[next]) next++;
      queue.push(next);
    }
    const at = queue[head++]!;
    if (done[at]) continue;
    done[at] = true;
    sorted.push(at);
    for (const effect of effects[at]!) {
      if (done[effect]) continue;
      rank[effect] = Math.max(rank[effect]!, rank[at]! + 1);
      if (--waiting[effect]! === 0) queue.push(effect);
    }
  }
  for (const at of sorted.reverse()) {
    const later = effects[at]!.map((effect) => rank[effect]!).filter((each) => each > rank[at]!);
    if (causes[at]!.length === 0 && later.length) rank[at] = Math.min(...later) - 1;
  }
  const least = rank.reduce((a, b) => Math.min(a, b), Infinity);
  return rank.map((each) => each - least);
}

/** Fewer crossings: each layer in the order of the middle of its neighbours, there and back a few times. */
function order(items: Item[], rows: number[][]): void {
  const position = new Array<number>(items.length).fill(0);
  const number = (row: number[]) => row.forEach((at, index) => (position[at] = index));
  rows.forEach(number);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const forward = sweep % 2 === 0;
    for (const row of forward ? rows : rows.toReversed()) {
      const middle = new Map(row.map((at) => [at, median(items[at]![forward ? 'left' : 'right'], position)]));
      row.sort((a, b) => (middle.get(a) ?? position[a]!) - (middle.get(b) ?? position[b]!) || position[a]! - position[b]!);
      number(row);
    }
  }
}

function median(around: number[], values: number[]): number | undefined {
  if (!around.length) return undefined;
  const sorted = around.map((at) => values[at]!).sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** Everything as near to the middle of its neighbours as its order and the space between allow. */
function place(items: Item[], rows: number[][]): void {
  for (const row of rows) {
    let y = 0;
    for (const at of row) {
      items[at]!.y = y;
      y += items[at]!.height + ROW_GAP;
    }
  }
  for (let sweep = 0; sweep < SWEEPS * 2; sweep++) {
    const forward = sweep % 2 === 0;
    for (const row of forward ? rows : rows.toReversed()) settle(items, row, forward ? 'left' : 'right');
  }
  const top = items.reduce((least, { y }) => Math.min(least, y), Infinity);
  for (const item of items) item.y -= top;
}

/** The nearest places to those wished for, in order and apart: isotonic regression by pooling adjacent violators. */
function settle(items: Item[], row: number[], side: 'left' | 'right'): void {
  const pools: { sum: number; count: number }[] = [];
  const offsets: number[] = [];
  let offset = 0;
  for (const at of row) {
    const item = items[at]!;
    const around = item[side];
    const centres = around.map((each) => items[each]!.y + items[each]!.height / 2);
    const wish = around.length ? centres.reduce((a, b) => a + b, 0) / around.length - item.height / 2 : item.y;
    offsets.push(offset);
    pools.push({ sum: wish - offset, count: 1 });
    offset += item.height + ROW_GAP;
    while (pools.length > 1) {
      const [above, below] = [pools.at(-2)!, pools.at(-1)!];
      if (above.sum / above.count <= below.sum / below.count) break;
      pools.pop();
      above.sum += below.sum;
      above.count += below.count;
    }
  }
  let index = 0;
  for (const { sum, count } of pools) {
    for (let each = 0; each < count; each++, index++) items[row[index]!]!.y = sum / count + offsets[index]!;
  }
}

function drawn(boxes: LayoutInput['boxes'], items: Item[], rows: number[][], bends: number[][], first: ReadonlySet<number>): Layout {
  const x = new Array<number>(items.length).fill(0);
  let right = 0;
  rows.forEach((row, column) => {
    const left = column === 0 ? 0 : right + (first.has(column) ? LAYER_GAP : COLUMN_GAP);
    const width = row.reduce((most, at) => Math.max(most, boxes[items[at]!.box]?.width ?? 0), 0);
    for (const at of row) x[at] = left + (items[at]!.box < 0 ? width / 2 : 0);
    right = left + width;
  });
  const middle = (at: number) => items[at]!.y + items[at]!.height / 2;
  const routes = bends.map((chain) => {
    const points: number[] = [];
    chain.forEach((at, index) => {
      const width = boxes[items[at]!.box]?.width ?? 0;
      points.push(index === 0 ? x[at]! + width : x[at]!, middle(at));
    });
    return points;
  });
  return {
    x: x.slice(0, boxes.length),
    y: items.slice(0, boxes.length).map(({ y }) => y),
    routes,
    width: right,
    height: items.reduce((most, { y, height }) => Math.max(most, y + height), 0),
  };
}
