import assert from 'node:assert/strict';
import { test } from 'node:test';

import { setting } from '@wasmill/sdk';

import { parse, read } from '../src/config.js';
import { nearest } from '../src/suggest.js';

const schema = { pattern: setting.text(), invert: setting.boolean(false) };
const readText = (text) => read(schema, parse(text), ['column']);

test('keys of the schema and of columns are known', () => {
  assert.deepEqual(readText('{"pattern": "x", "column": "line"}'), { pattern: 'x', invert: false });
});

test('an unknown key names the nearest', () => {
  assert.throws(() => readText('{"patern": "x"}'), {
    message: 'the configuration is wrong: there is no setting `patern`; did you mean `pattern`?',
  });
  assert.throws(() => readText('{"pattern": "x", "colum": "line"}'), /did you mean `column`\?/);
  assert.throws(() => readText('{"zzz": 1}'), /there is no setting `zzz`; there are `pattern`, `invert`, `column`$/);
  assert.throws(() => read({}, { a: 1 }, []), /there is no setting `a`; this plugin has none$/);
});

test('a missing key and a wrong type are told', () => {
  assert.throws(() => readText(''), { message: 'the configuration is wrong: missing field `pattern`' });
  assert.throws(() => readText('{"pattern": 3}'), {
    message: 'the configuration is wrong: `pattern`: invalid type: integer `3`, expected a string',
  });
  assert.throws(() => readText('[]'), { message: 'the configuration must be a table' });
});

test('kinds of settings', () => {
  const one = (kind, value) => read({ a: kind }, { a: value }, []).a;
  assert.equal(one(setting.integer(), 3), 3);
  assert.throws(() => one(setting.integer(), 2 ** 53), /an integer that a number holds exactly/);
  assert.equal(one(setting.oneOf(['reject', 'fail']), 'fail'), 'fail');
  assert.throws(() => one(setting.oneOf(['reject', 'fail']), 'skip'), /expected one of `reject`, `fail`/);
  assert.deepEqual(one(setting.list(setting.number()), [1, 0.5]), [1, 0.5]);
  assert.throws(() => one(setting.list(setting.number()), ['x']), /`a`: invalid type: string "x", expected a number/);
  assert.deepEqual([...one(setting.table(setting.text()), { 10: 'x', 9: 'y', 'é': 'z', b: '' }).keys()], ['10', '9', 'b', 'é']);
  assert.equal(read({ a: setting.text(null) }, {}, []).a, null);
});

test('a duration is a sum of units', () => {
  const millis = (text) => read({ a: setting.duration() }, { a: text }, []).a;
  assert.equal(millis('250ms'), 250);
  assert.equal(millis('1h 30m'), 5_400_000);
  assert.equal(millis('1d2h3s'), 93_603_000);
  assert.equal(millis('10 s'), 10_000);
  assert.equal(read({ a: setting.duration('1s') }, {}, []).a, 1000);
  for (const bad of ['', ' ', '10', 's', '1.5h', '-1s', '1 week', '99999999999999999999s']) {
    assert.throws(() => millis(bad), /is not a duration as/, bad);
  }
});

test('a slip of the finger is understood', () => {
  const known = ['line', 'word', 'status'];
  assert.equal(nearest('lines', known), 'line');
  assert.equal(nearest('wrod', known), 'word');
  assert.equal(nearest('sttus', known), 'status');
  assert.equal(nearest('banana', known), undefined);
});

test('a table is in the order of its keys as bytes', () => {
  const keys = ['b', '\u{1f600}', 'ab', '\uffff', '', 'a', '\ue000', '\ud7ff', 'a\u{1f600}', 'a\uffff', 'é'];
  const table = Object.fromEntries(keys.map((key) => [key, '']));
  const bytes = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  assert.deepEqual([...read({ t: setting.table(setting.text()) }, { t: table }, []).t.keys()], bytes);
});
