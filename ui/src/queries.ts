// Documents that the picture writes, and what it changes in those of others.

import {
  type ArgumentNode, type DefinitionNode, type DocumentNode, type FieldNode, getOperationAST, Kind, type ListValueNode, type OperationDefinitionNode,
  OperationTypeNode, parse, print, separateOperations, valueFromASTUntyped, visit,
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

/** What was asked: which operation of a document, and with what. */
export interface Asked {
  query: string;
  /** Needed where the document has several. */
  operationName?: string | null;
  variables?: Readonly<Record<string, unknown>> | null;
}

interface Asking {
  document: DocumentNode;
  operation: OperationDefinitionNode;
  /** The operation, and the fragments that it uses. */
  used: readonly DefinitionNode[];
}

/** What is asked, where it is a query of that document: nothing else may be run because of a picture. */
function asking({ query, operationName }: Asked): Asking | undefined {
  const document = parsed(query);
  const operation = document && getOperationAST(document, operationName);
  if (!document || operation?.operation !== OperationTypeNode.QUERY) return undefined;
  return { document, operation, used: separateOperations(document)[operation.name?.value ?? '']!.definitions };
}

interface Addition {
  alias: string;
  field: (asOf?: string) => string;
  /** What the field begins at, where more can be added to it later. */
  id?: string;
}

const MOST_ROOTS = 100;

export interface Written {
  query: string;
  /** What was asked could not be added to: this is a document of its own. */
  alone: boolean;
}

/** The same question, and what is next to a thing in one direction. */
export function withExpansion(asked: Asked, id: string, direction: Direction, asOf?: string): Written {
  const alias = `more${direction === 'UPSTREAM' ? 'Upstream' : 'Downstream'}`;
  const field = (time?: string) => `${alias}: lineage(of: [${quoted(id)}], direction: ${direction}, depth: 1, limit: 1000${moment(time)}) ${LINEAGE}`;
  return added(asked, { alias, field, id }, asOf);
}

/** The same question, and the ways between two things, the shortest first. */
export function withWays(asked: Asked, from: string, to: string, direction: Direction, asOf?: string): Written {
  const field = (time?: string) => `ways: paths(from: ${quoted(from)}, to: ${quoted(to)}, direction: ${direction}, limit: 20${moment(time)}) {
    count
    complete
    paths { length nodes { ${NODE} } hops { ${EDGES} } }
  }`;
  return added(asked, { alias: 'ways', field }, asOf);
}

/**
 * Adds a field to a query, in the place of an earlier one of its alias. It is asked as of the time that the query has,
 * variable or not: one picture is of one time. `asOf` is for a document of its own.
 */
function added(asked: Asked, { alias, field, id }: Addition, asOf?: string): Written {
  const found = asking(asked);
  if (!found) return { query: `${WRITTEN}\nquery Lineage {\n  ${field(asOf)}\n}\n`, alone: true };
  const { document, operation } = found;
  const { selections } = operation.selectionSet;
  const before = selections.find((each): each is FieldNode => each.kind === Kind.FIELD && each.alias?.value === alias);
  const fresh = fieldOf(field());
  const time = momentsOf(found)[0];
  const roots = before?.arguments?.find(({ name }) => name.value === 'of')?.value;
  if (id && roots?.kind === Kind.LIST && roots.values.length < MOST_ROOTS) {
    const known = roots.values.filter((each) => each.kind === Kind.STRING && each.value !== id);
    const all: ListValueNode = { ...roots, values: [...known, { kind: Kind.STRING, value: id }] };
    fresh.arguments = fresh.arguments!.map((each) => (each.name.value === 'of' ? { ...each, value: all } : each));
  }
  if (time) fresh.arguments = [...fresh.arguments!, time];
  const others = selections.filter((each) => each !== before);
  const changed = { ...operation, selectionSet: { ...operation.selectionSet, selections: [...others, fresh] } };
  return { query: `${comments(asked.query)}${print({ ...document, definitions: document.definitions.map((each) => (each === operation ? changed : each)) })}\n`, alone: false };
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

/** The time that a field is asked as of: null where it could have one, undefined where it could not. */
function momentOf({ name: field, arguments: given = [] }: FieldNode): ArgumentNode | null | undefined {
  const time = given.find(({ name }) => name.value === 'asOf');
  return time ?? (given.some(({ name }) => name.value === DATED[field.value]) ? null : undefined);
}

function momentsOf({ used }: Asking): (ArgumentNode | null)[] {
  const moments: (ArgumentNode | null)[] = [];
  const Field = (node: FieldNode) => {
    const moment = momentOf(node);
    if (moment !== undefined) moments.push(moment);
  };
  for (const each of used) visit(each, { Field });
  return moments;
}

/** The times that an answer is of, undefined for now, in the order of the fields that have one. */
export function timesOf(asked: Asked): (string | undefined)[] {
  const found = asking(asked);
  const defaults = found?.operation.variableDefinitions?.map(({ variable, defaultValue }) => [variable.name.value, defaultValue && valueFromASTUntyped(defaultValue)]);
  const values = { ...Object.fromEntries(defaults ?? []), ...asked.variables };
  const times = found ? momentsOf(found).map((moment) => moment && valueFromASTUntyped(moment.value, values)) : [];
  return times.length ? times.map((time) => (time ? String(time) : undefined)) : [undefined];
}

/**
 * The same question as of another time; as of now without one. Says why where it cannot be asked. A variable that stood
 * for the time is answered in `variables`.
 */
export function asOfQuery(asked: Asked, asOf: string | undefined): { query: string; variables: string[] } | string {
  const found = asking(asked);
  if (!found) return 'what is drawn answers no query of this document';
  if (!momentsOf(found).length) return 'nothing in this query has a time';
  const { document, used } = found;
  const variables = new Set<string>();
  const Field = (node: FieldNode) => {
    const moment = momentOf(node);
    if (moment === undefined) return undefined;
    if (moment?.value.kind === Kind.VARIABLE) {
      variables.add(moment.value.name.value);
      return undefined;
    }
    const others = node.arguments!.filter((each) => each !== moment);
    const argument: ArgumentNode = { kind: Kind.ARGUMENT, name: { kind: Kind.NAME, value: 'asOf' }, value: { kind: Kind.STRING, value: asOf ?? '' } };
    return { ...node, arguments: asOf ? [...others, argument] : others };
  };
  const definitions = document.definitions.map((each) => (used.includes(each) ? (visit(each, { Field }) as DefinitionNode) : each));
  const changed = print({ ...document, definitions });
  return { query: changed === print(document) ? asked.query : `${comments(asked.query)}${changed}\n`, variables: [...variables] };
}
