// Reads an answer of GraphQL, of whatever shape, into the nodes and edges that it holds.

export type Scalar = string | number | boolean;

export interface GraphNode {
  id: string;
  kind: string;
  name: string;
  address?: string;
  distance?: number;
  restricted: boolean;
  root: boolean;
  frontier: boolean;
  facts: Record<string, Scalar>;
}

/** An arrow: `source` exists because of `target`. */
export interface GraphEdge {
  source: string;
  target: string;
  kind: string;
  detail: string;
  since?: string;
  until?: string;
  /** Not said by an edge in the answer, but by one thing standing inside another there. */
  implied: boolean;
}

export interface Graph {
  nodes: Map<string, GraphNode>;
  edges: GraphEdge[];
  /** Whole sentences that say what is not in the answer. */
  missing: string[];
  errors: string[];
  /** The nodes of each path that was asked for, from start to end. */
  paths: string[][];
  /** Whether ways were asked for, found or not. */
  soughtPaths: boolean;
  /** The earliest time that the answer speaks of (ISO 8601). */
  earliest?: string;
}

const KINDS: Record<string, string> = {
  ws: 'WORKSPACE', mo: 'MODEL', mv: 'MODEL_VERSION', ds: 'DATASET', dv: 'DATASET_VERSION', fi: 'FIELD', ex: 'EXPERIMENT',
  ru: 'RUN', pi: 'PIPELINE', ev: 'EVALUATION', de: 'DEPLOYMENT', dr: 'DEPLOYMENT_REVISION', en: 'ENVIRONMENT',
  st: 'SERVING_TARGET', ar: 'ARTIFACT', cr: 'CODE_REVISION', pr: 'PRINCIPAL', te: 'TEAM',
};

const SCHEMES: Record<string, [whole: string, part?: string]> = {
  models: ['MODEL', 'MODEL_VERSION'], datasets: ['DATASET', 'DATASET_VERSION'], fields: ['FIELD', 'FIELD'],
  runs: ['RUN'], experiments: ['EXPERIMENT'], pipelines: ['PIPELINE'], evaluations: ['EVALUATION'],
  deployments: ['DEPLOYMENT'], environments: ['ENVIRONMENT'], targets: ['SERVING_TARGET'], workspaces: ['WORKSPACE'],
  principals: ['PRINCIPAL'], teams: ['TEAM'], artifacts: ['ARTIFACT'], code: ['CODE_REVISION'],
};

/** Fields whose things exist because of the thing that has the field; all other fields lead the other way. */
const EFFECTS = new Set([
  'versions', 'deployments', 'runs', 'children', 'evaluations', 'derivatives', 'trainedVersions', 'usedBy', 'readBy', 'fields',
  'modelVersions', 'datasetVersions', 'revisions', 'downstream', 'consumedBy', 'supersededBy', 'validations', 'events', 'moves',
  'datasets', 'aliases', 'stages',
]);

/** Fields that everything has in common: drawn, they would be the hub of every picture. */
const LEFT_OUT = new Set(['workspace', 'workspaces', 'owners', 'watchers', 'changes', 'history', 'members', 'extensions']);

/** Steps of an answer's shape that are no relation themselves. */
const STEPS = new Set(['nodes', 'node', 'edges', 'roots', 'items', 'moment', 'lineage', 'edge']);

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown): string | undefined => (typeof value === 'string' && value ? value : undefined);
export const upper = (name: string): string => name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase();

/** `MODEL_VERSION` as people say it. */
export const spoken = (kind: string): string => kind.toLowerCase().replaceAll('_', ' ').replace('dataset', 'data set');

function kindOf(value: Json, id: string, address?: string): string {
  const said = text(value.kind) ?? (text(value.__typename) && upper(text(value.__typename)!));
  if (said && said !== 'LINEAGE_NODE') return said;
  const [, scheme, rest] = address?.match(/^([a-z]+):\/(.*)$/) ?? [];
  const [whole, part] = (scheme && SCHEMES[scheme]) || [];
  if (whole) return /[/@]/.test(rest!) ? (part ?? whole) : whole;
  return KINDS[id.split('_')[0]!] ?? '';
}

class Reader {
  readonly graph: Graph = { nodes: new Map(), edges: [], missing: [], errors: [], paths: [], soughtPaths: false };
  private readonly aliases = new Map<string, string>();
  private readonly known = new Set<string>();

