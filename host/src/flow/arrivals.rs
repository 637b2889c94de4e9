//! What has come of epochs that are not complete yet, for operators that work on whole epochs.

use std::collections::BTreeMap;

use timely::dataflow::operators::Capability;
use timely::progress::frontier::MutableAntichain;

use super::parcel::{Parcel, Parcels};
use crate::ids::{BatchTime, Epoch, PartitionId};

/// One epoch.
pub struct Arrivals {
    /// The epoch's.
    pub time: BatchTime,
    /// One for each output.
    pub capabilities: Vec<Capability<u64>>,
    /// What came for each partition.
    pub partitions: BTreeMap<PartitionId, Vec<Parcel>>,
}

/// Epochs by number.
#[derive(Default)]
pub struct Epochs(BTreeMap<u64, Arrivals>);

impl Epochs {
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

    /// Rows of it.
    pub fn take(
        &mut self,
        epoch: u64,
        parcels: &mut Parcels,
        retain: impl Fn() -> Vec<Capability<u64>>,
    ) {
        let arrivals = self.of(epoch, &retain);
        for parcel in parcels.drain() {
            let of_partition = arrivals.partitions.entry(parcel.partition);
            of_partition.or_default().push(parcel);
        }
    }

    fn of(&mut self, epoch: u64, retain: &dyn Fn() -> Vec<Capability<u64>>) -> &mut Arrivals {
        self.0.entry(epoch).or_insert_with(|| Arrivals {
            time: BatchTime::default(),
            capabilities: retain(),
            partitions: BTreeMap::new(),
        })
    }

    /// The first epoch, if all of it has come.
    pub fn complete(&mut self, frontiers: &[MutableAntichain<u64>]) -> Option<(Epoch, Arrivals)> {
        let entry = self.0.first_entry()?;
        let mut open = frontiers.iter();
        if open.any(|frontier| frontier.less_equal(entry.key())) {
            return None;
        }
        let (epoch, arrivals) = entry.remove_entry();
        Some((Epoch(epoch), arrivals))
    }
}
