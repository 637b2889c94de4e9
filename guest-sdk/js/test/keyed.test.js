import assert from 'node:assert/strict';
import { test } from 'node:test';

import { column, defineKeyed, Reject } from '@wasmill/sdk';
import { startKeyed } from '@wasmill/sdk/testing';

const input = { customer: 'utf8', amount: 'int64?' };
const order = (customer, amount) => ({ customer, amount });

const accounts = defineKeyed({
  key: { customer: 'utf8' },
  input: { amount: 'int64' },
  state: { spent: 'int64', note: 'utf8?' },
  output: { customer: 'utf8', spent: 'int64' },
  *update({ key, rows, state }) {
    let spent = state.get()?.spent ?? 0n;
    rows.each(({ amount }) => {
      if (amount < 0n) throw new Reject('the amount is negative');
      spent += amount;
    });
    if (spent > 100n) throw new Reject('too much');
    if (spent === 0n) return state.remove();
    state.put({ spent });
    if (state.isLastPart) yield { customer: key.customer, spent };
  },
});

test('accounts grow, and rows and keys are turned away', () => {
  const run = startKeyed(accounts, { key: ['customer'], input, partsOf: 2 });
  const first = run.epoch(0, [order('ann', 5), order('bob', 1), order('ann', -1), order('ann', 2), order('bob', null)]);
  assert.deepEqual(first.rows(), [
    { customer: 'bob', spent: 1n },
    { customer: 'ann', spent: 7n },
  ]);
  assert.deepEqual(first.rejected(), [
    [2, 'the amount is negative'],
    [4, 'column `amount` is null'],
  ]);
  const second = run.epoch(1, [order('ann', 500), order('bob', 1), order('cy', 0)]);
  assert.deepEqual(second.rejected(), [[0, 'too much']]);
  assert.deepEqual(run.stateJson(), [
    '{"customer":"ann","spent":7,"note":null}',
    '{"customer":"bob","spent":2,"note":null}',
  ]);
});

const sessions = defineKeyed({
  state: { rows: 'int64' },
  output: { rows: 'int64' },
  carry: true,
  update({ rows, state }) {
    if (state.timedOut) {
      const [ended] = [state.get()];
      state.remove();
      return [ended];
    }
    state.put({ rows: (state.get()?.rows ?? 0n) + BigInt(rows.length) });
    state.timeoutAfter(10);
  },
});

test('a timer has a key called without rows, once', () => {
  const run = startKeyed(sessions, { key: ['customer'], input });
  run.epoch(100, [order('ann', 1)]);
  run.epoch(105, [order('ann', 1), order('bob', 1)]);
  assert.deepEqual(run.timers(), [
    ['{"customer":"ann"}', 115],
    ['{"customer":"bob"}', 115],
  ]);
  assert.deepEqual(run.epoch(114).rows(), []);
  assert.deepEqual(run.epoch(115).rows(), [
    { customer: 'ann', rows: 2n },
    { customer: 'bob', rows: 1n },
  ]);
  assert.deepEqual(run.state(), []);
});

test('a timer is set, kept and taken back', () => {
  const plugin = defineKeyed({
    input: { amount: 'int64' },
    state: { n: 'int64' },
    update({ rows: [{ amount }], state }) {
      state.put({ n: amount });
      if (amount === 1n) state.setTimer(50);
      if (amount === 2n) state.clearTimer();
    },
  });
  const run = startKeyed(plugin, { key: ['customer'], input });
  run.epoch(0, [order('ann', 1)]);
  run.epoch(0, [order('ann', 3)]);
  assert.deepEqual(run.timers(), [['{"customer":"ann"}', 50]]);
  run.epoch(0, [order('ann', 2)]);
  assert.deepEqual(run.timers(), []);
});

test('a timer needs a state, and a state columns', () => {
  const timer = defineKeyed({ state: { n: 'int64' }, update: ({ state }) => state.setTimer(1) });
  const put = defineKeyed({ update: ({ state }) => state.put({}) });
  assert.throws(() => startKeyed(timer, { key: ['customer'], input }).epoch(0, [order('a', 1)]), /nothing is remembered/);
  assert.throws(() => startKeyed(put, { key: ['customer'], input }).epoch(0, [order('a', 1)]), /its states have no columns/);
});

test('several inputs', () => {
  const plugin = defineKeyed({
    inputs: [{ page: 'utf8' }, { button: 'int64?' }],
    output: { pages: column('json', { as: 'value' }), clicks: 'int64' },
    carry: true,
    *update({ rows: [views, clicks] }) {
      yield { pages: Array.from(views, ({ page }) => page), clicks: clicks.length };
    },
  });
  const inputs = [
    { user: 'utf8', page: 'utf8' },
    { button: 'int64?', user: 'utf8' },
  ];
  const epoch = startKeyed(plugin, { key: ['user'], inputs }).epoch(0, [
    [{ user: 'a', page: 'x' }, { user: 'a', page: 'y' }],
    [{ user: 'b', button: null }],
  ]);
  assert.deepEqual(epoch.json(), ['{"user":"a","pages":["x","y"],"clicks":0}', '{"user":"b","pages":[],"clicks":1}']);
  assert.throws(() => startKeyed(plugin, { key: ['user'], inputs: [inputs[0]] }), {
    message: 'the step has 1 inputs, and the plugin reads 2',
  });
  assert.throws(() => startKeyed(plugin, { key: ['user'], inputs: [inputs[0], { user: 'utf8' }] }), /^Fatal: input 2: the plugin reads/);
});

test('states of an earlier version are taken over', () => {
  const today = defineKeyed({
    state: { cents: 'int64' },
    version: 2,
    migrate: { 1: { state: { spent: 'int64' }, to: ({ spent }) => ({ cents: spent * 100n }) } },
    update() {},
  });
  const old = startKeyed(accounts, { key: ['customer'], input });
  old.epoch(0, [order('ann', 5)]);
  const run = startKeyed(today, { key: ['customer'], input, from: old });
  assert.deepEqual(run.state(), [{ customer: 'ann', cents: 500n }]);
  assert.deepEqual(old.state(), [{ customer: 'ann', spent: 5n, note: null }]);
  assert.throws(() => today.migrate(7, [], 0, []), { message: 'the plugin cannot take over state of version 7' });
});

test('a key column that is not there is named', () => {
  assert.throws(() => startKeyed(accounts, { key: ['amount'], input }), /^Fatal: key: the plugin reads column `customer`/);
});