  errors(list: unknown): void {
    if (!Array.isArray(list)) return;
    for (const each of list) if (isObject(each)) this.graph.errors.push(text(each.message) ?? 'an error without a message');
  }

  read(value: unknown, field: string, parent?: string): void {
    if (Array.isArray(value)) {
      for (const each of value) this.read(each, field, parent);
      return;
    }
    if (!isObject(value)) return;
    if (typeof value.source === 'string' && typeof value.target === 'string') {
      this.edge(value);
      return;
    }
    this.completeness(value, field);
    if (Array.isArray(value.paths) && ('count' in value || 'complete' in value)) this.graph.soughtPaths = true;
    if (Array.isArray(value.nodes) && Array.isArray(value.hops)) this.path(value.nodes);
    const wrapped = 'node' in value && ('distance' in value || 'restricted' in value);
    const inner = wrapped && isObject(value.node) ? value.node : value;
    const id = this.node(value, inner, wrapped);
    if (id && parent && parent !== id && !wrapped) this.imply(parent, id, field);
    const lineage = 'complete' in value || 'countsByKind' in value || 'hops' in value;
    for (const [key, child] of Object.entries(wrapped ? { ...value, node: undefined, ...inner } : value)) {
      if (LEFT_OUT.has(key)) continue;
      this.read(child, STEPS.has(key) ? field : key, lineage || wrapped ? (id ?? undefined) : (id ?? parent));
    }
    this.marks(value);
  }

  private node(outer: Json, inner: Json, wrapped: boolean): string | undefined {
    const address = text(inner.address) && /^[a-z]+:\//.test(text(inner.address)!) ? text(inner.address) : undefined;
    const own = text(outer.id) ?? text(inner.id);
    const given = own ?? address;
    if (!given) return undefined;
    const restricted = outer.restricted === true || given.startsWith('restricted_') || (wrapped && outer.node === null);
    const alias = address && this.aliases.get(address);
    const id = own ?? alias ?? given;
    if (address && own && !alias) {
      this.aliases.set(address, own);
      this.rename(address, own);
    }
    const facts: Record<string, Scalar> = {};
    for (const source of wrapped ? [outer, inner] : [inner]) {
      for (const [key, value] of Object.entries(source)) {
        if (['string', 'number', 'boolean'].includes(typeof value)) facts[key] = value as Scalar;
      }
    }
    const kind = kindOf({ ...inner, kind: outer.kind ?? inner.kind }, id, address);
    this.time(inner.createdAt);
    const before = this.graph.nodes.get(id);
    const name = restricted ? 'restricted' : nameOf(inner, address, kind) ?? before?.name ?? id;
    const distance = typeof outer.distance === 'number' ? outer.distance : undefined;
    this.graph.nodes.set(id, {
      id,
      kind: kind || before?.kind || '',
      name,
      address: address ?? before?.address,
      distance: Math.min(distance ?? Infinity, before?.distance ?? Infinity),
      restricted,
      root: before?.root ?? false,
      frontier: before?.frontier ?? false,
      facts: { ...before?.facts, ...facts },
    });
    const kept = this.graph.nodes.get(id)!;
    if (kept.distance === Infinity) delete kept.distance;
    return id;
  }

  /** A thing that was met by its address alone is met again with its id. */
  private rename(from: string, to: string): void {
    const node = this.graph.nodes.get(from);
    if (!node) return;
    this.graph.nodes.delete(from);
    this.graph.nodes.set(to, { ...node, id: to });
    for (const edge of this.graph.edges) {
      if (edge.source === from) edge.source = to;
      if (edge.target === from) edge.target = to;
    }
  }

  private edge(value: Json): void {
    const weight = typeof value.weight === 'number' && value.weight < 1 ? `${Math.round(value.weight * 100)} %` : '';
    this.time(value.since);
    this.add({
      source: value.source as string,
      target: value.target as string,
      kind: text(value.kind) ?? '',
      detail: [text(value.discriminator), weight].filter(Boolean).join(' '),
      since: text(value.since),
      until: text(value.until),
      implied: false,
    });
  }

  private imply(parent: string, child: string, field: string): void {
    const [source, target] = EFFECTS.has(field) ? [child, parent] : [parent, child];
    this.add({ source, target, kind: upper(field), detail: '', implied: true });
  }

