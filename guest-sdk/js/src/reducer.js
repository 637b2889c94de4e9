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
  const records = new Records(batch);
  const builders = wanted.map((column) => new Builder(column));
  for (let group = 0; group + 1 < starts.length; group++) {
    let reduced;
    for (let row = starts[group]; row < starts[group + 1]; row++) {
      const record = records.read(row);
      if (record !== undefined) reduced = reduced === undefined ? record : definition.reduce(reduced, record, opened);
    }
    if (reduced !== undefined) push(builders, reduced);
  }
  records.check();
  return builders.map((builder) => builder.finish());
}

function inverse(definition, wanted, batches, opened) {
  const [totals, gones] = batches.map((batch) => new Records(batch));
  const builders = wanted.map((column) => new Builder(column));
  for (let row = 0; row < batches[0].rows; row++) {
    const [total, gone] = [totals.read(row), gones.read(row)];
    if (total !== undefined && gone !== undefined) push(builders, definition.inverse(total, gone, opened));
  }
  totals.check();
  gones.check();
  return builders.map((builder) => builder.finish());
}

/**
 * The rows of a call, each read when it is its turn: all of them at once would live long enough to be memory that is seldom looked
 * through. Those with a null where there is no room for one cannot be left out: a group of nothing else has no result.
 */
class Records {
  #reader;
  #rejected = [];
  #reason;

  constructor(batch) {
    this.#reader = new RowReader(batch.schema, batch.views);
  }

  /** Nothing for a row with such a null. */
  read(row) {
    try {
      return this.#reader.read(row);
    } catch (error) {
      if (!(error instanceof Reject)) throw error;
      this.#reason ??= error.message;
      this.#rejected.push(row);
    }
  }

  check() {
    if (this.#rejected.length > 0) throw new RejectedRows(this.#reason, this.#rejected);
  }
}

function push(builders, row) {
  for (let at = 0; at < builders.length; at++) builders[at].push(row[builders[at].name]);
}

/** The rows of group `i` are `starts[i]` up to `starts[i + 1]`. */
function wholeGroups(definition, wanted, { rows, columns }, starts, opened) {
  const reduced = definition.groups({ rows, columns, starts, count: starts.length - 1 }, opened);
  return wanted.map((column) => buffersOf(column, reduced[column.name]));
}
