//! From the file a user wrote to the plan a run obeys.
//!
//! [`spec`] is what was written, [`check`] types it, [`plan`] is what is true: nothing after `check` validates again.

mod again;
mod assemble;
pub mod check;
pub mod confined;
mod expression;
mod graph;
mod join;
pub mod outline;
pub mod plan;
mod prune;
pub mod search;
mod select;
pub mod show;
mod spec;
#[cfg(test)]
mod tests;
mod types;
mod window;

pub use check::{Checked, PipelineFile};
pub use plan::{Input, Node, NodeKind, OnError, Plan};
pub use types::columns;
