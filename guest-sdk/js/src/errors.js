// What a plugin throws: the rejection of one row, or the failure of a whole call.

/** Turns a row away, or in a keyed plugin all rows of the key; the rest of the batch goes on. */
export class Reject extends Error {
  name = 'Reject';
}

/** Fails the whole call, as the contract's `error` record. */
class CallError extends Error {
  constructor(kind, message, { rows = [], afterMs } = {}) {
    super(message);
    this.kind = kind;
    this.rows = rows;
    this.afterMs = afterMs;
  }

  /** What ComponentizeJS gives the host when this is thrown. */
  get payload() {
    const { kind, message, rows, afterMs } = this;
    return { kind, message, rows: Uint32Array.from(rows), afterMs };
  }
}

/** There is no use in going on. */
export class Fatal extends CallError {
  name = 'Fatal';

  constructor(message) {
    super('fatal', message);
  }
}

/** The same call may succeed later; `afterMs` says when a retry makes sense. */
export class Retryable extends CallError {
  name = 'Retryable';

  constructor(message, { afterMs } = {}) {
    super('retryable', message, { afterMs });
  }
}

/** These rows of the call are at fault, and the call did nothing for any row. */
export class RejectedRows extends CallError {
  name = 'RejectedRows';

  constructor(message, rows) {
    super('rejected', message, { rows });
  }
}

/** Whether the error is for the host, and not a mistake in the plugin. */
export function isCallError(error) {
  return error instanceof CallError;
}

/** Runs what is allowed to fail with any error, `describe`, `open` and the calls of a sink: the error's message is fatal. */
export function orFatal(work) {
  try {
    return work();
  } catch (error) {
    throw isCallError(error) ? error : new Fatal(error instanceof Error ? error.message : String(error));
  }
}

/** Why a row whose function threw this is turned away. */
export function reason(error, mistakes) {
  if (error instanceof Reject) return error.message;
  mistakes.tell(error); // it is the code's fault, or of a library that it did not expect to throw
  return String(error);
}
