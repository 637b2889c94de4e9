//! What has come of epochs that are not complete yet, for operators that work on whole epochs.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use timely::dataflow::operators::Capability;
use timely::progress::frontier::MutableAntichain;

use super::parcel::{Parcel, Parcels};
use crate::ids::{BatchTime, Epoch, PartitionId};

/// What came for a partition, of each input.
pub type Inputs = Vec<Vec<Parcel>>;

/// One epoch.
pub struct Arrivals {
    /// The epoch's.
    pub time: BatchTime,
    /// One for each output.
    pub capabilities: Vec<Capability<u64>>,
    /// What came for each partition.
    pub partitions: BTreeMap<PartitionId, Inputs>,
}

/// Epochs by number, of an operator with so many inputs.
pub struct Epochs {
    inputs: usize,
    epochs: BTreeMap<u64, Arrivals>,
}

impl Epochs {
    /// None yet.
    pub fn new(inputs: usize) -> Self {
        Self {
            inputs,
            epochs: BTreeMap::new(),
        }
    }

    /// That there is an epoch, with or without rows. `retain` gives its capability on each output.
    pub fn begins(
        &mut self,
        epoch: u64,
        times: &[BatchTime],
        retain: impl Fn() -> Vec<Capability<u64>>,
    ) {
        if let Some(time) = times.last() {
            self.of(epoch, &retain).time = *time;
        }
    }

    /// Rows of it, from one of the inputs.
    pub fn take(
        &mut self,
        epoch: u64,
        input: usize,
        parcels: &mut Parcels,
        retain: impl Fn() -> Vec<Capability<u64>>,
    ) {
        let inputs = self.inputs;
        let arrivals = self.of(epoch, &retain);
        for parcel in parcels.drain() {
            arrivals.time = parcel.time;
            let of_partition = arrivals.partitions.entry(parcel.partition);
            of_partition.or_insert_with(|| vec![Vec::new(); inputs])[input].push(parcel);
        }
    }

    fn of(&mut self, epoch: u64, retain: &dyn Fn() -> Vec<Capability<u64>>) -> &mut Arrivals {
        self.epochs.entry(epoch).or_insert_with(|| Arrivals {
            time: BatchTime::default(),
            capabilities: retain(),
            partitions: BTreeMap::new(),
        })
    }

    /// The first epoch, if all of it has come.
    pub fn complete(&mut self, frontiers: &[MutableAntichain<u64>]) -> Option<(Epoch, Arrivals)> {
        let entry = self.epochs.first_entry()?;
        let mut open = frontiers.iter();
        if open.any(|frontier| frontier.less_equal(entry.key())) {
            return None;
        }
        let (epoch, arrivals) = entry.remove_entry();
        Some((Epoch(epoch), arrivals))
    }
}

/// What came from one input for a partition, in an order that no timing changes: by the partitions that it comes from.
pub fn in_order(parcels: &mut [Parcel]) -> Vec<&RecordBatch> {
    parcels.sort_by_key(|parcel| (parcel.from, parcel.sequence));
    parcels.iter().map(|parcel| &parcel.batch).collect()
}

/// The same as one batch.
///
/// # Errors
/// When its columns grow beyond what Arrow counts.
pub fn whole(parcels: &mut [Parcel], schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    concat_batches(schema, in_order(parcels))
}
