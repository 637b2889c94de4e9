//! Brings what all workers have to say of an epoch to worker 0, and there to the epoch driver, which puts it into the commit record.

use crossbeam_channel::Sender;
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::ids::Epoch;

/// Builds the operator; `driver` is there on worker 0. The frontier of its output, which carries nothing, has passed an epoch
/// when the driver was told all of it.
pub fn collect<'scope, D: ExchangeData>(
    told: StreamVec<'scope, u64, D>,
    name: &str,
    driver: Option<Sender<(Epoch, D)>>,
) -> StreamVec<'scope, u64, D> {
    let mut builder = OperatorBuilder::new(name.to_owned(), told.scope());
    let mut input = builder.new_input(told, Exchange::new(|_: &D| 0));
    let (output, nothing) = builder.new_output::<Vec<D>>();
    // Nothing is ever sent: what counts is the frontier.
    drop(OutputBuilder::<_, CapacityContainerBuilder<Vec<D>>>::from(
        output,
    ));
    builder.build(move |_capabilities| {
        move |_frontiers| {
            input.for_each(|capability, told| {
                let epoch = Epoch(*capability.time());
                for told in told.drain(..) {
                    if let Some(driver) = &driver {
                        // The driver has gone only when the run is over.
                        driver.send((epoch, told)).ok();
                    }
                }
            });
        }
    });
    nothing
}
