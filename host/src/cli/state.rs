//! `wasmill state ..`: what the steps of a pipeline remember, as its checkpoint holds it.

use std::fmt::Write as _;

use serde_json::json;

use super::check::Format;
use super::output;
use super::remembered::{Remembered, changes};
use crate::checkpoint::storage::Location;
use crate::error::Failure;

/// Look into what a pipeline's steps remember
#[derive(Debug, clap::Subcommand)]
pub enum StateCommand {
    /// List the steps that remember something, and how much
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Show what is remembered of one key
    Get(Get),
    /// Write out all that a step remembers, a JSON object a key
    Export(Export),
    /// Show what has changed between two epochs
    Diff(Diff),
}

/// Where to look.
#[derive(Debug, clap::Args)]
struct At {
    /// The folder or the s3:// address that `[checkpoint]` names
    checkpoint: Location,

    /// After which epoch; the last committed one unless said
    #[arg(long)]
    epoch: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub struct Ls {
    #[command(flatten)]
    at: At,

    /// How to show them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
pub struct Get {
    #[command(flatten)]
    at: At,

    /// The step
    step: String,

    /// The key, a value for each of its columns, as `wasmill state export` shows them
    #[arg(required = true)]
    key: Vec<String>,

    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
pub struct Export {
    #[command(flatten)]
    at: At,

    /// The step
    step: String,
}

#[derive(Debug, clap::Args)]
pub struct Diff {
    /// The folder or the s3:// address that `[checkpoint]` names
    checkpoint: Location,

    /// The step
    step: String,

    /// After which epoch it was
    #[arg(long)]
    from: u64,

    /// After which epoch it is; the last committed one unless said
    #[arg(long)]
    to: Option<u64>,

    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl StateCommand {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// When there is no checkpoint, it is damaged, or it does not hold what is asked for.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Ls(ls) => ls.run(),
            Self::Get(get) => get.run(),
            Self::Export(export) => export.run(),
            Self::Diff(diff) => diff.run(),
        }
    }
}

impl Ls {
    fn run(self) -> anyhow::Result<()> {
        let remembered = Remembered::at(&self.at.checkpoint, self.at.epoch)?;
        let mut lines = Vec::new();
        for (step, state) in &remembered.steps {
            let segments = state.partitions.values().flat_map(|kept| &kept.segments);
            let (mut count, mut bytes) = (0, 0);
            for segment in segments {
                (count, bytes) = (count + 1, bytes + segment.bytes);
            }
            let keys = state
                .keys
                .iter()
                .map(|key| format!("{}: {}", key.name, key.data_type));
            let keys: Vec<_> = keys.collect();
            lines.push(json!({
                "step": step,
                "epoch": remembered.epoch,
                "key": keys.join(", "),
                "rows": remembered.rows(step.as_str())?.len(),
                "bytes": bytes,
                "segments": count,
                "partitions": state.partitions.len(),
            }));
        }
        let names = remembered.steps.keys().map(|step| step.as_str().len());
        let width = names.max().unwrap_or_default().max(16);
        let mut text = String::new();
        if self.format == Format::Text {
            writeln!(
                text,
                "{:<width$} {:>10} {:>12} {:>9}  key",
                "step", "rows", "bytes", "segments"
            )
            .ok();
        }
        for line in &lines {
            // Writing to a String cannot fail, here and below.
            match self.format {
                Format::Json => writeln!(text, "{line}"),
                Format::Text => writeln!(
                    text,
                    "{:<width$} {:>10} {:>12} {:>9}  {}",
                    line["step"].as_str().unwrap_or_default(),
                    // A JSON value itself takes no width.
                    line["rows"].to_string(),
                    line["bytes"].to_string(),
                    line["segments"].to_string(),
                    line["key"].as_str().unwrap_or_default()
                ),
            }
            .ok();
        }
        output::write(text.as_bytes())
    }
}

impl Get {
    fn run(self) -> anyhow::Result<()> {
        let remembered = Remembered::at(&self.at.checkpoint, self.at.epoch)?;
        let rows = remembered.rows(&self.step)?;
        let found: Vec<_> = rows
            .into_iter()
            .filter(|(key, _)| *key == self.key)
            .collect();
        if found.is_empty() {
            let key = self.key.join(", ");
            let message = format!("`{}` remembers nothing of the key {key}", self.step);
            return Err(Failure::user(message).into());
        }
        let mut text = String::new();
        for (_, row) in found {
            match self.format {
                Format::Json => writeln!(text, "{row}").ok(),
                Format::Text => {
                    for (name, value) in row.as_object().into_iter().flatten() {
                        writeln!(text, "{name:<16} {value}").ok();
                    }
                    None
                }
            };
        }
        output::write(text.as_bytes())
    }
}

impl Export {
    fn run(self) -> anyhow::Result<()> {
        let remembered = Remembered::at(&self.at.checkpoint, self.at.epoch)?;
        let mut text = String::new();
        for (_, row) in remembered.rows(&self.step)? {
            writeln!(text, "{row}").ok();
        }
        output::write(text.as_bytes())
    }
}

impl Diff {
    fn run(self) -> anyhow::Result<()> {
        let (before, after) = (
            Remembered::at(&self.checkpoint, Some(self.from))?,
            Remembered::at(&self.checkpoint, self.to)?,
        );
        // A step that is younger than the first epoch remembered nothing then.
        after.step(&self.step)?;
        let mut text = String::new();
        for change in changes(&before, &after, &self.step)? {
            match self.format {
                Format::Json => writeln!(text, "{}", change.as_json()).ok(),
                Format::Text => writeln!(text, "{change}").ok(),
            };
        }
        output::write(text.as_bytes())
    }
}
