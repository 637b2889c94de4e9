// The test of a keyed plugin.

import assert from 'node:assert/strict';

import { view } from '../columns.js';
import { Fatal } from '../errors.js';
import { rowToJson } from '../json.js';
import { columnsOf } from '../schema.js';
import { column as columnOf, field } from '../types.js';
import { columns as checkedColumns, rejects } from './check.js';
import { buffersOf, contextOf, objectOf, Outputs, PortRows, position, rowsOf, valuesOf } from './rows.js';

// Bits of a key's status, and what becomes of its state.
const [HAS_STATE, TIMED_OUT, FIRST_PART, LAST_PART] = [1, 2, 4, 8];
const [KEEP, PUT, REMOVE] = [0, 1, 2];
const SAME_TIMER = -(2n ** 63n);
const NO_TIMER = 2n ** 63n - 1n;

/**
 * Describes and opens a keyed plugin. `partsOf` splits keys of more rows over several calls, unless the plugin wants whole
 * groups. `from` is a run of another version, whose states it takes over.
 */
export function startKeyed(plugin, { config = {}, key = [], input, inputs = [input ?? {}], partsOf = Infinity, from } = {}) {
  assert.equal(plugin.kind, 'keyed');
  assert.ok(partsOf > 0, 'a part has rows');
  const schemas = inputs.map(columnsOf);
  const keys = key.map((name) => schemas[0][position(schemas[0], name)]);
  const settings = JSON.stringify(config);
  const fields = schemas.map((columns) => columns.map(field));
  const plan = plugin.describe(settings, keys.map(field), fields);
  assert.equal(plan.inputs.length, inputs.length, 'inputs of the plan');
  const sides = schemas.map((columns, at) => new Side(columns, key, plan.inputs[at]));
  const instance = plugin.open(settings, keys.map(field), sides.map((side) => side.planned.map(field)));
  const run = new KeyedRun(plan, instance, keys, sides, plan.wholeGroups ? Infinity : partsOf);
  if (from) run.takeOver(plugin, from);
  return run;
}

/** One input. */
class Side {
  constructor(columns, key, names) {
    this.columns = columns;
    this.key = key.map((name) => position(columns, name));
    this.positions = names.map((name) => position(columns, name));
    this.planned = this.positions.map((at) => columns[at]);
  }
}

const pick = (values, positions) => positions.map((at) => values[at]);

/** A keyed plugin at work, with what it remembers. */
class KeyedRun {
  #instance;
  #keys;
  #sides;
  #part;
  #epochs = 0n;
  /** By the key as JSON: `{ key, state, timer }`. */
  #known = new Map();

  constructor(plan, instance, keys, sides, part) {
    /** What `describe` answered. */
    this.plan = plan;
    this.#instance = instance;
    this.#keys = keys;
    this.#sides = sides;
    this.#part = part;
  }

