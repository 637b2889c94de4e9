import assert from 'node:assert/strict';
import { test } from 'node:test';

import { runTransform } from '@wasmill/sdk/testing';

import plugin from '../src/index.js';

test('every word knows its line', () => {
  const lines = ['to be or', '', '  not\tto be '];
  const run = runTransform(plugin, { input: { line: 'utf8' }, rows: lines.map((line) => ({ line })) });
  assert.deepEqual(run.rows().map(({ word }) => word), ['to', 'be', 'or', 'not', 'to', 'be']);
  assert.deepEqual(run.parents(), [0, 0, 0, 2, 2, 2]);
});

test('words keep the other columns when asked', () => {
  const run = runTransform(plugin, {
    config: { column: 'message', carry: true },
    input: { id: 'int64', message: 'utf8?' },
    rows: [{ id: 7, message: 'a b' }],
  });
  assert.deepEqual(run.rows(), [
    { id: 7n, message: 'a b', word: 'a' },
    { id: 7n, message: 'a b', word: 'b' },
  ]);
});

test('a line that is null is rejected', () => {
  const run = runTransform(plugin, { input: { line: 'utf8?' }, rows: [{ line: null }, { line: 'a' }] });
  assert.deepEqual(run.rejected, [[0, 'column `line` is null']]);
  assert.deepEqual(run.parents(), [1]);
});

test('a column that is not there is named', () => {
  assert.throws(() => runTransform(plugin, { config: { column: 'mesage' }, input: { message: 'utf8' } }), {
    message: '`column` names column `mesage`, which the input does not have; did you mean `message`?',
  });
  assert.throws(() => runTransform(plugin, { input: { n: 'int64' } }), {
    message: 'the plugin reads a column of type utf8, and the input has none: `n` int64',
  });
});
