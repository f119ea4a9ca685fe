// Collapses what stands alike around a hub: things of one kind with exactly the same neighbours become one box.

import type { Graph, GraphEdge, GraphNode } from './graph.ts';

export interface Box {
  id: string;
  node: GraphNode;
  /** What a collapsed group stands for; one thing otherwise. */
  members: GraphNode[];
}

export interface Shown {
  boxes: Box[];
  edges: GraphEdge[];
  /** Which box shows a thing. */
  boxOf: Map<string, string>;
}

export const SMALLEST_GROUP = 6;

/** `open` are the groups to show one by one, by their id; "all" shows everything. */
export function grouped(graph: Graph, open: ReadonlySet<string> | 'all', keep: ReadonlySet<string> = new Set()): Shown {
  const into = new Map<string, string[]>();
  const outOf = new Map<string, string[]>();
  for (const { source, target, kind } of graph.edges) {
    push(outOf, source, `${target} ${kind}`);
    push(into, target, `${source} ${kind}`);
  }
  const alike = new Map<string, GraphNode[]>();
  for (const node of graph.nodes.values()) {
    const around = [...(outOf.get(node.id) ?? []), '|', ...(into.get(node.id) ?? [])];
    const single = node.root || keep.has(node.id) || around.length === 1;
    const key = single ? node.id : [node.kind, node.restricted, ...unique(around)].join('\n');
    push(alike, key, node);
  }
  const boxes: Box[] = [];
  const boxOf = new Map<string, string>();
  for (const members of alike.values()) {
    const id = `group:${members[0]!.kind}:${members[0]!.id}`;
    if (members.length < SMALLEST_GROUP || open === 'all' || open.has(id)) {
      for (const node of members) {
        boxes.push({ id: node.id, node, members: [node] });
        boxOf.set(node.id, node.id);
      }
      continue;
    }
    boxes.push({ id, node: members[0]!, members });
    for (const node of members) boxOf.set(node.id, id);
  }
  const edges = new Map<string, GraphEdge>();
  for (const edge of graph.edges) {
    const source = boxOf.get(edge.source)!;
    const target = boxOf.get(edge.target)!;
    const key = `${source}\n${target}\n${edge.kind}`;
    if (source !== target && !edges.has(key)) edges.set(key, { ...edge, source, target });
  }
  return { boxes, edges: [...edges.values()], boxOf };
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

function unique(list: string[]): string[] {
  const at = list.indexOf('|');
  const sorted = (part: string[]) => [...new Set(part)].sort();
  return [...sorted(list.slice(0, at)), '|', ...sorted(list.slice(at + 1))];
}
