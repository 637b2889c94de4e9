// JSON that loses nothing: members as they are written, and values of column types from their text and back.
// `JSON.parse` rounds 9007199254740993 and forgets how 1.50 was written.

import { formatDate, formatTimestamp, parseDate, parseTimestamp } from './calendar.js';
import { formatDecimal, parseDecimal } from './decimal.js';
import { spelled } from './types.js';

/**
 * The members of a JSON object, each value as its JSON text; of a key that comes twice the last. Throws a SyntaxError that says
 * what is wrong and where, in the words of the Rust SDK.
 */
export function jsonMembers(text) {
  return isObject(text) ? membersOf(text) : new Scanner(text).members();
}

/**
 * Whether it is certainly an object. The engine's own parser tells in a fraction of the time that the scanner below needs; only
 * that surrogates must be paired it does not ask for.
 */
function isObject(text) {
  const value = parsed(text);
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !text.includes('\\u');
}

/** The value that JSON stands for, or undefined if it is none. */
function parsed(json) {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** The members of an object that was parsed before. Between strings, which are stepped over as wholes, is not much to look at. */
function membersOf(text) {
  const members = new Map();
  let depth = 0;
  let key;
  let start; // of the value after `key`
  let at = 0;
  const pieces = betweenQuotes(text);
  for (let piece = 0; piece < pieces.length; piece++) {
    const chars = pieces[piece];
    if (piece % 2 === 1) {
      if (depth === 1 && start === undefined) key = chars.includes('\\') ? JSON.parse(`"${chars}"`) : chars;
    } else {
      for (let char = 0; char < chars.length; char++) {
        switch (chars.charCodeAt(char)) {
          case OPEN_OBJECT:
          case OPEN_LIST:
            depth++;
            break;
          case COLON:
            if (depth > 1) break;
            start = at + char + 1;
            break;
          case CLOSE_OBJECT:
          case CLOSE_LIST:
            depth--;
            if (depth > 0 || start === undefined) break;
            members.set(key, text.slice(start, at + char).trim());
            break;
          case COMMA:
            if (depth > 1) break;
            members.set(key, text.slice(start, at + char).trim());
            start = undefined;
        }
      }
    }
    at += chars.length + 1;
  }
  return members;
}

const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_LIST, CLOSE_LIST, COLON, COMMA] = Array.from('{}[]:,', (char) => char.charCodeAt(0));

/** What is before, in and after each string of JSON, in turn. */
function betweenQuotes(json) {
  const pieces = json.split('"');
  if (!json.includes('\\')) return pieces;
  const whole = [pieces[0]];
  let isEscaped = false;
  for (const piece of pieces.slice(1)) {
    if (isEscaped) whole[whole.length - 1] += `"${piece}`;
    else whole.push(piece);
    isEscaped = /(?:^|[^\\])(?:\\\\)*\\$/.test(whole.at(-1));
  }
  return whole;
}

const encoder = new TextEncoder();
const NEWLINE = 10;
const SPACE = /[ \t\n\r]*/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const DIGITS = /[0-9]*/y;
const HEX = /^[0-9a-fA-F]{4}$/;
const ESCAPES = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };
const REST = { n: 'ull', t: 'rue', f: 'alse' };

class Scanner {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  members() {
    const members = new Map();
    if (this.peek('EOF while parsing a value') !== '{') this.failType();
    this.at++;
    for (let first = true; ; first = false) {
      let next = this.peek('EOF while parsing an object');
      if (next === '}') break;
      if (!first) {
        if (next !== ',') this.failAtNext('expected `,` or `}`');
        this.at++;
        next = this.peek('EOF while parsing a value');
        if (next === '}') this.failAtNext('trailing comma');
      }
      if (next !== '"') this.failAtNext('key must be a string');
      const key = this.string();
      if (this.peek('EOF while parsing an object') !== ':') this.failAtNext('expected `:`');
      this.at++;
      this.skip(SPACE);
      const start = this.at;
      this.value();
      members.set(key, this.text.slice(start, this.at));
    }
    this.at++;
    this.skip(SPACE);
    if (this.at < this.text.length) this.failAtNext('trailing characters');
    return members;
  }

