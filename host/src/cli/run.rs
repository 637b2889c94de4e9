//! `wasmill run`: runs a pipeline until its input ends, it fails, or someone asks it to stop.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::check;
use super::engine::EngineOptions;
use super::exit::{Exit, WrongUsage};
use super::log::LogFormat;
use super::progress::Progress;
use super::signals;
use super::summary::{self, Ending};
use super::terminal::Terminal;
use super::traces::TraceOptions;
use crate::abort::Abort;
use crate::config::parse_duration;
use crate::deliver::{PrintFormat, SinkConfig};
use crate::error::Failure;
use crate::ids::{NodeName, ProcessIndex};
use crate::pipeline::{Checked, NodeKind, Plan};
use crate::run::{self, ClusterOptions, Status, Stop};
use crate::secret::SecretSource;
use crate::trace::Traces;

/// Run a pipeline until its input ends or Ctrl-C
///
/// Checks the file first, as `wasmill check` does. On a terminal a status line shows how it goes; elsewhere a log line
/// does every 10 seconds. Ctrl-C or SIGTERM stops the sources, delivers what they had given, and ends with a summary;
/// a second one ends at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill run pipeline.toml
  wasmill run pipeline.toml --workers 4 --quiet > counts.txt
  wasmill run pipeline.toml --all --format json | jq .word

On two processes, each with the same file and the same number of workers:
  export WASMILL_TOKEN=any-secret
  printf '127.0.0.1:7001\\n127.0.0.1:7002\\n' > hosts.txt
  wasmill run pipeline.toml --workers 2 --hosts hosts.txt --process 0 &
  wasmill run pipeline.toml --workers 2 --hosts hosts.txt --process 1")]
pub struct Run {
    /// The pipeline file
    file: PathBuf,

    /// Worker threads of this process [default: one per core]
    #[arg(long, short, value_name = "N")]
    workers: Option<NonZeroUsize>,

    /// Which of the processes in --hosts this is, counted from 0; process 0 coordinates
    #[arg(long, value_name = "I", requires = "hosts")]
    process: Option<usize>,

    /// Run on several processes: a file with HOST:PORT of each, a line each. The environment variable WASMILL_TOKEN holds
    /// a secret that they share
    #[arg(long, value_name = "FILE", requires = "process")]
    hosts: Option<PathBuf>,

    /// How long to wait for the other processes
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, requires = "hosts")]
    start_timeout: Duration,

    /// Let `print` sinks print every row
    #[arg(long)]
    all: bool,

    /// How `print` sinks print, whatever the file says
    #[arg(long, value_name = "FORMAT", value_parser = ["spark", "table", "json"])]
    format: Option<String>,

    /// Say nothing but warnings and errors
    #[arg(long, short)]
    quiet: bool,

    /// Go on from a checkpoint although a source, step or sink has gone or is another kind of node now
    #[arg(long)]
    accept_changes: bool,

    /// Keep each call of a plugin that fails as a file in this folder, for `wasmill plugin replay`
    #[arg(long, value_name = "DIR")]
    capture: Option<PathBuf>,

    #[command(flatten)]
    traces: TraceOptions,

    #[command(flatten)]
    engine: EngineOptions,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a number and a unit, as in 30s".into())
}

impl Run {
    /// Runs it to its end.
    ///
    /// # Errors
    /// What made it fail.
    pub fn run(self, log: LogFormat) -> anyhow::Result<Exit> {
        let terminal = Terminal::new(!self.quiet && log == LogFormat::Text);
        log.start(if self.quiet { "warn" } else { "info" }, terminal.clone());
        let cluster = self.cluster()?;
        let collector = self.traces.collector()?;
        let workers = self.workers.map_or_else(default_workers, NonZeroUsize::get);
        let file = check::read(&self.file)?;
        let engine = self.engine.open()?;
        engine.use_secrets(SecretSource::Environment);
        if let Some(folder) = &self.capture {
            engine.capture_to(folder)?;
        }
        let Checked { problems, plan } = file.check(&engine);
        log.report_problems(&file, &problems);
        let Some(mut plan) = plan else {
            return Ok(Exit::Usage);
        };
        override_prints(&mut plan, self.all, self.format.as_deref());
        let (name, order) = (plan.name.clone(), names(&plan));
        let (status, stop) = (Arc::new(Status::default()), Stop::default());
        signals::drain_on_signal(stop.clone())?;
        let progress = (!self.quiet).then(|| Progress::start(status.clone(), terminal.clone()));
        let options = run::Options {
            cluster,
            output: terminal.output(),
            status,
            stop: stop.clone(),
            traces: collector.map_or_else(Traces::default, |collector| {
                Traces::to(collector, &[("wasmill.pipeline", name.as_str())])
            }),
            abort: Abort::default(),
            accept_changes: self.accept_changes,
            ..run::Options::unseen(workers)
        };
        let result = run::run(plan, options);
        drop(progress);
        let summary = result?;
        let ending = match stop.is_requested() {
            true => Ending::Drained,
            false => Ending::Done,
        };
        if !self.quiet {
            let text = summary::text(name.as_str(), ending, &summary, &order);
            let json = summary::as_json(name.as_str(), ending, &summary);
            log.say(&text, "ended", json);
        }
        Ok(Exit::Done)
    }

    fn cluster(&self) -> Result<Option<ClusterOptions>, WrongUsage> {
        let (Some(process), Some(hosts)) = (self.process, self.hosts.clone()) else {
            return Ok(None);
        };
        let token = std::env::var("WASMILL_TOKEN")
            .ok()
            .filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| {
            WrongUsage(
                Failure::user("several processes need a secret that they share, in the environment variable WASMILL_TOKEN")
                    .help("set it to the same text for every process; it is kept off the command line, which everyone can read"),
            )
        })?;
        Ok(Some(ClusterOptions {
            process: ProcessIndex(process),
            hosts,
            token,
            start_timeout: self.start_timeout,
        }))
    }
}

/// One per core.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn names(plan: &Plan) -> Vec<NodeName> {
    plan.nodes.iter().map(|node| node.name.clone()).collect()
}

fn override_prints(plan: &mut Plan, all: bool, format: Option<&str>) {
    for node in &mut plan.nodes {
        if let NodeKind::Sink(SinkConfig::Print(print)) = &mut node.kind {
            if all {
                print.show_all();
            }
            let known = PrintFormat::ALL
                .iter()
                .find(|(name, _)| Some(*name) == format);
            if let Some((_, format)) = known {
                print.show_as(*format);
            }
        }
    }
}
