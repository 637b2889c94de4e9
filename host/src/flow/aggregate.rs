//! The second half of a grouping: merges the partial results of an epoch once all have come.
//!
//! Per partition in (source partition, sequence) order, so a float sum is the same on any number of workers; the
//! result is in key order.

use std::collections::BTreeMap;
use std::time::Instant;

use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};

use super::arrivals::{Epochs, Inputs, in_order};
use super::context::Shared;
use super::grouper::{Grouper, Grouping};
use super::parcel::Parcels;
use super::results::Results;
use super::route;
use crate::ids::{BatchTime, Epoch, PartitionId};
use crate::pipeline::Node;

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
            results: Results::new(context.clone(), &node.name),
            context,
            node,
        };
        let mut epochs = Epochs::new(1);
        move |frontiers| {
            times.for_each(|capability, times| {
                epochs.begins(*capability.time(), times, || vec![capability.retain(0)]);
            });
            input.for_each(|capability, parcels| {
                epochs.take(*capability.time(), 0, parcels, || {
                    vec![capability.retain(0)]
                });
            });
            let mut output = output.activate();
            while !operator.context.abort.is_set()
                && let Some((epoch, arrivals)) = epochs.complete(frontiers)
            {
                let mut session = output.session_with_builder(&arrivals.capabilities[0]);
                let give = &mut |mut parcels| session.give_container(&mut parcels);
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
    results: Results,
    /// Whether an epoch without rows has a result, and it is this worker's.
    counts_nothing: bool,
}

impl Operator {
    /// The results of an epoch.
    fn epoch(
        &mut self,
        epoch: Epoch,
        time: BatchTime,
        mut partitions: BTreeMap<PartitionId, Inputs>,
        give: &mut dyn FnMut(Parcels),
    ) {
        let began = Instant::now();
        if self.counts_nothing {
            let nothing = || vec![Vec::new()];
            partitions.entry(PartitionId(0)).or_insert_with(nothing);
        }
        for (partition, mut partials) in partitions {
            let call = self.context.call(epoch, time, partition);
            match self.grouper.finish(call, &in_order(&mut partials[0])) {
                Ok(result) => give(self.results.parcels(partition, time, vec![result])),
                Err(failure) => {
                    let failure = failure.at_node(&self.node.name).at(epoch, partition);
                    self.context.abort.fail(failure);
                }
            }
        }
        self.context.traces.worked(epoch, &self.node.name, began);
    }
}
