//! `wasmill state ..`: what the steps of a pipeline remember, as its checkpoint holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Value, json};

use super::check::Format;
use super::output;
use crate::checkpoint::storage::Location;
use crate::checkpoint::{NodeState, Records};
use crate::config::did_you_mean;
use crate::error::Failure;
use crate::ids::{Epoch, NodeName};

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

/// What the steps remember after an epoch.
struct Remembered {
    records: Records,
    epoch: Option<Epoch>,
    steps: BTreeMap<NodeName, NodeState>,
}

impl Remembered {
    fn at(checkpoint: &Location, epoch: Option<u64>) -> Result<Self, Failure> {
        let records = Records::open(checkpoint)?;
        let committed = records.committed()?;
        let epoch = match epoch.map(Epoch) {
            Some(epoch) if committed.contains(&epoch) => Some(epoch),
            Some(epoch) => {
                return Err(Failure::user(format!(
                    "the checkpoint does not hold the state after epoch {epoch}"
                ))
                .help("`wasmill epoch ls` lists what it holds; state is there after epochs that are committed"));
            }
            None => committed.last().copied(),
        };
        let (_, steps) = records.state_after(epoch)?;
        Ok(Self {
            records,
            epoch,
            steps,
        })
    }

    fn step(&self, name: &str) -> Result<(NodeName, &NodeState), Failure> {
        let wanted = NodeName::from(name);
        if let Some(state) = self.steps.get(&wanted) {
            return Ok((wanted, state));
        }
        let failure = Failure::user(format!("no step `{name}` remembers anything here"));
        let known = self.steps.keys().map(NodeName::as_str);
        Err(match did_you_mean(name, known) {
            Some(help) => failure.help(help),
            None => failure,
        })
    }

    /// The rows of a step, each with the values of its key as text.
    fn rows(&self, name: &str) -> Result<Vec<(Vec<String>, Value)>, Failure> {
        let (node, state) = self.step(name)?;
        let store = self.records.store();
        let is_window = state.keys.first().is_some_and(|key| key.name == "pane");
        let keys = state.keys.len() - usize::from(is_window);
        let mut rows = Vec::new();
        for (partition, kept) in &state.partitions {
            for (segment, batch) in store.rows((&node, *partition), kept, keys)? {
                // Of a table the timer stands before the key.
                let first = usize::from(segment.pane.is_none());
                let mut of_segment = as_rows(&batch, first, keys)?;
                if let Some(pane) = segment.pane {
                    for (_, row) in &mut of_segment {
                        row["pane"] = pane.into();
                    }
                }
                rows.extend(of_segment);
            }
        }
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(rows)
    }
}

/// The rows of a batch as JSON, each with its key's values as text.
fn as_rows(
    batch: &RecordBatch,
    first: usize,
    keys: usize,
) -> Result<Vec<(Vec<String>, Value)>, Failure> {
    let bug = |error: arrow::error::ArrowError| {
        Failure::internal(format!("state could not be shown: {error}"))
    };
    let mut bytes = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut bytes);
    writer.write(batch).map_err(bug)?;
    writer.finish().map_err(bug)?;
    drop(writer);
    let options = FormatOptions::default().with_null("null");
    let columns = &batch.columns()[first..first + keys];
    let formatters = columns
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let formatters: Vec<_> = formatters.collect::<Result<_, _>>().map_err(bug)?;
    let text = String::from_utf8_lossy(&bytes);
    let rows = text.lines().enumerate().map(|(row, line)| {
        let key = formatters
            .iter()
            .map(|column| column.value(row).to_string());
        let value = serde_json::from_str(line)
            .map_err(|error| Failure::internal(format!("state could not be shown: {error}")))?;
        Ok((key.collect(), value))
    });
    rows.collect()
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
        let mut text = String::new();
        if self.format == Format::Text {
            writeln!(
                text,
                "{:<16} {:>10} {:>12} {:>9}  key",
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
                    "{:<16} {:>10} {:>12} {:>9}  {}",
                    line["step"].as_str().unwrap_or_default(),
                    line["rows"],
                    line["bytes"],
                    line["segments"],
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
        let rows = |epoch| -> Result<BTreeMap<_, _>, Failure> {
            let remembered = Remembered::at(&self.checkpoint, epoch)?;
            // A step that is younger than the epoch remembered nothing then.
            if !remembered
                .steps
                .contains_key(&NodeName::from(self.step.as_str()))
                && epoch == Some(self.from)
            {
                return Ok(BTreeMap::new());
            }
            Ok(remembered.rows(&self.step)?.into_iter().collect())
        };
        let (before, after) = (rows(Some(self.from))?, rows(self.to)?);
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let mut text = String::new();
        for key in keys {
            let (was, is) = (before.get(key), after.get(key));
            if was == is {
                continue;
            }
            match self.format {
                Format::Json => writeln!(
                    text,
                    "{}",
                    json!({ "key": key, "before": was, "after": is })
                ),
                Format::Text => {
                    let sign = match (was, is) {
                        (None, _) => '+',
                        (_, None) => '-',
                        _ => '~',
                    };
                    let shown =
                        |row: Option<&Value>| row.map_or("nothing".to_owned(), Value::to_string);
                    writeln!(
                        text,
                        "{sign} {}: {} -> {}",
                        key.join(", "),
                        shown(was),
                        shown(is)
                    )
                }
            }
            .ok();
        }
        output::write(text.as_bytes())
    }
}
