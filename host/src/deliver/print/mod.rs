//! The `print` sink: rows on standard output, in Spark's layout, as a table or as JSON lines.
//!
//! With a limit it holds at most that many rows and one more of each partition; without one, what an epoch prints is
//! held in memory up to a size and in temporary files above it, until the epoch is finished and its order known.

mod held;
mod render;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use held::{All, First, Held};
use render::render;

use super::{EpochInfo, OpenOptions, Refused, Sink};
use crate::checkpoint::Tokens;
use crate::config::Table;
use crate::error::Failure;
use crate::ids::{Epoch, NodeName, PartitionId};

/// What Spark's `print()` shows.
const DEFAULT_LIMIT: u64 = 10;
const RULE: &str = "-------------------------------------------";

/// How rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrintFormat {
    /// A header with the epoch's time, then `(value,value)` a row.
    Spark,
    /// The same header, then a table with the columns' names.
    Table,
    /// An object a line and nothing else, for another program to read.
    Json,
}

impl PrintFormat {
    /// All of them by name.
    pub const ALL: [(&str, PrintFormat); 3] = [
        ("spark", PrintFormat::Spark),
        ("table", PrintFormat::Table),
        ("json", PrintFormat::Json),
    ];
}

/// A checked `print` sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrintSink {
    format: PrintFormat,
    limit: Option<u64>,
    all: bool,
}

impl PrintSink {
    /// Reads its settings.
    pub fn from_table(table: &mut Table) -> Option<Self> {
        let format = table.one_of("format", &PrintFormat::ALL, PrintFormat::Spark);
        let limit = table.integer("limit", 0);
        let all = table.boolean("all", false);
        if let Some(limit) = limit.as_ref().filter(|_| all) {
            table.problem(
                limit.span(),
                "`limit` and `all = true` contradict each other",
                None,
            );
        }
        Some(Self {
            format,
            limit: limit.map(toml::Spanned::into_inner),
            all,
        })
    }

    /// Shows every row, whatever the file says.
    pub fn show_all(&mut self) {
        self.all = true;
    }

    /// Shows rows this way, whatever the file says.
    pub fn show_as(&mut self, format: PrintFormat) {
        self.format = format;
    }

    /// Rows an epoch shows; `None` for all. JSON lines are read by programs: they are only cut when asked for.
    fn limit(&self) -> Option<usize> {
        match (self.all, self.limit, self.format) {
            (true, _, _) | (false, None, PrintFormat::Json) => None,
            (false, limit, _) => {
                Some(usize::try_from(limit.unwrap_or(DEFAULT_LIMIT)).unwrap_or(usize::MAX - 1))
            }
        }
    }

    /// Makes it ready to print rows with these columns.
    pub fn open(&self, schema: SchemaRef, options: OpenOptions) -> Box<dyn Sink> {
        Box::new(Printer {
            node: options.node,
            output: options.output,
            format: self.format,
            limit: self.limit(),
            schema,
            epochs: BTreeMap::new(),
            is_the_place: options.process.0 == 0,
        })
    }
}

/// Where `print` prints: one writer for all sinks of a process, which whoever draws a status line hands in.
#[derive(Clone)]
pub struct Output(Arc<Mutex<dyn Write + Send>>);

impl Output {
    /// Prints to `writer`.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    /// Prints to standard output.
    pub fn stdout() -> Self {
        Self::new(io::stdout())
    }

