import type { LineageQuery } from './gql/graphql.ts';

type Lineage = NonNullable<LineageQuery['lineage']>;

const [WIDE, HIGH, COLUMN, ROW] = [180, 34, 240, 46];

/** Upstream lineage in columns by distance, the version itself on the right. */
export function Picture({ lineage }: { lineage: Lineage }) {
  const most = Math.max(0, ...lineage.nodes.map(({ distance }) => distance));
  const rows = new Map<number, number>();
  const place = new Map<string, { x: number; y: number }>();
  for (const { id, distance } of lineage.nodes) {
    const row = rows.get(distance) ?? 0;
    rows.set(distance, row + 1);
    place.set(id, { x: (most - distance) * COLUMN + 10, y: row * ROW + 10 });
  }
  const height = Math.max(1, ...rows.values()) * ROW + 20;
  return (
    <>
      {!lineage.complete && <p className="warning">Not complete: {lineage.frontierCount} of these have more behind them.</p>}
      <svg viewBox={`0 0 ${most * COLUMN + WIDE + 20} ${height}`} role="img" aria-label={`Lineage: ${lineage.nodes.length} nodes`}>
        {lineage.edges.map(({ kind, source, target }) => {
          const [effect, cause] = [place.get(source), place.get(target)];
          if (!effect || !cause) return null;
          return <path key={`${source} ${kind} ${target}`} d={`M${cause.x + WIDE},${cause.y + HIGH / 2}L${effect.x},${effect.y + HIGH / 2}`} stroke="#8791a1" fill="none"><title>{kind}</title></path>;
        })}
        {lineage.nodes.map(({ id, kind, restricted, node }) => {
          const { x, y } = place.get(id)!;
          return (
            <g key={id} transform={`translate(${x} ${y})`}>
              <title>{node?.address ?? 'Restricted'}</title>
              <rect width={WIDE} height={HIGH} rx="6" fill={restricted ? '#ececec' : '#dbe9ff'} stroke="#1d5fbf" strokeDasharray={restricted ? '4 3' : undefined} />
              <text x="8" y="15" fontSize="11" fontWeight="600">{(node?.address.split(':/')[1] ?? 'Restricted').slice(0, 28)}</text>
              <text x="8" y="28" fontSize="10" fill="#545d6c">{kind.toLowerCase().replaceAll('_', ' ')}</text>
            </g>
          );
        })}
      </svg>
    </>
  );
}
