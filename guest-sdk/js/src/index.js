export { defineKeyed } from './keyed.js';
export { defineReducer } from './reducer.js';
export { defineSink } from './sink.js';
export { defineTransform } from './transform.js';

export { setting } from './config.js';
export { context } from './context.js';
export { Fatal, Reject, RejectedRows, Retryable } from './errors.js';
export { column } from './schema.js';

export { formatDate, formatTimestamp, parseDate, parseTimestamp } from './calendar.js';
export { formatDecimal, parseDecimal } from './decimal.js';
export { fromJson, jsonMembers, toJson } from './json.js';
export { words } from './text.js';
