// Prints how each of graphql-http's audits of a server ended: [{ id, name, status, reason }].
import { serverAudits } from 'graphql-http';

const results = [];
for (const audit of serverAudits({ url: process.argv[2] })) {
  const result = await audit.fn();
  results.push({ id: result.id, name: result.name, status: result.status, reason: result.reason ?? '' });
}
console.log(JSON.stringify(results));
