// Questions to begin with, which any store can answer.

import { WRITTEN } from './queries.ts';

export interface Example {
  title: string;
  query: string;
}

const PICTURE = `complete
    frontierCount
    countsByKind { kind count }
    roots { id kind name address }
    nodes { id kind distance restricted node { name address } }
    edges { kind source target discriminator weight since }`;

/** `first` is a data set, a model version and two versions of one model that are there, by address. */
export interface Found {
  dataset?: string;
  version?: string;
  versions?: readonly string[];
}

export function examples({ dataset = 'datasets:/NQ', version = 'models:/name/1', versions = [] }: Found): Example[] {
  return [
    {
      title: 'A data set went bad: what came of it?',
      query: `# A data set is found contaminated. Which model versions learned from it, directly or through
# a base model, and which deployments serve them? The picture is under “Lineage” on the left.
query Contaminated($of: ID! = ${JSON.stringify(dataset)}, $asOf: DateTime) {
  impact: lineage(of: [$of], direction: DOWNSTREAM, depth: 200, limit: 20000, asOf: $asOf) {
    ${PICTURE}
  }
}
`,
    },
    {
      title: 'Where did a model version come from?',
      query: `query Origins($of: ID! = ${JSON.stringify(version)}, $asOf: DateTime) {
  origins: lineage(of: [$of], direction: UPSTREAM, depth: 50, asOf: $asOf) {
    ${PICTURE}
  }
}
`,
    },
    {
      title: 'Models and their versions',
      query: `query Models {
  models(first: 20) {
    totalCount
    pageInfo { hasNextPage endCursor }
    nodes {
      id kind name address
      versions(first: 5) { nodes { id kind number address } }
    }
  }
}
`,
    },
    {
      title: 'What is deployed, and where',
      query: `query Deployed {
  deployments(first: 50) {
    pageInfo { hasNextPage endCursor }
    nodes {
      id kind name address state
      environment { id kind name }
      serves { nodes { id kind address number } }
    }
  }
}
`,
    },
    ...(versions.length > 1
      ? [
          {
            title: 'Two versions side by side',
            query: `query Compared($versions: [ID!]! = ${JSON.stringify(versions)}) {
  compareVersions(versions: $versions) {
    versions { id kind address number }
    parameters { name same values }
    inputs { container { id kind name address } }
  }
}
`,
          },
        ]
      : []),
    {
      title: 'Who am I, and what may I do?',
      query: `query Me {
  viewer { name anonymous teams scopes roles { workspace role } }
}
`,
    },
  ];
}

/** Finds what the examples can be about. */
export const FIND = `${WRITTEN}
query Find {
  nq: dataset(address: "datasets:/NQ") { address }
  datasets(first: 1) { nodes { address } }
  deployments(first: 1) { nodes { serves(first: 1) { nodes { address } } } }
  modelVersions(first: 2) { nodes { address } }
}
`;

interface Nodes {
  nodes: { address: string; serves?: Nodes }[];
}

/** What an answer to FIND names; parts of it may be null, or missing. */
export function found(data: { nq?: { address: string } | null; datasets?: Nodes | null; deployments?: Nodes | null; modelVersions?: Nodes | null } | null | undefined): Found {
  const versions = data?.modelVersions?.nodes.map(({ address }) => address) ?? [];
  return {
    dataset: data?.nq?.address ?? data?.datasets?.nodes[0]?.address,
    version: data?.deployments?.nodes[0]?.serves?.nodes[0]?.address ?? versions[0],
    versions,
  };
}
