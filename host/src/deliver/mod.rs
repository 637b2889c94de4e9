//! Where rows leave.
//!
//! A [`Sink`] runs on an I/O thread of its own, one per sink and process; workers reach it through a bounded channel.

mod files;
mod plugin;
mod print;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use crate::batch::ColumnType;
use crate::checkpoint::{Lineage, Prepared, Tokens};
use crate::config::{Table, did_you_mean};
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, NodeName, PartitionId, PipelineName, ProcessIndex};
use crate::plugin::{Component, Grants, Limits, SinkPlugin};

pub use files::{FilesSink, manifest};
pub use plugin::PluginSink;
pub use print::{Output, PrintFormat, PrintSink};

/// Which epoch a sink is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochInfo {
    /// Its number.
    pub epoch: Epoch,
    /// Its batch time.
    pub time: BatchTime,
}

/// A row that a sink would not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Row of the batch given.
    pub row: u32,
    /// Why.
    pub reason: String,
}

/// An output. All calls come from one thread. Per epoch: any number of `write`s, the batches of a partition in order and
/// partitions interleaved, then one `finish`. Epochs finish in order, but rows of N+1 may be written before N is finished.
pub trait Sink: Send {
    /// Takes a batch of one partition; `last` says that it was the partition's last (it may be empty).
    /// Answers with the rows it refused, which the sink's `on_error` decides about.
    fn write(
        &mut self,
        epoch: EpochInfo,
        partition: PartitionId,
        batch: &RecordBatch,
        last: bool,
    ) -> Result<Vec<Refused>, Failure>;

    /// Every row of the epoch that this process will ever give has been written. A sink that can make an epoch visible at
    /// [`Self::commit`] has it ready for that, durably, and gives a token for each partition; any other makes it visible now.
    fn finish(&mut self, epoch: EpochInfo) -> Result<Tokens, Failure>;

    /// The epoch is finished everywhere and, with a checkpoint, recorded as over: make it visible. Called in process 0, in the order of epochs, with
    /// the tokens of all processes; again at the next start for epochs that may not be visible yet. Answers with what it holds back.
    fn commit(&mut self, _prepared: &Prepared) -> Result<Option<HeldBack>, Failure> {
        Ok(None)
    }

    /// The run ends and the epoch is not committed: undo what these tokens stand for. What is not undone before the process ends
    /// stays; another run may have prepared the epoch again.
    fn abort(&mut self, _prepared: &Prepared) -> Result<(), Failure> {
        Ok(())
    }

    /// The run has come to its end with every epoch committed: make visible what is held back. Called in process 0.
    fn end(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Committed epochs that a sink has not made visible yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// The first of them.
    pub since: Epoch,
    /// When it wants to be told of an epoch, even of one without rows.
    pub due: Option<BatchTime>,
}

/// What a sink needs to know when it is opened in a process.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// The sink's name.
    pub node: NodeName,
    /// This process. Every process opens every sink before the first epoch is cut.
    pub process: ProcessIndex,
    /// How many processes the run has.
    pub processes: usize,
    /// What numbers the epochs.
    pub lineage: Lineage,
    /// Where `print` prints.
    pub output: Output,
}

/// Where the rows for a sink must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// All of them at the first worker of process 0.
    OnePlace,
    /// Wherever they are: every process has its own part of the sink.
    Anywhere,
}

/// A checked `[sinks.NAME]` table. Adding a kind of sink is one file, one variant, and one line in [`SinkConfig::from_table`].
#[derive(Clone, Debug)]
pub enum SinkConfig {
    /// `type = "print"`
    Print(PrintSink),
    /// `type = "files"`
    Files(FilesSink),
    /// `type = "plugin"`
    Plugin(PluginSink),
}

impl SinkConfig {
    /// Reads `type` and the settings of that kind. Problems are collected in the table; `None` if there were any that
    /// leave nothing to check further. The caller takes its own keys and calls [`Table::finish`].
    ///
    /// A sink of type `plugin` has the settings of user code, so who reads those reads it.
    pub fn from_table(table: &mut Table) -> Option<Self> {
        const KINDS: [&str; 3] = ["print", "files", "plugin"];
        let wanted = format!(
            "the kind of sink: {}",
            KINDS.map(|kind| format!("\"{kind}\"")).join(", ")
        );
        let Some(kind) = table.required_string("type", &wanted) else {
            table.ignore_rest();
            return None;
        };
        match kind.get_ref().as_str() {
            "print" => PrintSink::from_table(table).map(Self::Print),
            "files" => FilesSink::from_table(table).map(Self::Files),
            other => {
                let message = format!("there is no sink of type `{other}`");
                table.problem(kind.span(), message, did_you_mean(other, KINDS));
                table.ignore_rest();
                None
            }
        }
    }

