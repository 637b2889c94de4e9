//! What the current call is about.

use std::cell::Cell;

pub use crate::bindings::transform::wasmill::plugin::types::Context;

thread_local! {
    static CURRENT: Cell<Context> = const {
        Cell::new(Context { epoch: 0, batch_time: 0, partition: 0, call: 0, watermark: i64::MIN, seed: 0 })
    };
}

/// The context of the call that is running: epoch, batch time in milliseconds since 1970, partition, seed. The time
/// and the seed are the same when an epoch is run again; a plugin has no other clock and no other randomness.
pub fn context() -> Context {
    CURRENT.get()
}

pub(crate) fn enter(context: Context) {
    CURRENT.set(context);
}
