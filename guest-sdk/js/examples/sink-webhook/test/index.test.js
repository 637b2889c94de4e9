import assert from 'node:assert/strict';
import { test } from 'node:test';

import { runSink } from '@wasmill/sdk/testing';

import plugin from '../src/index.js';

const input = { word: 'utf8' };
const rows = [{ word: 'a' }, { word: 'b' }, { word: 'c' }];
const url = 'http://hooks.example.com/rows';

/** A server that answers with these, the last again and again, and what it received. */
function server(...answers) {
  const received = [];
  const http = ({ method, url, headers, body }) => {
    const status = answers[Math.min(received.length, answers.length - 1)];
    received.push([method, url, headers['Idempotency-Key'], JSON.parse(body)]);
    return { status, headers: { 'Retry-After': '7' }, body: 'because' };
  };
  return { http, received };
}

test('rows are posted with a key, and what is sent again has the same', () => {
  const { http, received } = server(200, 503, 200);
  const run = runSink(plugin, { config: { url, batch_rows: 2 }, input, rows, key: 'k', retries: 1, http });
  const sent = [
    ['POST', url, 'k-0', rows.slice(0, 2)],
    ['POST', url, 'k-1', rows.slice(2)],
  ];
  assert.deepEqual(received, [...sent, ...sent]);
  assert.deepEqual(run.rejected, []);
});

test('rows that the server does not want are rejected, or end the pipeline', () => {
  const { http } = server(200, 422);
  const run = runSink(plugin, { config: { url, batch_rows: 2 }, input, rows, http });
  assert.deepEqual(run.rejected, [[2, `${url} answered 422: because`]]);
  const failing = () => runSink(plugin, { config: { url, on_4xx: 'fail' }, input, rows, http });
  assert.throws(failing, { name: 'Fatal', message: `${url} answered 422: because` });
});

test('the host tries again when the server says so', () => {
  const { http } = server(503);
  const failing = () => runSink(plugin, { config: { url }, input, rows, http });
  assert.throws(failing, { name: 'Retryable', afterMs: 7000 });
});

test('a wrong address is told at once', () => {
  for (const url of ['', 'example.com', 'ftp://x', 'http://', 'http:///x', 'http://:80/x', 'http://u@x/', 'http://x/a b']) {
    assert.throws(() => runSink(plugin, { config: { url }, input }), /is not an address/, url);
  }
});
