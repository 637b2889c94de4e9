//! Runs an epoch again as a checkpoint has recorded it: with its own input, after the state before it, and into nothing but memory.
//!
//! Sources are not asked, sinks are not called, and the checkpoint is only read: the run works on a scratch copy of the records, in which the
//! epoch is planned and not committed, and so does what any start after a crash would do.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::checkpoint::Records;
use crate::deliver::{FilesSink, Output, SinkConfig};
use crate::error::Failure;
use crate::ids::{Epoch, NodeName};
use crate::pipeline::{NodeKind, Plan};
use crate::run::{self, Options, REJECTED, Stop};
use crate::telemetry::NodeCounts;

/// What an epoch gave.
#[derive(Debug)]
pub struct Replayed {
    /// What each sink would have been given: a JSON object a line, in the order of partitions and rows.
    pub outputs: BTreeMap<NodeName, String>,
    /// What each node counted.
    pub nodes: BTreeMap<NodeName, NodeCounts>,
    /// The records after it: the epoch is committed there.
    pub records: Records,
}

/// Runs an epoch of `records` again with a plan, on so many workers. `accept_changes` as for [`Options`].
///
/// # Errors
/// When the records do not hold what it takes, the plan cannot go on with its state, or the run fails.
pub fn replay(
    records: &Records,
    epoch: Epoch,
    mut plan: Plan,
    workers: usize,
    accept_changes: bool,
) -> Result<Replayed, Failure> {
    let records = records.before(epoch)?;
    let unusable = |error: io::Error| {
        Failure::external(format!(
            "rows cannot be kept in a temporary folder: {error}"
        ))
    };
    let folder = tempfile::tempdir().map_err(unusable)?;
    let mut sinks = BTreeMap::new();
    let mut divert = |name: NodeName, sink: &mut SinkConfig| {
        let scratch = FilesSink::scratch(folder.path().join(name.as_str()));
        *sink = SinkConfig::Files(scratch.clone());
        sinks.insert(name, scratch);
    };
    for node in &mut plan.nodes {
        if let NodeKind::Sink(sink) = &mut node.kind {
            divert(node.name.clone(), sink);
        }
    }
    if let Some(sink) = &mut plan.rejected {
        divert(REJECTED.into(), sink);
    }
    let options = Options {
        workers,
        cluster: None,
        output: Output::new(io::sink()),
        status: Arc::default(),
        stop: Stop::default(),
        accept_changes,
        recorded: Some(records.clone()),
    };
    let summary = run::run(plan, options)?;
    let outputs = sinks.into_iter().map(|(name, sink)| {
        let written = sink.read(epoch).map_err(unusable)?;
        Ok((name, String::from_utf8_lossy(&written).into_owned()))
    });
    Ok(Replayed {
        outputs: outputs.collect::<Result<_, Failure>>()?,
        nodes: summary.nodes,
        records,
    })
}
