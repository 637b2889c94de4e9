//! Runs a plan: threads, processes, the end.
//!
//! [`run`] opens sources and sinks, starts one thread per worker and, in process 0, the thread that cuts epochs
//! ([`epochs`]). Several processes meet through [`cluster`] first. Whatever fails anywhere goes to the one
//! [`Abort`], which ends all of it; a [`Stop`] drains.

pub mod batcher;
pub mod cluster;
mod commits;
pub mod epochs;
pub mod intake;
pub mod kept;
mod placement;
mod process;
pub mod rate;
pub mod status;
mod tick;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::abort::Abort;
use crate::checkpoint::{Checkpoint, Records, Resume};
use crate::deliver::Output;
use crate::error::Failure;
use crate::ids::{Digest, Generation, NodeName, ProcessIndex};
use crate::pipeline::Plan;
use crate::telemetry::NodeCounts;
use crate::thread::Parked;
use crate::trace::Traces;

use cluster::Cluster;
use epochs::Journal;
use intake::Intake;
use kept::StatePool;
pub use process::REJECTED;
pub use status::Status;

/// How to run a plan.
#[derive(Clone)]
pub struct Options {
    /// Worker threads of this process, at least one; equal in all processes.
    pub workers: usize,
    /// The other processes, if there are any.
    pub cluster: Option<ClusterOptions>,
    /// Where `print` sinks print.
    pub output: Output,
    /// Shows how it goes.
    pub status: Arc<Status>,
    /// Rows that it may take in, with other runs.
    pub intake: Arc<Intake>,
    /// What it may remember, with other runs.
    pub state: Arc<StatePool>,
    /// Asks for a drain.
    pub stop: Stop,
    /// Where the time of its epochs goes.
    pub traces: Traces,
    /// Ends the run at once, for a reason from outside.
    pub abort: Abort,
    /// Whether a checkpoint may be used by a pipeline that has lost or turned nodes.
    pub accept_changes: bool,
    /// To use these records instead of the pipeline's checkpoint, and to take no input but that of the epochs which they have planned and not committed.
    pub recorded: Option<Records>,
}

impl Options {
    /// Of a run in this process alone, which prints nothing and shows nobody how it goes.
    pub fn unseen(workers: usize) -> Self {
        Self {
            workers,
            cluster: None,
            output: Output::new(io::sink()),
            status: Arc::default(),
            intake: Arc::default(),
            state: Arc::default(),
            stop: Stop::default(),
            traces: Traces::default(),
            abort: Abort::default(),
            accept_changes: false,
            recorded: None,
        }
    }

    /// The first process ends traces, so that the others begin none.
    fn traces_of(&self, process: ProcessIndex) -> Traces {
        match process.0 {
            0 => self.traces.clone(),
            _ => Traces::default(),
        }
    }
}

/// This process's place among several.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// This process.
    pub process: ProcessIndex,
    /// A file with one `host:port` a line, in the order of the processes.
    pub hosts: PathBuf,
    /// A secret that all processes share; a process without it is not let in.
    pub token: String,
    /// How long to wait for the others.
    pub start_timeout: Duration,
}

/// A request to drain: sources stop, what was received is delivered, the run ends. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Request>);

#[derive(Debug, Default)]
struct Request {
    is_made: AtomicBool,
    parked: Parked,
}

impl Stop {
    /// Asks for it.
    pub fn request(&self) {
        self.0.is_made.store(true, Ordering::Release);
        self.0.parked.unpark();
    }

    /// Whether it was asked for.
    pub fn is_requested(&self) -> bool {
        self.0.is_made.load(Ordering::Acquire)
    }

    /// Has the calling thread unparked when it is asked for.
    pub fn unpark_me(&self) {
        self.0.parked.add_this(|| self.is_requested());
    }
}

/// How a run went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Epochs delivered.
    pub epochs: u64,
    /// From the start of the workers to the end.
    pub elapsed: Duration,
    /// The most bytes of batches that were alive at once in this process's data plane.
    pub peak_live_bytes: u64,
    /// Counts of all processes together (in process 0; its own in any other).
    pub nodes: BTreeMap<NodeName, NodeCounts>,
}

/// What a process has of the pipeline's checkpoint, if there is one.
struct Memory {
    records: Option<Records>,
    /// Which start of the pipeline this is, as process 0 says.
    generation: Generation,
    /// Of process 0, which writes.
    journal: Option<Journal>,
}

/// Epochs that were planned and not committed are run as the pipeline is now: else nobody could mend a plugin that fails at one.
fn warn_of_changes(resume: &Resume, code: Digest) {
    for plan in resume.planned.iter().filter(|plan| plan.pipeline != code) {
        tracing::warn!(
            epoch = plan.epoch.0,
            "the pipeline or a plugin has changed since this epoch was planned; it is run as the pipeline is now"
        );
    }
}

/// Runs `plan` to its end: its input drained, a stop requested, or the first failure of any worker, sink or process.
pub fn run(plan: Plan, options: Options) -> Result<Summary, Failure> {
    let abort = options.abort.clone();
    let plan = Arc::new(plan);
    let place = options.cluster.clone();
    let writes = place
        .as_ref()
        .is_none_or(|place| place.process == ProcessIndex(0));
    // Before the processes meet, so that the others find it.
    let kept = match (&options.recorded, &plan.checkpoint) {
        (Some(records), _) => Some((records.clone(), u64::MAX)),
        (None, Some(config)) => Some((config.records()?, config.retain())),
        (None, None) => None,
    };
    let journal = match kept.clone().filter(|_| writes) {
        Some((records, retain)) => {
            let (pipeline, changes) = (plan.definition(), options.accept_changes);
            let (checkpoint, resume) = Checkpoint::open(records, retain, pipeline, changes)?;
            if options.recorded.is_none() {
                warn_of_changes(&resume, plan.code.digest);
            }
            Some(Journal { checkpoint, resume })
        }
        None => None,
    };
    let claimed = journal
        .as_ref()
        .map(|journal| journal.checkpoint.generation())
        .unwrap_or_default();
    let cluster = match place {
        None => None,
        Some(place) => {
            let (workers, stop) = (options.workers, &options.stop);
            Some(cluster::join(
                &plan, &place, workers, claimed, &abort, stop,
            )?)
        }
    };
    let memory = Memory {
        generation: cluster.as_ref().map_or(claimed, Cluster::generation),
        records: kept.map(|(records, _)| records),
        journal,
    };
    process::run(plan, &options, abort, memory, cluster)
}
