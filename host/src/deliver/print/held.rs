//! What one partition of an epoch will print, within bounds.

use std::io::{self, Seek, Write};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::error::ArrowError;
use tempfile::SpooledTempFile;

use super::PrintFormat;
use super::render::render;
use crate::deliver::Refused;

/// What a partition may hold in memory before it goes to a temporary file.
const SPOOL_BYTES: usize = 256 << 10;

/// What one partition will print.
pub enum Held {
    /// With a limit.
    First(First),
    /// Without.
    All(All),
}

/// The first rows, at most one more than the limit, which tells whether there are more.
#[derive(Default)]
pub struct First {
    rows: usize,
    batches: Vec<RecordBatch>,
}

impl First {
    /// Takes what is still wanted of `batch`; returns rows that cannot be shown.
    pub fn add(
        &mut self,
        format: PrintFormat,
        limit: usize,
        batch: &RecordBatch,
    ) -> Result<Vec<Refused>, ArrowError> {
        let wanted = (limit + 1).saturating_sub(self.rows).min(batch.num_rows());
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let first = copy_first(batch, wanted)?;
        let refused = match format {
            PrintFormat::Json => render(format, &first, &mut Vec::new())?,
            PrintFormat::Spark | PrintFormat::Table => Vec::new(),
        };
        self.rows += wanted;
        self.batches.push(first);
        Ok(refused)
    }

    /// What was taken.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }
}

/// The first rows in memory of their own, so that the whole batch can be freed.
pub fn copy_first(batch: &RecordBatch, rows: usize) -> Result<RecordBatch, ArrowError> {
    let rows = u32::try_from(rows).expect("a batch has at most 2^32 rows");
    take_record_batch(batch, &UInt32Array::from_iter_values(0..rows))
}

/// All rows: rendered, and for a table, whose columns are as wide as their widest value, the last ones as they came.
pub struct All {
    rendered: SpooledTempFile,
    is_rendered: bool,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
}

impl All {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            rendered: SpooledTempFile::new(SPOOL_BYTES),
            is_rendered: false,
            waiting: Vec::new(),
            waiting_bytes: 0,
        }
    }

    /// Takes `batch`; returns rows that cannot be shown.
    pub fn add(
        &mut self,
        format: PrintFormat,
        batch: &RecordBatch,
    ) -> Result<Vec<Refused>, ArrowError> {
        if format != PrintFormat::Table {
            return self.render(format, batch);
        }
        self.waiting.push(batch.clone());
        self.waiting_bytes += batch.get_array_memory_size();
        if self.waiting_bytes <= SPOOL_BYTES {
            return Ok(Vec::new());
        }
        let table = concat_batches(&batch.schema(), &self.waiting)?;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.render(format, &table)
    }

    fn render(
        &mut self,
        format: PrintFormat,
        batch: &RecordBatch,
    ) -> Result<Vec<Refused>, ArrowError> {
        let mut text = Vec::new();
        let refused = render(format, batch, &mut text)?;
        self.rendered.write_all(&text)?;
        self.is_rendered = true;
        Ok(refused)
    }

    /// Whether there is something to copy.
    pub fn is_rendered(&self) -> bool {
        self.is_rendered
    }

    /// Copies what is rendered.
    pub fn copy_to(&mut self, writer: &mut dyn Write) -> io::Result<()> {
        self.rendered.rewind()?;
        io::copy(&mut self.rendered, writer).map(drop)
    }

    /// The rows after that.
    pub fn take_waiting(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.waiting)
    }
}
