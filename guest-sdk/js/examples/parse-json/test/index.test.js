import assert from 'node:assert/strict';
import { test } from 'node:test';

import { runTransform } from '@wasmill/sdk/testing';

import plugin from '../src/index.js';

const parse = (schema, lines) =>
  runTransform(plugin, { config: { schema }, input: { line: 'utf8' }, rows: lines.map((line) => ({ line })) });

test('every type is parsed exactly', () => {
  const schema = {
    ...{ a: 'boolean', b: 'int64', c: 'float64', d: 'decimal(20,2)', e: 'date', f: 'timestamp' },
    ...{ g: 'utf8', h: 'binary', i: 'json' },
  };
  const line =
    '{"a":true,"b":9007199254740993,"c":0.5,"d":123456789012345678.90,"e":"2024-02-29","f":"2024-02-29T01:02:03Z",' +
    '"g":"é","h":"00ff","i":{"x":[1.0]}}';
  assert.deepEqual(parse(schema, [line]).json(), [line]);
});

test('bad rows are rejected and the others go on', () => {
  const lines = [
    '{"n": 1, "other": [1, 2]}',
    '{"n": 1',
    '{"n": "1"}',
    '{"note": "x"}',
    '[1]',
    '{"n": 2, "note": "x"}',
  ];
  const run = parse({ n: 'int64', note: 'utf8?' }, lines);
  assert.deepEqual(run.rows(), [
    { n: 1n, note: null },
    { n: 2n, note: 'x' },
  ]);
  assert.deepEqual(run.parents(), [0, 5]);
  assert.deepEqual(run.rejected, [
    [1, 'not a JSON object: EOF while parsing an object at line 1 column 7'],
    [2, '`n`: "1" is not int64'],
    [3, '`n` is missing'],
    [4, 'not a JSON object: invalid type: sequence, expected a map at line 1 column 0'],
  ]);
});

test('a type that does not exist is named', () => {
  assert.throws(() => parse({ n: 'integer' }, []), /^Fatal: `integer` is not a type/);
});
