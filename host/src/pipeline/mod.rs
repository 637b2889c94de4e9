//! From the file a user wrote to the plan a run obeys.
//!
//! [`spec`] is what was written, [`check`] types it, [`plan`] is what is true: nothing after `check` validates again.

pub mod plan;

pub use plan::{Node, NodeKind, OnError, Plan};
