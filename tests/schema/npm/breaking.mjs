// Prints what changed between two schemas in a way that breaks clients: [{ path, message }].
import { readFileSync } from 'node:fs';
import { CriticalityLevel, diff } from '@graphql-inspector/core';
import { buildSchema } from 'graphql';

const [before, after] = process.argv.slice(2).map((file) => buildSchema(readFileSync(file, 'utf8')));
const changes = await diff(before, after);
const breaking = changes.filter((change) => change.criticality.level === CriticalityLevel.Breaking);
console.log(JSON.stringify(breaking.map(({ path, message }) => ({ path: path ?? '', message }))));
