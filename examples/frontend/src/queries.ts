import { graphql } from './gql/gql.ts';

export const MODELS = graphql(`
  query Models($first: Int!, $after: String) {
    models(first: $first, after: $after) {
      totalCount
      pageInfo { hasNextPage endCursor }
      nodes { id name description versions(first: 1) { totalCount } }
    }
  }
`);

export const MODEL = graphql(`
  query Model($address: ID!) {
    model(address: $address) {
      id
      name
      description
      versions(first: 50) { nodes { id address number state createdAt license } }
    }
  }
`);

export const COMPARE = graphql(`
  query Compare($versions: [ID!]!) {
    compareVersions(versions: $versions) {
      versions { id address }
      parameters { name same values }
      inputs { container { id name address } }
    }
  }
`);

export const LINEAGE = graphql(`
  query Lineage($of: [ID!]!, $direction: LineageDirection!) {
    lineage(of: $of, direction: $direction, depth: 50, limit: 300) {
      complete
      frontierCount
      nodes { id kind distance restricted node { name address } }
      edges { kind source target }
    }
  }
`);
