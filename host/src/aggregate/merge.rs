//! Results of one target partition, from the partial ones.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::accumulate::{Accumulator, accumulator};
use super::groups::Groups;
use super::{Aggregate, bug};
use crate::error::Failure;

/// Merges the partial results of one target partition in the order given.
pub struct Merger {
    keys: usize,
    measures: Vec<Running>,
    output: SchemaRef,
    partial: SchemaRef,
    groups: Groups,
    /// The group of each row of the batch at hand; kept for its memory.
    rows: Vec<u32>,
}

struct Running {
    /// How an overflow names it.
    what: String,
    /// How many columns of the partial result it takes.
    width: usize,
    values: Box<dyn Accumulator>,
}

impl Merger {
    /// A merger of what combiners over batches of the schema `input` give.
    pub fn new(aggregate: &Aggregate, input: &SchemaRef) -> Result<Self, Failure> {
        let output = aggregate.output_schema(input).map_err(Failure::user)?;
        let partial = aggregate.partial_schema(input).map_err(Failure::user)?;
        let measures = aggregate.measures.iter().map(|measure| {
            let source = measure.column.map(|at| input.field(at));
            Running {
                what: match source {
                    Some(source) => format!(
                        "`{}`, the {} of `{}`,",
                        measure.name,
                        measure.function,
                        source.name()
                    ),
                    None => format!("`{}`", measure.name),
                },
                width: measure.partial_width(),
                values: accumulator(measure.function, source.map(|field| field.data_type())),
            }
        });
        Ok(Self {
            keys: aggregate.keys.len(),
            measures: measures.collect(),
            groups: Groups::new(&aggregate.keys, input).map_err(bug)?,
            output,
            partial,
            rows: Vec::new(),
        })
    }

    /// Takes the batch of one flush. Float sums depend on the order of calls, so that order must not depend on timing.
    pub fn merge(&mut self, partial: &RecordBatch) -> Result<(), Failure> {
        let (keys, mut columns) = partial.columns().split_at(self.keys);
        self.rows.clear();
        if self.groups.len() == 0 {
            // Every row of a partial result is a group, and most groups are in all of them.
            self.groups.reserve(partial.num_rows());
        }
        self.groups
            .assign(keys, partial.num_rows(), |group| self.rows.push(group))
            .map_err(bug)?;
        for measure in &mut self.measures {
            let (own, rest) = columns.split_at(measure.width);
            measure.values.resize(self.groups.len());
            measure.values.merge(&self.rows, own);
            columns = rest;
        }
        Ok(())
    }

    /// The result, sorted by key, nulls first. Without keys it is one row, also if nothing was merged.
    pub fn finish(mut self) -> Result<RecordBatch, Failure> {
        let groups = if self.keys == 0 { 1 } else { self.groups.len() };
        let mut columns = self.groups.columns().map_err(bug)?;
        let fields = &self.output.fields()[self.keys..];
        for (measure, field) in self.measures.iter_mut().zip(fields) {
            measure.values.resize(groups);
            let result = measure.values.finish(field.data_type()).map_err(|_| {
                let kind = super::in_words(field.data_type());
                Failure::user(format!("{} does not fit into {kind}", measure.what))
                    .help("aggregate fewer rows, or compute `avg`")
            })?;
            columns.push(result);
        }
        self.sort(&self.output, columns, groups).map_err(bug)
    }

    /// What was merged so far, as one partial result in key order; no rows of no groups.
    pub fn partial(mut self) -> Result<RecordBatch, Failure> {
        let groups = self.groups.len();
        let mut columns = self.groups.columns().map_err(bug)?;
        for measure in &mut self.measures {
            measure.values.resize(groups);
            columns.extend(measure.values.partial());
        }
        self.sort(&self.partial, columns, groups).map_err(bug)
    }

    fn sort(
        &self,
        schema: &SchemaRef,
        columns: Vec<ArrayRef>,
        groups: usize,
    ) -> Result<RecordBatch, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(groups));
        let result = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
        match self.keys {
            0 => Ok(result),
            _ => take_record_batch(&result, &UInt32Array::from(self.groups.sorted())),
        }
    }
}
