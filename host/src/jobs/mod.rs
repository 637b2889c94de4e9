//! Jobs: pipelines that are kept running on behalf of others.
//!
//! [`Jobs`] is told what should run ([`Desired`]) and sees to it: pipelines run in processes of the same binary, one per tenant, that it
//! starts, watches, and starts again. It remembers nothing: who says what should run says it again after a start, and every pipeline goes on
//! from its last commit.
//!
//! [`job`] decides what is to be done about a job, [`supervise`] does it, over [`link`]s to runners that speak [`protocol`] and are [`runner`];
//! a run's [`voice`] is what its pipeline says. [`quotas`] are what a
//! tenant's pipelines may use, the [`account`] what they have used. Whoever wants to know how jobs stand [`follow()`]s their events.

mod account;
mod backoff;
mod book;
mod follow;
mod job;
mod link;
mod log;
mod protocol;
mod quotas;
pub mod runner;
mod status;
mod supervise;
mod usage;
mod voice;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bounded::Bounded;
use crate::cgroup::Cgroups;
use crate::checkpoint::storage::Location;
use crate::ids::{PipelineName, TenantId};
use crate::trace::Collector;

pub use crate::run::status::EpochFigures;
pub use account::{RunnerSpent, Spender, Spent};
pub use follow::{News, follow};
pub use log::{LogLevel, LogLine};
pub use quotas::{Quotas, Terms};
pub use status::{Figures, JobStatus, Phase};
pub use supervise::Jobs;
pub use usage::Usage;

/// What a supervisor has to know.
#[derive(Clone, Debug)]
pub struct JobsOptions {
    /// Where runners leave what they say before they die, by tenant.
    pub data: PathBuf,
    /// The `wasmill` that runners are processes of, and what its children may take that compile for them.
    pub program: Bounded,
    /// Where tenants have control groups.
    pub cgroups: Option<Cgroups>,
    /// To run pipelines on threads of this process, for tests: a crash of one is then the crash of all.
    pub in_process: bool,
    /// How long a runner stays that has nothing to do, for what its tenant may start next.
    pub keep_idle: Duration,
    /// Folder of compiled plugins.
    pub cache: PathBuf,
    /// Where traces go.
    pub collector: Option<Collector>,
}

/// What should be running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub pipeline: PipelineName,
    /// Of its definition. Another number is a change: the run of the old one is drained before the new one starts.
    pub version: u32,
    /// The pipeline file; plugins that it calls by name lie beside it in `plugins/NAME.wasm`.
    pub file: PathBuf,
    /// Its checkpoint, whatever the file says; the same over all versions.
    pub checkpoint: Location,
    /// Worker threads.
    pub workers: usize,
    /// Whether it should run.
    pub state: Wanted,
    /// Whether a version may go on from the checkpoint that has lost or turned nodes.
    pub accept_changes: bool,
}

/// Whether a pipeline should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Yes, whatever happens.
    Running,
    /// Not now.
    Paused,
    /// Not any more.
    Stopped,
}

/// What those hear who listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A job has changed, or has new figures.
    Status {
        /// Whose.
        tenant: TenantId,
        /// Which.
        pipeline: PipelineName,
        /// How it stands now.
        status: JobStatus,
    },
    /// A job has said something.
    Log {
        /// Whose.
        tenant: TenantId,
        /// Which.
        pipeline: PipelineName,
        /// What.
        line: LogLine,
    },
}
