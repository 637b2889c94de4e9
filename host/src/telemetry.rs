//! Counters of a run: what went in, came out, was dropped and why, by node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::ids::NodeName;

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident),* $(,)?) => {
        /// One node's counters, shared by the threads of a process.
        #[derive(Debug, Default)]
        pub struct NodeCounters { $($(#[$doc])* pub $field: AtomicU64,)* }

        /// The counters at one moment; adds up over processes.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct NodeCounts { $($(#[$doc])* pub $field: u64,)* }

        impl NodeCounters {
            /// Reads them all.
            pub fn read(&self) -> NodeCounts {
                NodeCounts { $($field: self.$field.load(Ordering::Relaxed),)* }
            }
        }

        impl NodeCounts {
            /// Adds another process's counts.
            pub fn add(&mut self, other: &NodeCounts) {
                $(self.$field += other.$field;)*
            }

            /// What has come to them since they were `before`.
            pub fn since(&self, before: &NodeCounts) -> NodeCounts {
                NodeCounts { $($field: self.$field.saturating_sub(before.$field),)* }
            }
        }
    };
}

counters! {
    /// Rows given to the node (a source: records decoded).
    rows_in,
    /// Rows it gave on (a sink: rows written).
    rows_out,
    /// Bytes of input a source read.
    bytes_in,
    /// Calls into a plugin.
    calls,
    /// Nanoseconds spent in those calls.
    busy_nanos,
    /// Nanoseconds of processor time that its plugin has used, in calls and in opening instances.
    cpu_nanos,
    /// Rows or records dropped under `on_error = "skip"`.
    skipped,
    /// Rows or records written to `[rejected]`.
    rejected,
    /// Times a plugin trapped or ran out of a limit.
    traps,
    /// Times a source's connection was opened again.
    reconnects,
}

/// All nodes of a run.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<BTreeMap<NodeName, Arc<NodeCounters>>>);

impl Counters {
    /// Of these nodes. A plugin brings the counters that its calls are charged to.
    pub fn new(nodes: impl IntoIterator<Item = (NodeName, Arc<NodeCounters>)>) -> Self {
        Self(Arc::new(nodes.into_iter().collect()))
    }

    /// One node's; a name not known at the start is a bug of the caller.
    pub fn of(&self, node: &NodeName) -> Arc<NodeCounters> {
        self.0
            .get(node)
            .cloned()
            .expect("counters exist for every node of the plan")
    }

    /// All of them at this moment.
    pub fn read(&self) -> BTreeMap<NodeName, NodeCounts> {
        self.0
            .iter()
            .map(|(name, counters)| (name.clone(), counters.read()))
            .collect()
    }
}

/// Adds to a counter.
pub fn count(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