  /** Steps over a value. Without recursion, as the depth is the text's to choose. */
  value() {
    const open = []; // the objects and arrays that the value is in
    for (;;) {
      const next = this.peek('EOF while parsing a value');
      let afterValue = true;
      if (next === '{' || next === '[') {
        open.push(next);
        this.at++;
        afterValue = false;
      } else {
        this.scalar(next);
      }
      if (!this.toNextValue(open, afterValue)) return;
    }
  }

  scalar(next, numberAtEnd) {
    if (next === '"') this.skipString();
    else if (next in REST) this.ident(REST[next]);
    else if (next === '-' || isDigit(next)) this.number(numberAtEnd);
    else this.failAtNext('expected value');
  }

  /** Past what closes and parts; false at the end of the outermost value. */
  toNextValue(open, afterValue) {
    for (; open.length > 0; afterValue = true) {
      const isObject = open.at(-1) === '{';
      const next = this.peek(isObject ? 'EOF while parsing an object' : 'EOF while parsing a list');
      if (next !== (isObject ? '}' : ']')) {
        if (afterValue && next !== ',') this.failAtNext(isObject ? 'expected `,` or `}`' : 'expected `,` or `]`');
        if (afterValue) this.at++;
        if (isObject) this.key();
        return true;
      }
      this.at++;
      open.pop();
    }
    return false;
  }

  key() {
    if (this.peek('EOF while parsing an object') !== '"') this.failAtNext('key must be a string');
    this.skipString();
    if (this.peek('EOF while parsing an object') !== ':') this.failAtNext('expected `:`');
    this.at++;
  }

  ident(rest) {
    this.at++;
    for (const letter of rest) {
      if (this.at === this.text.length) this.fail('EOF while parsing a value');
      if (this.text[this.at] !== letter) this.failAtNext('expected ident');
      this.at++;
    }
  }

  number(atEnd = 'invalid number') {
    const digits = () => {
      const next = this.text[this.at];
      if (!isDigit(next)) this.failAtNext(next === undefined ? atEnd : 'invalid number');
      this.skip(DIGITS);
    };
    if (this.text[this.at] === '-') this.at++;
    if (this.text[this.at] === '0') {
      this.at++;
      if (isDigit(this.text[this.at])) this.failAtNext('invalid number');
    } else {
      digits();
    }
    if (this.text[this.at] === '.') {
      this.at++;
      digits();
    }
    if (this.text[this.at] === 'e' || this.text[this.at] === 'E') {
      this.at++;
      if (this.text[this.at] === '+' || this.text[this.at] === '-') this.at++;
      digits();
    }
  }

  /** Steps over a string, whose surrogates need not be paired. */
  skipString() {
    this.at++;
    for (;;) {
      this.skip(PLAIN);
      const next = this.text[this.at];
      if (next === undefined) this.fail('EOF while parsing a string');
      if (next !== '"' && next !== '\\') this.fail(CONTROL);
      this.at++;
      if (next === '"') return;
      const escape = this.escape();
      if (escape === 'u') this.hex();
    }
  }

  /** The text of a string. */
  string() {
    let text = '';
    this.at++;
    for (;;) {
      const start = this.at;
      this.skip(PLAIN);
      text += this.text.slice(start, this.at);
      const next = this.text[this.at++];
      if (next === '"') return text;
      if (next === undefined) this.fail('EOF while parsing a string');
      if (next !== '\\') this.fail(CONTROL);
      const escape = this.escape();
      text += escape === 'u' ? this.codePoint() : ESCAPES[escape];
    }
  }

