//! Where the steps of a process put what they remember: a thread that writes it down, and the barrier behind it.
//!
//! A step hands over what an epoch changed and keeps the epoch's capability on its *stored* output until the thread has written it. That output
//! carries what is kept now to worker 0, whose [`collect`] passes it on to the epoch driver for the commit record. So the frontier behind it says that
//! the state of an epoch is durable everywhere, as the frontier behind a sink says that the epoch is delivered.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::StreamVec;

use super::context::Waker;
use crate::abort::Abort;
use crate::checkpoint::{Manifest, PartitionState, StateStore};
use crate::error::Failure;
use crate::ids::{Epoch, NodeName, PartitionId};

/// What is kept of a partition of a step after an epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// The step.
    pub node: NodeName,
    /// The partition.
    pub partition: PartitionId,
    /// What there is.
    pub state: PartitionState,
}

/// Something to write down.
pub struct Write {
    /// The step.
    pub node: NodeName,
    /// The partition.
    pub partition: PartitionId,
    /// The epoch that changed it.
    pub epoch: Epoch,
    /// What it changed.
    pub delta: RecordBatch,
    /// The number of the state's meaning.
    pub version: u32,
    /// Columns of the key.
    pub keys: usize,
    /// When the partition's first timer is due.
    pub next_timer: Option<i64>,
    /// Who waits for it.
    pub done: Sender<(Epoch, Stored)>,
    /// To be woken then.
    pub waker: Arc<Waker>,
}

/// A step's end of the thread. Without a checkpoint there is none.
#[derive(Clone)]
pub struct Store {
    writes: Sender<Write>,
}

impl Store {
    /// Hands it over.
    pub fn write(&self, write: Write) {
        // The thread has gone only when the run has failed.
        self.writes.send(write).ok();
    }
}

/// Starts the thread, which knows what is kept so far. It ends when the steps have gone.
pub fn start(
    store: StateStore,
    kept: Manifest,
    abort: Abort,
) -> (Store, std::thread::JoinHandle<()>) {
    // What waits is the changes of a few epochs, and these are bounded.
    let (writes, queue) = crossbeam_channel::unbounded();
    let mut thread = Thread {
        store,
        states: BTreeMap::new(),
    };
    for (node, state) in kept {
        for (partition, state) in state.partitions {
            thread.states.insert((node.clone(), partition), state);
        }
    }
    let handle = std::thread::Builder::new()
        .name("state".to_owned())
        .spawn(move || {
            if let Err(failure) = abort.guard(|| thread.run(&queue)) {
                abort.fail(failure);
            }
        })
        .expect("the system can start a thread");
    (Store { writes }, handle)
}

struct Thread {
    store: StateStore,
    states: BTreeMap<(NodeName, PartitionId), PartitionState>,
}

impl Thread {
    fn run(&mut self, queue: &Receiver<Write>) -> Result<(), Failure> {
        for write in queue {
            crate::abort::crash_point!("state");
            let place = (write.node.clone(), write.partition);
            let state = self.states.entry(place).or_default();
            let kept = self.store.write(
                (&write.node, write.partition),
                state,
                write.epoch,
                &write.delta,
                write.version,
                write.keys,
            );
            kept.map_err(|failure| failure.at_node(&write.node).at(write.epoch, write.partition))?;
            state.next_timer = write.next_timer;
            let stored = Stored {
                node: write.node,
                partition: write.partition,
                state: state.clone(),
            };
            // The step has gone only when the run has failed.
            write.done.send((write.epoch, stored)).ok();
            write.waker.wake();
        }
        Ok(())
    }
}

/// Brings what all workers stored to worker 0, and there to the epoch driver. The frontier of its output, which carries nothing, has passed an epoch when all of its
/// state is durable and the driver was told.
pub fn collect<'scope>(
    stored: StreamVec<'scope, u64, Stored>,
    driver: Option<Sender<(Epoch, Stored)>>,
) -> StreamVec<'scope, u64, Stored> {
    let mut builder = OperatorBuilder::new("collect state".to_owned(), stored.scope());
    let mut input = builder.new_input(stored, Exchange::new(|_: &Stored| 0));
    let (output, nothing) = builder.new_output::<Vec<Stored>>();
    // Nothing is ever sent: what counts is the frontier.
    drop(OutputBuilder::<_, CapacityContainerBuilder<Vec<Stored>>>::from(output));
    builder.build(move |_capabilities| {
        move |_frontiers| {
            input.for_each(|capability, stored| {
                let epoch = Epoch(*capability.time());
                for stored in stored.drain(..) {
                    if let Some(driver) = &driver {
                        // The driver has gone only when the run is over.
                        driver.send((epoch, stored)).ok();
                    }
                }
            });
        }
    });
    nothing
}
