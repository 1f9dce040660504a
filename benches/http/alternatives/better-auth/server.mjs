// better-auth over PostgreSQL with email and password, as its documentation sets it up on Node: /get-session reads the
// session's row, or, with the cookie cache, believes a signed cookie for some minutes, in which a revocation is not seen.
import { createServer } from 'node:http';
import { betterAuth } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import { toNodeHandler } from 'better-auth/node';
import pg from 'pg';

const server = createServer((request, response) => handler(request, response));
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const baseURL = `http://127.0.0.1:${server.address().port}`;
const options = {
  baseURL,
  secret: 'a secret of at least thirty-two octets',
  database: new pg.Pool({ connectionString: process.env.DATABASE_URL }),
  emailAndPassword: { enabled: true },
  // It is on by default in production, and would answer the load with 429.
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  session: { cookieCache: { enabled: process.argv[2] === 'cached', maxAge: 300 } },
};
await (await getMigrations(options)).runMigrations();
const handler = toNodeHandler(betterAuth(options));
const answer = await fetch(`${baseURL}/api/auth/sign-up/email`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json', Origin: baseURL },
  body: JSON.stringify({ name: 'Emily', email: `emily${Date.now()}@example.com`, password: 'correct horse battery' }),
});
if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
const cookies = answer.headers.getSetCookie().map((cookie) => cookie.split(';')[0]);
console.log(`HEADER Cookie: ${cookies.join('; ')}`);
console.log(`READY ${baseURL}/api/auth/get-session`);
