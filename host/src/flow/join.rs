//! Joins two inputs of an epoch, spread by key: the rows of a partition are joined by the worker that owns it, once all have come.

use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::arrivals::{Epochs, Inputs, whole};
use super::context::Shared;
use super::parcel::Parcels;
use super::results::{PARCEL_ROWS, Results};
use super::route;
use crate::error::Failure;
use crate::join::Join;
use crate::pipeline::Node;

/// Builds the operator of the step at `index` in the plan.
pub fn join<'scope>(
    inputs: Vec<Stream<'scope, u64, Parcels>>,
    context: Shared,
    index: usize,
    join: Join,
) -> Stream<'scope, u64, Parcels> {
    let node = context.plan.nodes[index].clone();
    let mut builder = OperatorBuilder::new(node.name.to_string(), inputs[0].scope());
    let mut inputs: Vec<_> = inputs
        .into_iter()
        .map(|input| builder.new_input(input, route::by_target()))
        .collect();
    let (output, joined) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    builder.build(move |_capabilities| {
        let results = Results::new(context.clone(), &node.name);
        let mut epochs = Epochs::new(inputs.len());
        move |frontiers| {
            for (place, input) in inputs.iter_mut().enumerate() {
                input.for_each(|capability, parcels| {
                    let retain = || vec![capability.retain(0)];
                    epochs.take(*capability.time(), place, parcels, retain);
                });
            }
            let mut output = output.activate();
            while !context.abort.is_set()
                && let Some((epoch, arrivals)) = epochs.complete(frontiers)
            {
                let began = Instant::now();
                let mut session = output.session_with_builder(&arrivals.capabilities[0]);
                for (partition, sides) in arrivals.partitions {
                    match of_epoch(&join, &node, sides) {
                        Ok(batches) => {
                            let mut parcels = results.parcels(partition, arrivals.time, batches);
                            session.give_container(&mut parcels);
                        }
                        Err(failure) => {
                            let failure = failure.at_node(&node.name);
                            context.abort.fail(failure.at(epoch, partition));
                        }
                    }
                }
                context.traces.worked(epoch, &node.name, began);
            }
        }
    });
    joined
}

/// The join of what came of an epoch for a partition.
fn of_epoch(join: &Join, node: &Node, sides: Inputs) -> Result<Vec<RecordBatch>, Failure> {
    let sides = node.inputs.iter().zip(sides);
    let sides = sides.map(|(input, mut parcels)| whole(&mut parcels, &input.schema));
    let sides: Vec<RecordBatch> = sides.collect::<Result<_, _>>().map_err(too_large)?;
    rows(join, [&sides[0], &sides[1]], &node.ports[0])
}

/// The join of two sides, in batches of a parcel each; an empty one if no rows belong together.
pub fn rows(
    join: &Join,
    [left, right]: [&RecordBatch; 2],
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>, Failure> {
    let pairs = join.pairs(left, right).map_err(bug)?;
    let starts = (0..pairs.len().max(1)).step_by(PARCEL_ROWS);
    let batches = starts.map(|start| {
        let some = start..pairs.len().min(start + PARCEL_ROWS);
        join.rows(left, right, &pairs, some, schema)
    });
    batches.collect::<Result<_, _>>().map_err(too_large)
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
