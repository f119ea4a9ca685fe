// A feature store that knows which versions of models use its views: a second subgraph beside Lineal.
//
//   node features.mjs PORT VIEWS.json
//
// VIEWS.json: [{ "name", "team", "source": { "workspace", "name" }, "computedFrom": address, "usedBy": [ids of model versions] }]
import { readFileSync } from 'node:fs';
import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { parse } from 'graphql';

const [port, file] = process.argv.slice(2);
const views = JSON.parse(readFileSync(file, 'utf8'));
const typeDefs = parse(readFileSync(new URL('features.graphql', import.meta.url), 'utf8'));

const dataset = (source) => ({ __typename: 'Dataset', workspace: { name: source.workspace }, name: source.name });
const resolvers = {
  Query: { featureViews: () => views },
  FeatureView: {
    __resolveReference: ({ name }) => views.find((view) => view.name === name),
    keptBy: (view) => ({ __typename: 'Team', name: view.team }),
    source: (view) => dataset(view.source),
    computedFrom: (view) => ({ __typename: 'DatasetVersion', address: view.computedFrom }),
    usedBy: (view) => view.usedBy.map((id) => ({ __typename: 'ModelVersion', id })),
  },
  ModelVersion: { featureViews: ({ id }) => views.filter((view) => view.usedBy.includes(id)) },
  Dataset: {
    featureViews: ({ workspace, name }) =>
      views.filter(({ source }) => source.workspace === workspace.name && source.name === name),
  },
  Team: { channel: ({ name }) => `#${name}` },
};

const server = new ApolloServer({ schema: buildSubgraphSchema({ typeDefs, resolvers }) });
await startStandaloneServer(server, { listen: { host: '127.0.0.1', port: Number(port) } });
