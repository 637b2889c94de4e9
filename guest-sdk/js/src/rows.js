// The rows of a key, read in place.

import { Batch } from './batch.js';
import { Rejects } from './builder.js';
import { groupStarts } from './columns.js';
import { Reject } from './errors.js';
import { RowReader } from './schema.js';

/** The rows of one input, of all keys of a call. */
export class Group {
  constructor(columns, { ends, columns: buffers }) {
    this.starts = groupStarts(ends);
    const batch = new Batch(columns, this.starts.at(-1), buffers);
    this.reader = new RowReader(columns, batch.views);
    this.rejects = new Rejects();
    this.unreadable = new Set();
    if (this.reader.mayReject) this.rejectUnreadable(batch.rows);
  }

  /** Rows with a null where the plugin has no room for one are turned away, once for all readings. */
  rejectUnreadable(rows) {
    for (let row = 0; row < rows; row++) {
      try {
        this.reader.read(row);
      } catch (error) {
        if (!(error instanceof Reject)) throw error;
        this.unreadable.add(row);
        this.rejects.push(row, error.message);
      }
    }
  }

  isEmpty(key) {
    return this.starts[key] === this.starts[key + 1];
  }

  rejectAll(key, reason) {
    for (let row = this.starts[key]; row < this.starts[key + 1]; row++) this.rejects.push(row, reason);
  }

  rowsOf(key) {
    return new Rows(this, this.starts[key], this.starts[key + 1]);
  }
}

/** The rows of a key: read one by one, each time they are iterated. A row that was turned away for its nulls is not among them. */
class Rows {
  #group;
  #start;
  #end;

  constructor(group, start, end) {
    this.#group = group;
    this.#start = start;
    this.#end = end;
  }

  /** How many. */
  get length() {
    const { unreadable } = this.#group;
    if (unreadable.size === 0) return this.#end - this.#start;
    let length = 0;
    for (let row = this.#start; row < this.#end; row++) if (!unreadable.has(row)) length++;
    return length;
  }

  *[Symbol.iterator]() {
    const { reader, unreadable } = this.#group;
    for (let row = this.#start; row < this.#end; row++) if (!unreadable.has(row)) yield reader.read(row);
  }

  /** Calls `each` with every row. Those for which it throws a Reject are turned away, and the others go on. */
  each(each) {
    const { reader, unreadable, rejects } = this.#group;
    for (let row = this.#start; row < this.#end; row++) {
      if (unreadable.has(row)) continue;
      try {
        each(reader.read(row));
      } catch (error) {
        if (!(error instanceof Reject)) throw error;
        rejects.push(row, error.message);
      }
    }
  }
}
