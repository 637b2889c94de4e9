import assert from 'node:assert/strict';
import { test } from 'node:test';

import { startKeyed } from '@wasmill/sdk/testing';

import plugin from '../src/index.js';

const input = { line: 'int64', word: 'utf8?' };
const LINE = ['to', 'be', 'to', null].map((word) => ({ line: 1, word }));

test('counts go on from epoch to epoch', () => {
  const run = startKeyed(plugin, { key: ['word'], input });
  assert.deepEqual(run.epoch(0, LINE).rows(), [
    { word: 'be', n: 1n },
    { word: 'to', n: 2n },
    { word: null, n: 1n },
  ]);
  assert.deepEqual(run.epoch(1, [LINE[0]]).rows(), [{ word: 'to', n: 3n }]);
  assert.equal(run.state().length, 3);
});

test('a key in several parts is told once', () => {
  const run = startKeyed(plugin, { key: ['word'], input, partsOf: 1 });
  const counts = run.epoch(0, LINE).rows().map(({ n }) => n);
  assert.deepEqual(counts.sort(), [1n, 1n, 2n]);
});
