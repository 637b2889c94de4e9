//! Runs an epoch again as a checkpoint has recorded it: with its own input, after the state before it, and into nothing but memory.
//!
//! Sources are not asked, sinks are not called, and the checkpoint is only read: the run works on a scratch copy of the records, in which the
//! epoch is planned and not committed, and so does what any start after a crash would do.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::checkpoint::Records;
use crate::deliver::{FilesSink, SinkConfig};
use crate::error::Failure;
use crate::ids::{Epoch, NodeName};
use crate::pipeline::{NodeKind, Plan};
use crate::run::{self, Options, REJECTED};
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
    let folder = tempfile::tempdir().map_err(unusable)?;
    let sinks = Diverted::all(&mut plan, folder.path());
    let options = Options {
        accept_changes,
        recorded: Some(records.clone()),
        ..Options::unseen(workers)
    };
    let summary = run::run(plan, options)?;
    Ok(Replayed {
        outputs: sinks.rows(epoch)?,
        nodes: summary.nodes,
        records,
    })
}

/// The sinks of a plan, turned to a folder: what they are given can be read there.
#[derive(Debug)]
pub struct Diverted(BTreeMap<NodeName, FilesSink>);

impl Diverted {
    /// Turns all of them, that of rejected rows too.
    pub fn all(plan: &mut Plan, folder: &Path) -> Self {
        let mut diverted = Self::rejected(plan, folder);
        for node in &mut plan.nodes {
            if let NodeKind::Sink(sink) = &mut node.kind {
                diverted.divert(node.name.clone(), sink, folder);
            }
        }
        diverted
    }

    /// Turns that of rejected rows alone.
    pub fn rejected(plan: &mut Plan, folder: &Path) -> Self {
        let mut diverted = Self(BTreeMap::new());
        if let Some(sink) = &mut plan.rejected {
            diverted.divert(REJECTED.into(), sink, folder);
        }
        diverted
    }

    fn divert(&mut self, name: NodeName, sink: &mut SinkConfig, folder: &Path) {
        let scratch = FilesSink::scratch(folder.join(name.as_str()));
        *sink = SinkConfig::Files(scratch.clone());
        self.0.insert(name, scratch);
    }

    /// What each was given in an epoch: a JSON object a line, in the order of partitions and rows.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn rows(&self, epoch: Epoch) -> Result<BTreeMap<NodeName, String>, Failure> {
        let rows = self.0.iter().map(|(name, sink)| {
            let written = sink.read(epoch).map_err(unusable)?;
            Ok((name.clone(), String::from_utf8_lossy(&written).into_owned()))
        });
        rows.collect()
    }
}

fn unusable(error: io::Error) -> Failure {
    Failure::external(format!(
        "rows cannot be kept in a temporary folder: {error}"
    ))
}
