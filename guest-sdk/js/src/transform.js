// Transforms: rows in, rows out.

import { Batch } from './batch.js';
import { buffersOf, Rejects } from './builder.js';
import { enter } from './context.js';
import { checkDefinition, Mistakes, openConfig, portsOf, resolved } from './definition.js';
import { noPort, planned, Ports } from './emit.js';
import { isCallError, orFatal, reason } from './errors.js';
import { columnsOf, opened as openedColumns, resolve, RowReader } from './schema.js';

const SHAPES = ['map', 'filter', 'flatMap', 'batch'];

/** Makes a plugin of a function of a row, or of a batch. */
export function defineTransform(definition) {
  checkDefinition(definition, ['config', 'input', 'open', 'output', 'outputs', 'carry', ...SHAPES]);
  const shapes = SHAPES.filter((shape) => definition[shape]);
  if (shapes.length !== 1) throw new TypeError(`a transform has one of ${SHAPES.join(', ')}`);
  const [shape] = shapes;
  if (definition.outputs && shape === 'map') throw new TypeError('a map has one output; a flatMap may have several');
  if ((definition.output || definition.outputs) && shape === 'filter') {
    throw new TypeError('a filter makes no columns; it keeps rows whole');
  }
  const wanted = columnsOf(definition.input ?? {});
  const { carry = shape === 'filter' } = definition;

  return {
    kind: 'transform',

    describe: (config, input) =>
      orFatal(() => {
        const { table, opened } = openConfig(definition, config, wanted);
        return {
          columns: resolve(wanted, table, input),
          ports: planned(portsOf(definition, opened), resolved(carry, opened)),
        };
      }),

    open: (config, input) =>
      orFatal(() => {
        const { opened } = openConfig(definition, config, wanted);
        const call = { definition, opened, ports: portsOf(definition, opened) };
        const columns = openedColumns(wanted, input);
        return {
          process(context, rows, buffers) {
            enter(context);
            return RUN[shape](call, new Batch(columns, rows, buffers));
          },
        };
      }),
  };
}

const RUN = { map, filter, flatMap, batch: wholeBatch };

/** Calls `each` with every row; what it throws turns the row away. */
function forEachRow(batch, each, undo) {
  const reader = new RowReader(batch.schema, batch.views);
  const rejects = new Rejects();
  const mistakes = new Mistakes();
  for (let row = 0; row < batch.rows; row++) {
    try {
      each(reader.read(row), row);
    } catch (error) {
      if (isCallError(error)) throw error;
      undo();
      rejects.push(row, reason(error, mistakes));
    }
  }
  return rejects.finish();
}

function flatMap({ definition, opened, ports: shapes }, batch) {
  const ports = new Ports(shapes, definition.outputs !== undefined);
  const rejected = forEachRow(
    batch,
    (row, number) => {
      ports.emit(definition.flatMap(row, opened));
      ports.endRow(number);
    },
    () => ports.undoRow(),
  );
  return { outputs: ports.finish(), rejected };
}

function map({ definition, opened, ports: shapes }, batch) {
  const ports = new Ports(shapes, false);
  const rejected = forEachRow(
    batch,
    (row, number) => {
      const mapped = definition.map(row, opened);
      if (mapped === undefined || mapped === null) return;
      ports.emit([mapped]);
      ports.endRow(number);
    },
    () => ports.undoRow(),
  );
  return { outputs: ports.finish().map((output) => withOrigin(output, batch)), rejected };
}

/** Only row numbers come out, the host has the rows. */
function filter({ definition, opened }, batch) {
  const kept = [];
  const rejected = forEachRow(
    batch,
    (row, number) => {
      if (definition.filter(row, opened)) kept.push(number);
    },
    () => {},
  );
  const output = { port: 0, rows: kept.length, origin: { tag: 'parents', val: Uint32Array.from(kept) }, columns: [] };
  return { outputs: [withOrigin(output, batch)], rejected };
}

/** Rows of parents in their order are those of the input if they are as many. */
function withOrigin(output, batch) {
  return output.rows === batch.rows ? { ...output, origin: { tag: 'same' } } : output;
}

/** The function gives whole columns; an exception is a mistake, and ends the call. */
function wholeBatch({ definition, opened, ports }, batch) {
  const rejects = new Rejects();
  batch.reject = (row, reason) => rejects.push(row, reason);
  const given = definition.batch(batch, opened);
  const byPort = Object.entries(definition.outputs ? (given ?? {}) : { out: given }).filter(([, output]) => output);
  const outputs = byPort.map(([name, output]) => {
    const port = ports.findIndex((port) => port.name === name);
    if (port < 0) throw new TypeError(noPort(name, ports));
    return wholeOutput(port, ports[port], output, batch);
  });
  return { outputs, rejected: rejects.finish() };
}

function wholeOutput(number, port, { columns = {}, parents, rows }, batch) {
  const origin =
    parents === undefined
      ? { tag: 'same' }
      : parents === null
        ? { tag: 'none' }
        : { tag: 'parents', val: Uint32Array.from(parents) };
  const made = port.columns.map((column) => buffersOf(column, columns[column.name]));
  return { port: number, rows: rows ?? parents?.length ?? batch.rows, origin, columns: made };
}
