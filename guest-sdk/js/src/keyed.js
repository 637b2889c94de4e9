// Keyed plugins: the rows of a key with what is remembered of it; rows out, and what to remember from now on.

import { Batch } from './batch.js';
import { Builder } from './builder.js';
import { enter } from './context.js';
import { checkDefinition, Mistakes, openConfig, portsOf, resolved } from './definition.js';
import { planned, Ports } from './emit.js';
import { Fatal, isCallError, orFatal, reason } from './errors.js';
import { Group } from './rows.js';
import { columnsOf, opened as openedColumns, resolve, RowReader } from './schema.js';
import { HAS_STATE, States } from './state.js';
import { field } from './types.js';

const KEYS = [
  ...['config', 'open', 'key', 'input', 'inputs', 'state', 'output', 'outputs', 'carry'],
  ...['version', 'migrate', 'wholeGroups', 'update'],
];

/** Makes a plugin of a function of a key, its rows and its state. */
export function defineKeyed(definition) {
  checkDefinition(definition, KEYS);
  if (!definition.update) throw new TypeError('a keyed plugin has `update`');
  const { version = 1, migrate = {}, wholeGroups = false, carry = false } = definition;
  const key = columnsOf(definition.key ?? {});
  const inputs = (definition.inputs ?? [definition.input ?? {}]).map(columnsOf);
  const state = columnsOf(definition.state ?? {});
  const configured = (config) => openConfig(definition, config, [key, inputs].flat(2));

  return {
    kind: 'keyed',

    describe: (config, keyFields, inputFields) =>
      orFatal(() => {
        const { table, opened } = configured(config);
        within('key', () => resolve(key, table, keyFields));
        if (inputFields.length !== inputs.length) {
          throw new Fatal(`the step has ${inputFields.length} inputs, and the plugin reads ${inputs.length}`);
        }
        const one = (columns, at) => resolve(columns, table, inputFields[at]);
        return {
          inputs: inputs.map((columns, at) =>
            inputs.length === 1 ? one(columns, at) : within(`input ${at + 1}`, () => one(columns, at)),
          ),
          state: state.map(field),
          stateVersion: version,
          migratesFrom: Uint32Array.from(Object.keys(migrate), Number),
          wholeGroups,
          ports: planned(portsOf(definition, opened), resolved(carry, opened)),
        };
      }),

    open: (config, keyFields, inputFields) =>
      orFatal(() => {
        const { table, opened } = configured(config);
        const names = resolve(key, table, keyFields);
        const positions = names.map((name) => keyFields.findIndex((field) => field.name === name));
        const schemas = {
          key: openedColumns(key, positions.map((at) => keyFields[at])),
          state: openedColumns(state, state.map(field)),
          inputs: inputs.map((columns, at) => openedColumns(columns, inputFields[at])),
        };
        const ports = portsOf(definition, opened);
        return {
          process(context, batch) {
            enter(context);
            const keys = positions.map((at) => batch.keys[at]);
            return process(definition, opened, new Ports(ports, definition.outputs !== undefined), {
              status: batch.status,
              keys: new Batch(schemas.key, batch.rows, keys),
              states: new Batch(schemas.state, batch.status.filter((status) => status & HAS_STATE).length, batch.state),
              groups: schemas.inputs.map((columns, at) => new Group(columns, batch.inputs[at])),
            });
          },
        };
      }),

    migrate: (fromVersion, fields, rows, buffers) =>
      orFatal(() => {
        const from = migrate[fromVersion];
        if (!from) throw new Fatal(`the plugin cannot take over state of version ${fromVersion}`);
        return migrated(from, state, fields, rows, buffers);
      }),
  };
}

function within(place, work) {
  try {
    return work();
  } catch (error) {
    throw new Fatal(`${place}: ${error.message}`);
  }
}

/** Calls the function for every key; a key that is turned away leaves nothing in any port, and keeps its state and its timer. */
function process({ update, state, inputs }, opened, ports, { status, keys, states, groups }) {
  const reader = new RowReader(keys.schema, keys.views);
  const changes = new States(columnsOf(state ?? {}), new RowReader(states.schema, states.views));
  const mistakes = new Mistakes();
  for (let at = 0; at < keys.rows; at++) {
    const keyState = changes.begin(status[at]);
    try {
      const key = reader.read(at);
      const rows = inputs ? groups.map((group) => group.rowsOf(at)) : groups[0].rowsOf(at);
      ports.emit(update({ key, rows, state: keyState }, opened));
      ports.endRow(at);
    } catch (error) {
      if (isCallError(error)) throw error;
      ports.undoRow();
      changes.undo();
      rejectKey(groups, at, reason(error, mistakes));
    }
    changes.end();
  }
  return { ...changes.finish(), outputs: ports.finish(), rejected: rejectsOf(groups) };
}

/** Turns the rows of a key away; without any the reason must not be lost. */
function rejectKey(groups, key, reason) {
  if (groups.every((group) => group.isEmpty(key))) throw new Fatal(reason);
  for (const group of groups) group.rejectAll(key, reason);
}

function rejectsOf(groups) {
  const rejected = groups.map((group) => group.rejects.finish());
  return rejected.some(({ rows }) => rows.length > 0) ? rejected : [];
}

/** Old states as `from` reads them: the columns of its schema, found by name. */
function migrated({ state: oldSchema, to }, state, fields, rows, buffers) {
  const wanted = columnsOf(oldSchema);
  const names = resolve(wanted, {}, fields);
  const positions = names.map((name) => fields.findIndex((field) => field.name === name));
  const columns = openedColumns(wanted, positions.map((at) => fields[at]));
  const batch = new Batch(columns, rows, positions.map((at) => buffers[at]));
  const reader = new RowReader(columns, batch.views);
  const builders = state.map((column) => new Builder(column));
  for (let row = 0; row < rows; row++) {
    const remembered = to(reader.read(row));
    for (const builder of builders) builder.push(remembered[builder.name]);
  }
  return builders.map((builder) => builder.finish());
}
