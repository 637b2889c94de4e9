import assert from 'node:assert/strict';
import { test } from 'node:test';

import { runReducer } from '@wasmill/sdk/testing';

import plugin from '../src/index.js';

test('the first of the longest words is kept', () => {
  // What counts are characters: two emoji are four units of UTF-16, and eight bytes.
  const words = ['été', 'four', '😀😀', 'five', 'or', ''];
  const run = runReducer(plugin, {
    input: { word: 'utf8' },
    rows: words.map((word) => ({ word })),
    groups: [4, 1, 1],
  });
  assert.deepEqual(run.rows(), [{ word: 'four' }, { word: 'or' }, { word: '' }]);
  assert.equal(run.plan.invertible, false);
});

test('the result has the column of the input', () => {
  const run = runReducer(plugin, {
    config: { column: 'name' },
    input: { word: 'utf8', name: 'utf8' },
    rows: [
      { word: 'long', name: 'a' },
      { word: 'x', name: 'bc' },
    ],
  });
  assert.deepEqual(run.rows(), [{ name: 'bc' }]);
});
