import assert from 'node:assert/strict';
import { test } from 'node:test';

import { column, formatDate, fromJson, jsonMembers, parseDate, parseTimestamp, toJson } from '@wasmill/sdk';

const type = (text) => column(text).type;

test('a value survives JSON', () => {
  for (const [json, text] of [
    ['true', 'boolean'],
    ['-9223372036854775808', 'int64'],
    ['0.1', 'float64'],
    ['1e+300', 'float64'],
    ['-0.0', 'float64'],
    ['-12.30', 'decimal(10,2)'],
    ['-0.05', 'decimal(10,2)'],
    ['7', 'decimal(10,0)'],
    ['99999999999999999999999999999999999.999', 'decimal(38,3)'],
    ['"2024-02-29"', 'date'],
    ['"2024-02-29T23:59:59.000001Z"', 'timestamp'],
    ['"1969-12-31T23:59:59.999Z"', 'timestamp'],
    ['"a \\"quoted\\" text"', 'utf8'],
    ['"00ff"', 'binary'],
    ['{"a":[1,2.50]}', 'json'],
    ['null', 'int64'],
  ]) {
    assert.equal(toJson(fromJson(json, type(text)), type(text)), json, text);
  }
});

test('what does not fit exactly is refused', () => {
  for (const [json, text] of [
    ['1', 'boolean'],
    ['1.5', 'int64'],
    ['1.0', 'int64'],
    ['1e3', 'int64'],
    ['-0', 'int64'],
    ['9223372036854775808', 'int64'],
    ['"1"', 'int64'],
    ['1e400', 'float64'],
    ['1.234', 'decimal(10,2)'],
    ['100', 'decimal(4,2)'],
    ['"2023-02-29"', 'date'],
    ['"2024-02-29"', 'timestamp'],
    ['7', 'utf8'],
    ['"\\ud800"', 'utf8'],
    ['"0"', 'binary'],
  ]) {
    assert.throws(() => fromJson(json, type(text)), { message: `${json} is not ${text}` });
  }
});

test('every day survives the calendar', () => {
  for (let days = -700_000; days < 800_000; days += 13) assert.equal(parseDate(formatDate(days)), days);
  assert.equal(parseDate('2000-02-29'), 11_016);
  assert.equal(parseDate('1900-02-29'), undefined);
  assert.equal(formatDate(-1), '1969-12-31');
  assert.equal(parseTimestamp('2026-05-25T14:34:56+02:00'), parseTimestamp('2026-05-25T12:34:56Z'));
});

test('members are as they are written', () => {
  const text = ' {"n": 9007199254740993 , "a\\"b" : [1.50, {"c": ","}],"s":"x:{\\\\","n":1.0, "e":{}} ';
  assert.deepEqual([...jsonMembers(text)], [
    ['n', '1.0'],
    ['a"b', '[1.50, {"c": ","}]'],
    ['s', '"x:{\\\\"'],
    ['e', '{}'],
  ]);
  assert.deepEqual([...jsonMembers('{}')], []);
  // An escape \u has the scanner read it, which checks that surrogates are paired.
  assert.deepEqual([...jsonMembers('{"\\ud83d\\ude00": [{"a": "\\u00e9"}, -1.5e3, null]}')], [
    ['😀', '[{"a": "\\u00e9"}, -1.5e3, null]'],
  ]);
});

test('what is no object is told with its place, as in Rust', () => {
  for (const [text, message] of [
    ['', 'EOF while parsing a value at line 1 column 0'],
    ['{', 'EOF while parsing an object at line 1 column 1'],
    ['[1]', 'invalid type: sequence, expected a map at line 1 column 0'],
    ['1.5', 'invalid type: floating point `1.5`, expected a map at line 1 column 3'],
    ['-', 'EOF while parsing a value at line 1 column 1'],
    ['"a\\n"', 'invalid type: string "a\\n", expected a map at line 1 column 5'],
    ['{"a":1,}', 'trailing comma at line 1 column 8'],
    ['{"a":1 "b"', 'expected `,` or `}` at line 1 column 8'],
    ['{"a":[1 2]}', 'expected `,` or `]` at line 1 column 9'],
    ['{"a" 1}', 'expected `:` at line 1 column 6'],
    ['{a:1}', 'key must be a string at line 1 column 2'],
    ['{"a":tru}', 'expected ident at line 1 column 9'],
    ['{"a":01}', 'invalid number at line 1 column 7'],
    ['{"a":"é\\x"}', 'invalid escape at line 1 column 10'],
    ['{"a":"\\u12"}', 'invalid escape at line 1 column 12'],
    ['{"\\ud800":1}', 'unexpected end of hex escape at line 1 column 9'],
    ['{"\\udc00":1}', 'lone leading surrogate in hex escape at line 1 column 8'],
    ['{"a":"\t"}', 'control character (\\u0000-\\u001F) found while parsing a string at line 1 column 6'],
    ['{"a":1}\n x', 'trailing characters at line 2 column 2'],
  ]) {
    assert.throws(() => jsonMembers(text), { name: 'SyntaxError', message }, text);
  }
});
