// Fastify with @fastify/jwt and its cookie, as the plugin's README sets it up: a check of signature and expiry, nothing to
// revoke a token by.
import cookie from '@fastify/cookie';
import jwt from '@fastify/jwt';
import Fastify from 'fastify';

const app = Fastify();
app.register(jwt, { secret: 'a secret of at least thirty-two octets', cookie: { cookieName: 'token', signed: false } });
app.register(cookie);
app.decorate('authenticate', async (request, reply) => {
  try {
    await request.jwtVerify();
  } catch (why) {
    reply.send(why);
  }
});
app.after(() => {
  app.get('/check', { onRequest: [app.authenticate] }, async (request, reply) => {
    reply.header('Remote-User', request.user.sub).header('Remote-Role', request.user.role);
    return '';
  });
});
await app.listen({ host: '127.0.0.1', port: 0 });
const token = app.jwt.sign({ sub: '7', role: 'USER' }, { expiresIn: '1h' });
console.log(`HEADER Cookie: token=${token}`);
console.log(`READY http://127.0.0.1:${app.server.address().port}/check`);
