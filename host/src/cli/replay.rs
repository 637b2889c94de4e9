//! `wasmill replay`: an epoch again, as it was or with other code, and how that differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::check::{self, Format};
use super::engine::EngineOptions;
use super::exit::{Exit, WrongUsage};
use super::log::LogFormat;
use super::output;
use super::remembered::{self, Change, Remembered};
use super::run::default_workers;
use super::terminal::Terminal;
use crate::checkpoint::storage::Location;
use crate::checkpoint::{EpochRecord, Records};
use crate::config::did_you_mean;
use crate::error::Failure;
use crate::ids::{Epoch, NodeName};
use crate::pipeline::{Checked, PipelineFile, Plan};
use crate::plugin::Engine;
use crate::replay::{Replayed, replay};

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
        let recorded = records.epoch(epoch)?;
        let folder = tempfile::tempdir().context("a temporary folder cannot be made")?;
        let code = records.code(recorded.pipeline, folder.path())?;
        let components = code.components.into_iter();
        let components = components.map(|(node, component)| (node, component.path));
        let then = PipelineFile::from_text(&code.file, code.text).with_plugins(components);
        let engine = self.engine.clone().open()?;
        let Some(as_it_was) = checked(&then, &engine, log) else {
            return Ok(Exit::Usage);
        };
        let changed = match self.changed(&then)? {
            None => None,
            Some(now) => match checked(&now, &engine, log) {
                Some(plan) => Some(self.with_plugins_used(plan)?),
                None => return Ok(Exit::Usage),
            },
        };
        let workers = self.workers.map_or_else(default_workers, NonZeroUsize::get);
        // What it was confirmed with then is confirmed now.
        let then = replay(&records, epoch, as_it_was, workers, true);
        let now = changed.map(|plan| replay(&records, epoch, plan, workers, self.accept_changes));
        let shown = match (then, now) {
            (then, None) => Shown::alone(&records, &recorded, then?)?,
            (Err(then), Some(now)) => Shown::mended(&records, &recorded, &then, now?)?,
            (Ok(then), Some(now)) => Shown::both(&records, &recorded, then, now?)?,
        };
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

/// What was run.
#[derive(PartialEq)]
enum Ran {
    /// The epoch as it was.
    AsItWas,
    /// The epoch with a change; as it was, it fails for this reason.
    Mended(String),
    /// Both, to be compared.
    Both,
}

/// What there is to say of a replay.
struct Shown {
    epoch: EpochRecord,
    ran: Ran,
    /// By which steps remember something else than is recorded, though nothing was changed.
    unlike: BTreeMap<NodeName, Vec<Change>>,
    /// Of each sink its rows as it was and as it is.
    sinks: BTreeMap<NodeName, [String; 2]>,
    /// What the epoch has changed, or with a change, what it would have changed otherwise.
    state: BTreeMap<NodeName, Vec<Change>>,
    /// What was dropped, as it was and as it is: node, kind, counts.
    dropped: Vec<(NodeName, &'static str, [u64; 2])>,
}

impl Shown {
    /// As it was, beside what is recorded of it.
    fn alone(records: &Records, epoch: &EpochRecord, then: Replayed) -> Result<Self, Failure> {
        let number = Some(epoch.epoch);
        let base = records
            .committed()?
            .range(..epoch.epoch)
            .next_back()
            .copied();
        let before = Remembered::after(records.clone(), base)?;
        let after = Remembered::after(then.records.clone(), number)?;
        Ok(Self {
            epoch: epoch.clone(),
            ran: Ran::AsItWas,
            unlike: unlike(records, &after)?,
            state: all_changes(&before, &after)?,
            dropped: dropped([&then, &then]),
            sinks: rows([BTreeMap::new(), then.outputs]),
        })
    }

