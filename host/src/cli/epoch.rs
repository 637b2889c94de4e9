//! `wasmill epoch ..`: what a checkpoint holds.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::check::Format;
use super::output;
use crate::checkpoint::storage::Location;
use crate::checkpoint::{EpochRecord, Records};
use crate::ids::Epoch;

/// Look into a pipeline's checkpoint
#[derive(Debug, clap::Subcommand)]
pub enum EpochCommand {
    /// List the epochs that a checkpoint holds, the oldest first
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Say what input an epoch has and where the sources stand after it
    Show(Show),
}

#[derive(Debug, clap::Args)]
pub struct Ls {
    /// The folder or the s3:// address that `[checkpoint]` names
    checkpoint: Location,

    /// How to show them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
pub struct Show {
    /// The folder or the s3:// address that `[checkpoint]` names
    checkpoint: Location,

    /// The epoch's number
    epoch: u64,

    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl EpochCommand {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// When there is no checkpoint, it is damaged, or it does not hold the epoch.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Ls(ls) => ls.run(),
            Self::Show(show) => show.run(),
        }
    }
}

impl Ls {
    fn run(self) -> anyhow::Result<()> {
        let records = Records::open(&self.checkpoint)?;
        // Read in this order: an epoch that is committed meanwhile is shown as planned, never the other way round.
        let committed = records.committed()?;
        let mut epochs = Vec::new();
        for epoch in records.planned()? {
            // It may have been forgotten since it was listed.
            if let Some(plan) = records.plan(epoch)? {
                epochs.push((commit_of(epoch, &committed), plan));
            }
        }
        let shown = match self.format {
            Format::Json => lines_of(&epochs),
            Format::Text => table(&epochs),
        };
        output::write(shown.as_bytes())
    }
}

impl Show {
    fn run(self) -> anyhow::Result<()> {
        let records = Records::open(&self.checkpoint)?;
        let epoch = Epoch(self.epoch);
        let commit = commit_of(epoch, &records.committed()?);
        let plan = records.epoch(epoch)?;
        let shown = match self.format {
            Format::Json => format!("{}\n", whole(commit, &plan)),
            Format::Text => text(commit, &plan),
        };
        output::write(shown.as_bytes())
    }
}

/// The epoch by which the commit is called that covers an epoch: the first commit that is not before it.
fn commit_of(epoch: Epoch, committed: &BTreeSet<Epoch>) -> Option<Epoch> {
    committed.range(epoch..).next().copied()
}

fn state(commit: Option<Epoch>) -> &'static str {
    match commit {
        Some(_) => "committed",
        None => "planned",
    }
}

fn bytes(plan: &EpochRecord) -> u64 {
    plan.reads.iter().map(|read| read.range.bytes()).sum()
}

fn summary(commit: Option<Epoch>, plan: &EpochRecord) -> Value {
    json!({
        "epoch": plan.epoch,
        "state": state(commit),
        "commit": commit,
        "time": plan.time.as_date(),
        "partitions": plan.reads.len(),
        "bytes": bytes(plan),
    })
}

/// A JSON object a line.
fn lines_of(epochs: &[(Option<Epoch>, EpochRecord)]) -> String {
    let lines = epochs
        .iter()
        .map(|(commit, plan)| format!("{}\n", summary(*commit, plan)));
    lines.collect()
}

fn table(epochs: &[(Option<Epoch>, EpochRecord)]) -> String {
    let mut text = format!(
        "{:>8}  {:<9}  {:>8}  {:<24}  {:>10}  {:>12}\n",
        "epoch", "state", "commit", "time", "partitions", "bytes"
    );
    for (commit, plan) in epochs {
        let (epoch, state, time) = (plan.epoch, state(*commit), plan.time.as_date());
        let commit = commit.map(|commit| commit.to_string()).unwrap_or_default();
        let (partitions, bytes) = (plan.reads.len(), bytes(plan));
        // Writing to a String cannot fail, here and below.
        writeln!(
            text,
            "{epoch:>8}  {state:<9}  {commit:>8}  {time:<24}  {partitions:>10}  {bytes:>12}"
        )
        .ok();
    }
    text
}

/// All that the record says.
fn whole(commit: Option<Epoch>, plan: &EpochRecord) -> Value {
    let mut all = summary(commit, plan);
    all["pipeline"] = json!(plan.pipeline);
    all["input"] = json!(plan.reads);
    all["positions"] = json!(plan.positions);
    all
}

fn text(commit: Option<Epoch>, plan: &EpochRecord) -> String {
    let with = commit.filter(|commit| *commit != plan.epoch);
    let mut text = format!(
        "epoch {} of {}: {}{}\npipeline {}\n\npartition  source  input\n",
        plan.epoch,
        plan.time.as_date(),
        state(commit),
        with.map_or_else(String::new, |last| format!(
            ", by the commit of epoch {last}"
        )),
        plan.pipeline
    );
    for (partition, read) in plan.reads.iter().enumerate() {
        writeln!(text, "{partition:>9}  {}  {}", read.source, read.range).ok();
    }
    text.push_str("\nafter it\n");
    for (source, position) in &plan.positions {
        writeln!(text, "  {source}: {position}").ok();
    }
    text
}
