// A small HTTP client, for sinks. In a component it goes through `wasi:http`; in a native test the test answers.

import { send } from '#http';
import { Fatal } from './errors.js';

const ADDRESS = /^(https?):\/\/((?:[^\s/?#@:[\]]+|\[[\da-f:.]+\])(?::[1-9]\d*)?)([/?][^\s#]*)?(?:#\S*)?$/i;

/** How long a connection, the first byte of an answer, or the next may take, unless the request says otherwise. */
const TIMEOUT_MS = 30_000;
const EXCERPT = 200;

/** An `http` or `https` address, taken apart. */
export function parseUrl(url) {
  const [, scheme, authority, path = '/'] = ADDRESS.exec(url) ?? [];
  if (scheme === undefined) throw new Fatal(`\`${url}\` is not an address as https://example.com/path`);
  return { scheme: scheme.toLowerCase(), authority, path: path.startsWith('/') ? path : `/${path}` };
}

/** Sends a request and waits for the answer, whatever its status. */
export function request(method, url, { headers = {}, body = '', timeoutMs = TIMEOUT_MS } = {}) {
  const { scheme, authority, path } = parseUrl(url);
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  return new Response(send({ method, scheme, authority, path, headers, body: bytes, timeoutMs }));
}

export const get = (url, options) => request('GET', url, options);
export const post = (url, body, options) => request('POST', url, { ...options, body });
export const put = (url, body, options) => request('PUT', url, { ...options, body });

class Response {
  constructor({ status, headers, body }) {
    this.status = status;
    this.headers = {};
    for (const [name, value] of headers) this.headers[name.toLowerCase()] ??= value;
    this.body = body;
  }

  /** The start of the body as text, for an error. */
  excerpt() {
    return new TextDecoder().decode(this.body).trim().slice(0, EXCERPT);
  }
}
