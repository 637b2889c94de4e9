// The test of a reducer.

import assert from 'node:assert/strict';

import { columns as checkedColumns } from './check.js';
import { rowToJson } from '../json.js';
import { column as columnOf } from '../types.js';
import { buffersOf, contextOf, Input, objectOf, rowsOf } from './rows.js';

/**
 * Describes, opens, and reduces each group: all rows at once, and again with a cut at each place and with cuts after each so
 * many rows, which must not make a difference. If the reducer is invertible, what remains of the whole without its first part
 * must be what its second part reduces to. Floats are compared with some tolerance.
 */
export function runReducer(plugin, { config = {}, input = {}, rows = [], groups = [rows.length] } = {}) {
  assert.equal(plugin.kind, 'reducer');
  assert.equal(groups.reduce((sum, length) => sum + length, 0), rows.length, 'the rows of all groups are the rows given');
  assert.ok(!groups.includes(0), 'no group is empty');
  const given = new Input(input, rows);
  const settings = JSON.stringify(config);
  const plan = plugin.describe(settings, given.fields);
  const { fields } = given.planned(plan.columns);
  const open = new Open(plugin.open(settings, fields), fields);
  const views = plan.columns.map((name) => given.views.find((column) => column.name === name));
  const all = rowsOf(views, given.rows);
  const starts = groups.map((_, at) => groups.slice(0, at).reduce((sum, length) => sum + length, 0));
  const parts = groups.map((length, at) => all.slice(starts[at], starts[at] + length));
  const reduced = open.reduce(parts);
  parts.forEach((part, at) => {
    open.checkCuts(part, reduced[at]);
    if (plan.invertible) open.checkInverse(part, reduced[at]);
  });
  return {
    plan,
    rows: () => reduced.map((row) => objectOf(open.columns, row)),
    json: () => reduced.map((row) => rowToJson(open.columns, row)),
  };
}

/** An open reducer with the columns of its rows. */
class Open {
  constructor(instance, fields) {
    this.instance = instance;
    this.fields = fields;
    this.columns = fields.map(columnOf);
  }

  reduce(groups) {
    let end = 0;
    const ends = Uint32Array.from(groups, (group) => (end += group.length));
    const buffers = buffersOf(this.columns, groups.flat());
    return this.checked(this.instance.reduce(contextOf(), new Uint8Array(ends.buffer), buffers), groups.length);
  }

  checked(buffers, rows) {
    return rowsOf(checkedColumns(this.fields, buffers, rows), rows);
  }

  checkCuts(group, total) {
    for (const parts of cuts(group)) {
      const [again] = this.reduce([this.reduce(parts)]);
      const lengths = parts.map((part) => part.length).join(', ');
      this.same(again, total, `reduced in parts of ${lengths} rows, and the parts again`);
    }
  }

  checkInverse(group, total) {
    for (let at = 1; at < group.length; at++) {
      const [gone, left] = this.reduce([group.slice(0, at), group.slice(at)]);
      const [totals, gones] = [total, gone].map((row) => buffersOf(this.columns, [row]));
      const [found] = this.checked(this.instance.inverse(contextOf(), 1, totals, gones), 1);
      this.same(found, left, `the whole without the first ${at} rows`);
    }
  }

  same(found, expected, what) {
    const [foundJson, expectedJson] = [found, expected].map((row) => rowToJson(this.columns, row));
    assert.ok(
      found.every((value, at) => near(value, expected[at])),
      `${what}: ${foundJson} comes out instead of ${expectedJson}`,
    );
  }
}

/** A group cut in two at each place, and after each so many rows. */
function* cuts(group) {
  for (let at = 1; at < group.length; at++) yield [group.slice(0, at), group.slice(at)];
  for (let length = 1; length < group.length; length++) {
    const count = Math.ceil(group.length / length);
    yield Array.from({ length: count }, (_, part) => group.slice(part * length, (part + 1) * length));
  }
}

/** Sums of floats depend on their order in the last digits only. */
const TOLERANCE = 1e-9;

function near(a, b) {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  if (typeof a !== 'number' || typeof b !== 'number') return a === b;
  return Object.is(a, b) || Math.abs(a - b) <= TOLERANCE * Math.max(Math.abs(a), Math.abs(b), 1);
}
