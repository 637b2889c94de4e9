//! User code: WASM components behind typed calls.
//!
//! Load a [`Component`], bind it to a configuration and an input schema as a [`Transform`], [`Reducer`], [`Keyed`] or [`SinkPlugin`], open an
//! instance and call it with Arrow batches. What comes back has been checked while it was copied.
//!
//! In the order in which a file becomes a call: [`component`] reads it, `imports` decides whether it may run, `engine` compiles it
//! (`cache` keeps the code), `bound` gives it a configuration and makes stores whose `host` state has the `limits` and answers `wasi`, `transform`,
//! `reducer`, `keyed` and `sink` each know a world and call its `live` instances with what `chunk` cuts, `columns` carries the rows
//! over, `ports` checks what comes back, `trap` says what went wrong, `capture` keeps the call for another time; `quota`, `meter` and `pool` hold it to
//! its tenant's share of the processor and of memory.

mod address;
mod bindings;
mod bound;
mod cache;
mod call;
pub mod capture;
mod chunk;
mod clock;
mod columns;
pub mod component;
mod engine;
mod host;
mod http;
mod imports;
mod keyed;
mod limits;
mod live;
mod meter;
mod pool;
mod ports;
mod quota;
mod reach;
mod reducer;
mod sink;
#[cfg(test)]
mod tests;
mod transform;
mod trap;
mod wasi;

use serde::{Deserialize, Serialize};

pub use cache::{forget, sweep};
pub use call::{CallContext, CallError, ErrorKind, Origin, Output, Produced, Rejected};
pub use chunk::{CALL_BYTES, CALL_ROWS, WHOLE_KEY_ROWS, bytes as bytes_of, chunks};
pub use clock::compilers_give_way;
pub use engine::{Component, Engine, compile};
pub use imports::{Grants, HostPort, capabilities};
pub use keyed::{Keyed, KeyedBatch, KeyedChanges, KeyedInstance, Op, StateShape, Timer, status};
pub use limits::Limits;
pub use pool::MemoryPool;
pub use ports::Port;
pub use quota::Quota;
pub use reach::Reach;
pub use reducer::{Reduced, Reducer, ReducerInstance};
pub use sink::{Delivery, SinkInstance, SinkPlugin};
pub use transform::{Transform, TransformInstance};
pub use wasi::is_answered;

/// For tests of what stands on the plugin host.
#[cfg(test)]
pub(crate) mod testing {
    pub use super::tests::guests::{Guest, SinkGuest};
    pub use super::tests::load;
}

/// Which of our worlds a component implements; in files and on the command line as [`World::interface`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// Rows in, rows out
    Transform,
    /// Many rows into one
    Reducer,
    /// Rows of a key, with what is remembered of it
    Keyed,
    /// Rows to the outside
    Sink,
}

impl World {
    /// All of them.
    const ALL: [Self; 4] = [Self::Transform, Self::Reducer, Self::Keyed, Self::Sink];

    /// The interface that a component of this world exports.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Reducer => "reducer",
            Self::Keyed => "keyed",
            Self::Sink => "sink",
        }
    }
}

/// What a component of it is, in messages.
impl std::fmt::Display for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keyed => "keyed plugin",
            other => other.interface(),
        })
    }
}
