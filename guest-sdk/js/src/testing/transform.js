// The test of a transform.

import assert from 'node:assert/strict';

import { rejects } from './check.js';
import { contextOf, Input, Outputs, PortRows } from './rows.js';

/** Describes, opens, and processes all rows in one call. */
export function runTransform(plugin, { config = {}, input = {}, rows = [], context } = {}) {
  assert.equal(plugin.kind, 'transform');
  const given = new Input(input, rows);
  const settings = JSON.stringify(config);
  const plan = plugin.describe(settings, given.fields);
  const { fields, buffers } = given.planned(plan.columns);
  const instance = plugin.open(settings, fields);
  const produced = instance.process(contextOf(context), given.rows, buffers);
  return new TransformRun(plan, given, produced);
}

class TransformRun {
  #outputs;

  constructor(plan, input, { outputs, rejected }) {
    /** What `describe` answered. */
    this.plan = plan;
    /** The rows turned away, each with its reason. */
    this.rejected = rejects(rejected, input.rows);
    this.#outputs = new Outputs(plan.ports);
    this.#outputs.outputs = outputs.map((output) => new PortRows(plan.ports, output, input.views, input.rows));
  }

  /** The rows of a port as the next step sees them, as objects: the carried columns, then what the plugin made. */
  rows(port) {
    return this.#outputs.rows(port);
  }

  /** The same as JSON texts, in which no number is rounded and dates can be read. */
  json(port) {
    return this.#outputs.json(port);
  }

  /** The input row that each row of a port came from. */
  parents(port) {
    return this.#outputs.parents(port);
  }
}
