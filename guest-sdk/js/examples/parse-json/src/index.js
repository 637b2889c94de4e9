// Parses a column of JSON objects into typed columns.
//
//     [steps.readings]
//     input = "lines"
//     plugin = "parse-json"
//     config = { schema = { sensor = "utf8", celsius = "float64", note = "utf8?" } }
//
// It reads the column that `column` names, else `line`, else the first text column. Each entry of `schema` becomes a column of
// that name and type; a type that ends in `?` allows nulls, as does a key that is missing then. Other keys are left out. A row
// that is no JSON object, or whose values are not of their types, is rejected with the reason. With `carry` the rows keep the
// input's other columns.
//
// Second lesson: an output whose columns only the configuration knows. `open` turns the configuration into what `map` works
// with, and `output` tells the host the columns. A `Reject` turns its row away, and the batch goes on. `jsonMembers` and
// `fromJson` lose nothing: `JSON.parse` would round 9007199254740993.

import { column, defineTransform, fromJson, jsonMembers, Reject, setting } from '@wasmill/sdk';

export default defineTransform({
  config: { schema: setting.table(setting.text()), carry: setting.boolean(false) },
  input: { line: column('utf8', { setting: 'column', orFirst: true }) },
  open: ({ schema, carry }) => ({ carry, columns: new Map(Array.from(schema, ([name, type]) => [name, column(type)])) }),
  output: ({ columns }) => columns,
  carry: ({ carry }) => carry,

  map({ line }, { columns }) {
    const members = attempt('not a JSON object', () => jsonMembers(line));
    const cells = Array.from(columns, ([name, column]) => [name, cell(members.get(name), name, column)]);
    return Object.fromEntries(cells);
  },
});

function cell(json, name, { type, nullable }) {
  const value = json === undefined ? null : attempt(`\`${name}\``, () => fromJson(json, type));
  if (value === null && !nullable) throw new Reject(`\`${name}\` is missing`);
  return value;
}

/** What the work gives; that it cannot turns the row away. */
function attempt(what, work) {
  try {
    return work();
  } catch (error) {
    throw new Reject(`${what}: ${error.message}`);
  }
}
