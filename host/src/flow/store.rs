//! Where the steps of a process put what they remember: a thread that writes it down, and the barrier behind it.
//!
//! A step hands over what an epoch changed once it is through with it, and its [`Barrier`] keeps the epoch's capability on the *stored* output until the
//! thread has written it. That output carries what is kept now to worker 0, which [passes it on](super::collect) to the epoch driver for the commit record. So the frontier behind it says that
//! the state of an epoch is durable everywhere, as the frontier behind a sink says that the epoch is delivered.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::Capability;

use super::context::Waker;
use crate::abort::Abort;
use crate::checkpoint::{
    Manifest, NodeState, Object, PartitionState, Segment, StateStore, Unwritten,
};
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, NodeName, PartitionId};
use crate::thread::{self, SideBySide};

/// How many folders are written to at once: a disk that syncs sixteen files needs little longer than for one, and a bucket answers one request
/// while others are under way.
const AT_ONCE: usize = 16;
/// Bytes that are encoded before they are written.
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

/// What an epoch changed of the partitions of a step that one worker has.
struct Write {
    epoch: Epoch,
    changes: Vec<Changed>,
    /// Who waits for it.
    done: Sender<(Epoch, Vec<Stored>)>,
    waker: Arc<Waker>,
}

struct Changed {
    node: NodeName,
    partition: PartitionId,
    change: Change,
    next_timer: Option<i64>,
}

/// What is to be written below a partition of a step.
type Folder = (NodeName, PartitionId, Vec<Object>);

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
    tell: Sender<(Epoch, Vec<Stored>)>,
    done: Receiver<(Epoch, Vec<Stored>)>,
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
    /// To be written when the step is through with the epoch.
    changes: Vec<Changed>,
    /// Until all is written.
    is_open: bool,
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
            changes: Vec::new(),
            is_open: true,
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
        match change.filter(|_| self.store.is_some()) {
            Some(change) => storing.changes.push(Changed {
                node,
                partition,
                change,
                next_timer,
            }),
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
        let changes = std::mem::take(&mut storing.changes);
        match &self.store {
            Some(store) if !changes.is_empty() => {
                let write = Write {
                    epoch,
                    changes,
                    done: self.tell.clone(),
                    waker: self.waker.clone(),
                };
                // The thread has gone only when the run has failed.
                store.writes.send(write).ok();
            }
            _ => storing.is_open = false,
        }
    }

    /// Passes on what is durable, and lets go of epochs of which all is.
    pub fn pass_on(&mut self, give: &mut dyn FnMut(&Capability<u64>, Stored)) {
        for (epoch, stored) in self.done.try_iter() {
            let storing = self.epochs.get_mut(&epoch).expect("it has begun");
            storing.stored.extend(stored);
            storing.is_open = false;
        }
        for storing in self.epochs.values_mut() {
            for stored in storing.stored.drain(..) {
                give(&storing.capability, stored);
            }
        }
        self.epochs.retain(|_, storing| storing.is_open);
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
}

impl Thread {
    fn run(&mut self, queue: &Receiver<Write>) -> Result<(), Failure> {
        while let Ok(first) = queue.recv() {
            // What has come since the last time is written together, each epoch for itself as it may be put together with the one before.
            let mut epochs = BTreeMap::<Epoch, Vec<Write>>::new();
            for write in std::iter::once(first).chain(queue.try_iter()) {
                epochs.entry(write.epoch).or_default().push(write);
            }
            for (epoch, writes) in epochs {
                self.write(epoch, writes)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, epoch: Epoch, writes: Vec<Write>) -> Result<(), Failure> {
        let mut unwritten = BTreeMap::new();
        let mut done = Vec::new();
        for write in writes {
            let mut stored = Vec::with_capacity(write.changes.len());
            for changed in write.changes {
                let new = || Unwritten::new(&changed.node, epoch);
                let of_node = unwritten.entry(changed.node.clone()).or_insert_with(new);
                stored.push(self.change(epoch, changed, of_node)?);
                if unwritten.values().map(Unwritten::bytes).sum::<usize>() > BYTES_AT_ONCE {
                    self.write_out(epoch, std::mem::take(&mut unwritten))?;
                }
            }
            done.push((write.done, write.waker, stored));
        }
        self.write_out(epoch, unwritten)?;
        for (done, waker, stored) in done {
            // The step has gone only when the run has failed.
            done.send((epoch, stored)).ok();
            waker.wake();
        }
        Ok(())
    }

    /// Adds a change to what is to be written; what is kept of its partition after it.
    fn change(
        &mut self,
        epoch: Epoch,
        changed: Changed,
        unwritten: &mut Unwritten,
    ) -> Result<Stored, Failure> {
        let Changed {
            node, partition, ..
        } = changed;
        let state = self.states.entry((node.clone(), partition)).or_default();
        let segments = &mut state.segments;
        let added = match changed.change {
            Change::Keys(delta, version, keys) => {
                let store = &self.store;
                store.add(unwritten, partition, segments, &delta, version, keys)
            }
            Change::Parts(new, all) => self.store.replace(unwritten, partition, segments, new, all),
        };
        added.map_err(|failure| failure.at_node(&node).at(epoch, partition))?;
        state.next_timer = changed.next_timer;
        Ok(Stored {
            node,
            partition,
            state: state.clone(),
        })
    }

    fn write_out(
        &self,
        epoch: Epoch,
        unwritten: BTreeMap<NodeName, Unwritten>,
    ) -> Result<(), Failure> {
        let write = move |store: &StateStore, (node, partition, folder): Folder| {
            crate::abort::crash_point!("state");
            let written = store.write(&folder);
            written.map_err(|failure| failure.at_node(&node).at(epoch, partition))
        };
        let folders = unwritten.into_iter().flat_map(|(node, unwritten)| {
            let folders = unwritten.folders().into_iter();
            folders.map(move |(partition, folder)| (node.clone(), partition, folder))
        });
        let mut folders: Vec<Folder> = folders.collect();
        // The last one here: there seldom is another.
        let last = folders.pop();
        let mut writing = SideBySide::new(AT_ONCE);
        let mut written = Vec::new();
        for folder in folders {
            let (store, abort) = (self.store.clone(), self.abort.clone());
            let work = move || abort.guard(|| write(&store, folder));
            written.extend(writing.start((), "state writes", work));
        }
        written.extend(last.map(|folder| write(&self.store, folder)));
        written.extend(writing.wait_for(|()| true));
        written.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::InPack;
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
            pack: pane.map(|_| InPack {
                first: PartitionId(9),
                offset: 10,
            }),
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
