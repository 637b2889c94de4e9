// Runs a plugin natively, in `node --test`: the same functions over the same buffers as in WebAssembly, with the host's part
// played by this module. What comes back is checked as the host checks it.

export { startKeyed } from './keyed.js';
export { runReducer } from './reducer.js';
export { runSink } from './sink.js';
export { runTransform } from './transform.js';
