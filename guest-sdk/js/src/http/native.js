// Requests of native tests: a plugin waits for its answer, and Node.js cannot wait, so the test answers them itself.

import { Fatal } from '../errors.js';

let answer;

/** Has a function answer the requests of some work: from `{ method, url, headers, body }` to `{ status, headers, body }`. */
export function answered(by, work) {
  const before = answer;
  answer = by;
  try {
    return work();
  } finally {
    answer = before;
  }
}

export function send({ method, scheme, authority, path, headers, body }) {
  if (!answer) throw new Fatal(`nobody answers ${method} ${path}: give the test \`http\`, a function of the request`);
  const given = answer({ method, url: `${scheme}://${authority}${path}`, headers, body: new TextDecoder().decode(body) });
  return {
    status: given.status,
    headers: Object.entries(given.headers ?? {}),
    body: new TextEncoder().encode(given.body ?? ''),
  };
}
