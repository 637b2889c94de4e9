//! Rows that were turned away, on their way to the pipeline's `[rejected]` sink with where they came from and why.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::json::LineDelimitedWriter;

use super::context::Context;
use super::parcel::Parcel;
use crate::deliver::rejected_schema;
use crate::error::Failure;
use crate::format::FileFormat;
use crate::ids::{BatchTime, Digest, Epoch, NodeName, PartitionId, WorkerIndex};
use crate::pipeline::{Node, OnError};
use crate::telemetry::count;

/// One of them.
#[derive(Clone, Debug)]
pub struct RejectedRow {
    /// Which of its node's inputs it was of, if there are several.
    pub input: Option<usize>,
    /// Where its source had it.
    pub origin: Option<String>,
    /// Why it was turned away.
    pub reason: String,
    /// The row itself, as a JSON object, or a record, as a JSON text.
    pub row: Option<String>,
    /// Of a record that is not UTF-8, its bytes in base64.
    pub bytes: Option<String>,
    /// Whether there is but the beginning of it.
    pub cut: bool,
}

/// Rejected rows of one node, being collected.
pub struct Rejects {
    node: NodeName,
    index: usize,
    /// The code that turned them away.
    plugin: Option<Digest>,
    rows: Vec<RejectedRow>,
}

impl Rejects {
    /// None yet, from the node at `index`.
    pub fn new(node: &Node, index: usize) -> Self {
        Self {
            node: node.name.clone(),
            index,
            plugin: node.digest(),
            rows: Vec::new(),
        }
    }

    /// Adds one.
    pub fn add(&mut self, row: RejectedRow) {
        self.rows.push(row);
    }

    /// Judges a row of `parcel` that the step would not take: the run ends, or the row is counted and, if it is to be
    /// rejected, added.
    pub fn turn_away(
        &mut self,
        context: &Context,
        on_error: OnError,
        parcel: &Parcel,
        row: usize,
        reason: &str,
    ) -> Result<(), Failure> {
        let counters = context.counters.of(&self.node);
        match on_error {
            OnError::Fail => return Err(Failure::user(reason).at_row(row as u64).help(
                "set `on_error = \"skip\"` or `\"reject\"` on the step to go on without such rows",
            )),
            OnError::Skip => count(&counters.skipped, 1),
            OnError::Reject => {
                count(&counters.rejected, 1);
                self.add(RejectedRow {
                    input: None,
                    origin: parcel.origin(&context.readers, row),
                    reason: reason.to_owned(),
                    row: row_as_json(&parcel.batch, row),
                    bytes: None,
                    cut: false,
                });
            }
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows as a parcel; `sequence` counts such parcels of this node, so that their order is defined.
    pub fn parcel(
        self,
        epoch: Epoch,
        time: BatchTime,
        partition: PartitionId,
        sequence: u32,
    ) -> Parcel {
        Parcel {
            target: WorkerIndex(0),
            partition,
            from: PartitionId(self.index as u32),
            sequence,
            last: false,
            time,
            batch: self.batch(epoch, time, partition),
            provenance: None,
            charge: None,
        }
    }

    fn batch(self, epoch: Epoch, time: BatchTime, partition: PartitionId) -> RecordBatch {
        let count = self.rows.len();
        let texts = |pick: fn(&RejectedRow) -> Option<&str>| -> ArrayRef {
            let mut builder = StringBuilder::new();
            for row in &self.rows {
                builder.append_option(pick(row));
            }
            Arc::new(builder.finish())
        };
        let plugin = self.plugin.map(|digest| digest.to_string());
        // What could not be read again is still its node's.
        let (node, input) = self.node.without_again();
        let inputs = self.rows.iter().map(|row| row.input.or(input));
        let inputs = inputs.map(|input| input.map(|input| input as i64));
        let cut = self.rows.iter().map(|row| row.cut.then_some(true));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![epoch.0 as i64; count])),
            Arc::new(
                TimestampMicrosecondArray::from(vec![time.0 * 1000; count])
                    .with_timezone(crate::batch::UTC),
            ),
            Arc::new(Int64Array::from(vec![i64::from(partition.0); count])),
            Arc::new(StringArray::from(vec![node; count])),
            Arc::new(inputs.collect::<Int64Array>()),
            texts(|row| Some(row.origin.as_deref().unwrap_or("unknown"))),
            Arc::new(StringArray::from(vec![plugin.as_deref(); count])),
            texts(|row| Some(&row.reason)),
            texts(|row| row.row.as_deref()),
            texts(|row| row.bytes.as_deref()),
            Arc::new(cut.collect::<BooleanArray>()),
        ];
        RecordBatch::try_new(rejected_schema(), columns)
            .expect("the columns are those of the schema")
    }
}

/// A row as a JSON object, for a person to read and a source to read again. What a file could not hold is written as well as can be.
pub fn row_as_json(batch: &RecordBatch, row: usize) -> Option<String> {
    let row = batch.slice(row, 1);
    let mut bytes = Vec::new();
    let unwritable = FileFormat::Json.encode(&row, true, &mut bytes).ok()?;
    if !unwritable.is_empty() {
        let mut writer = LineDelimitedWriter::new(&mut bytes);
        writer.write(&row).ok()?;
        writer.finish().ok()?;
    }
    Some(String::from_utf8(bytes).ok()?.trim_end().to_owned())
}
