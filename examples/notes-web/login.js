// Log in by the authorization code flow with PKCE (RFC 7636), as a public client: there is no secret in a web page.

import { CLIENT_ID, ISSUER, SCOPE } from './config.js';

// Tokens live as long as the tab. This page loads no script of others, which could read them.
const kept = sessionStorage;
const page = location.origin + location.pathname; // registered at the provider as a redirect URI

export class LoginNeeded extends Error {}
export class ProviderDown extends Error {}

let tokens = JSON.parse(kept.getItem('tokens'));
let refreshing = null;
let discovered = null;

export const loggedIn = () => tokens !== null;
export const accessToken = () => tokens.access_token;

// The token endpoint itself said this, so its signature need not be checked (OpenID Connect Core 3.1.3.7).
export function email() {
  const payload = tokens.id_token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (byte) => byte.charCodeAt(0)))).email;
}

export async function logIn() {
  const { authorization_endpoint } = await provider();
  const verifier = random();
  const state = random();
  kept.setItem('login', JSON.stringify({ verifier, state }));
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: CLIENT_ID,
    redirect_uri: page,
    scope: SCOPE,
    state,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: 'S256',
  });
  location.assign(`${authorization_endpoint}?${query}`);
}

// Takes what the provider sent back with the user, if it did. Throws where the login failed.
export async function finishLogIn() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has('state')) return;
  history.replaceState(null, '', page); // a code works once, and is nothing for bookmarks
  const login = JSON.parse(kept.getItem('login'));
  kept.removeItem('login');
  // An answer to a question that this tab did not ask, or from another provider (RFC 9207), is not taken.
  if (login?.state !== answer.get('state') || (answer.get('iss') ?? ISSUER) !== ISSUER) {
    throw new LoginNeeded('This login was not begun here. Please log in again.');
  }
  if (answer.has('error')) {
    throw new LoginNeeded(`The login did not succeed: ${answer.get('error_description') ?? answer.get('error')}.`);
  }
  await ask({
    grant_type: 'authorization_code',
    code: answer.get('code'),
    redirect_uri: page,
    code_verifier: login.verifier,
  });
}

// Gets a new access token. Calls that find theirs expired at the same time share one refresh.
export function refresh() {
  refreshing ??= ask({ grant_type: 'refresh_token', refresh_token: tokens?.refresh_token ?? '' }).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

export function forget() {
  tokens = null;
  kept.removeItem('tokens');
}

export async function logOut() {
  const query = new URLSearchParams({ id_token_hint: tokens.id_token, post_logout_redirect_uri: page });
  forget();
  const { end_session_endpoint } = await provider();
  location.assign(`${end_session_endpoint}?${query}`);
}

async function ask(grant) {
  const { token_endpoint } = await provider();
  const body = new URLSearchParams({ client_id: CLIENT_ID, ...grant });
  const response = await reach(token_endpoint, { method: 'POST', body });
  if (!response.ok) {
    forget();
    throw new LoginNeeded('Your login is over. Please log in again.');
  }
  tokens = { ...tokens, ...(await response.json()) }; // a refresh need not give a new refresh or ID token
  kept.setItem('tokens', JSON.stringify(tokens));
}

async function provider() {
  discovered ??= await (await reach(`${ISSUER}/.well-known/openid-configuration`)).json();
  return discovered;
}

async function reach(url, options) {
  const response = await fetch(url, options).catch(() => null);
  if (!response || response.status >= 500) throw new ProviderDown('the login server can’t be reached');
  return response;
}

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
