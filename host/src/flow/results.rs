//! The results of a step on their way out: counted, charged and cut into parcels.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::context::{Emitted, Shared};
use super::parcel::{Parcel, Parcels};
use crate::ids::{BatchTime, NodeName, PartitionId};
use crate::telemetry::{NodeCounters, count};

/// Rows of one parcel of results.
pub const PARCEL_ROWS: usize = 64 << 10;

/// Those of one step on one worker.
pub struct Results {
    context: Shared,
    counters: Arc<NodeCounters>,
    emitted: Emitted,
}

impl Results {
    /// None yet.
    pub fn new(context: Shared, node: &NodeName) -> Self {
        Self {
            counters: context.counters.of(node),
            context,
            emitted: Emitted::default(),
        }
    }

    /// Whether there is to be no more for now: too much is alive, and some of it is of this step.
    pub fn are_too_much(&self) -> bool {
        self.context.live.is_over() && self.emitted.is_alive()
    }

    /// All that a partition of an epoch gives, in parcels, the last of them marked.
    pub fn parcels(
        &self,
        partition: PartitionId,
        time: BatchTime,
        batches: Vec<RecordBatch>,
    ) -> Parcels {
        let mut parcels: Vec<Parcel> = Vec::new();
        for batch in batches {
            let rows = batch.num_rows();
            count(&self.counters.rows_out, rows as u64);
            let bytes = batch.get_array_memory_size();
            let charge = self.context.live.charge(bytes, &self.emitted);
            for start in (0..rows.max(1)).step_by(PARCEL_ROWS) {
                let piece = batch.slice(start, PARCEL_ROWS.min(rows - start));
                let sequence = parcels.len() as u32;
                parcels.push(Parcel {
                    last: false,
                    charge: Some(charge.clone()),
                    ..Parcel::end_of(partition, time, sequence, piece)
                });
            }
        }
        if let Some(end) = parcels.last_mut() {
            end.last = true;
        }
        parcels.into()
    }
}
