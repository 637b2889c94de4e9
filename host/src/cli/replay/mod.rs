//! `wasmill replay`: an epoch again, as it was or with other code, and how that differs.

mod shown;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context as _;
use tempfile::TempDir;

pub use self::shown::Shown;
use super::check::{self, Format};
use super::engine::EngineOptions;
use super::exit::{Exit, WrongUsage};
use super::log::LogFormat;
use super::output;
use super::run::default_workers;
use super::terminal::Terminal;
use crate::checkpoint::storage::Location;
use crate::checkpoint::{EpochRecord, Records};
use crate::config::did_you_mean;
use crate::error::Failure;
use crate::ids::{Epoch, NodeName};
use crate::pipeline::{Checked, PipelineFile, Plan};
use crate::plugin::Engine;
use crate::replay::replay;
use crate::secret::SecretSource;

/// Run an epoch of a checkpoint again, and show what it gives
///
/// Takes the epoch's own input, the state before it, and the pipeline file and plugins that planned it, all from the checkpoint. Sources are
/// not asked, sinks are not called, nothing is written: it may be used while the pipeline runs.
///
/// With --plugin or --pipeline the epoch is run twice, as it was and with the change, and the difference is shown: what each sink would be given,
/// what steps would remember, what would be skipped or rejected. Ends with 5 if there is any.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill replay checkpoint                                     What the last epoch gave
  wasmill replay checkpoint --epoch 12 --plugin words=new.wasm  What a new version would have given
  wasmill replay s3://bucket/prefix --epoch 12 --pipeline pipeline.toml --format json")]
pub struct Replay {
    /// The folder or the s3:// address that `[checkpoint]` names
    checkpoint: Location,

    /// Which epoch; the last committed one unless said
    #[arg(long)]
    epoch: Option<u64>,

    /// Another plugin for a step; may be given several times
    #[arg(long, value_name = "STEP=FILE", value_parser = step_and_file)]
    plugin: Vec<(NodeName, PathBuf)>,

    /// Another pipeline file, with the plugins that it names
    #[arg(long, value_name = "FILE")]
    pipeline: Option<PathBuf>,

    /// Go on although a step cannot use what was remembered, or has gone: as `wasmill run --accept-changes` would
    #[arg(long)]
    accept_changes: bool,

    /// Worker threads; the result is the same [default: one per core]
    #[arg(long, short, value_name = "N")]
    workers: Option<NonZeroUsize>,

    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    #[command(flatten)]
    engine: EngineOptions,
}

fn step_and_file(text: &str) -> Result<(NodeName, PathBuf), String> {
    match text.split_once('=') {
        Some((step, file)) if !step.is_empty() && !file.is_empty() => {
            Ok((step.into(), file.into()))
        }
        _ => Err("write the step's name, `=`, and a file: words=new.wasm".to_owned()),
    }
}

impl Replay {
    /// Runs it once or twice and shows what comes of it.
    ///
    /// # Errors
    /// When the checkpoint does not hold the epoch with all that it takes, or what is asked for cannot run.
    pub fn run(self, log: LogFormat) -> anyhow::Result<Exit> {
        log.start("warn", Terminal::new(false));
        let records = Records::open(&self.checkpoint)?;
        let epoch = self.chosen(&records)?;
        let again = Again::of(records, epoch)?;
        let engine = self.engine.clone().open()?;
        engine.use_secrets(SecretSource::Environment);
        let Some(as_it_was) = checked(&again.then, &engine, log) else {
            return Ok(Exit::Usage);
        };
        let changed = match self.changed(&again.then)? {
            None => None,
            Some(now) => match checked(&now, &engine, log) {
                Some(plan) => Some(self.with_plugins_used(plan)?),
                None => return Ok(Exit::Usage),
            },
        };
        let workers = self.workers.map_or_else(default_workers, NonZeroUsize::get);
        let shown = again.run(as_it_was, changed, workers, self.accept_changes)?;
        let text = match self.format {
            Format::Json => format!("{:#}\n", shown.as_json()),
            Format::Text => shown.text(),
        };
        output::write(text.as_bytes())?;
        Ok(match shown.differs() {
            true => Exit::Differs,
            false => Exit::Done,
        })
    }

    fn chosen(&self, records: &Records) -> Result<Epoch, Failure> {
        match self.epoch {
            Some(epoch) => Ok(Epoch(epoch)),
            None => records.committed()?.last().copied().ok_or_else(|| {
                Failure::user("the checkpoint holds no epoch that is committed")
                    .help("name one with --epoch; `wasmill epoch ls` lists those that are planned")
            }),
        }
    }

    /// The pipeline with the changes asked for, if there are any.
    fn changed(&self, then: &PipelineFile) -> Result<Option<PipelineFile>, WrongUsage> {
        let file = match &self.pipeline {
            Some(path) => check::read(path)?,
            None if self.plugin.is_empty() => return Ok(None),
            None => then.clone(),
        };
        Ok(Some(file.with_plugins(self.plugin.iter().cloned())))
    }

    /// Refuses a plugin for a step that has none.
    fn with_plugins_used(&self, plan: Plan) -> Result<Plan, WrongUsage> {
        let known = &plan.code.components;
        for (step, _) in &self.plugin {
            if !known.contains_key(step) {
                let failure = Failure::user(format!("the pipeline has no plugin called `{step}`"));
                let names = known.keys().map(NodeName::as_str);
                return Err(WrongUsage(match did_you_mean(step.as_str(), names) {
                    Some(help) => failure.help(help),
                    None => failure,
                }));
            }
        }
        Ok(plan)
    }
}

fn checked(file: &PipelineFile, engine: &Engine, log: LogFormat) -> Option<Plan> {
    let Checked { problems, plan } = file.check(engine);
    log.report_problems(file, &problems);
    plan
}

/// An epoch that can be run again.
pub struct Again {
    records: Records,
    epoch: EpochRecord,
    /// The pipeline that planned it.
    pub then: PipelineFile,
    /// Its plugins.
    _folder: TempDir,
}

impl Again {
    /// An epoch of these records.
    ///
    /// # Errors
    /// When it or the code that planned it is not there.
    pub fn of(records: Records, epoch: Epoch) -> anyhow::Result<Self> {
        let epoch = records.epoch(epoch)?;
        let folder = tempfile::tempdir().context("a temporary folder cannot be made")?;
        let code = records.code(epoch.pipeline, folder.path())?;
        let components = code.components.into_iter();
        let components = components.map(|(node, component)| (node, component.path));
        Ok(Self {
            records,
            epoch,
            then: PipelineFile::from_text(&code.file, code.text).with_plugins(components),
            _folder: folder,
        })
    }

    /// Runs it as it was, and with a change if there is one.
    ///
    /// # Errors
    /// When the records do not hold what it takes, or the last of the two fails.
    pub fn run(
        &self,
        as_it_was: Plan,
        changed: Option<Plan>,
        workers: usize,
        accept_changes: bool,
    ) -> Result<Shown, Failure> {
        let (records, epoch) = (&self.records, self.epoch.epoch);
        // What it was confirmed with then is confirmed now.
        let then = replay(records, epoch, as_it_was, workers, true);
        let now = changed.map(|plan| replay(records, epoch, plan, workers, accept_changes));
        match (then, now) {
            (then, None) => Shown::alone(records, &self.epoch, then?),
            (Err(then), Some(now)) => Shown::mended(records, &self.epoch, &then, now?),
            (Ok(then), Some(now)) => Shown::both(records, &self.epoch, then, now?),
        }
    }
}
