// What the host checks of the buffers that a plugin gives back.

import assert from 'node:assert/strict';

import { view, wide } from '../columns.js';
import { column as columnOf, isVarying } from '../types.js';

/** The views of columns that a plugin made, or an AssertionError if the buffers do not hold `rows` values of each. */
export function columns(fields, buffers, rows) {
  assert.equal(buffers.length, fields.length, 'columns given back');
  return fields.map((field, at) => {
    const column = columnOf(field);
    checkColumn(column, buffers[at], rows);
    return view(column, rows, buffers[at]);
  });
}

function checkColumn({ name, type, nullable }, buffers, rows) {
  for (const [part, bytes] of Object.entries(buffers)) {
    if (['validity', 'offsets', 'data'].includes(part)) assert.ok(bytes instanceof Uint8Array, `\`${name}\`.${part} is bytes`);
  }
  const { validity, offsets, data } = buffers;
  if (validity.length > 0) assert.equal(validity.length, Math.ceil(rows / 8), `bytes of validity of \`${name}\``);
  const missing = view({ name, type, nullable }, rows, buffers);
  if (!nullable) assert.ok(!missing.hasNulls, `\`${name}\` has nulls and declares none`);
  if (isVarying(type)) {
    checkOffsets({ name, type }, offsets, data, rows);
  } else {
    const length = type.name === 'boolean' ? Math.ceil(rows / 8) : rows * type.width;
    assert.equal(data.length, length, `bytes of \`${name}\``);
    assert.equal(offsets.length, 0, `\`${name}\` is of fixed width and has offsets`);
  }
}

function checkOffsets({ name, type }, offsets, data, rows) {
  if (rows === 0 && offsets.length === 0) return;
  const ends = wide(Uint32Array, offsets);
  assert.equal(ends.length, rows + 1, `offsets of \`${name}\``);
  assert.equal(ends[0], 0, `the first offset of \`${name}\``);
  assert.equal(ends[rows], data.length, `the last offset of \`${name}\``);
  assert.ok(ends.every((end, row) => row === 0 || end >= ends[row - 1]), `the offsets of \`${name}\` go backwards`);
  if (type.name === 'binary') return;
  assert.doesNotThrow(() => new TextDecoder('utf-8', { fatal: true }).decode(data), `\`${name}\` is UTF-8`);
  const isStart = (end) => end === data.length || (data[end] & 0xc0) !== 0x80;
  assert.ok(ends.every(isStart), `\`${name}\` is cut within a character`);
}

/** The rejected rows, each with its reason. */
export function rejects({ rows, reasons }, count) {
  checkRowNumbers('a reject', rows, count);
  assert.ok(rows.every((row, at) => at === 0 || row > rows[at - 1]), 'rejected rows ascend');
  if (rows.length === 0) return [];
  const [texts] = columns([{ name: 'reason', dataType: 'utf8', nullable: false }], [reasons], rows.length);
  return Array.from(rows, (row, at) => [row, texts.get(at)]);
}

export function checkRowNumbers(what, numbers, rows) {
  for (const number of numbers) assert.ok(number < rows, `${what} names row ${number} of ${rows}`);
}
