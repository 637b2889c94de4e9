//! Where rows leave.
//!
//! A [`Sink`] runs on an I/O thread of its own, one per sink and process; workers reach it through a bounded channel.

use arrow::array::RecordBatch;

use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, PartitionId};

/// Which epoch a sink is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochInfo {
    /// Its number.
    pub epoch: Epoch,
    /// Its batch time.
    pub time: BatchTime,
}

/// A row that a sink would not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Row of the batch given.
    pub row: u32,
    /// Why.
    pub reason: String,
}

/// An output. All calls come from one thread. Per epoch: any number of `write`s, the batches of a partition in order and
/// partitions interleaved, then one `finish`. Epochs finish in order, but rows of N+1 may be written before N is finished.
pub trait Sink: Send {
    /// Takes a batch of one partition; `last` says that it was the partition's last (it may be empty).
    /// Answers with the rows it refused, which the sink's `on_error` decides about.
    fn write(
        &mut self,
        epoch: EpochInfo,
        partition: PartitionId,
        batch: &RecordBatch,
        last: bool,
    ) -> Result<Vec<Refused>, Failure>;

    /// Every row of the epoch that this process will ever give has been written: make them visible.
    fn finish(&mut self, epoch: EpochInfo) -> Result<(), Failure>;

    /// The run is over and every epoch finished; release what is held.
    fn close(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// A checked `[sinks.NAME]` table. Adding a kind of sink is one file, one variant, and one line in [`SinkConfig::from_table`].
#[derive(Clone, Debug)]
pub enum SinkConfig {}
