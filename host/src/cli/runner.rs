//! `wasmill runner`: what `wasmill serve` starts for each tenant. Not for people.

use std::io::{self, BufReader};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::bounds::BoundsOptions;
use super::engine::EngineOptions;
use super::exit::Exit;
use super::log::LogFormat;
use crate::jobs::runner;
use crate::plugin::Engine;

/// How much less a runner's threads count than the server's: a tenant that takes all of the processor leaves the server able to answer.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// Run a tenant's pipelines, as a server orders
#[derive(Debug, clap::Args)]
pub struct Runner {
    #[command(flatten)]
    engine: EngineOptions,

    #[command(flatten)]
    bounds: BoundsOptions,
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
        step_back();
        let orders = BufReader::new(io::stdin());
        let program = self.bounds.this_program()?;
        let engine = Engine::compiling_elsewhere(&self.engine.folder()?, program);
        runner::serve(orders, io::stdout(), engine)?;
        Ok(Exit::Done)
    }
}

/// Where memory or processor time is short, runners suffer before the server does.
#[cfg(target_os = "linux")]
fn step_back() {
    // Both are allowed to everyone, and nothing depends on them.
    std::fs::write("/proc/self/oom_score_adj", "500").ok();
    rustix::process::nice(NICE).ok();
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}
