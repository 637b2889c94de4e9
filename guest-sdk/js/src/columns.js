// Reading a batch in place: typed arrays over the buffers that the host wrote.

const decoder = new TextDecoder('utf-8', { ignoreBOM: true }); // a text may begin with U+FEFF

/** The bytes as an array of wider numbers; only bytes that do not lie at a multiple of their width are copied. */
export function wide(Type, bytes) {
  const { buffer, byteOffset, byteLength } = byteOffsetFits(Type, bytes) ? bytes : bytes.slice();
  return new Type(buffer, byteOffset, byteLength / Type.BYTES_PER_ELEMENT);
}

function byteOffsetFits(Type, { byteOffset }) {
  return byteOffset % Type.BYTES_PER_ELEMENT === 0;
}

/** Reads bit `row`, the least significant bit of a byte first. */
export function bit(bytes, row) {
  return ((bytes[row >> 3] >> (row & 7)) & 1) === 1;
}

/** One column of a batch. `get` gives a value as the type has it, or null. */
export class Column {
  constructor({ name, type, nullable }, rows, { validity, offsets, data }) {
    this.name = name;
    this.type = type;
    this.nullable = nullable;
    this.rows = rows;
    this.validity = validity;
    this.offsets = offsets;
    this.data = data;
  }

  /** Whether any value is missing. A column may have a validity and no null. */
  get hasNulls() {
    for (let row = 0; row < this.rows; row++) if (this.isNull(row)) return true;
    return false;
  }

  isNull(row) {
    return this.validity.length > 0 && !bit(this.validity, row);
  }

  get(row) {
    return this.isNull(row) ? null : this.value(row);
  }

  toArray() {
    return Array.from({ length: this.rows }, (_, row) => this.get(row));
  }
}

class Bits extends Column {
  value(row) {
    return bit(this.data, row);
  }
}

/** Numbers of a fixed width; `values` is the typed array, with any number under a null. */
class Fixed extends Column {
  constructor(column, rows, buffers) {
    super(column, rows, buffers);
    this.values = wide(ARRAYS[column.type.name], buffers.data);
  }

  value(row) {
    return this.values[row];
  }
}

export const ARRAYS = { int64: BigInt64Array, float64: Float64Array, date: Int32Array, timestamp: BigInt64Array };

/** Two 64-bit halves each, the lower first. */
class Decimals extends Column {
  constructor(column, rows, buffers) {
    super(column, rows, buffers);
    this.halves = wide(BigInt64Array, buffers.data);
  }

  value(row) {
    return (this.halves[2 * row + 1] << 64n) | BigInt.asUintN(64, this.halves[2 * row]);
  }
}

class Varying extends Column {
  constructor(column, rows, buffers) {
    super(column, rows, buffers);
    this.ends = wide(Uint32Array, buffers.offsets);
  }

  /** The bytes of a value, in place. */
  bytes(row) {
    return this.data.subarray(this.ends[row], this.ends[row + 1]);
  }
}

class Texts extends Varying {
  /** A text is decoded when it is asked for. */
  value(row) {
    return decoder.decode(this.bytes(row));
  }
}

class Binary extends Varying {
  value(row) {
    return this.bytes(row);
  }
}

const VIEWS = {
  boolean: Bits,
  int64: Fixed,
  float64: Fixed,
  decimal: Decimals,
  date: Fixed,
  timestamp: Fixed,
  utf8: Texts,
  binary: Binary,
  json: Texts,
};

/** The view of a column's buffers. */
export function view(column, rows, buffers) {
  return new VIEWS[column.type.name](column, rows, buffers);
}

/** The rows of each group, from the bytes of `ends`: those of group `i` are `starts[i]` up to `starts[i + 1]`. */
export function groupStarts(ends) {
  const starts = new Uint32Array(ends.length / 4 + 1);
  starts.set(wide(Uint32Array, ends), 1);
  return starts;
}