  private add(edge: GraphEdge): void {
    const key = [edge.source, edge.target, edge.kind, edge.detail].join('\n');
    if (this.known.has(key)) return;
    this.known.add(key);
    this.graph.edges.push(edge);
  }

  private path(nodes: unknown[]): void {
    const ids = nodes.map((each) => (isObject(each) ? (text(each.id) ?? (isObject(each.node) ? text(each.node.id) : '')) : ''));
    if (ids.every(Boolean)) this.graph.paths.push(ids as string[]);
  }

  private marks(value: Json): void {
    for (const [key, mark] of [['roots', 'root'], ['frontier', 'frontier']] as const) {
      if (!Array.isArray(value[key])) continue;
      for (const each of value[key] as unknown[]) {
        const id = text(each) ?? (isObject(each) ? (text(each.id) ?? text(each.address)) : undefined);
        const node = id && this.graph.nodes.get(id);
        if (node) node[mark] = true;
      }
    }
  }

  private completeness(value: Json, field: string): void {
    if (value.complete === false) {
      const count = typeof value.frontierCount === 'number' ? value.frontierCount : undefined;
      const more = count === undefined ? 'more lies behind it' : `${count} of its nodes ${count === 1 ? 'has' : 'have'} more behind ${count === 1 ? 'it' : 'them'}`;
      this.graph.missing.push(`“${field}” is not complete: ${more}.`);
    }
    const page = value.pageInfo;
    if (isObject(page) && page.hasNextPage === true) {
      const total = typeof value.totalCount === 'number' ? ` of ${value.totalCount}` : '';
      const shown = Array.isArray(value.nodes) ? value.nodes.length : Array.isArray(value.edges) ? value.edges.length : 0;
      this.graph.missing.push(`“${field}” has more: ${shown}${total} are here.`);
    }
  }

  private time(value: unknown): void {
    const said = text(value);
    if (said && !Number.isNaN(Date.parse(said)) && (!this.graph.earliest || Date.parse(said) < Date.parse(this.graph.earliest))) {
      this.graph.earliest = said;
    }
  }

  /** Edges lead to things that the answer does not hold: they are drawn as what is known of them. */
  finish(): Graph {
    for (const { source, target } of this.graph.edges) {
      for (const id of [source, target]) {
        if (this.graph.nodes.has(id)) continue;
        const restricted = id.startsWith('restricted_');
        const facts = {};
        const node = { id, kind: kindOf({}, id), name: restricted ? 'restricted' : id, restricted, root: false, frontier: false, facts };
        this.graph.nodes.set(id, node);
      }
    }
    this.parts();
    return this.graph;
  }

  /** A container that was a root stands for its parts, which are at distance 0: without an edge they would stand apart. */
  private parts(): void {
    const roots = [...this.graph.nodes.values()].filter(({ root, address }) => root && address);
    for (const part of this.graph.nodes.values()) {
      if (part.distance !== 0 || part.root) continue;
      const whole = roots.find(({ address }) => part.address?.startsWith(`${address}/`));
      if (whole) this.add({ source: part.id, target: whole.id, kind: 'PART_OF', detail: '', implied: true });
    }
  }
}

function nameOf(value: Json, address: string | undefined, kind: string): string | undefined {
  const name = text(value.name) ?? text(value.number?.toString());
  const [, path] = address?.match(/^[a-z]+:\/(?:[^:/@]*:)?(.+)$/) ?? [];
  if (!path) return name;
  const parts = path.split(/(?=[/@])/).map(decodeURIComponent);
  if (kind === 'MODEL_VERSION') return parts.length > 1 ? `${parts[0]} v${parts[1]!.slice(1)}` : parts[0];
  if (kind === 'DATASET_VERSION' && parts[1] === '/unversioned') return parts[0];
  return parts.length > 1 ? parts.join(' ').replace(' /', ' · ') : (name ?? parts[0]);
}

/** What a response (`{data, errors}`) holds. */
export function readAnswer(response: unknown): Graph {
  const reader = new Reader();
  if (isObject(response)) {
    reader.errors(response.errors);
    if (isObject(response.data)) for (const [key, value] of Object.entries(response.data)) if (!key.startsWith('__')) reader.read(value, key);
  }
  return reader.finish();
}
