// A certified OpenID provider, set up as a real one would be for the user-data API: users log in by the
// authorization-code flow with PKCE, machines by client credentials, and access tokens are JWTs (RFC 9068).
//
// Environment: ISSUER (its public URL), PORT, AUDIENCE, KEYS_FILE (kept across restarts).
// One command a line on standard input, one JSON answer a line on standard output:
//   rotate keep   new keys sign, the old ones stay published
//   rotate drop   new keys sign, the old ones are gone
// It ends with its standard input.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

const { ISSUER, PORT = '0', AUDIENCE, KEYS_FILE } = process.env;
const API_SCOPES = 'email user-data-set user-data-get';

function newKeys() {
  const made = [
    ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ];
  return made.map(([alg, { privateKey }]) => ({
    ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg,
  }));
}

const machine = (id) => ({
  client_id: id,
  client_secret: `${id}-secret`,
  grant_types: ['client_credentials'],
  response_types: [],
  redirect_uris: [],
});

const email = (sub) => `${sub}@example.com`;

function newProvider(keys) {
  const provider = new Provider(ISSUER, {
    jwks: { keys },
    clients: [
      machine('machine-rs256'),
      machine('machine-es256'),
      {
        client_id: 'demo-app',
        token_endpoint_auth_method: 'none',
        redirect_uris: ['http://127.0.0.1:9/callback'],
        grant_types: ['authorization_code', 'refresh_token'],
      },
    ],
    scopes: ['openid', 'offline_access', 'email'],
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub, email: email(sub), email_verified: true }) }),
    // A token of client credentials speaks for the client itself: its sub is the client's id, and it has no email.
    extraTokenClaims: (_ctx, token) => (token.accountId ? { email: email(token.accountId) } : undefined),
    cookies: { keys: ['not a secret: sessions of test users only'] },
    ttl: { AccessToken: 3600, ClientCredentials: 3600, IdToken: 3600, Session: 3600, Interaction: 600, Grant: 3600 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true }, // a login page that takes any name and password
      resourceIndicators: {
        enabled: true,
        defaultResource: () => AUDIENCE,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, _resource, client) => ({
          scope: API_SCOPES,
          audience: AUDIENCE,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 3600,
          jwt: { sign: { alg: client.clientId === 'machine-es256' ? 'ES256' : 'RS256' } },
        }),
      },
    },
  });
  provider.on('server_error', (_ctx, error) => console.error(error));
  return provider.callback();
}

let keys = existsSync(KEYS_FILE) ? JSON.parse(readFileSync(KEYS_FILE)) : newKeys();
let handle = newProvider(keys);
const say = (answer) => console.log(JSON.stringify(answer));
const keep = () => writeFileSync(KEYS_FILE, JSON.stringify(keys), { mode: 0o600 });

function rotate(old) {
  keys = [...newKeys(), ...old];
  keep();
  handle = newProvider(keys);
  say({ kids: keys.map(({ kid }) => kid) });
}

keep();
const server = createServer((request, response) => handle(request, response));
server.listen(Number(PORT), '127.0.0.1', () => say({ port: server.address().port, kids: keys.map(({ kid }) => kid) }));

createInterface({ input: process.stdin })
  .on('line', (line) => rotate(line === 'rotate keep' ? keys : []))
  .on('close', () => process.exit());
