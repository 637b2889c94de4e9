import assert from 'node:assert/strict';
import { test } from 'node:test';

import { runSink } from '@wasmill/sdk/testing';

import plugin from '../src/index.js';

test('each row is a line of the log', (t) => {
  const info = t.mock.method(console, 'info', () => {});
  const run = runSink(plugin, {
    input: { word: 'utf8', n: 'int64?', at: 'timestamp' },
    rows: ['{"word": "to \\"be\\"", "n": 9007199254740993, "at": "2024-02-29T01:02:03.5Z"}', { word: 'é', n: null, at: 0n }],
  });
  assert.deepEqual(
    info.mock.calls.map((call) => call.arguments),
    [
      ['{"word":"to \\"be\\"","n":9007199254740993,"at":"2024-02-29T01:02:03.500Z"}'],
      ['{"word":"é","n":null,"at":"1970-01-01T00:00:00Z"}'],
    ],
  );
  assert.deepEqual(run.rejected, []);
});

test('it promises that nothing is lost, and may repeat', () => {
  const run = runSink(plugin, { input: { word: 'utf8' } });
  assert.equal(run.plan.delivery, 'at-least-once');
});
