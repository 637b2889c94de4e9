// Where a plugin's rows go: builders for the columns of each port, and the input row, or key, each came from.

import { Builder } from './builder.js';
import { suggested } from './suggest.js';
import { field } from './types.js';

class Emitter {
  constructor({ name, columns }) {
    this.name = name;
    this.builders = columns.map((column) => new Builder(column));
    this.rows = 0;
    /** Of each finished input row that gave any: its number, and how many rows there were after it. */
    this.parents = [];
    this.ends = [];
  }

  emit(rows) {
    for (let at = 0; at < this.builders.length; at++) this.builders[at].pushAll(rows);
    this.rows += rows.length;
  }

  endRow(parent) {
    if (this.rows === this.finished) return;
    this.parents.push(parent);
    this.ends.push(this.rows);
  }

  undoRow() {
    this.rows = this.finished;
    for (const builder of this.builders) builder.truncate(this.rows);
  }

  /** The rows of finished input rows. */
  get finished() {
    return this.ends.at(-1) ?? 0;
  }

  finish(port) {
    const val = new Uint32Array(this.rows);
    for (let at = 0; at < this.ends.length; at++) val.fill(this.parents[at], this.ends[at - 1] ?? 0, this.ends[at]);
    return {
      port,
      rows: this.rows,
      origin: { tag: 'parents', val },
      columns: this.builders.map((builder) => builder.finish()),
    };
  }
}

/** All ports of a call. */
export class Ports {
  /** `several` says that what is emitted names its port: `{ words: { word } }`. */
  constructor(ports, several) {
    this.emitters = ports.map((port) => new Emitter(port));
    this.several = several;
  }

  /** What a flat-map gives: an array or anything else that can be iterated, or nothing. */
  emit(given) {
    if (given === undefined || given === null) return;
    const rows = Array.isArray(given) ? given : [...given];
    if (!this.several) this.emitters[0].emit(rows);
    else rows.forEach((row) => this.emitByPort(row));
  }

  emitByPort(rows) {
    for (const [name, row] of Object.entries(rows)) {
      const emitter = this.emitters.find((emitter) => emitter.name === name);
      if (!emitter) throw new TypeError(noPort(name, this.emitters));
      emitter.emit([row]);
    }
  }

  endRow(parent) {
    for (let at = 0; at < this.emitters.length; at++) this.emitters[at].endRow(parent);
  }

  undoRow() {
    for (const emitter of this.emitters) emitter.undoRow();
  }

  finish() {
    return this.emitters.map((emitter, port) => emitter.finish(port));
  }
}

export function noPort(name, ports) {
  const names = ports.map((port) => port.name);
  return suggested(`there is no port \`${name}\``, name, names, `there are ${names.join(', ')}`);
}

/** The ports as a plan has them. */
export function planned(ports, carry) {
  return ports.map(({ name, columns }) => ({ name, columns: columns.map(field), carry }));
}
