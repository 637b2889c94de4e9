// What is remembered of a key, and when it is called without rows.

import { Builder, NO_BYTES } from './builder.js';
import { context } from './context.js';
import { Fatal } from './errors.js';

// Bits of a key's status.
export const HAS_STATE = 1;
const TIMED_OUT = 2;
const FIRST_PART = 4;
const LAST_PART = 8;

// What becomes of a key's state.
const KEEP = 0;
const PUT = 1;
const REMOVE = 2;

const SAME_TIMER = -(2n ** 63n);
const NO_TIMER = 2n ** 63n - 1n;

/** The states of all keys of a call. */
export class States {
  constructor(columns, reader) {
    this.reader = reader;
    this.builders = columns.map((column) => new Builder(column));
    /** States put, without that of the key at hand. */
    this.puts = 0;
    /** The row of the state of the key at hand, if it has one; else of the next that has. */
    this.row = 0;
    this.ops = [];
    this.timers = [];
    this.state = new State(this);
  }

  /** The state of the next key. */
  begin(status) {
    this.status = status;
    this.op = KEEP;
    this.timer = SAME_TIMER;
    return this.state;
  }

  put(row) {
    this.truncate();
    for (const builder of this.builders) builder.push(row[builder.name]);
    this.op = PUT;
  }

  truncate() {
    for (const builder of this.builders) builder.truncate(this.puts);
  }

  /** As if the function had not been called. */
  undo() {
    this.truncate();
    this.op = KEEP;
    this.timer = SAME_TIMER;
  }

  /** The key is done. */
  end() {
    const existed = (this.status & HAS_STATE) !== 0;
    const remembered = this.op === KEEP ? existed : this.op === PUT;
    if (this.op === PUT && this.builders.length === 0) {
      throw new Fatal('the plugin put a state, and its states have no columns');
    }
    if (!remembered && this.timer !== SAME_TIMER && this.timer !== NO_TIMER) {
      throw new Fatal('the plugin set a timer for a key of which nothing is remembered');
    }
    if (this.op === PUT) this.puts++;
    if (existed) this.row++;
    this.ops.push(this.op);
    this.timers.push(this.timer);
  }

  /** What became of the keys: ops, states, timers, each empty if it says nothing. */
  finish() {
    return {
      ops: this.ops.some((op) => op !== KEEP) ? Uint8Array.from(this.ops) : NO_BYTES,
      state: this.builders.map((builder) => builder.finish()),
      timers: this.timers.some((timer) => timer !== SAME_TIMER)
        ? new Uint8Array(BigInt64Array.from(this.timers).buffer)
        : NO_BYTES,
    };
  }
}

/** What is remembered of the key that the function is called for, and its timer. */
class State {
  #states;

  constructor(states) {
    this.#states = states;
  }

  /** What was remembered before the function was called, or undefined; what it puts is there in the next call. */
  get() {
    return this.exists ? this.#states.reader.read(this.#states.row) : undefined;
  }

  /** Whether something was remembered before the function was called. */
  get exists() {
    return this.#has(HAS_STATE);
  }

  /** Remembers this from now on. */
  put(row) {
    this.#states.put(row);
  }

  /** Forgets the key: its state and its timer. */
  remove() {
    this.#states.truncate();
    this.#states.op = REMOVE;
    this.#states.timer = NO_TIMER;
  }

  /**
   * Has the function called for this key even without rows, in the first epoch whose batch time, in milliseconds since 1970, is
   * not before this. A key has one timer: this replaces an earlier one. Only a key with state has one.
   */
  setTimer(batchTime) {
    const { MAX_SAFE_INTEGER: most } = Number;
    this.#states.timer = BigInt(Math.max(-most, Math.min(Math.ceil(batchTime), most)));
  }

  /** `setTimer` so many milliseconds after the batch time of this epoch. */
  timeoutAfter(millis) {
    this.setTimer(context().batchTime + millis);
  }

  /** Takes the timer back. */
  clearTimer() {
    this.#states.timer = NO_TIMER;
  }

  /** Whether the function is called because the timer is due. There may be rows too. The timer is spent. */
  get timedOut() {
    return this.#has(TIMED_OUT);
  }

  /** Whether these are the first rows of the key in this epoch. */
  get isFirstPart() {
    return this.#has(FIRST_PART);
  }

  /** Whether these are the last rows of the key in this epoch. */
  get isLastPart() {
    return this.#has(LAST_PART);
  }

  #has(bit) {
    return (this.#states.status & bit) !== 0;
  }
}