    /// Runs `print` with nobody else printing in between.
    fn exclusively(
        &self,
        print: impl FnOnce(&mut dyn Write) -> Result<(), ArrowError>,
    ) -> Result<(), ArrowError> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        print(&mut *writer)?;
        Ok(writer.flush()?)
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

struct Printer {
    node: NodeName,
    output: Output,
    format: PrintFormat,
    limit: Option<usize>,
    schema: SchemaRef,
    epochs: BTreeMap<Epoch, BTreeMap<PartitionId, Held>>,
    /// Process 0 gets all rows; the others have nothing to print, not even the header of an epoch.
    is_the_place: bool,
}

impl Sink for Printer {
    fn write(
        &mut self,
        epoch: EpochInfo,
        partition: PartitionId,
        batch: &RecordBatch,
        _last: bool,
    ) -> Result<Vec<Refused>, Failure> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let partitions = self.epochs.entry(epoch.epoch).or_default();
        let held = partitions
            .entry(partition)
            .or_insert_with(|| match self.limit {
                Some(_) => Held::First(First::default()),
                None => Held::All(All::new()),
            });
        let kept = match held {
            Held::First(first) => first.add(self.format, self.limit.unwrap_or_default(), batch),
            Held::All(all) => all.add(self.format, batch),
        };
        kept.map_err(|error| self.failure(&error))
    }

    fn finish(&mut self, epoch: EpochInfo) -> Result<Tokens, Failure> {
        if !self.is_the_place {
            return Ok(Tokens::new());
        }
        let mut partitions = self.epochs.remove(&epoch.epoch).unwrap_or_default();
        let mut shown = Vec::new();
        if self.format != PrintFormat::Json {
            shown
                .extend_from_slice(format!("{RULE}\nTime: {} ms\n{RULE}\n", epoch.time).as_bytes());
        }
        self.render_first(&partitions, &mut shown)
            .map_err(|error| self.failure(&error))?;
        let printed = self.output.exclusively(|writer| {
            writer.write_all(&shown)?;
            self.print_all(&mut partitions, writer)?;
            if self.format != PrintFormat::Json {
                writer.write_all(b"\n")?;
            }
            Ok(())
        });
        printed.map_err(|error| self.failure(&error))?;
        Ok(Tokens::new())
    }
}

impl Printer {
    /// Renders the first rows over all partitions in order, and whether there are more.
    fn render_first(
        &self,
        partitions: &BTreeMap<PartitionId, Held>,
        out: &mut Vec<u8>,
    ) -> Result<(), ArrowError> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let first: Vec<&RecordBatch> = partitions
            .values()
            .flat_map(|held| match held {
                Held::First(first) => first.batches(),
                Held::All(_) => &[],
            })
            .collect();
        if first.is_empty() {
            return Ok(());
        }
        let rows = concat_batches(&self.schema, first)?;
        let shown = rows.slice(0, limit.min(rows.num_rows()));
        if shown.num_rows() > 0 {
            // What JSON cannot hold was refused when it came.
            render(self.format, &shown, out)?;
        }
        if rows.num_rows() > limit && self.format != PrintFormat::Json {
            out.extend_from_slice(b"...\n");
        }
        Ok(())
    }

    /// Prints all rows in the order of partitions; tables of partitions that were small are drawn as one.
    fn print_all(
        &self,
        partitions: &mut BTreeMap<PartitionId, Held>,
        writer: &mut dyn Write,
    ) -> Result<(), ArrowError> {
        let mut waiting = Vec::new();
        for held in partitions.values_mut() {
            if let Held::All(all) = held {
                if all.is_rendered() {
                    self.print_table(&mut waiting, writer)?;
                    all.copy_to(writer)?;
                }
                waiting.extend(all.take_waiting());
            }
        }
        self.print_table(&mut waiting, writer)
    }

    fn print_table(
        &self,
        batches: &mut Vec<RecordBatch>,
        writer: &mut dyn Write,
    ) -> Result<(), ArrowError> {
        if batches.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        render(
            self.format,
            &concat_batches(&self.schema, batches.iter())?,
            &mut text,
        )?;
        batches.clear();
        Ok(writer.write_all(&text)?)
    }

    fn failure(&self, error: &ArrowError) -> Failure {
        let failure = match error {
            ArrowError::IoError(_, error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Failure::external("nobody reads standard output any more (broken pipe)")
            }
            ArrowError::IoError(_, error) => Failure::external(format!("cannot print: {error}")),
            other => Failure::internal(format!("cannot render rows: {other}")),
        };
        failure.at_node(&self.node)
    }
}