  escape() {
    const escape = this.text[this.at];
    if (escape === undefined) this.fail('EOF while parsing a string');
    if (escape !== 'u' && !(escape in ESCAPES)) this.failAtNext('invalid escape');
    this.at++;
    return escape;
  }

  codePoint() {
    const lead = this.hex();
    if (lead >= 0xdc00 && lead <= 0xdfff) this.fail(LONE);
    if (lead < 0xd800 || lead > 0xdbff) return String.fromCharCode(lead);
    for (const expected of '\\u') {
      const next = this.text[this.at];
      if (next === undefined) this.fail('EOF while parsing a string');
      if (next !== expected) this.failAtNext('unexpected end of hex escape');
      this.at++;
    }
    const trail = this.hex();
    if (trail < 0xdc00 || trail > 0xdfff) this.fail(LONE);
    return String.fromCharCode(lead, trail);
  }

  hex() {
    const start = this.bytesBefore(this.at);
    const digits = this.text.slice(this.at, this.at + 4);
    if (HEX.test(digits)) {
      this.at += 4;
      return parseInt(digits, 16);
    }
    const end = this.bytesBefore(this.text.length);
    if (start + 4 > end) this.failAtByte('EOF while parsing a string', end);
    return this.failAtByte('invalid escape', start + 4);
  }

  skip(pattern) {
    pattern.lastIndex = this.at;
    pattern.test(this.text);
    this.at = pattern.lastIndex;
  }

  /** The next character that is no space. */
  peek(atEnd) {
    this.skip(SPACE);
    if (this.at === this.text.length) this.failAtNext(atEnd);
    return this.text[this.at];
  }

  failType() {
    const next = this.text[this.at];
    const start = this.at;
    let found;
    if (next === '[') {
      found = 'sequence';
    } else if (next === '"') {
      found = `string ${quoted(this.string())}`;
    } else {
      this.scalar(next, 'EOF while parsing a value');
      found = describedScalar(this.text.slice(start, this.at)) ?? this.fail('number out of range');
    }
    this.fail(`invalid type: ${found}, expected a map`);
  }

  /** Of what was read up to here. */
  fail(message) {
    this.failAtByte(message, this.bytesBefore(this.at));
  }

  /** Of the next character, or of the end. */
  failAtNext(message) {
    this.failAtByte(message, Math.min(this.bytesBefore(this.at) + 1, this.bytesBefore(this.text.length)));
  }

  failAtByte(message, at) {
    const before = encoder.encode(this.text).subarray(0, at);
    const lineStart = before.lastIndexOf(NEWLINE) + 1;
    const line = before.subarray(0, lineStart).reduce((line, byte) => line + (byte === NEWLINE ? 1 : 0), 1);
    throw new SyntaxError(`${message} at line ${line} column ${at - lineStart}`);
  }

  bytesBefore(at) {
    return encoder.encode(this.text.slice(0, at)).length;
  }
}

const CONTROL = 'control character (\\u0000-\\u001F) found while parsing a string';
const LONE = 'lone leading surrogate in hex escape';

const isDigit = (char) => char >= '0' && char <= '9';

/** A JSON value as error messages describe what they found; undefined for a number that no float holds. */
export function described(value) {
  if (Array.isArray(value)) return 'sequence';
  if (typeof value === 'object' && value !== null) return 'map';
  if (typeof value === 'string') return `string ${quoted(value)}`;
  return describedScalar(JSON.stringify(value));
}

function describedScalar(text) {
  if (text === 'null') return 'null';
  if (text === 'true' || text === 'false') return `boolean \`${text}\``;
  if (/^-?\d+$/.test(text) && text !== '-0') {
    const integer = BigInt(text);
    if (integer < 2n ** 64n && integer >= -(2n ** 63n)) return `integer \`${text}\``;
  }
  const float = Number(text);
  return Number.isFinite(float) ? `floating point \`${formatFloat(float)}\`` : undefined;
}

