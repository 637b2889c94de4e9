//! Where time enters the data plane: the plans of epochs, from process 0's epoch driver to every worker.
//!
//! Two operators. `epochs` lives on worker 0, takes each [`EpochPlan`] from a bounded channel and sends every worker its
//! directives at the epoch's time; its capability is what all frontiers wait for. `directives` on each worker notes the
//! epoch's batch time and passes on what is to be read here.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};

use super::context::{Shared, Waker};
use crate::ids::{BatchTime, Epoch, PartitionId, WorkerIndex};
use crate::receive::Range;

/// What one epoch consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochPlan {
    /// Its number; plans come in order, numbers may be skipped.
    pub epoch: Epoch,
    /// Its time.
    pub time: BatchTime,
    /// Its input; a position in this list is the partition's id.
    pub reads: Vec<PlannedRead>,
}

/// One partition of an epoch's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRead {
    /// The source node, by index in the plan.
    pub source: usize,
    /// What to read.
    pub range: Range,
    /// Who reads it.
    pub worker: WorkerIndex,
}

/// What one worker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Directive {
    worker: u64,
    what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum What {
    /// An epoch of this time begins.
    Begin(BatchTime),
    /// To read this for it.
    Read(ReadDirective),
}

/// Which range of which source becomes which partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadDirective {
    /// The source node, by index in the plan.
    pub source: usize,
    /// The partition it becomes.
    pub partition: PartitionId,
    /// The epoch's time.
    pub time: BatchTime,
    /// What to read.
    pub range: Range,
}

/// Worker 0's end of the epoch driver's channel. When the channel closes, time ends.
pub struct EpochFeed {
    /// The epochs that begin, in order.
    pub plans: Receiver<EpochPlan>,
    /// Schedules the operator when one was sent.
    pub waker: Arc<Waker>,
}

/// Builds both operators; `feed` is there on worker 0 only.
pub fn epochs<'scope>(
    scope: Scope<'scope, u64>,
    context: Shared,
    feed: Option<EpochFeed>,
) -> Epochs<'scope> {
    directives(planned(scope, &context, feed), context)
}

/// What a worker hears of epochs.
pub struct Epochs<'scope> {
    /// What it is to read.
    pub reads: StreamVec<'scope, u64, ReadDirective>,
    /// The batch time of every epoch, whether anything is read in it or not.
    pub times: StreamVec<'scope, u64, BatchTime>,
}

fn planned<'scope>(
    scope: Scope<'scope, u64>,
    context: &Shared,
    feed: Option<EpochFeed>,
) -> StreamVec<'scope, u64, Directive> {
    let mut builder = OperatorBuilder::new("epochs".to_owned(), scope);
    let (output, stream) = builder.new_output::<Vec<Directive>>();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
    let path = builder.operator_info().address.to_vec();
    if let Some(feed) = &feed {
        feed.waker.bind(scope.worker().sync_activator_for(path));
    }
    let peers = context.peers;
    builder.build(move |mut capabilities| {
        let mut capability = feed
            .is_some()
            .then(|| capabilities.pop().expect("one output"));
        capabilities.clear();
        move |_frontiers| {
            let (Some(feed), Some(held)) = (&feed, &mut capability) else {
                return;
            };
            feed.waker.rearm();
            let mut output = output.activate();
            let closed = loop {
                match feed.plans.try_recv() {
                    Ok(plan) => {
                        held.downgrade(&plan.epoch.0);
                        let mut session = output.session(&*held);
                        session.give_iterator(directives_of(&plan, peers));
                        drop(session);
                        held.downgrade(&(plan.epoch.0 + 1));
                    }
                    Err(reason) => break reason.is_disconnected(),
                }
            };
            if closed {
                capability = None;
            }
        }
    });
    stream
}

fn directives_of(plan: &EpochPlan, peers: usize) -> impl Iterator<Item = Directive> {
    let time = plan.time;
    let announce = (0..peers as u64).map(move |worker| Directive {
        worker,
        what: What::Begin(time),
    });
    let reads = plan
        .reads
        .iter()
        .enumerate()
        .map(move |(index, read)| Directive {
            worker: read.worker.0 as u64,
            what: What::Read(ReadDirective {
                source: read.source,
                partition: PartitionId(index as u32),
                time,
                range: read.range.clone(),
            }),
        });
    announce.chain(reads)
}

fn directives<'scope>(
    planned: StreamVec<'scope, u64, Directive>,
    context: Shared,
) -> Epochs<'scope> {
    let mut builder = OperatorBuilder::new("directives".to_owned(), planned.scope());
    let mut input = builder.new_input(
        planned,
        Exchange::new(|directive: &Directive| directive.worker),
    );
    let (output, reads) = builder.new_output::<Vec<ReadDirective>>();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
    let (times_output, times) = builder.new_output::<Vec<BatchTime>>();
    let mut times_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(times_output);
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let (mut output, mut times_output) = (output.activate(), times_output.activate());
            input.for_each(|capability, directives| {
                let epoch = Epoch(*capability.time());
                let mut session = output.session(&capability);
                for directive in directives.drain(..) {
                    match directive.what {
                        What::Begin(time) => {
                            context.times.borrow_mut().insert(epoch, time);
                            times_output.session(&capability).give(time);
                        }
                        What::Read(read) => session.give(read),
                    }
                }
            });
        }
    });
    Epochs { reads, times }
}
