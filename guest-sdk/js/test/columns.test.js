import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Builder } from '../src/builder.js';
import { view, wide } from '../src/columns.js';
import { columnsOf } from '../src/schema.js';

function made(type, values) {
  const [column] = columnsOf({ c: type });
  const builder = new Builder(column);
  values.forEach((value) => builder.push(value));
  const buffers = builder.finish();
  return { buffers, column: view(column, values.length, buffers) };
}

test('values of every type are read as they were written', () => {
  for (const [type, values] of Object.entries({
    boolean: [true, false, true, true, false, false, true, false, true],
    int64: [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n)],
    float64: [0.1, -Infinity, 1e300],
    'decimal(38,2)': [0n, -1n, 10n ** 37n, -(10n ** 37n), 2n ** 64n],
    date: [0, -1, 2 ** 31 - 1, -(2 ** 31)],
    timestamp: [0n, -1n],
    utf8: ['', 'a', 'été', '😀', '\ufeffbom', 'plain'],
    binary: [new Uint8Array([0, 255]), new Uint8Array()],
    json: ['{"a":1.50}', 'null'],
  })) {
    assert.deepEqual(made(type, values).column.toArray(), values, type);
    const withNull = [null, ...values, null];
    const nullable = made(`${type}?`, withNull).column;
    assert.deepEqual(nullable.toArray(), withNull, type);
    assert.ok(nullable.hasNulls);
  }
});

test('a utf8 column has the bytes of the contract', () => {
  const { buffers } = made('utf8?', ['to', null, 'be']);
  assert.deepEqual(Array.from(buffers.validity), [5]);
  assert.deepEqual(Array.from(buffers.offsets), [0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0]);
  assert.deepEqual(new TextDecoder().decode(buffers.data), 'tobe');
});

test('what a type cannot hold is refused, never rounded', () => {
  for (const [type, value] of [
    ['int64', 1.5],
    ['int64', 2 ** 53],
    ['int64', 2n ** 63n],
    ['int64', '1'],
    ['float64', 1n],
    ['decimal(3,1)', 1000n],
    ['decimal(3,1)', 1],
    ['date', 0.5],
    ['date', 2 ** 31],
    ['timestamp', 1],
    ['timestamp', new Date(NaN)],
    ['utf8', 1],
    ['binary', 'a'],
    ['boolean', 1],
    ['json', {}],
  ]) {
    assert.throws(() => made(type, [value]), /column `c` of type .* cannot hold/, `${type} ${value}`);
  }
  assert.throws(() => made('int64', [undefined]), /column `c` is not nullable and has no value/);
});

test('a number that is exactly an int64 is one, and a Date a timestamp', () => {
  assert.deepEqual(made('int64', [-7]).column.toArray(), [-7n]);
  assert.deepEqual(made('timestamp', [new Date(1500)]).column.toArray(), [1_500_000n]);
});

test('rows are taken back with their nulls', () => {
  const [column] = columnsOf({ c: 'int64?' });
  const builder = new Builder(column);
  [1n, null, null].forEach((value) => builder.push(value));
  builder.truncate(1);
  assert.equal(builder.finish().validity.length, 0);
});

test('typed arrays lie over the buffer, or over a copy where it is not aligned', () => {
  const bytes = new Uint8Array(24);
  bytes[8] = 1;
  const over = wide(BigInt64Array, bytes.subarray(8, 16));
  assert.equal(over[0], 1n);
  assert.equal(over.buffer, bytes.buffer);
  const copied = wide(BigInt64Array, bytes.subarray(7, 23));
  assert.deepEqual(Array.from(copied), [256n, 0n]);
});
