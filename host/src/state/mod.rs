//! What a step remembers: of keys a [`Table`] that the host owns, whose changes are batches; of windows [`Batches`]. In memory or, if it is larger than that, on disk.

mod batches;
mod disk;
mod entries;
mod memory;
mod records;
mod table;
mod timers;

pub use batches::{Batch, Batches};
pub use entries::Change;
pub use memory::{StateConfig, StateMemory};
pub use table::{Found, Selection, Table};
