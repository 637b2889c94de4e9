// Reducers: many rows into one, by a function of two.

import { Batch } from './batch.js';
import { Builder, buffersOf } from './builder.js';
import { groupStarts } from './columns.js';
import { enter } from './context.js';
import { checkDefinition, openConfig } from './definition.js';
import { Fatal, orFatal, Reject, RejectedRows } from './errors.js';
import { columnsOf, opened as openedColumns, resolve, RowReader } from './schema.js';

/** Makes a plugin of a function of two rows that gives one, or of one of whole columns. */
export function defineReducer(definition) {
  checkDefinition(definition, ['config', 'input', 'open', 'reduce', 'groups', 'inverse']);
  if (!definition.reduce === !definition.groups) throw new TypeError('a reducer has either `reduce` or `groups`');
  const wanted = columnsOf(definition.input ?? {});

  return {
    kind: 'reducer',

    describe: (config, input) =>
      orFatal(() => {
        const { table } = openConfig(definition, config, wanted);
        return { columns: resolve(wanted, table, input), invertible: definition.inverse !== undefined };
      }),

    open: (config, input) =>
      orFatal(() => {
        const { opened } = openConfig(definition, config, wanted);
        const columns = openedColumns(wanted, input);
        return {
          reduce(context, ends, buffers) {
            enter(context);
            const starts = groupStarts(ends);
            const batch = new Batch(columns, starts.at(-1), buffers);
            return definition.groups
              ? wholeGroups(definition, wanted, batch, starts, opened)
              : reduce(definition, wanted, batch, starts, opened);
          },

          inverse(context, rows, total, gone) {
            enter(context);
            if (!definition.inverse) throw new Fatal('this reducer has no inverse');
            const batches = [total, gone].map((buffers) => new Batch(columns, rows, buffers));
            return inverse(definition, wanted, batches, opened);
          },
        };
      }),
  };
}

function reduce(definition, wanted, batch, starts, opened) {
  const rows = readAll(batch);
  const builders = wanted.map((column) => new Builder(column));
  for (let group = 0; group + 1 < starts.length; group++) {
    let reduced = rows[starts[group]];
    for (let row = starts[group] + 1; row < starts[group + 1]; row++) reduced = definition.reduce(reduced, rows[row], opened);
    push(builders, reduced);
  }
  return builders.map((builder) => builder.finish());
}

/** All rows. Those with a null where there is no room for one cannot be left out: a group of nothing else has no result. */
function readAll(batch) {
  const reader = new RowReader(batch.schema, batch.views);
  const rows = [];
  const rejected = [];
  let reason;
  for (let row = 0; row < batch.rows; row++) {
    try {
      rows.push(reader.read(row));
    } catch (error) {
      if (!(error instanceof Reject)) throw error;
      reason ??= error.message;
      rejected.push(row);
    }
  }
  if (rejected.length > 0) throw new RejectedRows(reason, rejected);
  return rows;
}

function inverse(definition, wanted, batches, opened) {
  const [totals, gones] = batches.map(readAll);
  const builders = wanted.map((column) => new Builder(column));
  for (let row = 0; row < totals.length; row++) push(builders, definition.inverse(totals[row], gones[row], opened));
  return builders.map((builder) => builder.finish());
}

function push(builders, row) {
  for (let at = 0; at < builders.length; at++) builders[at].push(row[builders[at].name]);
}

/** The rows of group `i` are `starts[i]` up to `starts[i + 1]`. */
function wholeGroups(definition, wanted, { rows, columns }, starts, opened) {
  const reduced = definition.groups({ rows, columns, starts, count: starts.length - 1 }, opened);
  return wanted.map((column) => buffersOf(column, reduced[column.name]));
}
