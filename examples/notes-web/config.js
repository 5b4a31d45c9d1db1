// Where the page finds its two servers, and what it is called there. Change these for servers of your own.

export const ISSUER = 'http://127.0.0.1:8080/realms/HyperID';
export const API = 'http://127.0.0.1:8000';
export const CLIENT_ID = 'demo-app';
export const SCOPE = 'openid email user-data-set user-data-get';

// All apps of a user share one space of keys, so the keys of this one begin with its name.
export const PREFIX = 'notes-web/';
