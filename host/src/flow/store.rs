//! Where the steps of a process put what they remember: a thread that writes it down, and the barrier behind it.
//!
//! A step hands over what an epoch changed, and its [`Barrier`] keeps the epoch's capability on the *stored* output until the thread has written it. That output
//! carries what is kept now to worker 0, which [passes it on](super::collect) to the epoch driver for the commit record. So the frontier behind it says that
//! the state of an epoch is durable everywhere, as the frontier behind a sink says that the epoch is delivered.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::Capability;

use super::context::Waker;
use crate::abort::Abort;
use crate::checkpoint::{Manifest, NodeState, PartitionState, Segment, StateStore, Unwritten};
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, NodeName, PartitionId};
use crate::thread::{self, SideBySide};

/// How many partitions are written at once: a disk that syncs sixteen files needs little longer than for one, and a bucket answers one request
/// while others are under way.
const AT_ONCE: usize = 16;
/// Bytes that are begun before all of them are written.
const BYTES_AT_ONCE: usize = 64 << 20;

/// What is kept of a partition of a step after an epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// The step, or which of its inputs.
    pub node: NodeName,
    /// The partition.
    pub partition: PartitionId,
    /// What there is.
    pub state: PartitionState,
}

/// How an epoch changed what is kept of a partition.
pub enum Change {
    /// Keys changed: a table's delta, the number of the state's meaning, and how many columns the key has.
    Keys(RecordBatch, u32, usize),
    /// These parts are new, and after them all that is kept is these.
    Parts(Vec<(Segment, RecordBatch)>, Vec<Segment>),
}

/// Something to write down.
struct Write {
    node: NodeName,
    partition: PartitionId,
    epoch: Epoch,
    change: Change,
    next_timer: Option<i64>,
    /// Who waits for it.
    done: Sender<(Epoch, Stored)>,
    waker: Arc<Waker>,
}

/// The way to the thread. Without a checkpoint there is none.
#[derive(Clone)]
pub struct Store {
    writes: Sender<Write>,
}

/// The epochs of one step whose state is not durable yet.
pub struct Barrier {
    store: Option<Store>,
    epochs: BTreeMap<Epoch, Storing>,
    /// Given to the thread with every write.
    tell: Sender<(Epoch, Stored)>,
    done: Receiver<(Epoch, Stored)>,
    waker: Arc<Waker>,
}

/// Where a step's state is, if a checkpoint keeps it.
#[derive(Clone)]
pub struct Kept {
    /// Where changes go.
    pub store: Store,
    /// Where segments are read.
    pub segments: Arc<StateStore>,
    /// What there is of the step at the start.
    pub state: NodeState,
    /// The batch time of the last epoch before it.
    pub time: BatchTime,
}

impl Kept {
    /// What there is of a partition of the step: its segments and their rows, in the order they were kept.
    pub fn read(
        &self,
        place: (&NodeName, PartitionId),
    ) -> impl Iterator<Item = Result<(&Segment, RecordBatch), Failure>> {
        let state = self.state.partitions.get(&place.1);
        let segments = state.into_iter().flat_map(|state| &state.segments);
        segments.map(move |segment| Ok((segment, self.segments.read(place, segment)?)))
    }
}

struct Storing {
    capability: Capability<u64>,
    stored: Vec<Stored>,
    /// Writes under way, and one more until the step is through with the epoch.
    open: usize,
}

impl Barrier {
    /// None yet; the waker is the step's operator's.
    pub fn new(store: Option<Store>, waker: Arc<Waker>) -> Self {
        // Never holds more than there are epochs in flight.
        let (tell, done) = crossbeam_channel::unbounded();
        Self {
            store,
            epochs: BTreeMap::new(),
            tell,
            done,
            waker,
        }
    }

    /// An epoch begins: its capability on the *stored* output.
    pub fn begin(&mut self, epoch: Epoch, capability: Capability<u64>) {
        let storing = Storing {
            capability,
            stored: Vec::new(),
            open: 1,
        };
        self.epochs.insert(epoch, storing);
    }

    /// Whether changes are written down.
    pub fn keeps(&self) -> bool {
        self.store.is_some()
    }

    /// A partition has changed, and is next to be called at a time even without rows. What has changed need not be told where
    /// nothing is written down.
    pub fn change(
        &mut self,
        epoch: Epoch,
        (node, partition): (&NodeName, PartitionId),
        change: Option<Change>,
        next_timer: Option<i64>,
    ) {
        let node = node.clone();
        let storing = self.epochs.get_mut(&epoch).expect("it has begun");
        match self.store.as_ref().zip(change) {
            Some((store, change)) => {
                storing.open += 1;
                let write = Write {
                    node,
                    partition,
                    epoch,
                    change,
                    next_timer,
                    done: self.tell.clone(),
                    waker: self.waker.clone(),
                };
                // The thread has gone only when the run has failed.
                store.writes.send(write).ok();
            }
            None => storing.stored.push(Stored {
                node,
                partition,
                state: PartitionState {
                    segments: Vec::new(),
                    next_timer,
                },
            }),
        }
    }

