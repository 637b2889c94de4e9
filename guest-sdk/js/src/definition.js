// What the definitions of all kinds of plugins have in common.

import { parse, read } from './config.js';
import { columnsOf, settingsOf } from './schema.js';
import { suggested } from './suggest.js';

/** A misspelt key in plain JavaScript would be a plugin that silently does something else. */
export function checkDefinition(definition, known) {
  for (const [key, value] of Object.entries(definition)) {
    if (!known.includes(key)) {
      throw new TypeError(suggested(`a definition has no \`${key}\``, key, known, `it has ${known.join(', ')}`));
    }
    if (/^Async/.test(value?.constructor?.name)) throw new TypeError(`\`${key}\` must not be async: a call has nothing to wait for`);
  }
}

/** The configuration as a table, and what the plugin makes of it: `opened` is what its functions get. */
export function openConfig({ config: schema = {}, open = (config) => config }, config, columns) {
  const table = parse(config);
  return { table, opened: open(read(schema, table, settingsOf(columns))) };
}

/** A part of a definition that may depend on what the plugin made of its configuration. */
export function resolved(part, opened) {
  return typeof part === 'function' ? part(opened) : part;
}

/** The ports of a definition: its only one is named `out`. */
export function portsOf({ output, outputs }, opened) {
  const schemas = outputs ? resolved(outputs, opened) : { out: resolved(output, opened) ?? {} };
  return Object.entries(schemas).map(([name, schema]) => ({ name, columns: columnsOf(schema) }));
}

/** Tells of a mistake in the plugin's code, once a call: a row's reason has no room for the stack. */
export class Mistakes {
  told = false;

  tell(error) {
    if (this.told) return;
    this.told = true;
    console.error(error instanceof Error ? `${error}\n${error.stack}` : String(error));
  }
}
