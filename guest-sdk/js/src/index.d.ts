// The types of the SDK. A schema is written with the types' names, `{ word: 'utf8', n: 'int64?' }`, and the types of rows follow
// from it; a name that ends in `?` allows nulls.

type Decimal = `decimal(${number},${number})`;
type BaseType = 'boolean' | 'int64' | 'float64' | Decimal | 'date' | 'timestamp' | 'utf8' | 'binary' | 'json';

/** A column's type as schemas spell it. */
export type ColumnType = BaseType | `${BaseType}?`;

/** What a value of a type is. A date is days since 1970-01-01, a timestamp microseconds, a decimal its digits without the point. */
type Base<T> = T extends 'boolean'
  ? boolean
  : T extends 'int64' | 'timestamp' | Decimal
    ? bigint
    : T extends 'float64' | 'date'
      ? number
      : T extends 'utf8' | 'json'
        ? string
        : T extends 'binary'
          ? Uint8Array
          : never;

/** What may be given for a value: an int64 also as a number that is exactly one, a timestamp also as a Date. */
type BaseGiven<T> = T extends 'int64' ? bigint | number : T extends 'timestamp' ? bigint | Date : Base<T>;

/** A column where its type alone does not say enough; made by `column`. */
export interface ColumnSpec<Value = unknown, Given = Value> {
  readonly type: DataType;
  readonly nullable: boolean;
  /** Only for the compiler. */
  readonly __value?: Value;
  readonly __given?: Given;
}

/** Columns by their names, in their order. */
export type Schema = Record<string, ColumnType | ColumnSpec<any, any>>;

/** A schema that only the configuration knows. */
export type DynamicSchema = Schema | Iterable<readonly [string, string | ColumnSpec<any, any>]>;

type ValueOf<C> = C extends `${infer T}?` ? Base<T> | null : C extends ColumnSpec<infer V, any> ? V : Base<C>;
type GivenOf<C> = C extends `${infer T}?` ? BaseGiven<T> | null : C extends ColumnSpec<any, infer G> ? G : BaseGiven<C>;
type Nullable<C> = { [K in keyof C]: null extends GivenOf<C[K]> ? K : never }[keyof C];

/** A row as it is read. */
export type Row<S> = { [K in keyof S]: ValueOf<S[K]> };

/** A row as it is given; nulls may be left out. */
export type GivenRow<S> = string extends keyof S
  ? Record<string, unknown>
  : { [K in Exclude<keyof S, Nullable<S>>]: GivenOf<S[K]> } & { [K in Nullable<S>]?: GivenOf<S[K]> };

export interface ColumnOptions {
  /** The key of the configuration that may name the input column. */
  setting?: string;
  /** Takes the first column of a fitting type if none has the name. */
  orFirst?: boolean;
}

/** An int64 as a number; a row whose value no number holds exactly is rejected. */
export function column(type: 'int64', options: ColumnOptions & { as: 'number' }): ColumnSpec<number>;
export function column(type: 'int64?', options: ColumnOptions & { as: 'number' }): ColumnSpec<number | null>;
/** A json column as the value that its text stands for, with numbers as `JSON.parse` reads them. */
export function column<V = any>(type: 'json', options: ColumnOptions & { as: 'value' }): ColumnSpec<V>;
export function column<V = any>(type: 'json?', options: ColumnOptions & { as: 'value' }): ColumnSpec<V | null>;
export function column<const T extends ColumnType>(type: T, options?: ColumnOptions): ColumnSpec<ValueOf<T>, GivenOf<T>>;
/** A type that only the configuration knows. */
export function column(type: string, options?: ColumnOptions): ColumnSpec<any>;

/** A type as it is parsed. */
export interface DataType {
  name: 'boolean' | 'int64' | 'float64' | 'decimal' | 'date' | 'timestamp' | 'utf8' | 'binary' | 'json';
  precision?: number;
  scale?: number;
}

// Columns of a batch.

/** A column, in place over the buffers that the host wrote. */
export interface Column<Value = unknown> {
  readonly name: string;
  readonly type: DataType;
  readonly nullable: boolean;
  readonly rows: number;
  readonly validity: Uint8Array;
  readonly offsets: Uint8Array;
  readonly data: Uint8Array;
  readonly hasNulls: boolean;
  isNull(row: number): boolean;
  /** The value of a row, or null. */
  get(row: number): Value | null;
  toArray(): (Value | null)[];
}

