// The plugin's configuration: the step's own table of the pipeline file, read by a schema, with every unknown key reported.

import { Fatal } from './errors.js';
import { described } from './json.js';
import { suggested } from './suggest.js';

/** A setting: how it reads a JSON value, and what it is where the key is left out. */
class Setting {
  constructor(read, fallback) {
    this.read = read;
    this.fallback = fallback;
  }
}

const wrong = (value, expected) => new Error(`invalid type: ${described(value)}, expected ${expected}`);

function typed(expected, accepts, fallback) {
  const read = (value) => {
    if (accepts(value)) return value;
    throw wrong(value, expected);
  };
  return new Setting(read, fallback);
}

/** The kinds of settings. The last argument of each is the value where the key is left out; without it the key must be there. */
export const setting = {
  boolean: (fallback) => typed('a boolean', (value) => typeof value === 'boolean', fallback),
  text: (fallback) => typed('a string', (value) => typeof value === 'string', fallback),
  number: (fallback) => typed('a number', (value) => typeof value === 'number', fallback),
  integer: (fallback) => typed('an integer that a number holds exactly', Number.isSafeInteger, fallback),

  oneOf(choices, fallback) {
    const expected = `one of ${choices.map((choice) => `\`${choice}\``).join(', ')}`;
    return typed(expected, (value) => choices.includes(value), fallback);
  },

  /** `"30s"`, `"1h 30m"` or `"250ms"`, in milliseconds. */
  duration(fallback) {
    const read = (value) => {
      if (typeof value !== 'string') throw wrong(value, 'a string');
      const millis = parseDuration(value);
      if (millis === undefined) throw new Error(`\`${value}\` is not a duration as \`30s\`, \`1h 30m\` or \`250ms\``);
      return millis;
    };
    return new Setting(read, fallback === undefined ? undefined : read(fallback));
  },

  list(of, fallback) {
    const read = (value) => {
      if (!Array.isArray(value)) throw wrong(value, 'a sequence');
      return value.map(of.read);
    };
    return new Setting(read, fallback);
  },

  /** A table with keys of the user's choice, as a Map in the order of the keys' bytes. */
  table(of, fallback) {
    const read = (value) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(value, 'a map');
      return new Map(inOrder(value).map(([key, value]) => [key, of.read(value)]));
    };
    return new Setting(read, fallback);
  },
};

/** The entries of a table in the order of their keys' bytes. */
function inOrder(table) {
  return Object.entries(table).sort(([a], [b]) => compare(a, b));
}

function compare(a, b) {
  let at = 0;
  while (at < a.length && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  return at < a.length && at < b.length ? rank(a.charCodeAt(at)) - rank(b.charCodeAt(at)) : a.length - b.length;
}

/** Where UTF-8 has a unit of UTF-16: surrogates, which are halves of the last characters there are, come last. */
const rank = (unit) => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800);

const DURATION = /^(?:\s*\d+\s*(?:ms|s|m|h|d)(?![a-z])\s*)+$/;
const MILLIS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function parseDuration(text) {
  if (!DURATION.test(text)) return undefined;
  const parts = text.matchAll(/(\d+)\s*([a-z]+)/g);
  const millis = [...parts].reduce((sum, [, number, unit]) => sum + Number(number) * MILLIS[unit], 0);
  return Number.isSafeInteger(millis) ? millis : undefined;
}

/** The configuration as a table; an empty text is an empty one. */
export function parse(config) {
  if (config.trim() === '') return {};
  let table;
  try {
    table = JSON.parse(config);
  } catch (error) {
    throw new Fatal(`the configuration is not JSON: ${error.message}`);
  }
  if (typeof table !== 'object' || Array.isArray(table)) throw new Fatal('the configuration must be a table');
  return table ?? {};
}

/** Reads the plugin's settings. `columnSettings` are further keys that are known: those that name columns. */
export function read(schema, table, columnSettings) {
  try {
    return readTable(schema, table, columnSettings);
  } catch (error) {
    throw new Fatal(`the configuration is wrong: ${error.message}`);
  }
}

function readTable(schema, table, columnSettings) {
  const own = Object.keys(schema);
  const known = [...own, ...columnSettings];
  const entries = inOrder(table);
  const unknown = entries.find(([key]) => !known.includes(key));
  if (unknown) throw new Error(unknownKey(unknown[0], known));
  const config = {};
  for (const [key, value] of entries) if (own.includes(key)) config[key] = within(key, () => schema[key].read(value));
  for (const key of own) {
    if (Object.hasOwn(config, key)) continue;
    if (schema[key].fallback === undefined) throw new Error(`missing field \`${key}\``);
    config[key] = schema[key].fallback;
  }
  return config;
}

function within(key, read) {
  try {
    return read();
  } catch (error) {
    throw new Error(`\`${key}\`: ${error.message}`);
  }
}

function unknownKey(key, known) {
  const names = known.map((name) => `\`${name}\``).join(', ');
  const sentence = `there is no setting \`${key}\``;
  return suggested(sentence, key, known, names === '' ? 'this plugin has none' : `there are ${names}`);
}
