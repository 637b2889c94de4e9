// What every instance does, done before the snapshot is taken, with plugins that do next to nothing.
//
// An instance is opened, called for the rows of a partition, and gone, so its code would run for the first time in each. The
// engine compiles a function when it is first called: after a rehearsal what it made is in the snapshot. Nothing of the
// author's is called.

import { Builder } from './builder.js';
import { fromJson, jsonMembers, toJson } from './json.js';
import { defineKeyed } from './keyed.js';
import { defineReducer } from './reducer.js';
import { columnsOf } from './schema.js';
import { defineSink } from './sink.js';
import { defineTransform } from './transform.js';
import { field } from './types.js';

/** A value of each type. */
const VALUES = {
  boolean: true,
  int64: 1n,
  float64: 0.5,
  'decimal(3,1)': 15n,
  date: 1,
  timestamp: 1n,
  utf8: 'to be',
  binary: Uint8Array.of(1),
  json: '[1]',
};

/** A column of each type, named after it. */
const COLUMNS = Object.fromEntries(Object.keys(VALUES).map((type) => [type, type]));
const KEY = { utf8: 'utf8' };
const CONTEXT = { epoch: 0n, batchTime: 0n, partition: 0, call: 0, watermark: 2n ** 63n, seed: 0n };

const fields = (schema) => columnsOf(schema).map(field);

/** One row. */
function buffers(schema) {
  return columnsOf(schema).map((column) => {
    const builder = new Builder(column);
    builder.push(VALUES[column.name]);
    return builder.finish();
  });
}

const ends = () => new Uint8Array(Uint32Array.of(1).buffer);

const REHEARSALS = {
  transform() {
    const row = { input: COLUMNS, output: COLUMNS };
    const shapes = [
      { ...row, map: (row) => row },
      { ...row, flatMap: (row) => [row] },
      { input: COLUMNS, filter: () => true },
      { ...row, batch: ({ columns }) => ({ columns }) },
    ];
    for (const shape of shapes) {
      const instance = defineTransform(shape).open('{}', fields(COLUMNS));
      instance.process(CONTEXT, 1, buffers(COLUMNS));
    }
  },

  reducer() {
    const instance = defineReducer({ input: COLUMNS, reduce: (one) => one }).open('{}', fields(COLUMNS));
    instance.reduce(CONTEXT, ends(), buffers(COLUMNS));
  },

  keyed() {
    const plugin = defineKeyed({
      key: KEY,
      input: COLUMNS,
      state: COLUMNS,
      output: COLUMNS,
      *update({ rows, state }) {
        state.put({ ...state.get(), ...[...rows][0] });
        if (state.isLastPart) yield state.get();
      },
    });
    plugin.open('{}', fields(KEY), [fields(COLUMNS)]).process(CONTEXT, {
      rows: 1,
      status: Uint8Array.of(0b1101), // it has state, and all of its rows are here
      keys: buffers(KEY),
      state: buffers(COLUMNS),
      inputs: [{ ends: ends(), columns: buffers(COLUMNS) }],
    });
  },

  sink() {
    const instance = defineSink({ open: () => ({ write: (batch) => batch.json(0) }) }).open('{}', fields(COLUMNS));
    instance.begin(CONTEXT, '');
    instance.write(CONTEXT, 1, buffers(COLUMNS));
    instance.prepare(CONTEXT);
  },
};

/** Of a kind of plugin. */
export function rehearse(kind) {
  REHEARSALS[kind]();
  for (const { name, type } of columnsOf(COLUMNS)) fromJson(toJson(VALUES[name], type), type);
  jsonMembers('{"to": [0, {"be": 1}], "or": "not"}');
}