/** A column of numbers: `values` is a typed array, with any number under a null. */
export interface FixedColumn<Value, Values> extends Column<Value> {
  readonly values: Values;
}

/** A column of texts or byte strings. */
export interface VaryingColumn<Value> extends Column<Value> {
  /** The bytes of a value, in place. */
  bytes(row: number): Uint8Array;
}

type NameOf<C> = C extends `${infer T}?` ? T : C;
type ViewOf<C> =
  NameOf<C> extends 'int64' | 'timestamp'
    ? FixedColumn<bigint, BigInt64Array>
    : NameOf<C> extends 'float64'
      ? FixedColumn<number, Float64Array>
      : NameOf<C> extends 'date'
        ? FixedColumn<number, Int32Array>
        : NameOf<C> extends 'utf8' | 'json'
          ? VaryingColumn<string>
          : NameOf<C> extends 'binary'
            ? VaryingColumn<Uint8Array>
            : NameOf<C> extends 'boolean' | Decimal
              ? Column<Base<NameOf<C>>>
              : any;

/** Columns by the names that the plugin knows them by. */
export type Columns<S> = { readonly [K in keyof S]: ViewOf<S[K]> };

/** A whole column that a plugin gives: a typed array of the type's own, a column of the batch, raw buffers, or values. */
export type GivenColumn =
  | BigInt64Array
  | Float64Array
  | Int32Array
  | Column<any>
  | { data: Uint8Array; offsets?: Uint8Array; validity?: Uint8Array }
  | unknown[];

// Configuration.

/** A kind of setting; `setting` makes them. */
export interface Setting<Value> {
  /** Only for the compiler. */
  readonly __value?: Value;
}

export type Settings = Record<string, Setting<any>>;
export type Config<C> = { [K in keyof C]: C[K] extends Setting<infer V> ? V : never };

/** The kinds of settings. The last argument of each is the value where the key is left out; without it the key must be there. */
export const setting: {
  boolean<F = never>(fallback?: boolean | F): Setting<boolean | F>;
  text<F = never>(fallback?: string | F): Setting<string | F>;
  number<F = never>(fallback?: number | F): Setting<number | F>;
  integer<F = never>(fallback?: number | F): Setting<number | F>;
  oneOf<const T extends string>(choices: readonly T[], fallback?: NoInfer<T>): Setting<T>;
  /** `"30s"`, `"1h 30m"` or `"250ms"`, in milliseconds. */
  duration(fallback?: string): Setting<number>;
  list<V>(of: Setting<V>, fallback?: V[]): Setting<V[]>;
  /** A table with keys of the user's choice, as a Map in the order of the keys' bytes. */
  table<V>(of: Setting<V>, fallback?: Map<string, V>): Setting<Map<string, V>>;
};

// Plugins.

/** A field of a schema as the contract has it. */
export interface Field {
  name: string;
  dataType: string;
  nullable: boolean;
}

/** What `default` exports: the contract's functions. The functions of this module make one. */
export interface Plugin<Kind extends 'transform' | 'reducer' | 'keyed' | 'sink' = any> {
  readonly kind: Kind;
  describe(config: string, ...inputs: any[]): any;
  open(config: string, ...inputs: any[]): any;
}

/** A part that may depend on the configuration. */
type Or<T, State> = T | ((state: State) => T);

interface Configured<C extends Settings, State> {
  /** The settings; what a step's `config` table holds beside is an error. */
  config?: C;
  /** Makes of the configuration what the functions below get; what is costly to make, made once. */
  open?: (config: Config<C>) => State;
}

/** Rows of the only port, or of several by the ports' names. */
type Emitted<O, P> = string extends keyof P ? GivenRow<O> : { [K in keyof P]?: GivenRow<P[K]> };

/** What a flat-map gives: an array, a generator, or nothing. */
type Many<T> = Iterable<T> | void | null;

interface Ported<O, P, State> {
  /** The columns of the only port, `out`. */
  output?: O | ((state: State) => DynamicSchema);
  /** The columns of several ports. */
  outputs?: P;
  /** Whether the host carries the input's other columns, or in a keyed plugin the key's, beside the new ones. */
  carry?: Or<boolean, State>;
}

