//! Sends whole rows to the workers that own their keys.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::context::{Emitted, Shared};
use super::parcel::{Parcel, Parcels};
use crate::aggregate::key_group::by_partition;
use crate::error::Failure;
use crate::ids::{Epoch, PartitionId};
use crate::telemetry::count;

/// Cuts every parcel by the key in `keys` (columns of the rows), and addresses the pieces. Its stream is to be read over an exchange
/// by target; pieces of one `from` are numbered by their `sequence`.
pub fn scatter<'scope>(
    rows: Stream<'scope, u64, Parcels>,
    context: Shared,
    index: usize,
    keys: Vec<usize>,
) -> Stream<'scope, u64, Parcels> {
    let name = context.plan.nodes[index].name.clone();
    let mut builder = OperatorBuilder::new(format!("{name}: scatter"), rows.scope());
    let mut input = builder.new_input(rows, Pipeline);
    let (output, scattered) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    builder.build(move |_capabilities| {
        let counters = context.counters.of(&name);
        let emitted = Emitted::default();
        // Pieces so far of each partition that is not at its end.
        let mut sequences: HashMap<(Epoch, PartitionId), u32> = HashMap::new();
        move |_frontiers| {
            let mut output = output.activate();
            input.for_each(|capability, parcels| {
                let epoch = Epoch(*capability.time());
                for parcel in parcels.drain() {
                    count(&counters.rows_in, parcel.batch.num_rows() as u64);
                    let from = (epoch, parcel.partition);
                    let sequence = sequences.entry(from).or_default();
                    *sequence += 1;
                    let columns = keys.iter().map(|key| parcel.batch.column(*key).clone());
                    let columns: Vec<ArrayRef> = columns.collect();
                    let pieces = match parcel.batch.num_rows() {
                        0 => Ok(Vec::new()),
                        _ => by_partition(&parcel.batch, &columns, context.plan.partitions),
                    };
                    let pieces = match pieces {
                        Ok(pieces) => pieces,
                        Err(error) => {
                            let message = format!("rows could not be cut by their keys: {error}");
                            let failure = Failure::internal(message).at_node(&name);
                            return context.abort.fail(failure.at(epoch, parcel.partition));
                        }
                    };
                    let parcels = pieces.into_iter().map(|(partition, batch)| Parcel {
                        target: context.owner(partition.0),
                        partition,
                        from: parcel.partition,
                        sequence: *sequence - 1,
                        last: false,
                        time: parcel.time,
                        provenance: None,
                        charge: Some(
                            context
                                .live
                                .charge(batch.get_array_memory_size(), &emitted),
                        ),
                        batch,
                    });
                    let mut parcels = Parcels::from(parcels.collect::<Vec<_>>());
                    if parcel.last {
                        sequences.remove(&from);
                    }
                    output
                        .session_with_builder(&capability)
                        .give_container(&mut parcels);
                }
            });
        }
    });
    scattered
}
