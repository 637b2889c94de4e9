// Runs a plugin natively, as the host would, and checks what comes back as the host does.

import type { Context, Plugin, Schema } from '../index.js';

/** A row: an object of values, or a JSON text. */
type TestRow = Record<string, unknown> | string;

type Rejected = [row: number, reason: string][];

interface Given {
  /** The step's `config` table. */
  config?: Record<string, unknown>;
  /** The columns of the input, as `{ id: 'int64', line: 'utf8?' }`. */
  input?: Schema;
  rows?: readonly TestRow[];
}

interface Outputs {
  /** The rows of a port, `out` unless named, as the next step sees them. */
  rows(port?: string): Record<string, any>[];
  /** The same as JSON texts. */
  json(port?: string): string[];
}

/** Describes, opens, and processes all rows in one call. */
export function runTransform(
  plugin: Plugin<'transform'>,
  given?: Given & { context?: Partial<Context> },
): Outputs & { plan: any; rejected: Rejected; parents(port?: string): number[] };

/** Reduces the groups, and fails if it makes a difference where they are cut, or if the inverse is none. */
export function runReducer(
  plugin: Plugin<'reducer'>,
  given?: Given & { groups?: readonly number[] },
): { plan: any; rows(): Record<string, any>[]; json(): string[] };

export interface KeyedRun {
  plan: any;
  /** An epoch at a batch time: the rows of the only input, or a list of rows for each. */
  epoch(batchTime: number, rows?: readonly TestRow[] | readonly TestRow[][]): Outputs & { rejected(input?: number): Rejected };
  /** What is remembered, in the order of the keys as JSON. */
  state(): Record<string, any>[];
  stateJson(): string[];
  /** The keys that have a timer, as JSON texts, each with the batch time from which it is due. */
  timers(): [key: string, batchTime: number][];
}

export function startKeyed(
  plugin: Plugin<'keyed'>,
  given?: {
    config?: Record<string, unknown>;
    /** The columns by which rows are grouped; every input has them. */
    key?: readonly string[];
    input?: Schema;
    inputs?: readonly Schema[];
    /** Splits keys of more rows over several calls. */
    partsOf?: number;
    /** A run of another version, whose states are taken over. */
    from?: KeyedRun;
  },
): KeyedRun;

/** A request of a plugin's. */
export interface TestRequest {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}

/** The answer to it. */
export interface TestAnswer {
  status: number;
  headers?: Record<string, string>;
  body?: string;
}

/** Writes all rows as one partition and prepares it. */
export function runSink(
  plugin: Plugin<'sink'>,
  given?: Given & {
    key?: string;
    retries?: number;
    context?: Partial<Context>;
    /** Answers the requests that the plugin sends. */
    http?: (request: TestRequest) => TestAnswer;
  },
): {
  plan: any;
  rejected: Rejected;
  token: Uint8Array;
  /** With a fresh instance: as after a crash, nothing but the token is left. */
  commit(epoch?: bigint): void;
  abort(epoch?: bigint): void;
  lastEpoch(partition?: number): bigint | undefined;
};
