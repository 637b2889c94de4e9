//! The second half of a grouping: merges the partial results of an epoch once all have come.
//!
//! Per partition in (source partition, sequence) order, so a float sum is the same on any number of workers; the
//! result is in key order.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::context::{Emitted, Shared};
use super::grouper::Grouping;
use super::parcel::{Parcel, Parcels};
use super::route;
use crate::ids::{Epoch, PartitionId, WorkerIndex};
use crate::telemetry::count;

/// Rows of one parcel of results.
pub const PARCEL_ROWS: usize = 64 << 10;

/// What has come of one epoch.
struct Waiting {
    capability: Capability<u64>,
    partials: BTreeMap<PartitionId, Vec<Parcel>>,
}

/// Builds the operator.
pub fn aggregate<'scope>(
    partials: Stream<'scope, u64, Parcels>,
    context: Shared,
    index: usize,
    grouping: Grouping,
) -> Stream<'scope, u64, Parcels> {
    let node = context.plan.nodes[index].clone();
    let mut builder = OperatorBuilder::new(node.name.to_string(), partials.scope());
    let mut input = builder.new_input(partials, route::by_target());
    let (output, results) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    builder.build(move |_capabilities| {
        let counters = context.counters.of(&node.name);
        let emitted = Emitted::default();
        let mut grouper = grouping.grouper(&context, index);
        let mut epochs: BTreeMap<u64, Waiting> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, parcels| {
                let waiting = epochs.entry(*capability.time()).or_insert_with(|| Waiting {
                    capability: capability.retain(0),
                    partials: BTreeMap::new(),
                });
                for parcel in parcels.drain() {
                    waiting
                        .partials
                        .entry(parcel.partition)
                        .or_default()
                        .push(parcel);
                }
            });
            let mut output = output.activate();
            while let Some(entry) = epochs.first_entry()
                && !frontiers[0].less_equal(entry.key())
                && !context.abort.is_set()
            {
                let Waiting {
                    capability,
                    partials,
                } = entry.remove();
                let mut session = output.session_with_builder(&capability);
                for (partition, parcels) in partials {
                    let time = parcels[0].time;
                    let epoch = Epoch(*capability.time());
                    let call = context.call(epoch, time, partition);
                    match grouper.finish(call, &in_order(&mut { parcels })) {
                        Ok(result) => {
                            count(&counters.rows_out, result.num_rows() as u64);
                            let charge = context
                                .live
                                .charge(result.get_array_memory_size(), &emitted);
                            let template = Parcel {
                                charge: Some(charge),
                                ..Parcel::end_of(partition, time, 0, result)
                            };
                            session.give_container(&mut pieces(template).into());
                        }
                        Err(failure) => {
                            context
                                .abort
                                .fail(failure.at_node(&node.name).at(epoch, partition));
                        }
                    }
                }
            }
        }
    });
    results
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
