//! The `print` sink: rows on standard output, in Spark's layout, as a table or as JSON lines.
//!
//! With a limit it holds at most that many rows and one more of each partition; without one, what an epoch prints is
//! held in memory up to a size and in temporary files above it, until the epoch is finished and its order known.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Seek, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;
use tempfile::SpooledTempFile;

use super::{EpochInfo, OpenOptions, Refused, Sink};
use crate::config::Table;
use crate::error::Failure;
use crate::format::FileFormat;
use crate::ids::{Epoch, NodeName, PartitionId};

/// What Spark's `print()` shows.
const DEFAULT_LIMIT: u64 = 10;
/// What a partition of an epoch may hold in memory before it goes to a temporary file.
const SPOOL_BYTES: usize = 256 << 10;
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
    fn exclusively(&self, print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        print(&mut *writer)?;
        writer.flush()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

/// What one partition will print.
enum Held {
    /// Its first rows, at most one more than the limit.
    First {
        rows: usize,
        batches: Vec<RecordBatch>,
    },
    /// All of it, rendered.
    All(SpooledTempFile),
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
                Some(_) => Held::First {
                    rows: 0,
                    batches: Vec::new(),
                },
                None => Held::All(SpooledTempFile::new(SPOOL_BYTES)),
            });
        let kept = match held {
            Held::First { rows, batches } => {
                let wanted = self
                    .limit
                    .map_or(0, |limit| limit + 1)
                    .saturating_sub(*rows);
                let taken = wanted.min(batch.num_rows());
                *rows += taken;
                copy_first(batch, taken)
                    .map(|copy| batches.extend(copy))
                    .map(|()| Vec::new())
            }
            Held::All(spool) => {
                let mut text = Vec::new();
                render(self.format, batch, &mut text).and_then(|refused| {
                    spool.write_all(&text).map_err(ArrowError::from)?;
                    Ok(refused)
                })
            }
        };
        kept.map_err(|error| self.failure(&error))
    }

    fn finish(&mut self, epoch: EpochInfo) -> Result<(), Failure> {
        if !self.is_the_place {
            return Ok(());
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
            for held in partitions.values_mut() {
                if let Held::All(spool) = held {
                    spool.rewind()?;
                    io::copy(spool, writer)?;
                }
            }
            if self.format != PrintFormat::Json {
                writer.write_all(b"\n")?;
            }
            Ok(())
        });
        printed.map_err(|error| self.failure(&error.into()))
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
                Held::First { batches, .. } => batches.as_slice(),
                Held::All(_) => &[],
            })
            .collect();
        if first.is_empty() {
            return Ok(());
        }
        let rows = concat_batches(&self.schema, first)?;
        let shown = rows.slice(0, limit.min(rows.num_rows()));
        if shown.num_rows() > 0 {
            // A value that has no form in JSON is shown by no other means here: the rows beside it are.
            render(self.format, &shown, out)?;
        }
        if rows.num_rows() > limit && self.format != PrintFormat::Json {
            out.extend_from_slice(b"...\n");
        }
        Ok(())
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

/// The first rows in memory of their own, so that the whole batch can be freed.
fn copy_first(batch: &RecordBatch, rows: usize) -> Result<Option<RecordBatch>, ArrowError> {
    if rows == 0 {
        return Ok(None);
    }
    let rows = u32::try_from(rows).expect("a batch has at most 2^32 rows");
    take_record_batch(batch, &UInt32Array::from_iter_values(0..rows)).map(Some)
}

fn render(
    format: PrintFormat,
    batch: &RecordBatch,
    out: &mut Vec<u8>,
) -> Result<Vec<Refused>, ArrowError> {
    match format {
        PrintFormat::Spark => render_tuples(batch, out).map(|()| Vec::new()),
        PrintFormat::Table => {
            let table = pretty_format_batches(std::slice::from_ref(batch))?;
            out.extend_from_slice(format!("{table}\n").as_bytes());
            Ok(Vec::new())
        }
        PrintFormat::Json => {
            let unwritable = FileFormat::Json.encode(batch, false, out)?;
            Ok(unwritable.into_iter().map(Refused::from).collect())
        }
    }
}

/// A row as Scala shows a tuple; a row of one column as its value.
fn render_tuples(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let options = FormatOptions::new()
        .with_null("null")
        .with_display_error(true);
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<_, _>>()?;
    for row in 0..batch.num_rows() {
        if let [only] = columns.as_slice() {
            writeln!(out, "{}", only.value(row))?;
            continue;
        }
        out.push(b'(');
        for (index, column) in columns.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(out, "{comma}{}", column.value(row))?;
        }
        out.extend_from_slice(b")\n");
    }
    Ok(())
}
