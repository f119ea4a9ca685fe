// Documents that the picture writes, and what it changes in those of others.

import {
  type ArgumentNode, type DocumentNode, type FieldNode, Kind, type ListValueNode, type OperationDefinitionNode, OperationTypeNode, parse, print, visit,
} from 'graphql';

export const WRITTEN = '# Written by the lineage picture.';
export type Direction = 'UPSTREAM' | 'DOWNSTREAM';

const NODE = 'id kind distance restricted node { name address }';
const EDGES = 'edges { kind source target discriminator weight since until }';
const LINEAGE = `{
    complete
    frontierCount
    frontier(first: 1000)
    countsByKind { kind count }
    roots { id kind name address }
    nodes { ${NODE} }
    ${EDGES}
  }`;

const quoted = (value: string): string => JSON.stringify(value);
const moment = (asOf?: string): string => (asOf ? `, asOf: ${quoted(asOf)}` : '');

export interface Walk {
  of: readonly string[];
  directions: readonly Direction[];
  depth: number;
  limit?: number;
  asOf?: string;
  kinds?: readonly string[];
}

/** Lineage from these, with all that the picture shows. Kinds and directions are names of enums, checked by the server. */
export function lineageQuery({ of, directions, depth, limit = 1000, asOf, kinds = [] }: Walk): string {
  const only = kinds.length ? `, kinds: [${kinds.filter((kind) => /^[A-Z_]+$/.test(kind)).join(', ')}]` : '';
  const fields = directions.map(
    (direction) =>
      `  ${direction.toLowerCase()}: lineage(of: [${of.map(quoted).join(', ')}], direction: ${direction}, depth: ${depth}, limit: ${limit}${only}${moment(asOf)}) ${LINEAGE}`,
  );
  return `${WRITTEN}\nquery Lineage {\n${fields.join('\n')}\n}\n`;
}

interface Addition {
  alias: string;
  field: (asOf?: string) => string;
  /** What the field begins at, where more can be added to it later. */
  id?: string;
}

const MOST_ROOTS = 100;

/** The same question, and what is next to a thing in one direction. */
export function withExpansion(text: string, id: string, direction: Direction, asOf?: string): string {
  const alias = `more${direction === 'UPSTREAM' ? 'Upstream' : 'Downstream'}`;
  const field = (time?: string) => `${alias}: lineage(of: [${quoted(id)}], direction: ${direction}, depth: 1, limit: 1000${moment(time)}) ${LINEAGE}`;
  return added(text, { alias, field, id }, asOf);
}

/** The same question, and the ways between two things, the shortest first. */
export function withWays(text: string, from: string, to: string, direction: Direction, asOf?: string): string {
  const field = (time?: string) => `ways: paths(from: ${quoted(from)}, to: ${quoted(to)}, direction: ${direction}, limit: 20${moment(time)}) {
    count
    complete
    paths { length nodes { ${NODE} } hops { ${EDGES} } }
  }`;
  return added(text, { alias: 'ways', field }, asOf);
}

/** Adds a field to the first query of a document, in the place of an earlier one of its alias. */
function added(text: string, { alias, field, id }: Addition, asOf?: string): string {
  const alone = `${WRITTEN}\nquery Lineage {\n  ${field(asOf)}\n}\n`;
  const document = parsed(text);
  const operation = document?.definitions.find((each) => each.kind === Kind.OPERATION_DEFINITION);
  if (!document || !operation || operation.operation !== OperationTypeNode.QUERY) return alone;
  const { selections } = operation.selectionSet;
  const before = selections.find((each): each is FieldNode => each.kind === Kind.FIELD && each.alias?.value === alias);
  const fresh = fieldOf(field(asOf));
  const roots = before?.arguments?.find(({ name }) => name.value === 'of')?.value;
  if (id && roots?.kind === Kind.LIST && roots.values.length < MOST_ROOTS) {
    const known = roots.values.filter((each) => each.kind === Kind.STRING && each.value !== id);
    const all: ListValueNode = { ...roots, values: [...known, { kind: Kind.STRING, value: id }] };
    fresh.arguments = fresh.arguments!.map((each) => (each.name.value === 'of' ? { ...each, value: all } : each));
  }
  const others = selections.filter((each) => each !== before);
  const changed = { ...operation, selectionSet: { ...operation.selectionSet, selections: [...others, fresh] } };
  return `${comments(text)}${print({ ...document, definitions: document.definitions.map((each) => (each === operation ? changed : each)) })}\n`;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

function fieldOf(text: string): Writable<FieldNode> {
  const [definition] = parse(`{ ${text} }`).definitions as [OperationDefinitionNode];
  return { ...(definition.selectionSet.selections[0] as FieldNode) };
}

function parsed(text: string): DocumentNode | undefined {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

/** The comments that a document begins with, which printing it again would lose. */
const comments = (text: string): string => /^(?:[ \t]*#[^\n]*\n)*/.exec(text)![0];

/** Fields that have a time, told by an argument that they must have: fields of other types may be called the same. */
const DATED: Record<string, string> = { lineage: 'of', paths: 'from' };

/**
 * The same question as of another time; as of now without one. Undefined where nothing in it has a time, or where it
 * is no document. A variable that stood for the time is answered in `variables`.
 */
export function asOfQuery(text: string, asOf: string | undefined): { query: string; variables: string[] } | undefined {
  const document = parsed(text);
  if (!document) return undefined;
  const variables = new Set<string>();
  let found = false;
  const changed = visit(document, {
    Field(node) {
      const given = node.arguments?.find(({ name }) => name.value === 'asOf');
      const needed = DATED[node.name.value];
      if (!given && !node.arguments?.some(({ name }) => name.value === needed)) return undefined;
      found = true;
      if (given?.value.kind === Kind.VARIABLE) {
        variables.add(given.value.name.value);
        return undefined;
      }
      const others = (node.arguments ?? []).filter(({ name }) => name.value !== 'asOf');
      const argument: ArgumentNode = { kind: Kind.ARGUMENT, name: { kind: Kind.NAME, value: 'asOf' }, value: { kind: Kind.STRING, value: asOf ?? '' } };
      return { ...node, arguments: asOf ? [...others, argument] : others };
    },
  });
  if (!found) return undefined;
  const same = print(changed) === print(document);
  return { query: same ? text : `${comments(text)}${print(changed)}\n`, variables: [...variables] };
}
