//! Splits parcels row by row over partitions, each piece addressed to the worker that owns its partition.

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::context::{Context, Shared};
use super::parcel::{Parcel, Parcels};
use crate::aggregate::key_group::{key_groups, partition_of};
use crate::aggregate::one_zero_one_nan;
use crate::error::Failure;
use crate::ids::{Epoch, PartitionId};
use crate::telemetry::count;

/// Builds the operator before an exchange of the node at `index` in the plan. `assign` names the partition, of so many,
/// of each row of a parcel.
///
/// What goes over an exchange is held there until its epoch is complete, and live bytes do not count it: a source that
/// waited for it to drain would wait for itself.
pub fn spread<'scope>(
    rows: Stream<'scope, u64, Parcels>,
    context: Shared,
    index: usize,
    partitions: u32,
    mut assign: impl FnMut(Epoch, &Parcel) -> Result<Vec<PartitionId>, Failure> + 'static,
) -> Stream<'scope, u64, Parcels> {
    let node = context.plan.nodes[index].name.clone();
    let mut builder = OperatorBuilder::new(format!("{node}: spread"), rows.scope());
    let mut input = builder.new_input(rows, Pipeline);
    let (output, pieces) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    builder.build(move |_capabilities| {
        let counters = context.counters.of(&node);
        move |_frontiers| {
            let mut output = output.activate();
            input.for_each(|capability, parcels| {
                let epoch = Epoch(*capability.time());
                let mut pieces = Vec::new();
                for parcel in parcels.drain() {
                    count(&counters.rows_in, parcel.batch.num_rows() as u64);
                    let split = assign(epoch, &parcel)
                        .and_then(|assigned| split(&context, &parcel, &assigned, partitions));
                    match split {
                        Ok(split) => pieces.extend(split),
                        Err(failure) => {
                            let failure = failure.at_node(&node).at(epoch, parcel.partition);
                            context.abort.fail(failure);
                        }
                    }
                }
                output
                    .session_with_builder(&capability)
                    .give_container(&mut pieces.into());
            });
        }
    });
    pieces
}

/// Spreads rows by their keys, in these columns, over the partitions that own them.
pub fn by_key<'scope>(
    rows: Stream<'scope, u64, Parcels>,
    context: Shared,
    index: usize,
    keys: Vec<usize>,
) -> Stream<'scope, u64, Parcels> {
    let partitions = context.plan.partitions;
    spread(rows, context, index, partitions, move |_, parcel| {
        let columns = keys.iter();
        let columns = columns.map(|key| one_zero_one_nan(parcel.batch.column(*key)));
        let groups = key_groups(&columns.collect::<Vec<_>>());
        let groups = groups.map_err(|error| {
            Failure::internal(format!("rows could not be spread by key: {error}"))
        })?;
        let owners = groups.into_iter();
        Ok(owners
            .map(|group| partition_of(group, partitions))
            .collect())
    })
}

fn split(
    context: &Context,
    parcel: &Parcel,
    assigned: &[PartitionId],
    partitions: u32,
) -> Result<Vec<Parcel>, Failure> {
    let mut rows = vec![Vec::new(); partitions as usize];
    for (row, partition) in assigned.iter().enumerate() {
        rows[partition.0 as usize].push(row as u32);
    }
    let pieces = rows.into_iter().enumerate().filter(|(partition, rows)| {
        // An epoch without rows still has a partition, for those who tell that there were none.
        !rows.is_empty() || (parcel.last && *partition == 0)
    });
    pieces
        .map(|(partition, rows)| {
            let partition = partition as u32;
            let batch =
                match rows.len() == parcel.batch.num_rows() {
                    true => parcel.batch.clone(),
                    false => take_record_batch(&parcel.batch, &UInt32Array::from(rows)).map_err(
                        |error| Failure::internal(format!("rows could not be spread: {error}")),
                    )?,
                };
            Ok(Parcel {
                target: context.owner(partition),
                partition: PartitionId(partition),
                from: parcel.partition,
                sequence: parcel.sequence,
                last: false,
                time: parcel.time,
                batch,
                provenance: None,
                charge: None,
            })
        })
        .collect()
}