    /// With a change, where it could not run as it was.
    fn mended(
        records: &Records,
        epoch: &EpochRecord,
        then: &Failure,
        now: Replayed,
    ) -> Result<Self, Failure> {
        let shown = Self::alone(records, epoch, now)?;
        Ok(Self {
            ran: Ran::Mended(then.to_string()),
            unlike: BTreeMap::new(),
            ..shown
        })
    }

    /// As it was, and with a change.
    fn both(
        records: &Records,
        epoch: &EpochRecord,
        then: Replayed,
        now: Replayed,
    ) -> Result<Self, Failure> {
        let number = Some(epoch.epoch);
        let before = Remembered::after(then.records.clone(), number)?;
        let after = Remembered::after(now.records.clone(), number)?;
        Ok(Self {
            epoch: epoch.clone(),
            ran: Ran::Both,
            unlike: unlike(records, &before)?,
            state: all_changes(&before, &after)?,
            dropped: dropped([&then, &now]),
            sinks: rows([then.outputs, now.outputs]),
        })
    }

    fn differs(&self) -> bool {
        let differs = |[then, now]: &[String; 2]| then != now;
        let counts = |(_, _, [then, now]): &(_, _, [u64; 2])| then != now;
        !self.unlike.is_empty()
            || self.ran == Ran::Both
                && (self.sinks.values().any(differs)
                    || !self.state.is_empty()
                    || self.dropped.iter().any(counts))
    }

    fn text(&self) -> String {
        let (number, partitions) = (self.epoch.epoch, self.epoch.reads.len());
        let mut text = format!(
            "epoch {number} of {}, input partitions: {partitions}\n",
            self.epoch.time.as_date()
        );
        // Writing to a String cannot fail, here and below.
        match &self.ran {
            Ran::Mended(failure) => writeln!(text, "as it was, it fails: {failure}").ok(),
            _ if self.unlike.is_empty() => writeln!(text, "as it was, it gives the same again").ok(),
            _ => writeln!(text, "as it was, it does not give the same again: what is remembered after it differs from what was, so the pipeline is not deterministic").ok(),
        };
        write_changes(&mut text, "recorded and again", &self.unlike);
        let is_compared = self.ran == Ran::Both;
        for (sink, [then, now]) in &self.sinks {
            let (before, after) = (then.lines().count(), now.lines().count());
            if is_compared && then == now {
                writeln!(
                    text,
                    "\nsink {sink}: {before} rows, the same with the change"
                )
                .ok();
            } else if is_compared {
                writeln!(
                    text,
                    "\nsink {sink}: {before} rows, with the change {after}"
                )
                .ok();
                let diff = TextDiff::from_lines(then, now);
                write!(text, "{}", diff.unified_diff()).ok();
            } else {
                writeln!(text, "\nsink {sink}: {after} rows").ok();
                text.push_str(now);
            }
        }
        let what = match is_compared {
            true => "as it was and with the change",
            false => "before and after",
        };
        write_changes(&mut text, what, &self.state);
        for (node, kind, [then, now]) in &self.dropped {
            match is_compared {
                true => writeln!(text, "\n{node}: {then} {kind}, with the change {now}").ok(),
                false => writeln!(text, "\n{node}: {now} {kind}").ok(),
            };
        }
        text
    }

