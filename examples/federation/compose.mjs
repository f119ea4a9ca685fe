// Composes subgraphs into the schema of a gateway, written to standard output.
//
//   node compose.mjs NAME=URL=FILE.graphql …
import { readFileSync } from 'node:fs';
import { composeServices } from '@apollo/composition';
import { parse } from 'graphql';

const services = process.argv.slice(2).map((given) => {
  const [name, url, file] = given.split('=');
  return { name, url, typeDefs: parse(readFileSync(file, 'utf8')) };
});
const { errors, hints, supergraphSdl } = composeServices(services);
for (const error of errors ?? []) console.error(error.message);
for (const hint of hints ?? []) console.error(`hint: ${hint.message}`);
if (errors?.length) process.exit(1);
console.log(supergraphSdl);