    /// The step is through with an epoch.
    pub fn end(&mut self, epoch: Epoch) {
        let storing = self.epochs.get_mut(&epoch).expect("it has begun");
        storing.open -= 1;
    }

    /// Passes on what is durable, and lets go of epochs of which all is.
    pub fn pass_on(&mut self, give: &mut dyn FnMut(&Capability<u64>, Stored)) {
        for (epoch, stored) in self.done.try_iter() {
            let storing = self.epochs.get_mut(&epoch).expect("it has begun");
            storing.stored.push(stored);
            storing.open -= 1;
        }
        for storing in self.epochs.values_mut() {
            for stored in storing.stored.drain(..) {
                give(&storing.capability, stored);
            }
        }
        self.epochs.retain(|_, storing| storing.open > 0);
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
    let mut worker = Thread {
        store: Arc::new(store),
        abort: abort.clone(),
        states: BTreeMap::new(),
        writing: SideBySide::new(AT_ONCE),
        begun: 0,
    };
    for (node, state) in kept {
        for (partition, state) in state.partitions {
            worker.states.insert((node.clone(), partition), state);
        }
    }
    let handle = thread::spawn("state", move || {
        if let Err(failure) = abort.guard(|| worker.run(&queue)) {
            abort.fail(failure);
        }
    });
    (Store { writes }, handle)
}

struct Thread {
    store: Arc<StateStore>,
    abort: Abort,
    states: BTreeMap<(NodeName, PartitionId), PartitionState>,
    writing: SideBySide<(NodeName, PartitionId), ()>,
    /// Bytes that were begun since nothing was being written.
    begun: usize,
}

impl Thread {
    fn run(&mut self, queue: &Receiver<Write>) -> Result<(), Failure> {
        for write in queue {
            let (epoch, partition) = (write.epoch, write.partition);
            let place = (write.node.clone(), partition);
            // What was written of the partition before may be put together with what comes now.
            self.writing.wait_for(|of| *of == place);
            let state = self.states.entry(place.clone()).or_default();
            let segments = &mut state.segments;
            let of = (&place.0, partition);
            let unwritten = match write.change {
                Change::Keys(delta, version, keys) => {
                    let added = self.store.add(of, segments, epoch, &delta, version, keys);
                    added.map(|segment| vec![segment])
                }
                Change::Parts(new, all) => self.store.replace(of, segments, new, all),
            };
            let unwritten =
                unwritten.map_err(|failure| failure.at_node(&place.0).at(epoch, partition))?;
            state.next_timer = write.next_timer;
            let stored = Stored {
                node: write.node,
                partition,
                state: state.clone(),
            };
            self.begin(place, epoch, unwritten, move || {
                // The step has gone only when the run has failed.
                write.done.send((epoch, stored)).ok();
                write.waker.wake();
            });
        }
        self.writing.wait_for(|_| true);
        Ok(())
    }

    /// Has the segments of a partition written, and then says so.
    fn begin(
        &mut self,
        place: (NodeName, PartitionId),
        epoch: Epoch,
        segments: Vec<Unwritten>,
        say: impl FnOnce() + Send + 'static,
    ) {
        if self.begun > BYTES_AT_ONCE {
            self.writing.wait_for(|_| true);
            self.begun = 0;
        }
        self.begun += segments.iter().map(Unwritten::bytes).sum::<usize>();
        let (store, abort, of) = (self.store.clone(), self.abort.clone(), place.clone());
        let write = move || {
            let written = abort.guard(|| {
                crate::abort::crash_point!("state");
                segments.iter().try_for_each(|segment| store.write(segment))
            });
            match written {
                Ok(()) => say(),
                Err(failure) => abort.fail(failure.at_node(&of.0).at(epoch, of.1)),
            }
        };
        self.writing.start(place, "state writes", write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Generation;

    /// timely encodes what goes from process to process field by field: a field that is left out shifts all others.
    #[test]
    fn what_is_stored_survives_an_encoding_without_names() {
        let segment = |pane| Segment {
            first: Epoch(1),
            last: Epoch(2),
            generation: Generation(8),
            version: 3,
            pane,
            rows: 4,
            bytes: 5,
        };
        let stored = Stored {
            node: "step".into(),
            partition: PartitionId(6),
            state: PartitionState {
                segments: vec![segment(None), segment(Some(7))],
                next_timer: None,
            },
        };
        let bytes = postcard::to_stdvec(&stored).unwrap();
        let again: Stored = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(again.state, stored.state);
    }
}
