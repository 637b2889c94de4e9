//! Where parcels go: the exchange, by which each goes to the worker it names, and the small operator that readdresses them.

use timely::communication::Push;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::parcel::{Parcel, Parcels};

/// Sends every parcel to [`Parcel::target`].
pub fn by_target() -> DistributorPact<impl FnOnce(usize) -> ByTarget> {
    DistributorPact(|peers| ByTarget {
        slots: vec![Vec::new(); peers],
    })
}

/// timely's distributor behind [`by_target`]. Keeps nothing between calls: parcels are large enough to go at once.
pub struct ByTarget {
    slots: Vec<Vec<Parcel>>,
}

impl Distributor<Parcels> for ByTarget {
    fn partition<T: Clone, P: Push<Message<T, Parcels>>>(
        &mut self,
        container: &mut Parcels,
        time: &T,
        pushers: &mut [P],
    ) {
        for parcel in container.drain() {
            self.slots[parcel.target.0].push(parcel);
        }
        for (slot, pusher) in self.slots.iter_mut().zip(pushers) {
            if !slot.is_empty() {
                let mut parcels = Parcels::from(std::mem::take(slot));
                Message::push_at(&mut parcels, time.clone(), pusher);
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Parcels>>>(&mut self, _time: &T, _pushers: &mut [P]) {}
}

/// Changes every parcel, one for one.
pub fn map<'scope>(
    parcels: Stream<'scope, u64, Parcels>,
    name: &str,
    mut change: impl FnMut(Parcel) -> Parcel + 'static,
) -> Stream<'scope, u64, Parcels> {
    let mut builder = OperatorBuilder::new(name.to_owned(), parcels.scope());
    let mut input = builder.new_input(parcels, Pipeline);
    let (output, changed) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let mut output = output.activate();
            input.for_each(|capability, parcels| {
                let mut parcels =
                    Parcels::from(parcels.drain().map(&mut change).collect::<Vec<_>>());
                output
                    .session_with_builder(&capability)
                    .give_container(&mut parcels);
            });
        }
    });
    changed
}

/// Moves every parcel to its target.
pub fn exchange<'scope>(parcels: Stream<'scope, u64, Parcels>) -> Stream<'scope, u64, Parcels> {
    let mut builder = OperatorBuilder::new("exchange".to_owned(), parcels.scope());
    let mut input = builder.new_input(parcels, by_target());
    let (output, moved) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let mut output = output.activate();
            input.for_each(|capability, parcels| {
                output
                    .session_with_builder(&capability)
                    .give_container(parcels);
            });
        }
    });
    moved
}
