//! How a job stands: what the server shows of it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::NodeName;
use crate::run::Status;
use crate::run::status::EpochFigures;
use crate::telemetry::NodeCounts;

/// A job at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// What it does.
    pub phase: Phase,
    /// Of the pipeline's definition: the one that runs, or that ran last.
    pub version: u32,
    /// How often it was started again, after a failure or the loss of its runner, since the supervisor knows it.
    pub restarts: u32,
    /// When the phase began.
    pub since: Timestamp,
    /// What ended its last run, if that was no wish of anybody; gone when a run has delivered epochs since.
    pub failure: Option<String>,
    /// Of its last run.
    pub figures: Figures,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Its runner checks the pipeline and opens its plugins.
    Starting,
    /// It runs.
    Running,
    /// Its sources have stopped; what they gave is being delivered and committed.
    Draining,
    /// Nothing runs, and it goes on from its last commit when it is wanted again.
    Paused,
    /// The same, and nobody expects it back.
    Stopped,
    /// It has failed or its runner was lost, and is started again then.
    Waiting {
        /// When.
        until: Timestamp,
    },
    /// It cannot run as it is: it stays so until it is changed, or paused and resumed.
    Failed,
    /// Its input has ended and all of it is delivered.
    Finished,
}

/// Figures of one run of a pipeline; they begin at zero with each start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Epochs cut.
    pub cut: u64,
    /// Epochs delivered by every sink.
    pub delivered: u64,
    /// Milliseconds that the last delivered epoch took.
    pub processing_ms: u64,
    /// Milliseconds that it had waited for the one before it.
    pub delay_ms: u64,
    /// Bytes waiting at the sources.
    pub backlog_bytes: u64,
    /// Bytes of batches alive in the data plane.
    pub live_bytes: u64,
    /// Bytes that its steps remember.
    pub state_bytes: u64,
    /// Milliseconds in which it had more to read than the rows that its tenant may take in.
    pub held_ms: u64,
    /// Lines that it has said and that were dropped: too many in a second.
    pub log_lines_dropped: u64,
    /// Records that the sources decoded.
    pub rows_in: u64,
    /// Bytes that they read.
    pub bytes_in: u64,
    /// Rows skipped and rejected.
    pub dropped: u64,
    /// The latest delivered epochs, the last one last.
    pub recent: Vec<EpochFigures>,
    /// By source, step and sink.
    pub nodes: BTreeMap<NodeName, NodeCounts>,
}

impl Figures {
    /// Those of a run now, which has lost so many log lines.
    pub fn of(status: &Status, log_lines_dropped: u64) -> Self {
        let now = status.read();
        Self {
            cut: now.cut,
            delivered: now.delivered,
            processing_ms: milliseconds(now.processing),
            delay_ms: milliseconds(now.delay),
            backlog_bytes: now.backlog_bytes,
            live_bytes: now.live_bytes,
            state_bytes: now.state_bytes,
            held_ms: milliseconds(now.held),
            log_lines_dropped,
            rows_in: now.rows,
            bytes_in: now.bytes,
            dropped: now.dropped,
            recent: status.recent(),
            nodes: status.nodes(),
        }
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
