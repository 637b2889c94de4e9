//! Partial results of one source partition, before they move.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::accumulate::{Accumulator, accumulator, widened};
use super::groups::Groups;
use super::key_group::by_partition;
use super::{Aggregate, Function, bug};
use crate::error::Failure;
use crate::ids::PartitionId;

/// Groups the rows of one source partition, and gives what it has so far cut by target partition.
pub struct Combiner {
    keys: Vec<usize>,
    columns: Vec<Column>,
    partial: SchemaRef,
    groups: Groups,
    /// The group of each row of the batch at hand; kept for its memory.
    rows: Vec<u32>,
}

/// Where a measure's partial result comes from.
enum Column {
    /// `count()`: the group table counts rows anyway.
    Rows,
    /// Anything that looks at values.
    Values {
        function: Function,
        column: usize,
        values: Box<dyn Accumulator>,
    },
}

impl Combiner {
    /// A combiner for batches of the schema `input`.
    pub fn new(aggregate: &Aggregate, input: &SchemaRef) -> Result<Self, Failure> {
        let partial = aggregate.partial_schema(input).map_err(Failure::user)?;
        let column = |&super::Measure {
                          function, column, ..
                      }: &super::Measure| match column {
            None => Column::Rows,
            Some(column) => Column::Values {
                function,
                column,
                values: accumulator(function, Some(input.field(column).data_type())),
            },
        };
        Ok(Self {
            columns: aggregate.measures.iter().map(column).collect(),
            keys: aggregate.keys.clone(),
            groups: Groups::new(&aggregate.keys, input).map_err(bug)?,
            partial,
            rows: Vec::new(),
        })
    }

    /// Takes the rows of `batch`, which has the input's schema.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.try_update(batch).map_err(bug)
    }

    fn try_update(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let keys: Vec<_> = self
            .keys
            .iter()
            .map(|&at| Arc::clone(batch.column(at)))
            .collect();
        let rows = batch.num_rows();
        if self
            .columns
            .iter()
            .all(|column| matches!(column, Column::Rows))
        {
            return self.groups.assign(&keys, rows, |_| ());
        }
        self.rows.clear();
        self.rows.reserve(rows);
        self.groups
            .assign(&keys, rows, |group| self.rows.push(group))?;
        for column in &mut self.columns {
            if let Column::Values {
                function,
                column,
                values,
            } = column
            {
                values.resize(self.groups.len());
                values.update(&self.rows, &widened(*function, batch.column(*column))?);
            }
        }
        Ok(())
    }

    /// How many groups it holds.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The partial results so far, at most one batch a target partition, ascending; none if there were no rows. Afterwards the
    /// combiner is empty and can be used again. `partitions` is at most [`crate::ids::KEY_GROUPS`].
    pub fn flush(&mut self, partitions: u32) -> Result<Vec<(PartitionId, RecordBatch)>, Failure> {
        if self.groups.len() == 0 {
            return Ok(Vec::new());
        }
        let cut = self
            .partial()
            .and_then(|partial| self.cut(partial, partitions));
        self.groups.clear();
        for column in &mut self.columns {
            if let Column::Values { values, .. } = column {
                values.clear();
            }
        }
        cut.map_err(bug)
    }

    fn partial(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut columns = self.groups.columns()?;
        for column in &self.columns {
            match column {
                Column::Rows => columns.push(Arc::new(Int64Array::from(self.groups.counts()))),
                Column::Values { values, .. } => columns.extend(values.partial()),
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.groups.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.partial), columns, &options)
    }

    fn cut(
        &self,
        partial: RecordBatch,
        partitions: u32,
    ) -> Result<Vec<(PartitionId, RecordBatch)>, ArrowError> {
        let keys = &partial.columns()[..self.keys.len()];
        by_partition(&partial, keys, partitions)
    }
}