    /// A sink written by a user, bound to its input; the one kind that needs the plugin host to be checked.
    ///
    /// # Errors
    /// As [`SinkPlugin::new`].
    pub fn plugin(
        component: &Component,
        node: &NodeName,
        config: &serde_json::Value,
        input: &SchemaRef,
        limits: &Limits,
        grants: &Grants,
        retries: u32,
    ) -> Result<Self, Failure> {
        let plugin = SinkPlugin::new(component, node, config, input, limits, grants)?;
        Ok(Self::Plugin(PluginSink { plugin, retries }))
    }

    /// Its `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Print(_) => "print",
            Self::Files(_) => "files",
            Self::Plugin(_) => "plugin",
        }
    }

    /// Whether it can take rows with these columns; if not, why.
    pub fn check(&self, schema: &Schema) -> Result<(), String> {
        match self {
            Self::Print(_) => Ok(()),
            Self::Files(sink) => sink.check(schema),
            // It was asked when it was bound.
            Self::Plugin(_) => Ok(()),
        }
    }

    /// Where its rows must be.
    pub fn routing(&self) -> Routing {
        match self {
            Self::Print(_) => Routing::OnePlace,
            Self::Files(_) | Self::Plugin(_) => Routing::Anywhere,
        }
    }

    /// Makes it ready to take rows with these columns in this process.
    pub fn open(&self, schema: SchemaRef, options: OpenOptions) -> Result<Box<dyn Sink>, Failure> {
        match self {
            Self::Print(sink) => Ok(sink.open(schema, options)),
            Self::Files(sink) => sink.open(schema, options),
            Self::Plugin(sink) => sink.open(options),
        }
    }
}

/// Columns of a rejected row, for the pipeline's `[rejected]` sink.
pub fn rejected_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        // The epoch in which it was rejected, and its time.
        ColumnType::Int64.field("epoch", false),
        ColumnType::Timestamp.field("batch_time", false),
        ColumnType::Int64.field("partition", false),
        // The source or step that rejected it.
        ColumnType::Utf8.field("node", false),
        // Which of the step's inputs it was of, from 0; null if there is but one.
        ColumnType::Int64.field("input", true),
        // Where it entered, as its source says it.
        ColumnType::Utf8.field("origin", false),
        // Digest of the plugin that rejected it; null if the host did.
        ColumnType::Utf8.field("plugin", true),
        ColumnType::Utf8.field("reason", false),
        // The row as a JSON object, or the record as a JSON text; null if there is nothing.
        ColumnType::Json.field("row", true),
        // Of a record that is not UTF-8, its bytes in base64.
        ColumnType::Utf8.field("bytes", true),
        // True if the text is but the beginning of the record; null if not.
        ColumnType::Boolean.field("cut", true),
    ]))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Problems, parse};

    fn configured(lines: &str) -> (Option<SinkConfig>, Vec<String>) {
        let problems = Problems::default();
        let mut table = parse(lines, Path::new("/base"), &problems).expect("TOML");
        let sink = SinkConfig::from_table(&mut table);
        table.finish();
        (
            sink,
            problems
                .take()
                .into_iter()
                .map(|problem| problem.message)
                .collect(),
        )
    }

    #[test]
    fn every_kind_reads_its_settings() {
        for (lines, routing) in [
            (
                "type = 'print'\nformat = 'table'\nlimit = 5",
                Routing::OnePlace,
            ),
            ("type = 'print'\nall = true", Routing::OnePlace),
            (
                "type = 'files'\npath = 'out'\nformat = 'csv'\nheader = false\nexisting = 'replace'\nsync = false",
                Routing::Anywhere,
            ),
        ] {
            let (sink, problems) = configured(lines);
            assert_eq!(problems, Vec::<String>::new(), "{lines}");
            assert_eq!(sink.expect(lines).routing(), routing);
        }
    }

    #[test]
    fn wrong_settings_are_reported() {
        let first = |lines| configured(lines).1.remove(0);
        assert_eq!(
            first("type = 'prnt'\nlimit = 3"),
            "there is no sink of type `prnt`"
        );
        assert!(first("type = 'files'").contains("needs `path`, the directory to write to"));
        assert!(first("type = 'files'\npath = 'x'\nheader = true").contains("no setting `header`"));
        assert!(first("type = 'print'\nlimit = 1\nall = true").contains("contradict"));
        assert!(
            first("type = 'print'\nformat = 'spork'")
                .contains("`spork` is not a value of `format`")
        );
    }

    #[test]
    fn rejected_rows_can_be_written_as_json_and_csv() {
        for format in ["json", "csv"] {
            let (sink, _) = configured(&format!(
                "type = 'files'\npath = 'rejected'\nformat = '{format}'"
            ));
            assert_eq!(sink.expect("good").check(&rejected_schema()), Ok(()));
        }
    }
}
