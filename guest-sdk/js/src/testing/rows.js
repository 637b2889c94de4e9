// The rows that a test gives a plugin, as the host would send them, and those that come out.

import assert from 'node:assert/strict';

import { Builder, NO_BUFFERS } from '../builder.js';
import { view } from '../columns.js';
import { fromJson, jsonMembers, rowToJson } from '../json.js';
import { columnsOf } from '../schema.js';
import { field } from '../types.js';
import { checkRowNumbers, columns as checkedColumns } from './check.js';

/** Rows of a schema, `{ id: 'int64', line: 'utf8?' }`: objects of values, or JSON texts. */
export class Input {
  constructor(schema, rows) {
    this.columns = columnsOf(schema);
    const builders = this.columns.map((column) => new Builder(column));
    for (const row of rows) {
      const values = valuesOf(this.columns, row);
      builders.forEach((builder, at) => builder.push(values[at]));
    }
    this.rows = rows.length;
    this.buffers = builders.map((builder) => builder.finish());
  }

  get fields() {
    return this.columns.map(field);
  }

  get views() {
    return this.columns.map((column, at) => view(column, this.rows, this.buffers[at]));
  }

  /** Fields and buffers of the columns that a plan asks for. */
  planned(names) {
    assert.equal(new Set(names).size, names.length, 'the plan asks for a column twice');
    const positions = names.map((name) => position(this.columns, name));
    return {
      fields: positions.map((at) => field(this.columns[at])),
      buffers: positions.map((at) => this.buffers[at]),
    };
  }
}

/** The values of a row, in the order of the columns. */
export function valuesOf(columns, row) {
  if (typeof row !== 'string') return columns.map(({ name }) => row[name]);
  const members = jsonMembers(row);
  return columns.map(({ name, type }) => (members.has(name) ? fromJson(members.get(name), type) : null));
}

export function position(columns, name) {
  const at = columns.findIndex((column) => column.name === name);
  assert.ok(at >= 0, `the input has no column \`${name}\``);
  return at;
}

/** The buffers of rows that are lists of values. */
export function buffersOf(columns, rows) {
  const builders = columns.map((column) => new Builder(column));
  for (const row of rows) builders.forEach((builder, at) => builder.push(row[at]));
  return rows.length === 0 ? columns.map(() => NO_BUFFERS) : builders.map((builder) => builder.finish());
}

/** Rows as lists of values. */
export function rowsOf(views, count) {
  return Array.from({ length: count }, (_, row) => views.map((column) => column.get(row)));
}

export const objectOf = (columns, values) => Object.fromEntries(columns.map(({ name }, at) => [name, values[at]]));

/** The rows of one port, with those that they came from. */
export class PortRows {
  /** What of `ports` an output holds; `parents` are the views of the rows, or keys, that its rows may have come from. */
  constructor(ports, { port, rows, origin, columns }, parents, count) {
    const { name, columns: fields, carry } = ports[port];
    if (origin.tag === 'same') assert.equal(rows, count, `rows of port \`${name}\``);
    if (origin.tag === 'none') assert.ok(!carry, `port \`${name}\` carries and has no parents`);
    if (origin.tag === 'parents') {
      assert.equal(origin.val.length, rows, `parents of port \`${name}\``);
      checkRowNumbers('a parent', origin.val, count);
    }
    const made = checkedColumns(fields, columns, rows);
    const isMade = (column) => made.some(({ name }) => name === column.name);
    const carried = carry ? parents.filter((column) => !isMade(column)) : [];
    this.name = name;
    this.parents = origin.tag === 'parents' ? Array.from(origin.val) : Array.from({ length: rows }, (_, row) => row);
    this.columns = [...carried, ...made];
    this.values = this.parents.map((parent, row) => [
      ...carried.map((column) => column.get(parent)),
      ...made.map((column) => column.get(row)),
    ]);
    if (origin.tag === 'none') this.parents = undefined;
  }
}

/** The rows of all ports, asked for by their names. */
export class Outputs {
  constructor(ports) {
    this.ports = ports;
    this.outputs = [];
  }

  of(name) {
    assert.ok(this.ports.some((port) => port.name === name), `the plan has no port \`${name}\``);
    return this.outputs.filter((output) => output.name === name);
  }

  /** As the next step sees them: the carried columns, then what the plugin made. */
  rows(name = 'out') {
    return this.of(name).flatMap(({ columns, values }) => values.map((row) => objectOf(columns, row)));
  }

  json(name = 'out') {
    return this.of(name).flatMap(({ columns, values }) => values.map((row) => rowToJson(columns, row)));
  }

  parents(name = 'out') {
    return this.of(name).flatMap(({ parents }) => parents);
  }
}

/** The contract's context; batch times are plain numbers in tests. */
export function contextOf({ epoch = 0n, batchTime = 0, partition = 0, call = 0, watermark, seed = 0n } = {}) {
  return {
    epoch,
    batchTime: BigInt(batchTime),
    partition,
    call,
    watermark: watermark === undefined ? -(2n ** 63n) : BigInt(watermark),
    seed,
  };
}

