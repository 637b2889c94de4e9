// The exports of a component: one open instance, and the contract's functions on it. Only there in WebAssembly.

import { log } from 'wasmill:plugin/host@0.1.0';

import { context } from './context.js';
import { isCallError } from './errors.js';
import { rehearse } from './rehearsal.js';

const CALLS = {
  transform: ['process'],
  reducer: ['reduce', 'inverse'],
  keyed: ['process'],
  sink: ['lastEpoch', 'begin', 'write', 'prepare', 'commit', 'abort'],
};

/** What a component of this kind exports. */
export function exportsOf(plugin, kind) {
  if (plugin?.kind !== kind) {
    const found = plugin?.kind ? `of a ${plugin.kind}` : 'of no plugin';
    throw new TypeError(`plugin.toml says kind = "${kind}", and the default export is that ${found}`);
  }
  rehearse(kind);
  let instance;
  const open = (...args) => {
    instance = plugin.open(...args);
  };
  const exported = { describe: silently(plugin.describe), open: reporting(open) };
  for (const call of CALLS[kind]) exported[call] = reporting((...args) => instance[call](...args));
  if (plugin.migrate) exported.migrate = reporting(plugin.migrate);
  return exported;
}

/** `describe` may call no import, so lines written there are dropped. */
let silent = false;

function silently(describe) {
  return (...args) => {
    silent = true;
    try {
      return describe(...args);
    } finally {
      silent = false;
    }
  };
}

/** Has an exception logged before it traps: the trap itself does not carry it, and the host tells the last error of a call. */
function reporting(call) {
  return (...args) => {
    try {
      return call(...args);
    } catch (error) {
      if (!isCallError(error)) console.error(error);
      throw error;
    }
  };
}

/** The levels of the pipeline's log. */
const LEVELS = { trace: 0, debug: 1, log: 2, info: 2, warn: 3, error: 4 };

const shown = (value) => {
  if (value instanceof Error) return `${value}\n${value.stack}`.trimEnd();
  if (typeof value !== 'object' || value === null) return String(value);
  return JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? String(part) : part)) ?? String(value);
};

globalThis.console = Object.fromEntries(
  Object.entries(LEVELS).map(([name, level]) => [
    name,
    (...values) => {
      if (!silent) log(level, values.map(shown).join(' '));
    },
  ]),
);

// A component has the time and the randomness of its build. The time of a plugin is that of the epoch.
const { Date: BuildDate } = globalThis;
globalThis.Date = new Proxy(BuildDate, {
  construct: (target, args, newTarget) =>
    Reflect.construct(target, args.length === 0 ? [context().batchTime] : args, newTarget),
  apply: () => new Date().toString(),
  get: (target, name) => (name === 'now' ? () => context().batchTime : Reflect.get(target, name)),
});

const noRandomness = () => {
  throw new Error('a plugin has no randomness of its own: derive it from `context().seed`, so that an epoch that is run again gives the same rows');
};
Math.random = noRandomness;

// Without these a call fails with the name of what is not there; with them it traps without a word.
for (const name of ['setTimeout', 'setInterval', 'fetch', 'performance', 'crypto']) delete globalThis[name];
