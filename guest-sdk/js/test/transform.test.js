import assert from 'node:assert/strict';
import { test } from 'node:test';

import { column, context, defineTransform, Fatal, Reject, Retryable, words } from '@wasmill/sdk';
import { runTransform } from '@wasmill/sdk/testing';

import { enter } from '../src/context.js';

const numbers = (...values) => values.map((n) => ({ n }));

test('a filter keeps rows whole, and copies nothing', () => {
  const plugin = defineTransform({ input: { n: 'int64' }, filter: ({ n }) => n > 1n });
  const input = { id: 'utf8', n: 'int64' };
  const run = runTransform(plugin, { input, rows: ['{"id":"a","n":1}', '{"id":"b","n":2}'] });
  assert.deepEqual(run.rows(), [{ id: 'b', n: 2n }]);
  assert.deepEqual(run.parents(), [1]);
  assert.deepEqual(run.plan, { columns: ['n'], ports: [{ name: 'out', columns: [], carry: true }] });
});

test('a map may drop rows', () => {
  const plugin = defineTransform({
    input: { n: 'int64?' },
    output: { half: 'int64', note: 'utf8?' },
    map: ({ n }) => (n === null || n % 2n === 1n ? null : { half: n / 2n }),
  });
  const run = runTransform(plugin, { input: { n: 'int64?' }, rows: numbers(4, 3, null, 8) });
  assert.deepEqual(run.rows(), [
    { half: 2n, note: null },
    { half: 4n, note: null },
  ]);
  assert.deepEqual(run.parents(), [0, 3]);
});

test('what a function throws turns its row away, with all that it gave', (t) => {
  const error = t.mock.method(console, 'error', () => {});
  const plugin = defineTransform({
    input: { n: 'int64' },
    output: { m: 'int64' },
    *flatMap({ n }) {
      yield { m: n };
      if (n === 1n) throw new Reject('one is too many');
      if (n === 2n) undefined.property;
      if (n === 3n) yield { m: 'three' };
    },
  });
  const run = runTransform(plugin, { input: { n: 'int64' }, rows: numbers(0, 1, 2, 3, 4) });
  assert.deepEqual(run.rows(), [{ m: 0n }, { m: 4n }]);
  assert.deepEqual(run.parents(), [0, 4]);
  const reasons = Object.fromEntries(run.rejected);
  assert.equal(reasons[1], 'one is too many');
  assert.match(reasons[2], /^TypeError: Cannot read properties of undefined/);
  assert.equal(reasons[3], 'TypeError: column `m` of type int64 cannot hold "three"');
  assert.equal(error.mock.callCount(), 1, 'the first mistake of a call is logged with its stack');
});

test('an error for the host ends the call', () => {
  for (const error of [new Fatal('enough'), new Retryable('later', { afterMs: 5 })]) {
    const plugin = defineTransform({ input: { n: 'int64' }, filter: () => { throw error; } });
    assert.throws(() => runTransform(plugin, { input: { n: 'int64' }, rows: numbers(1) }), error);
  }
  assert.deepEqual(new Retryable('later', { afterMs: 5 }).payload, {
    kind: 'retryable',
    message: 'later',
    rows: new Uint32Array(),
    afterMs: 5,
  });
});

test('several ports', () => {
  const plugin = defineTransform({
    input: { line: 'utf8' },
    outputs: { numbers: { number: 'int64' }, words: { word: 'utf8' } },
    carry: true,
    flatMap: ({ line }) => words(line).map((word) => (/^\d+$/.test(word) ? { numbers: { number: BigInt(word) } } : { words: { word } })),
  });
  const run = runTransform(plugin, { input: { line: 'utf8' }, rows: [{ line: 'a 1' }, { line: '2' }] });
  assert.deepEqual(run.rows('words'), [{ line: 'a 1', word: 'a' }]);
  assert.deepEqual(run.json('numbers'), ['{"line":"a 1","number":1}', '{"line":"2","number":2}']);
  const wrong = defineTransform({ input: { line: 'utf8' }, outputs: { words: {} }, flatMap: () => [{ word: {} }] });
  const { rejected } = runTransform(wrong, { input: { line: 'utf8' }, rows: [{ line: '' }] });
  assert.deepEqual(rejected, [[0, 'TypeError: there is no port `word`; did you mean `words`?']]);
});

