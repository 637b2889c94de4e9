//! User code: WASM components behind typed calls.
//!
//! Load a [`Component`], bind it to a configuration and an input schema as a [`Transform`] or a [`SinkPlugin`], open an
//! instance and call it with Arrow batches. What comes back has been checked while it was copied.
//!
//! In the order in which a file becomes a call: [`component`] reads it, `imports` decides whether it may run, `engine` compiles it
//! (`cache` keeps the code), `bound` gives it a configuration and makes stores whose `host` state has the `limits`, `transform` and
//! `sink` call it with what `chunk` cuts, `columns` carries the rows over, `trap` says what went wrong.

mod bindings;
mod bound;
mod cache;
mod call;
mod chunk;
mod columns;
pub mod component;
mod engine;
mod host;
mod http;
mod imports;
mod instance;
mod limits;
mod sink;
#[cfg(test)]
mod tests;
mod transform;
mod trap;

pub use call::{CallContext, CallError, ErrorKind, Origin, Output, Produced, Rejected};
pub use chunk::chunks;
pub use engine::{Component, Engine};
pub use imports::{Grants, HostPort};
pub use instance::TransformInstance;
pub use limits::Limits;
pub use sink::{Delivery, SinkInstance, SinkPlugin};
pub use transform::{Port, Transform};

/// For tests of what stands on the plugin host.
#[cfg(test)]
pub(crate) mod testing {
    pub use super::tests::guests::SinkGuest;
    pub use super::tests::load;
}

/// Which of our worlds a component implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// `transform-plugin`.
    Transform,
    /// `sink-plugin`.
    Sink,
}