    fn as_json(&self) -> Value {
        let is_compared = self.ran == Ran::Both;
        let failure = match &self.ran {
            Ran::Mended(failure) => Some(failure),
            _ => None,
        };
        let changes = |changes: &BTreeMap<NodeName, Vec<Change>>| {
            let steps = changes.iter().map(|(step, changes)| {
                let changes = changes.iter().map(Change::as_json).collect();
                (step.to_string(), changes)
            });
            Value::Object(steps.collect())
        };
        let sinks = self.sinks.iter().map(|(sink, [then, now])| {
            let rows = match is_compared {
                true => json!({
                    "rows_before": then.lines().count(),
                    "rows_after": now.lines().count(),
                    "diff": lines_of_diff(then, now),
                }),
                false => json!({ "rows": now.lines().map(row).collect::<Vec<_>>() }),
            };
            (sink.to_string(), rows)
        });
        let dropped = self
            .dropped
            .iter()
            .map(|(node, kind, [then, now])| match is_compared {
                true => json!({ "node": node, "kind": kind, "before": then, "after": now }),
                false => json!({ "node": node, "kind": kind, "count": now }),
            });
        json!({
            "epoch": self.epoch.epoch,
            "time": self.epoch.time.as_date(),
            "partitions": self.epoch.reads.len(),
            "failed_before": failure,
            "is_compared": is_compared,
            "differs": self.differs(),
            "not_reproduced": changes(&self.unlike),
            "sinks": sinks.collect::<serde_json::Map<_, _>>(),
            "state": changes(&self.state),
            "dropped": dropped.collect::<Vec<_>>(),
        })
    }
}

/// What is remembered after a replay and is not what is recorded, if it is recorded.
fn unlike(
    records: &Records,
    after: &Remembered,
) -> Result<BTreeMap<NodeName, Vec<Change>>, Failure> {
    match after.epoch {
        Some(epoch) if records.committed()?.contains(&epoch) => {
            all_changes(&Remembered::after(records.clone(), Some(epoch))?, after)
        }
        _ => Ok(BTreeMap::new()),
    }
}

/// Of each step that remembers something else.
fn all_changes(
    before: &Remembered,
    after: &Remembered,
) -> Result<BTreeMap<NodeName, Vec<Change>>, Failure> {
    let mut all = BTreeMap::new();
    for step in before.steps.keys().chain(after.steps.keys()) {
        let changes = remembered::changes(before, after, step.as_str())?;
        if !changes.is_empty() {
            all.insert(step.clone(), changes);
        }
    }
    Ok(all)
}

fn write_changes(text: &mut String, what: &str, changes: &BTreeMap<NodeName, Vec<Change>>) {
    for (step, changes) in changes {
        writeln!(text, "\nstate of {step}, {what}").ok();
        for change in changes {
            writeln!(text, "{change}").ok();
        }
    }
}

fn rows([then, mut now]: [BTreeMap<NodeName, String>; 2]) -> BTreeMap<NodeName, [String; 2]> {
    let mut rows: BTreeMap<_, _> = then
        .into_iter()
        .map(|(sink, then)| {
            let now = now.remove(&sink).unwrap_or_default();
            (sink, [then, now])
        })
        .collect();
    // Sinks that are new.
    rows.extend(
        now.into_iter()
            .map(|(sink, now)| (sink, [String::new(), now])),
    );
    rows
}

fn dropped([then, now]: [&Replayed; 2]) -> Vec<(NodeName, &'static str, [u64; 2])> {
    let mut names: Vec<_> = then.nodes.keys().chain(now.nodes.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let mut dropped = Vec::new();
    for name in names {
        let counts = [then, now].map(|run| run.nodes.get(name).cloned().unwrap_or_default());
        let kinds = [
            ("skipped", [0, 1].map(|run| counts[run].skipped)),
            ("rejected", [0, 1].map(|run| counts[run].rejected)),
            ("traps", [0, 1].map(|run| counts[run].traps)),
        ];
        let counted = kinds.into_iter().filter(|(_, counts)| *counts != [0, 0]);
        dropped.extend(counted.map(|(kind, counts)| (name.clone(), kind, counts)));
    }
    dropped
}

/// A row as it was written.
fn row(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| line.into())
}

fn lines_of_diff(then: &str, now: &str) -> Vec<Value> {
    let diff = TextDiff::from_lines(then, now);
    let changes = diff.iter_all_changes().filter_map(|change| {
        let op = match change.tag() {
            ChangeTag::Equal => return None,
            ChangeTag::Delete => "-",
            ChangeTag::Insert => "+",
        };
        Some(json!({ "op": op, "row": row(change.value().trim_end()) }))
    });
    changes.collect()
}