test('whole columns', () => {
  const plugin = defineTransform({
    input: { celsius: 'float64', id: 'utf8' },
    output: { fahrenheit: 'float64', id: 'utf8', warm: 'boolean' },
    batch(batch) {
      const { celsius, id } = batch.columns;
      batch.reject(1, 'too cold');
      const fahrenheit = celsius.values.map((value) => value * 2 + 32);
      return { columns: { fahrenheit, id, warm: celsius.toArray().map((value) => value > 20) } };
    },
  });
  const rows = [
    { celsius: 25, id: 'é' },
    { celsius: -300, id: 'b' },
  ];
  const run = runTransform(plugin, { input: { celsius: 'float64', id: 'utf8' }, rows });
  assert.deepEqual(run.rows(), [
    { fahrenheit: 82, id: 'é', warm: true },
    { fahrenheit: -568, id: 'b', warm: false },
  ]);
  assert.deepEqual(run.rejected, [[1, 'too cold']]);
});

test('whole columns of other rows, or of none', () => {
  const input = { n: 'int64' };
  const every = defineTransform({ input, carry: true, batch: () => ({ parents: [1, 1] }) });
  assert.deepEqual(runTransform(every, { input, rows: numbers(1, 2) }).rows(), [{ n: 2n }, { n: 2n }]);
  const count = defineTransform({
    input,
    output: { count: 'int64' },
    batch: ({ rows }) => ({ parents: null, rows: 1, columns: { count: [rows] } }),
  });
  assert.deepEqual(runTransform(count, { input, rows: numbers(1, 2) }).rows(), [{ count: 2n }]);
});

test('an int64 is read as a number only where that is exact', () => {
  const plugin = defineTransform({
    input: { n: column('int64', { as: 'number' }) },
    output: { m: column('int64', { as: 'number' }) },
    map: ({ n }) => ({ m: n + 1 }),
  });
  const run = runTransform(plugin, { input: { n: 'int64' }, rows: numbers(1, 2n ** 53n + 1n) });
  assert.deepEqual(run.rows(), [{ m: 2n }]);
  assert.deepEqual(run.rejected, [[1, 'column `n` holds 9007199254740993, which a number does not hold exactly']]);
});

test('a json column is a text, or the value that it stands for', () => {
  const plugin = defineTransform({
    input: { tags: column('json', { as: 'value' }), raw: 'json' },
    output: { tags: column('json', { as: 'value' }), raw: 'utf8' },
    map: ({ tags, raw }) => ({ tags: [...tags, 'more'], raw }),
  });
  const rows = ['{"tags":["a"],"raw":[1.50]}'];
  const run = runTransform(plugin, { input: { tags: 'json', raw: 'json' }, rows });
  assert.deepEqual(run.json(), ['{"tags":["a","more"],"raw":"[1.50]"}']);
});

test('the context of the call', () => {
  const plugin = defineTransform({
    output: { at: 'int64', watermark: 'int64?' },
    map: () => ({ at: context().batchTime, watermark: context().watermark }),
  });
  const run = runTransform(plugin, { rows: [{}], context: { batchTime: 12 } });
  assert.deepEqual(run.rows(), [{ at: 12n, watermark: null }]);
  const marked = runTransform(plugin, { rows: [{}], context: { batchTime: 12, watermark: -3 } });
  assert.deepEqual(marked.rows(), [{ at: 12n, watermark: -3n }]);
});

test('a time before 1970 has its sign, though it comes without', () => {
  const unsigned = (integer) => BigInt.asUintN(64, integer);
  enter({ ...context(), batchTime: unsigned(-5n), watermark: unsigned(-7n) });
  assert.deepEqual([context().batchTime, context().watermark], [-5, -7]);
  enter({ ...context(), batchTime: 0n, watermark: unsigned(-(2n ** 63n)) });
  assert.equal(context().watermark, undefined);
});

test('a definition that makes no sense is refused when it is made', () => {
  assert.throws(() => defineTransform({ flatmap: () => [] }), /a definition has no `flatmap`; did you mean `flatMap`\?/);
  assert.throws(() => defineTransform({ map: () => ({}), filter: () => true }), /a transform has one of map, filter, flatMap/);
  assert.throws(() => defineTransform({ map: async () => ({}) }), /`map` must not be async/);
  assert.throws(() => defineTransform({ output: { n: 'int64' }, filter: () => true }), /a filter makes no columns/);
  assert.throws(() => column('int32'), /`int32` is not a type/);
  assert.throws(() => column('utf8', { as: 'number' }), /cannot be read as `number`/);
});

test('words are parted by ASCII white space', () => {
  assert.deepEqual(words(' a\tb\n\f\rc\u00a0d  \x0b '), ['a', 'b', 'c\u00a0d', '\x0b']);
  assert.deepEqual(words(''), []);
});
