// Building output columns: values are checked when they are given, and written to buffers at the end.

import { ARRAYS, Column } from './columns.js';
import { spelled } from './types.js';

const encoder = new TextEncoder();

export const NO_BYTES = new Uint8Array(0);
export const NO_BUFFERS = { validity: NO_BYTES, offsets: NO_BYTES, data: NO_BYTES };

const bytesOf = ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength);

/** A column in the making. */
export class Builder {
  constructor({ name, type, nullable, as }) {
    this.name = name;
    this.type = type;
    this.nullable = nullable;
    this.as = as;
    this.check = CHECKS[type.name];
    this.plain = as === undefined ? PLAIN[type.name] : undefined;
    this.values = [];
    this.nulls = 0;
  }

  /** Adds the values of rows. Calls are what costs in the component, so a value that needs no check goes without one. */
  pushAll(rows) {
    const { name, plain, values } = this;
    for (let at = 0; at < rows.length; at++) {
      const value = rows[at][name];
      if (typeof value === plain) values.push(value);
      else this.push(value);
    }
  }

  /** Adds a value, or throws a TypeError that names the column. */
  push(value) {
    if (value === null || value === undefined) {
      if (!this.nullable) throw new TypeError(`column \`${this.name}\` is not nullable and has no value`);
      this.nulls++;
      this.values.push(null);
      return;
    }
    const checked = this.as === 'value' ? JSON.stringify(value) : this.check(value, this.type);
    if (checked === undefined) {
      throw new TypeError(`column \`${this.name}\` of type ${spelled(this.type)} cannot hold ${shown(value)}`);
    }
    this.values.push(checked);
  }

  /** Takes back all values from `rows` on. */
  truncate(rows) {
    for (let row = rows; row < this.values.length; row++) if (this.values[row] === null) this.nulls--;
    this.values.length = rows;
  }

  /** The finished buffers. */
  finish() {
    const validity = this.nulls === 0 ? NO_BYTES : bits(this.values, (value) => value !== null);
    return { ...NO_BUFFERS, validity, ...ENCODE[this.type.name](this.values) };
  }
}

function shown(value) {
  return typeof value === 'bigint' ? `${value}n` : (JSON.stringify(value) ?? String(value));
}

const isInt64 = (integer) => integer === BigInt.asIntN(64, integer);

/** A bigint of 64 bits, or a number that is exactly one. */
function checkInteger(value) {
  if (typeof value === 'bigint') return isInt64(value) ? value : undefined;
  return Number.isSafeInteger(value) ? BigInt(value) : undefined;
}

/** Each gives the value to store, or undefined for what the type has no room for. */
const CHECKS = {
  boolean: (value) => (typeof value === 'boolean' ? value : undefined),
  int64: checkInteger,
  float64: (value) => (typeof value === 'number' ? value : undefined),
  decimal: (value, { precision }) => {
    const limit = 10n ** BigInt(precision);
    return typeof value === 'bigint' && value < limit && -value < limit ? value : undefined;
  },
  date: (value) => (value === (value | 0) ? value : undefined),
  timestamp: (value) =>
    value instanceof Date ? checkInteger(value.getTime() * 1000) : typeof value === 'bigint' ? checkInteger(value) : undefined,
  utf8: (value) => (typeof value === 'string' ? value : undefined),
  binary: (value) => (value instanceof Uint8Array ? value : undefined),
  json: (value) => (typeof value === 'string' ? value : undefined),
};

/** Types whose values are all of one JavaScript type. */
const PLAIN = { boolean: 'boolean', float64: 'number', utf8: 'string', json: 'string' };

const ENCODE = {
  boolean: (values) => ({ data: bits(values, (value) => value === true) }),
  int64: (values) => ({ data: bytesOf(BigInt64Array.from(values, (value) => value ?? 0n)) }),
  float64: (values) => ({ data: bytesOf(Float64Array.from(values)) }),
  decimal: (values) => ({ data: bytesOf(halves(values)) }),
  date: (values) => ({ data: bytesOf(Int32Array.from(values)) }),
  timestamp: (values) => ENCODE.int64(values),
  utf8: encodeTexts,
  binary: (values) => concatenated(values.map((value) => value ?? NO_BYTES)),
  json: encodeTexts,
};

function bits(values, isSet) {
  const bytes = new Uint8Array(Math.ceil(values.length / 8));
  for (let row = 0; row < values.length; row++) if (isSet(values[row])) bytes[row >> 3] |= 1 << (row & 7);
  return bytes;
}

function halves(values) {
  const numbers = new BigInt64Array(2 * values.length);
  for (let row = 0; row < values.length; row++) {
    const value = values[row] ?? 0n;
    numbers[2 * row] = BigInt.asIntN(64, value);
    numbers[2 * row + 1] = value >> 64n;
  }
  return numbers;
}

/** Texts are joined and encoded at once; only where some are not ASCII is each encoded by itself. */
function encodeTexts(values) {
  const joined = values.join(''); // a null is an empty text
  const data = encoder.encode(joined);
  if (data.length !== joined.length) return concatenated(values.map((value) => encoder.encode(value ?? '')));
  const ends = new Uint32Array(values.length + 1);
  for (let row = 0, end = 0; row < values.length; ) {
    end += values[row]?.length ?? 0;
    ends[++row] = end;
  }
  return { offsets: bytesOf(ends), data };
}

function concatenated(pieces) {
  const ends = new Uint32Array(pieces.length + 1);
  for (let row = 0; row < pieces.length; row++) ends[row + 1] = ends[row] + pieces[row].length;
  const data = new Uint8Array(ends[pieces.length]);
  for (let row = 0; row < pieces.length; row++) data.set(pieces[row], ends[row]);
  return { offsets: bytesOf(ends), data };
}

/**
 * The buffers of a whole column that a plugin gives: a typed array of the type's own, a column of a batch as it is, raw buffers,
 * or an array of values.
 */
export function buffersOf(column, given) {
  const { name, type } = column;
  if (given instanceof Column) {
    if (spelled(given.type) === spelled(type)) return given;
    throw new TypeError(`column \`${name}\` of type ${spelled(type)} cannot hold a column of type ${spelled(given.type)}`);
  }
  const ArrayType = ARRAYS[type.name];
  if (ArrayType && given instanceof ArrayType) return { ...NO_BUFFERS, data: bytesOf(given) };
  if (given?.data instanceof Uint8Array) return { ...NO_BUFFERS, ...given };
  if (!Array.isArray(given)) throw new TypeError(`column \`${name}\` needs an array of values, and was given ${shown(given)}`);
  const builder = new Builder(column);
  given.forEach((value) => builder.push(value));
  return builder.finish();
}

/** Rows turned away, by their numbers, as the contract has them: ascending, each at most once. */
export class Rejects {
  reasons = new Map();

  /** The first reason of a row stays. */
  push(row, reason) {
    if (!this.reasons.has(row)) this.reasons.set(row, reason);
  }

  finish() {
    const rows = Uint32Array.from(this.reasons.keys()).sort();
    const reasons = Array.from(rows, (row) => this.reasons.get(row));
    return { rows, reasons: rows.length === 0 ? NO_BUFFERS : { ...NO_BUFFERS, ...encodeTexts(reasons) } };
  }
}
