import assert from 'node:assert/strict';
import { test } from 'node:test';

import { defineSink, Retryable, setting } from '@wasmill/sdk';
import { runSink } from '@wasmill/sdk/testing';

const input = { id: 'int64', note: 'utf8?' };
const rows = [{ id: 1, note: 'a' }, { id: 2 }];

/** A receiver that shows only what was committed. */
function receiver() {
  const staged = new Map();
  const visible = [];
  const plugin = defineSink({
    config: { least: setting.integer(0) },
    delivery: 'two-phase',
    columns: () => ['id'],
    open({ least }) {
      let name;
      return {
        begin(key) {
          name = key;
          staged.set(name, []);
        },
        write(batch, reject) {
          for (let row = 0; row < batch.rows; row++) {
            if (batch.columns.id.get(row) < least) reject(row, 'too small');
            else staged.get(name).push(batch.json(row));
          }
        },
        prepare: () => new TextEncoder().encode(name),
        commit(epoch, tokens) {
          for (const token of tokens) visible.push([epoch, ...(staged.get(new TextDecoder().decode(token)) ?? [])]);
        },
        abort(_, tokens) {
          for (const token of tokens) staged.delete(new TextDecoder().decode(token));
        },
      };
    },
  });
  return { plugin, staged, visible };
}

test('a two-phase sink is committed by another instance', () => {
  const { plugin, visible } = receiver();
  const run = runSink(plugin, { config: { least: 2 }, input, rows, key: 'k' });
  assert.deepEqual(run.rejected, [[0, 'too small']]);
  assert.equal(run.plan.delivery, 'two-phase');
  assert.deepEqual(visible, []);
  run.commit(3n);
  assert.deepEqual(visible, [[3n, '{"id":2}']]);
});

test('an aborted epoch is gone', () => {
  const { plugin, staged } = receiver();
  const run = runSink(plugin, { input, rows });
  assert.equal(staged.size, 1);
  run.abort();
  assert.equal(staged.size, 0);
});

test('a partition is given again after a retryable error', () => {
  let failures = 1;
  const keys = [];
  const plugin = defineSink({
    open: () => ({
      begin: (key) => keys.push(key),
      write() {
        if (failures-- > 0) throw new Retryable('busy');
      },
      lastEpoch: () => 7n,
    }),
  });
  assert.throws(() => runSink(plugin, { input, rows, key: 'k' }), { message: 'busy', kind: 'retryable' });
  failures = 1;
  const run = runSink(plugin, { input, rows, key: 'k', retries: 1 });
  assert.deepEqual(keys, ['k', 'k', 'k']);
  assert.equal(run.lastEpoch(), 7n);
  assert.equal(run.token.length, 0);
});

test('any other error of a sink is fatal', () => {
  const plugin = defineSink({ open: () => ({ write: () => JSON.parse('{') }) });
  assert.throws(() => runSink(plugin, { input, rows }), { kind: 'fatal' });
});

test('a column that is not there is named', () => {
  const plugin = defineSink({ columns: () => ['notes'], open: () => ({ write() {} }) });
  assert.throws(() => runSink(plugin, { input, rows }), { message: 'the input has no column `notes`; did you mean `note`?' });
});

test('rows are objects of values', () => {
  const seen = [];
  const plugin = defineSink({ open: () => ({ write: (batch) => seen.push(batch.row(1)) }) });
  runSink(plugin, { input, rows });
  assert.deepEqual(seen, [{ id: 2n, note: null }]);
});
