// Compiled, never run: what the types of rows follow from, and what is refused.

import { column, defineKeyed, defineReducer, defineSink, defineTransform, Reject, setting } from '@wasmill/sdk';

function is<T>(_: T) {}

export const filter = defineTransform({
  config: { least: setting.number(0), name: setting.text(null) },
  input: { celsius: 'float64', id: 'int64?', count: column('int64', { as: 'number' }) },
  filter(row, config) {
    is<number>(row.celsius);
    is<bigint | null>(row.id);
    is<number>(row.count);
    is<string | null>(config.name);
    // @ts-expect-error: the input has no such column
    row.fahrenheit;
    // @ts-expect-error: there is no such setting
    config.most;
    return row.celsius > config.least;
  },
});

export const flatMap = defineTransform({
  input: { line: 'utf8' },
  outputs: { numbers: { number: 'int64' }, words: { word: 'utf8', note: 'utf8?' } },
  *flatMap({ line }) {
    if (line === '') throw new Reject('the line is empty');
    yield { numbers: { number: 1 } };
    yield { words: { word: line } };
  },
});

export const opened = defineTransform({
  config: { pattern: setting.text() },
  input: { line: 'utf8' },
  output: { length: 'int64' },
  open: ({ pattern }) => new RegExp(pattern),
  map: ({ line }, pattern) => (pattern.test(line) ? { length: line.length } : null),
});

export const wrong = defineTransform({
  input: { line: 'utf8' },
  output: { length: 'int64' },
  // @ts-expect-error: a text is no int64
  map: ({ line }) => ({ length: line }),
});

export const batch = defineTransform({
  input: { celsius: 'float64' },
  output: { fahrenheit: 'float64' },
  batch({ columns }) {
    is<Float64Array>(columns.celsius.values);
    return { columns: { fahrenheit: columns.celsius.values.map((value) => value * 1.8 + 32) } };
  },
});

export const sum = defineReducer({
  input: { total: 'int64' },
  reduce: (a, b) => ({ total: a.total + b.total }),
  inverse: (total, gone) => ({ total: total.total - gone.total }),
});

export const keyed = defineKeyed({
  key: { customer: 'utf8' },
  inputs: [{ page: 'utf8' }, { button: 'int64' }],
  state: { pages: column<string[]>('json', { as: 'value' }) },
  output: { customer: 'utf8', clicks: 'int64' },
  *update({ key, rows: [views, clicks], state }) {
    const pages = Array.from(views, ({ page }) => page);
    is<string[] | undefined>(state.get()?.pages);
    state.put({ pages });
    clicks.each(({ button }) => is<bigint>(button));
    yield { customer: key.customer, clicks: clicks.length };
  },
});

export const sink = defineSink({
  config: { url: setting.text() },
  delivery: 'two-phase',
  open: ({ url }) => ({
    write(batch, reject) {
      if (batch.rows > 0) reject(0, url);
    },
    prepare: () => new Uint8Array(1),
  }),
});
