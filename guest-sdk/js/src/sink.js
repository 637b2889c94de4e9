// Sinks: rows to the outside, one partition of one epoch at a time.

import { Batch } from './batch.js';
import { NO_BYTES, Rejects } from './builder.js';
import { read, parse } from './config.js';
import { enter } from './context.js';
import { checkDefinition } from './definition.js';
import { Fatal, orFatal } from './errors.js';
import { suggested } from './suggest.js';
import { column } from './types.js';

const DELIVERIES = ['at-least-once', 'marker', 'two-phase'];

/** Makes a plugin of a function that opens a sink: an object with `write` and any of the other methods. */
export function defineSink(definition) {
  checkDefinition(definition, ['config', 'delivery', 'columns', 'open']);
  const { config: schema = {}, delivery = 'at-least-once', columns, open } = definition;
  if (!open) throw new TypeError('a sink has `open`');
  if (!DELIVERIES.includes(delivery)) throw new TypeError(`a sink's delivery is one of ${DELIVERIES.join(', ')}`);
  const configured = (config) => read(schema, parse(config), []);

  return {
    kind: 'sink',

    describe: (config, input) =>
      orFatal(() => {
        const names = input.map((field) => field.name);
        const settings = configured(config);
        const wanted = columns?.(settings, input.map(column)) ?? names;
        const missing = wanted.find((name) => !names.includes(name));
        if (missing === undefined) return { columns: wanted, delivery };
        const has = names.map((name) => `\`${name}\``).join(', ') || 'none';
        throw new Fatal(suggested(`the input has no column \`${missing}\``, missing, names, `it has ${has}`));
      }),

    open: (config, input) =>
      orFatal(() => {
        const schema = input.map(column);
        return instance(open(configured(config), schema), schema);
      }),
  };
}

/** The contract's functions on an open sink. */
function instance(sink, schema) {
  return {
    lastEpoch: (partition) => orFatal(() => sink.lastEpoch?.(partition)),

    begin: (context, idempotencyKey) =>
      orFatal(() => {
        enter(context);
        sink.begin?.(idempotencyKey);
      }),

    write: (context, rows, buffers) =>
      orFatal(() => {
        enter(context);
        const rejects = new Rejects();
        sink.write(new Batch(schema, rows, buffers), (row, reason) => rejects.push(row, reason));
        return rejects.finish();
      }),

    prepare: (context) =>
      orFatal(() => {
        enter(context);
        return sink.prepare?.() ?? NO_BYTES;
      }),

    commit: (epoch, tokens) => orFatal(() => void sink.commit?.(epoch, tokens)),

    abort: (epoch, tokens) => orFatal(() => void sink.abort?.(epoch, tokens)),
  };
}
