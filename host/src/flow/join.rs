//! Joins two inputs of an epoch: both go by key to the worker that owns it, and are joined once all has come.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::aggregate::PARCEL_ROWS;
use super::context::{Emitted, Shared};
use super::parcel::{Parcel, Parcels};
use super::route;
use super::spread::by_key;
use crate::error::Failure;
use crate::ids::{Epoch, PartitionId, WorkerIndex};
use crate::join::Join;
use crate::pipeline::Node;
use crate::telemetry::count;

/// What has come of one epoch: of each partition the left's parcels and the right's.
struct Waiting {
    capability: Capability<u64>,
    partitions: BTreeMap<PartitionId, [Vec<Parcel>; 2]>,
}

/// Builds the operators of the step at `index` in the plan.
pub fn join<'scope>(
    left: Stream<'scope, u64, Parcels>,
    right: Stream<'scope, u64, Parcels>,
    context: Shared,
    index: usize,
    join: Join,
) -> Stream<'scope, u64, Parcels> {
    let node = context.plan.nodes[index].clone();
    let left = by_key(left, context.clone(), index, join.left_keys.clone());
    let right = by_key(right, context.clone(), index, join.right_keys.clone());
    let mut builder = OperatorBuilder::new(node.name.to_string(), left.scope());
    let mut left = builder.new_input(left, route::by_target());
    let mut right = builder.new_input(right, route::by_target());
    let (output, joined) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    builder.build(move |_capabilities| {
        let mut joiner = Joiner {
            context,
            node,
            join,
            emitted: Emitted::default(),
            epochs: BTreeMap::new(),
        };
        move |frontiers| {
            left.for_each(|capability, parcels| {
                joiner.take(0, *capability.time(), || capability.retain(0), parcels);
            });
            right.for_each(|capability, parcels| {
                joiner.take(1, *capability.time(), || capability.retain(0), parcels);
            });
            let mut output = output.activate();
            while let Some(entry) = joiner.epochs.first_entry()
                && !frontiers
                    .iter()
                    .any(|frontier| frontier.less_equal(entry.key()))
                && !joiner.context.abort.is_set()
            {
                let waiting = entry.remove();
                let mut session = output.session_with_builder(&waiting.capability);
                for (partition, sides) in waiting.partitions {
                    match joiner.joined(partition, sides) {
                        Ok(parcels) => session.give_container(&mut parcels.into()),
                        Err(failure) => {
                            let epoch = Epoch(*waiting.capability.time());
                            let failure = failure.at_node(&joiner.node.name);
                            joiner.context.abort.fail(failure.at(epoch, partition));
                        }
                    }
                }
            }
        }
    });
    joined
}

struct Joiner {
    context: Shared,
    node: Node,
    join: Join,
    emitted: Emitted,
    epochs: BTreeMap<u64, Waiting>,
}

impl Joiner {
    fn take(
        &mut self,
        side: usize,
        epoch: u64,
        capability: impl FnOnce() -> Capability<u64>,
        parcels: &mut Parcels,
    ) {
        let waiting = self.epochs.entry(epoch).or_insert_with(|| Waiting {
            capability: capability(),
            partitions: BTreeMap::new(),
        });
        for parcel in parcels.drain() {
            waiting.partitions.entry(parcel.partition).or_default()[side].push(parcel);
        }
    }

    /// The result for a partition, in parcels, the last of them marked.
    fn joined(
        &self,
        partition: PartitionId,
        sides: [Vec<Parcel>; 2],
    ) -> Result<Vec<Parcel>, Failure> {
        let first = sides.iter().flatten().next();
        let time = first.expect("a partition has come with a parcel").time;
        let [left, right] = sides;
        let left = whole(left, &self.node.inputs[0].schema)?;
        let right = whole(right, &self.node.inputs[1].schema)?;
        let pairs = self.join.pairs(&left, &right).map_err(bug)?;
        count(
            &self.context.counters.of(&self.node.name).rows_out,
            pairs.len() as u64,
        );
        let pieces = pairs.len().div_ceil(PARCEL_ROWS).max(1);
        (0..pieces)
            .map(|piece| {
                let start = piece * PARCEL_ROWS;
                let some = start..pairs.len().min(start + PARCEL_ROWS);
                let schema = &self.node.ports[0];
                let batch = self.join.rows(&left, &right, &pairs, some, schema);
                let batch = batch.map_err(too_large)?;
                let bytes = batch.get_array_memory_size();
                Ok(Parcel {
                    target: WorkerIndex(0),
                    last: piece + 1 == pieces,
                    charge: Some(self.context.live.charge(bytes, &self.emitted)),
                    ..Parcel::end_of(partition, time, piece as u32, batch)
                })
            })
            .collect()
    }
}

/// The rows of one side in the order of the partitions that they come from.
fn whole(mut parcels: Vec<Parcel>, schema: &SchemaRef) -> Result<RecordBatch, Failure> {
    parcels.sort_by_key(|parcel| (parcel.from, parcel.sequence));
    concat_batches(schema, parcels.iter().map(|parcel| &parcel.batch)).map_err(too_large)
}

/// What is left to go wrong with columns that were checked is that they grow beyond what Arrow counts.
pub fn too_large(error: ArrowError) -> Failure {
    Failure::user(format!(
        "the rows of a partition could not be joined: {error}"
    ))
    .help("cut smaller epochs, or more `partitions`")
}

/// What was checked before does not go wrong.
pub fn bug(error: ArrowError) -> Failure {
    Failure::internal(format!("a join could not be computed: {error}"))
}
