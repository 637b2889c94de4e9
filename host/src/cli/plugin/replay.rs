//! `wasmill plugin replay`: makes a captured call again.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;

use super::granted::Granted;
use crate::cli::engine::EngineOptions;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::plugin::capture::{Answer, Capture};
use crate::plugin::{Origin, Output, Port, Rejected};
use crate::secret::SecretSource;

/// Rows of a table that are shown.
const ROWS: usize = 20;

/// Make a call again that failed elsewhere
///
/// FILE is what `wasmill run --capture DIR` or `wasmill plugin test --capture DIR` has kept of a failing call: the component, its settings
/// and the rows. The call is made on a fresh instance, under the limits it had, and needs nothing else of the pipeline. Ends with 3 if it fails
/// again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill plugin replay captures/words-epoch-7-partition-0.capture
  wasmill plugin replay words-epoch-7-partition-0.capture --plugin target/plugins/split-words.wasm    Try a mended version")]
pub struct Replay {
    /// The captured call
    file: PathBuf,

    /// Another version of the plugin, instead of the captured one
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,

    #[command(flatten)]
    granted: Granted,

    #[command(flatten)]
    engine: EngineOptions,
}

impl Replay {
    /// Makes the call, and prints what was given and what comes of it.
    ///
    /// # Errors
    /// When the file is no capture or the plugin cannot be bound as it was.
    pub fn run(self) -> anyhow::Result<Exit> {
        let capture = Capture::read(&self.file)
            .with_context(|| format!("{} cannot be replayed", self.file.display()))?;
        let engine = self.engine.open()?;
        engine.use_secrets(SecretSource::Environment);
        let component = match &self.plugin {
            Some(file) => engine.load(file)?,
            None => engine.load_bytes(&capture.header.plugin, &capture.component)?,
        };
        output::write(given(&capture).as_bytes())?;
        let grants = self.granted.to(component.world());
        match capture.again(&component, &grants)? {
            Ok(answer) => {
                output::write(answered(&answer).as_bytes())?;
                Ok(Exit::Done)
            }
            Err(error) => {
                output::write(format!("now      {}\n", error.with_stack()).as_bytes())?;
                Ok(Exit::User)
            }
        }
    }
}

fn given(capture: &Capture) -> String {
    let header = &capture.header;
    let mut text = format!("call     {}\n", capture.call());
    text += &format!("plugin   {} {}\n", header.plugin, header.digest);
    for rows in capture.batches() {
        if rows.num_columns() > 0 {
            text += &table(rows);
        }
    }
    text += &format!("then     {}\n", header.error);
    text
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Produced(ports, produced) => {
            format!(
                "{}{}",
                outputs(ports, &produced.outputs),
                rejects(&produced.rejected)
            )
        }
        Answer::Rows(rows) => format!("now      {} rows\n{}", rows.num_rows(), table(rows)),
        Answer::Changed(ports, changes) => {
            let rejected: Vec<_> = changes.rejected.iter().flatten().cloned().collect();
            let mut text = format!("now      {:?}\n", changes.ops);
            text += &outputs(ports, &changes.outputs);
            text + &rejects(&rejected)
        }
        Answer::Written(rejected) => format!("now      written\n{}", rejects(rejected)),
        Answer::Done(what) => format!("now      {what}\n"),
    }
}

/// What the plugin made; the columns that it carries are the input's.
fn outputs(ports: &[Port], outputs: &[Output]) -> String {
    let mut text = String::new();
    for output in outputs {
        let port = &ports[output.port];
        let of = match &output.origin {
            Origin::Same => ", one for each row".to_owned(),
            Origin::Parents(rows) => format!(", of the rows {}", list(rows.values())),
            Origin::None => String::new(),
        };
        // Writing to a String cannot fail.
        writeln!(text, "now      {} rows on `{}`{of}", output.rows, port.name).ok();
        let rows = RecordBatch::try_new(port.columns.clone(), output.columns.clone());
        if let Ok(rows) = rows
            && rows.num_columns() > 0
        {
            text += &table(&rows);
        }
    }
    if outputs.is_empty() {
        text += "now      no rows\n";
    }
    text
}

fn list(rows: &[u32]) -> String {
    let shown: Vec<_> = rows.iter().take(ROWS).map(ToString::to_string).collect();
    let rest = if rows.len() > ROWS { ", ..." } else { "" };
    format!("{}{rest}", shown.join(", "))
}

fn rejects(rejected: &[Rejected]) -> String {
    let line =
        |rejected: &Rejected| format!("rejected row {}: {}\n", rejected.row, rejected.reason);
    rejected.iter().take(ROWS).map(line).collect()
}

fn table(rows: &RecordBatch) -> String {
    let shown = rows.slice(0, rows.num_rows().min(ROWS));
    let table = match pretty_format_batches(&[shown]) {
        Ok(table) => table.to_string(),
        Err(error) => format!("(these rows cannot be shown: {error})"),
    };
    match rows.num_rows().saturating_sub(ROWS) {
        0 => format!("{table}\n"),
        more => format!("{table}\n... and {more} more\n"),
    }
}
