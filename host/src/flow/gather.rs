//! Brings what has gone over an exchange into an order that does not depend on timing, an epoch at a time.

use std::collections::BTreeMap;

use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::context::Shared;
use super::parcel::{Parcel, Parcels};
use super::route;

/// Moves parcels to their targets and holds those of an epoch until all have come, then emits what `arrange` makes of
/// them, given in the order of (partition, from, sequence).
pub fn gather<'scope>(
    parcels: Stream<'scope, u64, Parcels>,
    name: &str,
    mut arrange: impl FnMut(Vec<Parcel>) -> Vec<Parcel> + 'static,
) -> Stream<'scope, u64, Parcels> {
    let mut builder = OperatorBuilder::new(name.to_owned(), parcels.scope());
    let mut input = builder.new_input(parcels, route::by_target());
    let (output, gathered) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    builder.build(move |_capabilities| {
        let mut held: BTreeMap<u64, (Capability<u64>, Vec<Parcel>)> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, parcels| {
                let (_, waiting) = held
                    .entry(*capability.time())
                    .or_insert_with(|| (capability.retain(0), Vec::new()));
                waiting.extend(parcels.drain().map(|parcel| Parcel {
                    charge: None,
                    ..parcel
                }));
            });
            let mut output = output.activate();
            while let Some(entry) = held.first_entry()
                && !frontiers[0].less_equal(entry.key())
            {
                let (capability, mut waiting) = entry.remove();
                waiting.sort_by_key(|parcel| (parcel.partition, parcel.from, parcel.sequence));
                let mut session = output.session_with_builder(&capability);
                session.give_container(&mut arrange(waiting).into());
            }
        }
    });
    gathered
}

/// Names the owner of each parcel's partition as its target.
pub fn address<'scope>(
    parcels: Stream<'scope, u64, Parcels>,
    context: Shared,
) -> Stream<'scope, u64, Parcels> {
    super::route::map(parcels, "address", move |parcel| Parcel {
        target: context.owner(parcel.partition.0),
        ..parcel
    })
}
