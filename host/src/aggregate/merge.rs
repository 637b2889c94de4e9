//! Results of one target partition, from the partial ones.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::aggregate::Aggregate;
use crate::error::Failure;

/// Merges the partial results of one target partition in the order given.
pub struct Merger {}

impl Merger {
    /// A merger of what combiners over batches of the schema `input` give.
    pub fn new(_aggregate: &Aggregate, _input: &SchemaRef) -> Result<Self, Failure> {
        unimplemented!()
    }

    /// Takes the batch of one flush.
    pub fn merge(&mut self, _partial: &RecordBatch) -> Result<(), Failure> {
        unimplemented!()
    }

    /// The result, sorted by key, nulls first. Without keys it is one row, also if nothing was merged.
    pub fn finish(self) -> Result<RecordBatch, Failure> {
        unimplemented!()
    }
}