/** Whole columns for a port. */
export interface BatchOutput {
  columns?: Record<string, GivenColumn>;
  /** The input row that each row comes from; left out if they are those of the input, `null` if of none. */
  parents?: ArrayLike<number> | null;
  /** How many rows, where `parents` is null. */
  rows?: number;
}

export interface Batch<S> {
  readonly rows: number;
  readonly columns: Columns<S>;
  /** Turns a row away. */
  reject(row: number, reason: string): void;
}

interface TransformBase<C extends Settings, State, I, O, P> extends Configured<C, State>, Ported<O, P, State> {
  input?: I;
}

type Shape<State, I, O, P> =
  | {
      /** A row of each row; `null` drops it. */
      map: (row: Row<I>, state: State) => GivenRow<O> | null | undefined;
    }
  | {
      /** Which rows stay; they stay whole. */
      filter: (row: Row<I>, state: State) => boolean;
    }
  | {
      /** Any number of rows of each row. */
      flatMap: (row: Row<I>, state: State) => Many<Emitted<O, P>>;
    }
  | {
      /** Whole columns of whole columns. */
      batch: (batch: Batch<I>, state: State) => BatchOutput | { [K in keyof P]?: BatchOutput } | void;
    };

export function defineTransform<
  C extends Settings = {},
  State = Config<C>,
  const I extends Schema = {},
  const O extends Schema = Schema,
  const P extends Record<string, Schema> = Record<string, Schema>,
>(definition: TransformBase<C, State, I, O, P> & Shape<State, I, O, P>): Plugin<'transform'>;

type Reduce<State, I> =
  | {
      /** `a` is the earlier one. */
      reduce: (a: Row<I>, b: Row<I>, state: State) => GivenRow<I>;
    }
  | {
      /** One row for each group: the rows of group `i` are `starts[i]` up to `starts[i + 1]`. */
      groups: (
        batch: { rows: number; count: number; starts: Uint32Array; columns: Columns<I> },
        state: State,
      ) => Record<string, GivenColumn>;
    };

export function defineReducer<C extends Settings = {}, State = Config<C>, const I extends Schema = {}>(
  definition: Configured<C, State> & {
    input: I;
    /** What is left of the whole when its oldest part is taken out. */
    inverse?: (total: Row<I>, gone: Row<I>, state: State) => GivenRow<I>;
  } & Reduce<State, I>,
): Plugin<'reducer'>;

/** The rows of a key: read one by one, each time they are iterated. */
export interface Rows<R> extends Iterable<R> {
  readonly length: number;
  /** Calls `each` with every row. Those for which it throws a Reject are turned away, and the others go on. */
  each(each: (row: R) => void): void;
}

/** What is remembered of a key, and its timer. */
export interface State<S> {
  /** What was remembered before the function was called; what it puts is there in the next call. */
  get(): Row<S> | undefined;
  readonly exists: boolean;
  put(row: GivenRow<S>): void;
  /** Forgets the key: its state and its timer. */
  remove(): void;
  /** Has the function called even without rows, in the first epoch whose batch time, in milliseconds, is not before this. */
  setTimer(batchTime: number): void;
  /** `setTimer` so many milliseconds after the batch time of this epoch. */
  timeoutAfter(millis: number): void;
  clearTimer(): void;
  /** Whether the function is called because the timer is due. */
  readonly timedOut: boolean;
  readonly isFirstPart: boolean;
  readonly isLastPart: boolean;
}

type InputRows<I, M extends readonly unknown[]> = number extends M['length'] ? Rows<Row<I>> : { [At in keyof M]: Rows<Row<M[At]>> };

export function defineKeyed<
  C extends Settings = {},
  Opened = Config<C>,
  const K extends Schema = {},
  const I extends Schema = {},
  const M extends readonly Schema[] = readonly Schema[],
  const S extends Schema = {},
  const O extends Schema = Schema,
  const P extends Record<string, Schema> = Record<string, Schema>,
>(
  definition: Configured<C, Opened> &
    Ported<O, P, Opened> & {
      /** The key columns that the function reads. */
      key?: K;
      /** The columns that it reads of the only input. */
      input?: I;
      /** The columns that it reads of each of several inputs. */
      inputs?: M;
      /** The columns of what is remembered of a key. */
      state?: S;
      /** The number for the meaning of the state; 1 unless given. */
      version?: number;
      /** How states of earlier numbers become states of today. */
      migrate?: Record<number, Migration<any, S>>;
      /** Whether all rows of a key must come in one call, however many they are. */
      wholeGroups?: boolean;
      update: (
        of: { key: Row<K>; rows: InputRows<I, M>; state: State<S> },
        opened: Opened,
      ) => Many<Emitted<O, P>>;
    },
): Plugin<'keyed'>;

