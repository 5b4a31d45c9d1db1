// The page: a theme, which the user's other apps may read, and notes, which they may not.

import * as api from './api.js';
import { PREFIX } from './config.js';
import { LoginNeeded, ProviderDown, email, finishLogIn, logIn, logOut, loggedIn } from './login.js';

const THEME = `${PREFIX}theme`;
const NOTE = `${PREFIX}note/`;

const element = (id) => document.getElementById(id);

function say(text) {
  element('status').textContent = text;
}

// Does something for the user, and says how it went.
async function attempt(what, action) {
  say(`${what} …`);
  try {
    await action();
    say('');
  } catch (problem) {
    say(problem instanceof LoginNeeded ? problem.message : `${what}: ${problem.message}.`);
    if (![LoginNeeded, ProviderDown, api.Refused].includes(problem.constructor)) console.error(problem);
  }
  show();
}

function show() {
  element('welcome').hidden = loggedIn();
  element('app').hidden = !loggedIn();
}

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  element('theme').value = theme;
}

function addNote(key, text) {
  const item = element('note').content.cloneNode(true).firstElementChild;
  const area = item.querySelector('textarea');
  area.value = text;
  area.addEventListener('change', () => attempt('Saving the note', () => api.set(key, area.value, api.PRIVATE)));
  item.querySelector('button').addEventListener('click', () =>
    attempt('Deleting the note', async () => {
      await api.remove(key);
      item.remove();
    }),
  );
  element('notes').prepend(item);
}

async function load() {
  const keys = (await api.list()).filter((key) => key.startsWith(PREFIX));
  const values = await api.get(keys);
  applyTheme(values.get(THEME) === 'dark' ? 'dark' : 'light');
  element('notes').replaceChildren();
  // Keys come in their order, and a note's begins with its time: the latest ends up first.
  for (const key of keys) {
    if (key.startsWith(NOTE) && values.has(key)) addNote(key, values.get(key));
  }
}

async function start() {
  await finishLogIn();
  if (!loggedIn()) return;
  element('who').textContent = email() ?? '';
  show();
  await load();
}

element('log-in').addEventListener('click', () => attempt('Logging in', logIn));
element('log-out').addEventListener('click', () => attempt('Logging out', logOut));
element('theme').addEventListener('change', ({ target }) =>
  attempt('Saving the theme', async () => {
    await api.set(THEME, target.value, api.PUBLIC);
    applyTheme(target.value);
  }),
);
element('new').addEventListener('submit', (event) => {
  event.preventDefault();
  const area = event.target.elements.text;
  attempt('Saving the note', async () => {
    const key = `${NOTE}${new Date().toISOString()}-${crypto.randomUUID().slice(0, 8)}`;
    await api.set(key, area.value, api.PRIVATE);
    addNote(key, area.value);
    area.value = '';
  });
});
attempt('Loading', start);