  /** An epoch: the rows of the only input, or a list of rows for each, and the keys whose timers are due at the batch time. */
  epoch(batchTime, rows = []) {
    const given = (this.#sides.length === 1 ? [rows] : rows).map((rows, side) =>
      rowsOf(viewsOf(this.#sides[side].columns, rows), rows.length),
    );
    const called = this.#called(BigInt(batchTime), given);
    const epoch = new Epoch(this.plan);
    const parts = Math.max(0, ...called.map((key) => key.parts(this.#part)));
    for (let part = 0; part < parts; part++) {
      const keys = called.filter((key) => part < key.parts(this.#part));
      this.#call(contextOf({ epoch: this.#epochs, batchTime, call: part }), part, keys, given, epoch);
    }
    this.#epochs++;
    return epoch;
  }

  /** What is remembered, as objects of the key's columns and the state's, in the order of the keys as JSON. */
  state() {
    return this.#remembered((columns, values) => objectOf(columns, values));
  }

  /** The same as JSON texts. */
  stateJson() {
    return this.#remembered((columns, values) => rowToJson(columns, values));
  }

  #remembered(shape) {
    const columns = [...this.#keys, ...this.plan.state.map(columnOf)];
    return inOrder(this.#known).map(([, { key, state }]) => shape(columns, [...key, ...state]));
  }

  /** The keys that have a timer, as JSON texts, each with the batch time from which it is due. */
  timers() {
    const set = inOrder(this.#known).filter(([, { timer }]) => timer !== undefined);
    return set.map(([name, { timer }]) => [name, Number(timer)]);
  }

  /** Takes over the states of another run; they go through `migrate` if its version or its columns are not those of today. */
  takeOver(plugin, from) {
    this.#known = new Map([...from.#known].map(([name, known]) => [name, { ...known }]));
    const { stateVersion: version, state } = from.plan;
    const columns = (fields) => JSON.stringify(fields);
    if (version === this.plan.stateVersion && columns(state) === columns(this.plan.state)) return;
    if (!this.plan.migratesFrom.includes(version)) {
      throw new Fatal(`the plugin does not migrate from state of version ${version}`);
    }
    const known = [...this.#known.values()];
    const old = buffersOf(state.map(columnOf), known.map(({ state }) => state));
    const migrated = this.#states(plugin.migrate(version, state, known.length, old), known.length);
    known.forEach((known, at) => (known.state = migrated[at]));
  }

  /** The keys of an epoch, in the order of the keys as JSON. */
  #called(batchTime, rows) {
    const all = new Map();
    const sides = rows.length;
    for (const [name, { key, timer }] of this.#known) {
      if (timer !== undefined && timer <= batchTime) all.set(name, new Called(name, key, sides, true));
    }
    this.#sides.forEach((side, at) =>
      rows[at].forEach((row, number) => {
        const key = pick(row, side.key);
        const name = rowToJson(this.#keys, key);
        if (!all.has(name)) all.set(name, new Called(name, key, sides, false));
        all.get(name).rows[at].push(number);
      }),
    );
    return inOrder(all).map(([, called]) => called);
  }

  #call(context, part, keys, rows, epoch) {
    const status = Uint8Array.from(keys, (key) => this.#status(key, part));
    const keyBuffers = buffersOf(this.#keys, keys.map(({ key }) => key));
    const known = keys.flatMap(({ name }) => this.#known.get(name) ?? []);
    const numbers = rows.map((_, side) => keys.map((key) => key.part(side, part, this.#part)));
    const changes = this.#instance.process(context, {
      rows: keys.length,
      status,
      keys: keyBuffers,
      state: buffersOf(this.plan.state.map(columnOf), known.map(({ state }) => state)),
      inputs: rows.map((rows, side) => this.#group(this.#sides[side], numbers[side], rows)),
    });
    const views = this.#keys.map((column, at) => view(column, keys.length, keyBuffers[at]));
    epoch.take(views, keys.length, changes, numbers.map((numbers) => numbers.flat()));
    this.#apply(keys, status, changes);
  }

  #status(key, part) {
    const isKnown = this.#known.has(key.name);
    const isLast = part + 1 === key.parts(this.#part);
    return (
      (isKnown ? HAS_STATE : 0) |
      (key.due && isKnown && isLast ? TIMED_OUT : 0) |
      (part === 0 ? FIRST_PART : 0) |
      (isLast ? LAST_PART : 0)
    );
  }

  #group(side, numbers, rows) {
    let end = 0;
    const ends = Uint32Array.from(numbers, (numbers) => (end += numbers.length));
    const planned = numbers.flat().map((number) => pick(rows[number], side.positions));
    return { ends: new Uint8Array(ends.buffer), columns: buffersOf(side.planned, planned) };
  }

  /** What the host makes of ops, states and timers. */
  #apply(keys, status, { ops, state, timers }) {
    const times = new BigInt64Array(timers.slice().buffer);
    if (ops.length > 0) assert.equal(ops.length, keys.length, 'an op for each key');
    if (times.length > 0) assert.equal(times.length, keys.length, 'a timer for each key');
    assert.ok(ops.every((op) => op <= REMOVE), `ops are 0, 1 or 2: ${ops}`);
    const puts = ops.filter((op) => op === PUT).length;
    const states = puts === 0 && state.length === 0 ? [] : this.#states(state, puts);
    keys.forEach(({ name, key }, at) => {
      const known = this.#known.get(name);
      const before = status[at] & TIMED_OUT ? undefined : known?.timer;
      const set = times[at] ?? SAME_TIMER;
      const timer = set === SAME_TIMER ? before : set === NO_TIMER ? undefined : set;
      const op = ops[at] ?? KEEP;
      if (op === REMOVE) this.#known.delete(name);
      else if (op === PUT) this.#known.set(name, { key, state: states.shift(), timer });
      else if (known) known.timer = timer;
    });
  }

  #states(buffers, rows) {
    if (rows > 0) assert.ok(this.plan.state.length > 0, 'a state is put, and the plan has no columns for it');
    return rowsOf(checkedColumns(this.plan.state, buffers, rows), rows);
  }
}

function viewsOf(columns, rows) {
  const buffers = buffersOf(columns, rows.map((row) => valuesOf(columns, row)));
  return columns.map((column, at) => view(column, rows.length, buffers[at]));
}

const inOrder = (map) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));

/** A key that is called in an epoch, with the numbers of its rows in each input. */
class Called {
  constructor(name, key, sides, due) {
    this.name = name;
    this.key = key;
    this.rows = Array.from({ length: sides }, () => []);
    this.due = due;
  }

  parts(size) {
    const longest = Math.max(...this.rows.map((rows) => rows.length));
    return Math.max(1, Math.ceil(longest / size));
  }

  part(side, part, size) {
    return size === Infinity ? this.rows[side] : this.rows[side].slice(part * size, (part + 1) * size);
  }
}

/** What a keyed plugin made of an epoch. */
class Epoch {
  #outputs;
  #rejected;

  constructor({ ports, inputs }) {
    this.#outputs = new Outputs(ports);
    this.#rejected = inputs.map(() => []);
  }

  /** Takes the outputs and the rejects of a call; `numbers` are the rows of each input that it had. */
  take(keys, count, { outputs, rejected }, numbers) {
    this.#outputs.outputs.push(...outputs.map((output) => new PortRows(this.#outputs.ports, output, keys, count)));
    assert.ok([0, numbers.length].includes(rejected.length), 'rejects of each input, or none at all');
    rejected.forEach((rejected, side) => {
      for (const [row, reason] of rejects(rejected, numbers[side].length)) {
        this.#rejected[side].push([numbers[side][row], reason]);
      }
    });
  }

  /** The rows of a port as the next step sees them: the key's columns if it carries them, then what the plugin made. */
  rows(port) {
    return this.#outputs.rows(port);
  }

  /** The same as JSON texts. */
  json(port) {
    return this.#outputs.json(port);
  }

  /** The rows of an input, by its position, that were turned away, each with its reason. */
  rejected(input = 0) {
    return this.#rejected[input];
  }
}
