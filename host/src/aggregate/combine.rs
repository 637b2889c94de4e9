//! Partial results of one source partition, before they move.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::aggregate::Aggregate;
use crate::error::Failure;
use crate::ids::PartitionId;

/// Groups the rows of one source partition, and gives what it has so far cut by target partition.
pub struct Combiner {}

impl Combiner {
    /// A combiner for batches of the schema `input`.
    pub fn new(_aggregate: &Aggregate, _input: &SchemaRef) -> Result<Self, Failure> {
        unimplemented!()
    }

    /// Takes the rows of `batch`, which has the input's schema.
    pub fn update(&mut self, _batch: &RecordBatch) -> Result<(), Failure> {
        unimplemented!()
    }

    /// How many groups it holds.
    pub fn groups(&self) -> usize {
        unimplemented!()
    }

    /// The partial results so far, at most one batch a target partition, ascending; none if there are no rows. Afterwards the
    /// combiner is empty and can be used again.
    pub fn flush(&mut self, _partitions: u32) -> Result<Vec<(PartitionId, RecordBatch)>, Failure> {
        unimplemented!()
    }
}
