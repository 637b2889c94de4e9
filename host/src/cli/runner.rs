//! `wasmill runner`: what `wasmill serve` starts for each tenant. Not for people.

use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

#[cfg(target_os = "linux")]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::bounds::ChildOptions;
use super::engine::EngineOptions;
use super::exit::Exit;
use super::log::LogFormat;
use super::traces::TraceOptions;
#[cfg(target_os = "linux")]
use crate::cgroup;
use crate::jobs::runner;
use crate::plugin::Engine;

/// Run a tenant's pipelines, as a server orders
#[derive(Debug, clap::Args)]
pub struct Runner {
    #[command(flatten)]
    engine: EngineOptions,

    #[command(flatten)]
    child: ChildOptions,

    #[command(flatten)]
    traces: TraceOptions,
}

impl Runner {
    /// Obeys its standard input until it ends.
    ///
    /// # Errors
    /// When what comes is no order.
    pub fn run(self, log: LogFormat) -> anyhow::Result<Exit> {
        log.start("warn", io::stderr);
        // Whoever ends a service signals all of its processes: the server drains this one, which ends with its input.
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::default()))?;
        }
        self.child.join()?;
        step_back();
        let orders = BufReader::new(io::stdin());
        let program = self.child.bounds.this_program()?;
        let engine = Engine::compiling_elsewhere(&self.engine.folder()?, program);
        let collector = self.traces.collector()?;
        let group = self.child.join_cgroup;
        let wall = move |memory| wall(memory, group.as_deref());
        runner::serve(orders, io::stdout(), engine, collector, Box::new(wall))?;
        Ok(Exit::Done)
    }
}

/// Where memory is short, runners suffer before the server does.
#[cfg(target_os = "linux")]
fn step_back() {
    // All of it is allowed to everyone, and nothing depends on it. A core would be as large as all that tenants may have.
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, nothing).ok();
    std::fs::write("/proc/self/oom_score_adj", "500").ok();
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

/// What a runner may have beyond the memory of its plugins: rows on their way, code, stacks.
#[cfg(target_os = "linux")]
const BESIDE: u64 = 2 << 30;

/// Beyond it the runner dies, and starts its pipelines again. It counts data and not addresses, of which the runtime reserves far more than it
/// ever touches; a control group counts what its processes have touched, and all of them together.
#[cfg(target_os = "linux")]
fn wall(memory: Option<u64>, group: Option<&Path>) {
    let maximum = getrlimit(Resource::Data).maximum;
    let wanted = memory.map(|memory| memory.saturating_add(BESIDE));
    let current = match (wanted, maximum) {
        (Some(wanted), Some(most)) => Some(wanted.min(most)),
        (wanted, most) => wanted.or(most),
    };
    let limit = Rlimit { current, maximum };
    if let Err(error) = setrlimit(Resource::Data, limit) {
        tracing::warn!(%error, "the runner's memory is not limited by the system");
    }
    if let Some(group) = group
        && let Err(error) = cgroup::hold_to(group, wanted)
    {
        tracing::warn!(%error, "the runner's control group does not limit its memory");
    }
}

#[cfg(not(target_os = "linux"))]
fn wall(_memory: Option<u64>, _group: Option<&Path>) {}
