// Which columns a plugin reads and makes, and rows as objects.

import { Fatal, Reject } from './errors.js';
import { suggested } from './suggest.js';
import { column as fieldColumn, parseType, spelled } from './types.js';

/**
 * A column of a schema where its type alone does not say enough: `column('utf8', { setting: 'column', orFirst: true })`.
 * `setting` is the key of the configuration that may name the input column, `orFirst` takes the first column of a fitting type
 * if none has the name, and `as` gives an int64 as a `number` or the `value` that a JSON text stands for.
 */
export function column(type, { setting, orFirst = false, as } = {}) {
  const nullable = type.endsWith('?');
  const parsed = parseType(nullable ? type.slice(0, -1) : type);
  if (as !== undefined && AS[as] !== parsed.name) {
    throw new TypeError(`a column of type ${type} cannot be read as \`${as}\`; an int64 can as a number, a json as a value`);
  }
  return { type: parsed, nullable, setting, orFirst, as };
}

const AS = { number: 'int64', value: 'json' };

/**
 * The columns of a schema, `{ name: 'utf8', n: column('int64', { as: 'number' }) }`, in its order. A Map or a list of entries
 * keeps the order of names that are numbers too.
 */
export function columnsOf(schema) {
  return Array.from(schema[Symbol.iterator] ? schema : Object.entries(schema), ([name, given]) => ({
    name,
    ...(typeof given === 'string' ? column(given) : given),
  }));
}

/** A text column reads JSON too, and any value of varying width can be read as its bytes. */
const READS = { utf8: ['utf8', 'json'], binary: ['binary', 'utf8', 'json'] };

function fits(wanted, field) {
  try {
    const type = parseType(field.dataType);
    return spelled(type) === spelled(wanted.type) || (READS[wanted.type.name] ?? []).includes(type.name);
  } catch {
    return false; // a type that this SDK does not know
  }
}

/** The settings that name columns. */
export function settingsOf(columns) {
  return columns.flatMap(({ setting }) => setting ?? []);
}

/** The names of the input's columns that are wanted, in their order. */
export function resolve(wanted, table, input) {
  return wanted.map((column) => find(column, table, input));
}

function find(wanted, table, input) {
  const named = wanted.setting !== undefined && Object.hasOwn(table, wanted.setting);
  const name = named ? table[wanted.setting] : wanted.name;
  if (typeof name !== 'string') throw new Fatal(`\`${wanted.setting}\` must be the name of a column, as a text`);
  const field = input.find((field) => field.name === name);
  if (field && fits(wanted, field)) return name;
  if (named || !wanted.orFirst) {
    if (!field) throw missing(wanted, name, named, input);
    throw new Fatal(`column \`${name}\` is ${field.dataType}, and the plugin reads it as ${spelled(wanted.type)}`);
  }
  const first = input.find((field) => fits(wanted, field));
  if (first) return first.name;
  throw new Fatal(`the plugin reads a column of type ${spelled(wanted.type)}, and the input has none: ${listed(input)}`);
}

function missing({ setting, type }, name, named, input) {
  const read = `the plugin reads column \`${name}\` of type ${spelled(type)}, which the input does not have`;
  const another = setting === undefined ? '' : `; \`${setting}\` may name another`;
  const asked = named ? `\`${setting}\` names column \`${name}\`, which the input does not have` : read + another;
  return new Fatal(suggested(asked, name, input.map((field) => field.name), `it has ${listed(input)}`));
}

function listed(input) {
  return input.map(({ name, dataType }) => `\`${name}\` ${dataType}`).join(', ') || 'no columns';
}

/** The columns that the host sends, each as it is typed there and read as the plugin wants it. */
export function opened(wanted, input) {
  return input.map((field, at) => ({ ...fieldColumn(field), key: wanted[at].name, wanted: wanted[at] }));
}

/** Reads rows of a batch as objects. */
export class RowReader {
  constructor(columns, views) {
    this.columns = columns;
    this.views = views;
  }

  /** Whether a row may be turned away when it is read. */
  get mayReject() {
    return this.columns.some(({ wanted }, at) => wanted.as !== undefined || (!wanted.nullable && this.views[at].hasNulls));
  }

  /** A row, or a Reject if it has a null where the plugin has no room for one, or a number too large for one. */
  read(row) {
    const { columns, views } = this;
    const object = {};
    for (let at = 0; at < columns.length; at++) {
      const column = columns[at];
      const value = views[at].get(row);
      if (value === null && !column.wanted.nullable) throw new Reject(`column \`${column.name}\` is null`);
      object[column.key] = column.wanted.as === undefined || value === null ? value : READ_AS[column.wanted.as](value, column);
    }
    return object;
  }
}

const READ_AS = {
  number: (value, { name }) => {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    throw new Reject(`column \`${name}\` holds ${value}, which a number does not hold exactly`);
  },
  value: (text) => JSON.parse(text),
};
