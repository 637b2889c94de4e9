//! Puts what a step made of a parcel's rows together with the columns that go along.

use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use super::parcel::{Parcel, Provenance};
use crate::error::Failure;
use crate::ids::WorkerIndex;
use crate::plugin::Origin;

/// What a step made of some rows of a parcel.
pub struct Made<'a> {
    /// The parcel.
    pub parcel: &'a Parcel,
    /// Which of its rows.
    pub rows: Range<usize>,
    /// How many rows came of them.
    pub count: usize,
    /// Which of `rows` each of these comes from.
    pub origin: Origin,
    /// Columns of the parcel that go along.
    pub carried: &'a [usize],
    /// The columns made, which stand behind them.
    pub columns: Vec<ArrayRef>,
}

impl Made<'_> {
    /// A parcel of it in the same partition, not yet charged to anyone.
    pub fn parcel(self, schema: SchemaRef, sequence: u32) -> Result<Parcel, Failure> {
        let provenance = match (&self.parcel.provenance, &self.origin) {
            (None, _) | (_, Origin::None) => None,
            (Some(provenance), _) => Some(Provenance {
                positions: self.carry(&provenance.positions)?,
                ..provenance.clone()
            }),
        };
        let mut columns = Vec::new();
        for &column in self.carried {
            columns.push(self.carry(self.parcel.batch.column(column))?);
        }
        columns.extend(self.columns);
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        let batch =
            RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| {
                Failure::internal(format!("the plan's columns do not fit: {error}"))
            })?;
        Ok(Parcel {
            target: WorkerIndex(0),
            partition: self.parcel.partition,
            from: self.parcel.partition,
            sequence,
            last: false,
            time: self.parcel.time,
            provenance,
            charge: None,
            batch,
        })
    }

    /// The values of a column that belong to the new rows.
    fn carry(&self, column: &ArrayRef) -> Result<ArrayRef, Failure> {
        let slice = column.slice(self.rows.start, self.rows.len());
        match &self.origin {
            Origin::Parents(parents) => take(&slice, parents, None).map_err(|error| {
                Failure::internal(format!("a column could not be carried: {error}"))
            }),
            Origin::Same | Origin::None => Ok(slice),
        }
    }
}
