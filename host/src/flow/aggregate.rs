//! The second half of a grouping: merges the partial results of an epoch once all have come.
//!
//! Per partition in (source partition, sequence) order, so a float sum is the same on any number of workers; the
//! result is in key order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};

use super::arrivals::Epochs;
use super::context::{Emitted, Shared};
use super::grouper::{Grouper, Grouping};
use super::parcel::{Parcel, Parcels};
use super::route;
use crate::ids::{BatchTime, Epoch, PartitionId, WorkerIndex};
use crate::pipeline::Node;
use crate::telemetry::{NodeCounters, count};

/// Rows of one parcel of results.
pub const PARCEL_ROWS: usize = 64 << 10;

/// Builds the operator.
pub fn aggregate<'scope>(
    partials: Stream<'scope, u64, Parcels>,
    times: StreamVec<'scope, u64, BatchTime>,
    context: Shared,
    index: usize,
    grouping: Grouping,
) -> Stream<'scope, u64, Parcels> {
    let node = context.plan.nodes[index].clone();
    let mut builder = OperatorBuilder::new(node.name.to_string(), partials.scope());
    let mut times = builder.new_input(times, Pipeline);
    let mut input = builder.new_input(partials, route::by_target());
    let (output, results) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    builder.build(move |_capabilities| {
        let mut operator = Operator {
            counts_nothing: grouping.counts_nothing() && context.owner(0) == context.worker,
            grouper: grouping.grouper(&context, index),
            counters: context.counters.of(&node.name),
            emitted: Emitted::default(),
            context,
            node,
        };
        let mut epochs = Epochs::default();
        move |frontiers| {
            times.for_each(|capability, times| {
                epochs.begins(*capability.time(), times, || vec![capability.retain(0)]);
            });
            input.for_each(|capability, parcels| {
                epochs.take(*capability.time(), parcels, || vec![capability.retain(0)]);
            });
            let mut output = output.activate();
            while !operator.context.abort.is_set()
                && let Some((epoch, arrivals)) = epochs.complete(frontiers)
            {
                let mut session = output.session_with_builder(&arrivals.capabilities[0]);
                let give = &mut |parcels: Vec<Parcel>| session.give_container(&mut parcels.into());
                operator.epoch(epoch, arrivals.time, arrivals.partitions, give);
            }
        }
    });
    results
}

struct Operator {
    context: Shared,
    node: Node,
    grouper: Box<dyn Grouper>,
    counters: Arc<NodeCounters>,
    emitted: Emitted,
    /// Whether an epoch without rows has a result, and it is this worker's.
    counts_nothing: bool,
}

impl Operator {
    /// The results of an epoch.
    fn epoch(
        &mut self,
        epoch: Epoch,
        time: BatchTime,
        mut partitions: BTreeMap<PartitionId, Vec<Parcel>>,
        give: &mut dyn FnMut(Vec<Parcel>),
    ) {
        if self.counts_nothing {
            partitions.entry(PartitionId(0)).or_default();
        }
        for (partition, mut parcels) in partitions {
            let call = self.context.call(epoch, time, partition);
            match self.grouper.finish(call, &in_order(&mut parcels)) {
                Ok(result) => {
                    count(&self.counters.rows_out, result.num_rows() as u64);
                    let bytes = result.get_array_memory_size();
                    let charge = self.context.live.charge(bytes, &self.emitted);
                    give(pieces(Parcel {
                        charge: Some(charge),
                        ..Parcel::end_of(partition, time, 0, result)
                    }));
                }
                Err(failure) => {
                    let failure = failure.at_node(&self.node.name).at(epoch, partition);
                    self.context.abort.fail(failure);
                }
            }
        }
    }
}

/// The partial results of an epoch's partition, in the order in which they are merged.
pub fn in_order(parcels: &mut [Parcel]) -> Vec<&RecordBatch> {
    parcels.sort_by_key(|parcel| (parcel.from, parcel.sequence));
    parcels.iter().map(|parcel| &parcel.batch).collect()
}

/// Cuts a partition's result into parcels, the last of them marked.
pub fn pieces(whole: Parcel) -> Vec<Parcel> {
    let rows = whole.batch.num_rows();
    let count = rows.div_ceil(PARCEL_ROWS).max(1);
    (0..count)
        .map(|piece| {
            let start = piece * PARCEL_ROWS;
            Parcel {
                target: WorkerIndex(0),
                sequence: piece as u32,
                last: piece + 1 == count,
                batch: whole.batch.slice(start, PARCEL_ROWS.min(rows - start)),
                ..whole.clone()
            }
        })
        .collect()
}
