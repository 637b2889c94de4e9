// The column types of the contract. docs/plugins/abi.md gives the layout of each.

import { Fatal } from './errors.js';

const WIDTHS = new Map([
  ['boolean', 0],
  ['int64', 8],
  ['float64', 8],
  ['date', 4],
  ['timestamp', 8],
  ['utf8', 0],
  ['binary', 0],
  ['json', 0],
]);

const DECIMAL = /^decimal\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)$/;

/** `{ name, width, precision, scale }` of a type's text; `width` is 0 where values have no bytes of their own. */
export function parseType(text) {
  const width = WIDTHS.get(text);
  if (width !== undefined) return { name: text, width };
  const [, precision, scale] = (DECIMAL.exec(text) ?? []).map(Number);
  if (precision >= 1 && precision <= 38 && scale <= precision) return { name: 'decimal', width: 16, precision, scale };
  throw new Fatal(
    `\`${text}\` is not a type; there are boolean, int64, float64, decimal(p,s), date, timestamp, utf8, binary and json`,
  );
}

/** The type as the contract spells it. */
export function spelled({ name, precision, scale }) {
  return name === 'decimal' ? `decimal(${precision},${scale})` : name;
}

/** Whether values have offsets: texts and byte strings. */
export function isVarying({ name }) {
  return name === 'utf8' || name === 'binary' || name === 'json';
}

/** A column of a schema from the contract's field: its name, its type, whether values may be missing. */
export function column({ name, dataType, nullable }) {
  return { name, type: parseType(dataType), nullable };
}

/** The contract's field of a column. */
export function field({ name, type, nullable }) {
  return { name, dataType: spelled(type), nullable };
}
