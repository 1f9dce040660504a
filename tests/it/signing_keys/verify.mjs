// A verifier in another service: nothing but Node's own crypto, the public keys and the token.
import { createPublicKey, verify } from 'node:crypto';

const [url, token, iss, aud, now] = process.argv.slice(1);
const { keys } = await (await fetch(url)).json();
const [header, payload, signature] = token.split('.');
const read = (part) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
const { alg, typ, kid } = read(header);
const jwk = keys.find((key) => key.kid === kid);
const claims = read(payload);

function refusal() {
  if (!jwk) return 'unknown kid';
  if (alg !== jwk.alg || typ !== 'at+jwt') return 'another kind of token';
  const key = { key: createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' };
  const digest = { EdDSA: null, ES256: 'sha256' }[jwk.alg];
  const signed = Buffer.from(`${header}.${payload}`);
  if (!verify(digest, signed, key, Buffer.from(signature, 'base64url'))) return 'wrong signature';
  if (claims.iss !== iss || claims.aud !== aud) return 'not from there or not for here';
  return claims.exp > Number(now) ? null : 'expired';
}

console.log(JSON.stringify({ refusal: refusal(), claims }));
