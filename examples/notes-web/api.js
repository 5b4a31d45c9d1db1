// The user-data API, by user id: each function is one endpoint.

import { API } from './config.js';
import { LoginNeeded, accessToken, forget, refresh } from './login.js';

const MAX_KEYS = 100; // of one request
const ATTEMPTS = 4;

// What a result means, in words for the user. The number belongs to the endpoint: -6 is another thing to each.
const PROBLEMS = {
  '-4': 'the service is busy; try again in a while',
  '-5': 'the service does not accept this; it may be too large, or you may have too many notes',
};
const SET_PROBLEMS = {
  ...PROBLEMS,
  '-6': 'another of your apps has a key of this name',
  '-7': 'the service does not accept this name',
};
const GET_PROBLEMS = { ...PROBLEMS, '-6': 'that is too much at once' };

export class Refused extends Error {}

export const PRIVATE = 0; // this app alone may read it
export const PUBLIC = 1; // the user's other apps may read it, too

// access_scope is named each time: where it is left out, a value becomes public.
export const set = (value_key, value_data, access_scope) =>
  call('set', { value_key, value_data, access_scope }, SET_PROBLEMS);

// The values found, by key.
export async function get(keys) {
  const values = new Map();
  for (let first = 0; first < keys.length; first += MAX_KEYS) {
    const answer = await call('get', { value_keys: keys.slice(first, first + MAX_KEYS) }, GET_PROBLEMS);
    for (const { value_key, value_data } of answer.values) values.set(value_key, value_data);
  }
  return values;
}

// All keys of this app.
export async function list() {
  const { keys_private, keys_public } = await call('list-get', {}, PROBLEMS);
  return [...keys_private, ...keys_public];
}

// Deleting what is not there any more is no failure.
export const remove = (key) => call('delete', { value_keys: [key] }, PROBLEMS);

async function call(action, body, problems) {
  let refreshed = false;
  for (let attempt = 1; ; attempt += 1) {
    const response = await send(action, body);
    const { result, ...fields } = await response.json().catch(() => ({ result: -4 })); // a proxy's error page
    if (result === 0 || result === 1) return fields; // 1: there is nothing

    const again = attempt < ATTEMPTS;
    if (result === -2 && !refreshed) {
      await refresh();
      refreshed = true;
    } else if (result === -4 && again) {
      await seconds(Number(response.headers.get('Retry-After')) || 1);
    } else if (result === -1 || result === -2) {
      forget();
      throw new LoginNeeded('Your login is over. Please log in again.');
    } else if (result === -3) {
      forget();
      throw new LoginNeeded('This page may not keep data for you. Please log in again and permit it.');
    } else {
      console.warn(action, result, response.headers.get('X-Result-Detail')); // the rule that was broken
      throw new Refused(`${problems[result] ?? 'the service refuses this'} (result ${result})`);
    }
  }
}

async function send(action, body) {
  try {
    return await fetch(`${API}/user-data/by-user-id/${action}`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${accessToken()}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
  } catch (cause) {
    throw new Refused('the service can’t be reached', { cause });
  }
}

const seconds = (count) => new Promise((done) => setTimeout(done, Math.min(count, 30) * 1000));
