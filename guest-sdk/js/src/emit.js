// Where a plugin's rows go: builders for the columns of each port, and the input row, or key, each came from.

import { Builder } from './builder.js';
import { suggested } from './suggest.js';
import { field } from './types.js';

class Emitter {
  constructor({ name, columns }) {
    this.name = name;
    this.columns = columns;
    this.builders = columns.map((column) => new Builder(column));
    this.rows = 0;
    /** The parent of each row up to the last finished one. */
    this.parents = [];
  }

  emit(row) {
    const { builders } = this;
    for (let at = 0; at < builders.length; at++) builders[at].push(row[builders[at].name]);
    this.rows++;
  }

  endRow(parent) {
    while (this.parents.length < this.rows) this.parents.push(parent);
  }

  undoRow() {
    this.rows = this.parents.length;
    for (const builder of this.builders) builder.truncate(this.rows);
  }

  finish(port) {
    return {
      port,
      rows: this.rows,
      origin: { tag: 'parents', val: Uint32Array.from(this.parents) },
      columns: this.builders.map((builder) => builder.finish()),
    };
  }
}

/** All ports of a call. */
export class Ports {
  /** `several` says that what is emitted names its port: `{ words: { word } }`. */
  constructor(ports, several) {
    this.emitters = ports.map((port) => new Emitter(port));
    this.emit = several ? (rows) => this.emitByPort(rows) : (row) => this.emitters[0].emit(row);
  }

  /** What a flat-map gives: an array or anything else that can be iterated, or nothing. */
  emitAll(rows) {
    if (rows === undefined || rows === null) return;
    if (Array.isArray(rows)) {
      for (let at = 0; at < rows.length; at++) this.emit(rows[at]); // `for of` costs five times as much in the component
    } else {
      for (const row of rows) this.emit(row);
    }
  }

  emitByPort(rows) {
    for (const [name, row] of Object.entries(rows)) {
      const emitter = this.emitters.find((emitter) => emitter.name === name);
      if (!emitter) throw new TypeError(noPort(name, this.emitters));
      emitter.emit(row);
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
