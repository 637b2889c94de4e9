//! What a step remembers of its keys: a table that the host owns, in memory or, if it is larger than that, on disk, and its changes as batches.

mod disk;
mod entries;
mod memory;
mod records;
mod table;
mod timers;

pub use entries::Change;
pub use memory::{StateConfig, StateMemory};
pub use table::{Found, Selection, Table};