/** A text in quotes as messages show it. */
function quoted(text) {
  const names = { '"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\0': '\\0' };
  const escaped = text.replace(/["\\\u0000-\u001f\u007f-\u009f]/g, (char) => names[char] ?? `\\u{${char.charCodeAt(0).toString(16)}}`);
  return `"${escaped}"`;
}

/**
 * The value of a column type that a JSON text stands for, exactly or not at all: no number is rounded but to a float, no text
 * is read as a number. Dates and timestamps are ISO 8601 texts, bytes are hexadecimal digits, a `json` value is the text
 * itself. Throws an Error that says what was there instead.
 */
export function fromJson(json, type) {
  const text = json.trim();
  if (text === 'null') return null;
  const value = READ[type.name](text, type);
  if (value === undefined) throw new Error(`${shortened(text)} is not ${spelled(type)}`);
  return value;
}

const READ = {
  boolean: (text) => ({ true: true, false: false })[text],
  int64: readInteger,
  float64: readFloat,
  decimal: (text, { precision, scale }) => parseDecimal(unquoted(text) ?? text, precision, scale),
  date: (text) => parseDate(unquoted(text) ?? ''),
  timestamp: (text) => parseTimestamp(unquoted(text) ?? ''),
  utf8: unquoted,
  binary: (text) => fromHex(unquoted(text) ?? '-'),
  json: (text) => (parsed(text) === undefined ? undefined : text),
};

function readInteger(text) {
  const integer = typeof parsed(text) === 'number' && !/[.eE]/.test(text) ? BigInt(text) : undefined;
  return integer !== undefined && integer === BigInt.asIntN(64, integer) && text !== '-0' ? integer : undefined;
}

function readFloat(text) {
  const float = parsed(text);
  return Number.isFinite(float) ? float : undefined;
}

/** The text of a JSON string. */
function unquoted(json) {
  const text = parsed(json);
  return typeof text === 'string' && text.isWellFormed() ? text : undefined;
}

function fromHex(digits) {
  if (!/^(?:[0-9a-fA-F]{2})*$/.test(digits)) return undefined;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** A value as messages quote it: its first characters. */
function shortened(text) {
  const LENGTH = 40;
  const chars = [...text];
  return chars.length > LENGTH ? `${chars.slice(0, LENGTH).join('')}...` : text;
}

/**
 * A value as the host's own JSON sinks write it: dates and timestamps as ISO 8601 texts, decimals as numbers, bytes as
 * hexadecimal digits; a float that JSON has no number for is null.
 */
export function toJson(value, type) {
  if (value === null) return 'null';
  return WRITE[type.name](value, type);
}

const WRITE = {
  boolean: String,
  int64: String,
  float64: (float) => (Number.isFinite(float) ? formatFloat(float) : 'null'),
  decimal: (unscaled, { scale }) => formatDecimal(unscaled, scale),
  date: (days) => `"${formatDate(days)}"`,
  timestamp: (micros) => `"${formatTimestamp(micros)}"`,
  utf8: (text) => JSON.stringify(text),
  binary: (bytes) => `"${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}"`,
  json: (text) => text,
};

/** The shortest digits that give the same float, with a point, or an exponent if there would be many zeros. */
function formatFloat(float) {
  if (Object.is(float, -0)) return '-0.0';
  const [digits, exponent] = float.toExponential().split('e');
  if (exponent < -5 || exponent > 15) return `${digits}e${exponent}`;
  const text = exponent < 0 ? float.toFixed(digits.replace(/\D/g, '').length - 1 - exponent) : String(float);
  return text.includes('.') ? text : `${text}.0`;
}

/** A row as a JSON object: each value under the name of its column. */
export function rowToJson(columns, values) {
  return `{${columns.map(({ name, type }, at) => `${JSON.stringify(name)}:${toJson(values[at], type)}`).join(',')}}`;
}
