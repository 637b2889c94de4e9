//! Brings rejected rows of an epoch into a defined order: what was turned away where depends on timing, the order of
//! partition, node and row does not.

use std::collections::BTreeMap;

use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::context::Shared;
use super::parcel::{Parcel, Parcels};
use super::route;

/// Holds the parcels of an epoch until all have come, then emits them by (partition, node, sequence), every partition on
/// the worker that owns it.
pub fn gather<'scope>(
    parcels: Stream<'scope, u64, Parcels>,
    context: Shared,
) -> Stream<'scope, u64, Parcels> {
    let addressed = address(parcels, context);
    let mut builder = OperatorBuilder::new("gather".to_owned(), addressed.scope());
    let mut input = builder.new_input(addressed, route::by_target());
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
                session.give_container(&mut Parcels::from(waiting));
            }
        }
    });
    gathered
}

/// Names the owner of each parcel's partition as its target.
fn address<'scope>(
    parcels: Stream<'scope, u64, Parcels>,
    context: Shared,
) -> Stream<'scope, u64, Parcels> {
    super::route::map(parcels, "address", move |parcel| Parcel {
        target: context.owner(parcel.partition.0),
        ..parcel
    })
}
