//! What a step remembers of its keys: a table that the host owns, in memory, and its changes as batches.

mod table;

pub use table::{Change, Found, Table};