/** From states of `state` to those of today. */
export interface Migration<Old, S> {
  state: Old;
  to: (old: Row<Old>) => GivenRow<S>;
}

/** A chunk of rows. */
export interface SinkBatch {
  readonly rows: number;
  readonly schema: readonly { name: string; type: DataType; nullable: boolean }[];
  readonly columns: Record<string, any>;
  /** A row as an object of values. */
  row(row: number): Record<string, any>;
  /** A row as a JSON object: values as the host's own sinks write them, and `null` where there is none. */
  json(row: number): string;
}

/** An open sink. It may live for many epochs, and is dropped without notice. */
export interface Sink {
  /** Starts a partition of an epoch. Whenever that is written again, the key is the same. */
  begin?(idempotencyKey: string): void;
  /** One chunk of it; `reject` turns a row away that the receiver refuses. */
  write(batch: SinkBatch, reject: (row: number, reason: string) => void): void;
  /** Ends it. A two-phase sink answers with a token by which `commit` finds what was written. */
  prepare?(): Uint8Array | void;
  /** Makes an epoch's tokens visible. Idempotent; another instance may have made them. */
  commit?(epoch: bigint, tokens: Uint8Array[]): void;
  /** Undoes an epoch's tokens. Idempotent. */
  abort?(epoch: bigint, tokens: Uint8Array[]): void;
  /** The last epoch that a marker sink holds for a partition. */
  lastEpoch?(partition: number): bigint | undefined;
}

export function defineSink<C extends Settings = {}>(definition: {
  config?: C;
  delivery?: 'at-least-once' | 'marker' | 'two-phase';
  /** The names of the columns it wants; all of them unless it says otherwise. */
  columns?: (config: Config<C>, input: readonly { name: string; type: DataType; nullable: boolean }[]) => string[];
  open: (config: Config<C>, columns: readonly { name: string; type: DataType; nullable: boolean }[]) => Sink;
}): Plugin<'sink'>;

// Calls.

export interface Context {
  epoch: bigint;
  /** Milliseconds since 1970. `Date.now()` and `new Date()` say the same. */
  batchTime: number;
  partition: number;
  call: number;
  /** Milliseconds since 1970; undefined while there is no event time. */
  watermark: number | undefined;
  /** The same when an epoch is run again. */
  seed: bigint;
}

/** What the current call is about. */
export function context(): Context;

/** Turns a row away, or in a keyed plugin all rows of the key; the rest of the batch goes on. */
export class Reject extends Error {}

/** Fails the whole call: there is no use in going on. */
export class Fatal extends Error {
  constructor(message: string);
}

/** Fails the whole call, which may succeed later. */
export class Retryable extends Error {
  constructor(message: string, options?: { afterMs?: number });
}

/** Fails the whole call, at which these rows are at fault. */
export class RejectedRows extends Error {
  constructor(message: string, rows: Iterable<number>);
}

// Values and texts.

/** Days since 1970-01-01 as `2026-05-25`. */
export function formatDate(days: number): string;
export function parseDate(text: string): number | undefined;
/** Microseconds since 1970 as `2026-05-25T12:34:56Z`. */
export function formatTimestamp(micros: bigint): string;
export function parseTimestamp(text: string): bigint | undefined;
/** A decimal's digits, `-1230n` with the scale 2, as `-12.30`. */
export function formatDecimal(unscaled: bigint, scale: number): string;
/** Undefined if the text is none, or does not fit exactly. */
export function parseDecimal(text: string, precision: number, scale: number): bigint | undefined;

/** The members of a JSON object, each value as its JSON text. */
export function jsonMembers(text: string): Map<string, string>;
/** The value of a column type that a JSON text stands for, exactly; what is none throws an Error. */
export function fromJson(json: string, type: DataType): any;
/** A value as the host's own JSON sinks write it. */
export function toJson(value: any, type: DataType): string;

/** The longest pieces without ASCII white space. */
export function words(text: string): string[];
