import assert from 'node:assert/strict';
import { test } from 'node:test';

import { defineReducer } from '@wasmill/sdk';
import { runReducer } from '@wasmill/sdk/testing';

const input = { total: 'int64', largest: 'float64' };
const rows = [
  { total: 1, largest: 0.5 },
  { total: 2, largest: 2.5 },
  { total: 3, largest: 1 },
];

test('rows are reduced by a function of two', () => {
  const plugin = defineReducer({
    input,
    reduce: (a, b) => ({ total: a.total + b.total, largest: Math.max(a.largest, b.largest) }),
  });
  assert.deepEqual(runReducer(plugin, { input, rows, groups: [2, 1] }).rows(), [
    { total: 3n, largest: 2.5 },
    { total: 3n, largest: 1 },
  ]);
});

test('whole columns are reduced, and taken out again', () => {
  const sum = ({ columns, starts, count }) => ({
    total: Array.from({ length: count }, (_, group) =>
      columns.total.values.subarray(starts[group], starts[group + 1]).reduce((sum, n) => sum + n, 0n),
    ),
  });
  const plugin = defineReducer({
    input: { total: 'int64' },
    groups: sum,
    inverse: (total, gone) => ({ total: total.total - gone.total }),
  });
  const run = runReducer(plugin, { input, rows });
  assert.deepEqual(run.json(), ['{"total":6}']);
  assert.equal(run.plan.invertible, true);
  const wrong = defineReducer({ input: { total: 'int64' }, groups: sum, inverse: (total) => total });
  assert.throws(() => runReducer(wrong, { input, rows }), /the whole without the first 1 rows: .* comes out instead of/);
});

test('a rule that depends on the cut is found', () => {
  const plugin = defineReducer({ input: { total: 'int64' }, reduce: (a, b) => ({ total: a.total - b.total }) });
  assert.throws(() => runReducer(plugin, { input, rows }), /reduced in parts of 1, 2 rows, and the parts again/);
});

test('rows with a null are at fault, all that there are', () => {
  const plugin = defineReducer({ input: { total: 'int64' }, reduce: (a) => a });
  const nulls = [{ total: 1 }, { total: null }, { total: null }];
  assert.throws(() => runReducer(plugin, { input: { total: 'int64?' }, rows: nulls }), {
    kind: 'rejected',
    message: 'column `total` is null',
    rows: [1, 2],
  });
});
