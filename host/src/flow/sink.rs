//! Hands rows to a sink's outlet thread, and holds each epoch back until the thread has delivered it.

use std::collections::VecDeque;
use std::time::Duration;

use timely::container::CapacityContainerBuilder;
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};

use crossbeam_channel::TrySendError;

use super::context::Shared;
use super::outlet::{Message, Outlet, SinkToken};
use super::parcel::{Parcel, Parcels};
use super::route;
use crate::deliver::{EpochInfo, Routing};
use crate::ids::{Epoch, WorkerIndex};

/// How long to wait before offering rows to a full outlet again; its thread also wakes the operator.
const PAUSE: Duration = Duration::from_millis(1);

/// What comes of a sink. The frontiers of both streams say which epochs are delivered.
pub struct Sunk<'scope> {
    /// Rows that the sink refused.
    pub refused: Stream<'scope, u64, Parcels>,
    /// By which it finds what it has prepared.
    pub prepared: StreamVec<'scope, u64, SinkToken>,
}

/// Builds the operator; `local` is this worker's place in its process.
pub fn sink<'scope>(
    rows: Stream<'scope, u64, Parcels>,
    context: Shared,
    outlet: Outlet,
    local: usize,
    name: &str,
    routing: Routing,
) -> Sunk<'scope> {
    let scope = rows.scope();
    let rows = match routing {
        Routing::Anywhere => rows,
        Routing::OnePlace => {
            let rows = route::map(rows, "to one place", |parcel| Parcel {
                target: WorkerIndex(0),
                ..parcel
            });
            route::exchange(rows)
        }
    };
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let mut input = builder.new_input(rows, Pipeline);
    let (output, refused) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    let (tokens, prepared) = builder.new_output::<Vec<SinkToken>>();
    let mut tokens = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(tokens);
    let address = builder.operator_info().address;
    let activator = scope.activator_for(address.clone());
    let waker = outlet.waker(local);
    waker.bind(scope.worker().sync_activator_for(address.to_vec()));
    builder.build(move |capabilities| {
        let capabilities = <[_; 2]>::try_from(capabilities).expect("one for each output");
        let mut deliverer = Deliverer {
            context,
            outlet,
            capabilities: Some(capabilities),
            waiting: VecDeque::new(),
            finished: None,
            refused: 0,
        };
        move |frontiers| {
            waker.rearm();
            input.for_each(|capability, parcels| {
                deliverer.take(Epoch(*capability.time()), parcels);
            });
            let next = frontiers[0].frontier().first().copied();
            deliverer.announce(next);
            if !deliverer.push() {
                activator.activate_after(PAUSE);
            }
            // Read first: what belongs to the epochs below was said before, and is passed on before they are released.
            let delivered = deliverer.outlet.delivered();
            deliverer.pass_on(&mut |capability, parcel| {
                output
                    .activate()
                    .session_with_builder(capability)
                    .give_container(&mut Parcels::one(parcel));
            });
            deliverer.tell(&mut |capability, token| {
                tokens.activate().session(capability).give(token);
            });
            deliverer.release(next, delivered);
        }
    });
    Sunk { refused, prepared }
}

struct Deliverer {
    context: Shared,
    outlet: Outlet,
    /// Held at the first epoch that is not delivered yet, so that the outputs' frontiers are the barrier.
    capabilities: Option<[Capability<u64>; 2]>,
    /// Messages the outlet had no room for yet, in order.
    waiting: VecDeque<Message>,
    /// The last epoch announced as finished.
    finished: Option<Epoch>,
    refused: u32,
}

impl Deliverer {
    fn take(&mut self, epoch: Epoch, parcels: &mut Parcels) {
        for parcel in parcels.drain() {
            self.waiting.push_back(Message::Rows {
                info: EpochInfo {
                    epoch,
                    time: parcel.time,
                },
                partition: parcel.partition,
                batch: parcel.batch,
                last: parcel.last,
                provenance: parcel.provenance,
                charge: parcel.charge,
            });
        }
    }

    /// Queues the end of every epoch that the frontier has passed.
    fn announce(&mut self, next: Option<u64>) {
        let times = self.context.times.borrow();
        let from = self.finished.map_or(0, |epoch| epoch.0 + 1);
        let to = next.unwrap_or(u64::MAX);
        if from >= to {
            return;
        }
        for (epoch, time) in times.range(Epoch(from)..Epoch(to)) {
            self.waiting.push_back(Message::Finish(EpochInfo {
                epoch: *epoch,
                time: *time,
            }));
            self.finished = Some(*epoch);
        }
    }

    /// Offers the outlet what waits; `false` when it is full.
    fn push(&mut self) -> bool {
        while let Some(message) = self.waiting.pop_front() {
            match self.outlet.messages.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(message)) => {
                    self.waiting.push_front(message);
                    return false;
                }
                // The thread has failed and said so.
                Err(TrySendError::Disconnected(_)) => self.waiting.clear(),
            }
        }
        true
    }

    fn pass_on(&mut self, emit: &mut dyn FnMut(&Capability<u64>, Parcel)) {
        let Some([capability, _]) = &self.capabilities else {
            return;
        };
        while let Ok((epoch, time, partition, rejects)) = self.outlet.refused.try_recv() {
            // Refused before the epoch was delivered, and the capability is at an undelivered epoch.
            let capability = capability.delayed(&epoch.0);
            emit(
                &capability,
                rejects.parcel(epoch, time, partition, self.refused),
            );
            self.refused += 1;
        }
    }

    fn tell(&mut self, emit: &mut dyn FnMut(&Capability<u64>, SinkToken)) {
        let Some([_, capability]) = &self.capabilities else {
            return;
        };
        for (epoch, token) in self.outlet.prepared.try_iter() {
            emit(&capability.delayed(&epoch.0), token);
        }
    }

    /// Lets go of what the outlet has `delivered`, or, while nothing is with it, of what is before the input's frontier.
    fn release(&mut self, next: Option<u64>, delivered: u64) {
        let unfinished = self.finished.is_some_and(|epoch| epoch.0 >= delivered);
        let reached = if unfinished { Some(delivered) } else { next };
        match (reached, &mut self.capabilities) {
            (Some(reached), Some(capabilities)) => {
                for capability in capabilities {
                    if reached > *capability.time() {
                        capability.downgrade(&reached);
                    }
                }
            }
            (None, held) if self.waiting.is_empty() => *held = None,
            _ => {}
        }
    }
}
