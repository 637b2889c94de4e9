//! What the operators of one worker share with each other, their process and its I/O threads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use timely::scheduling::SyncActivator;

use super::tables::Tables;
use crate::abort::Abort;
use crate::ids::{BatchTime, Epoch, PartitionId, WorkerIndex};
use crate::pipeline::Plan;
use crate::plugin::CallContext;
use crate::receive::Readers;
use crate::state::StateMemory;
use crate::telemetry::Counters;
use crate::trace::Traces;

/// One worker's view of the run.
pub struct Context {
    /// The pipeline.
    pub plan: Arc<Plan>,
    /// This worker.
    pub worker: WorkerIndex,
    /// How many workers there are over all processes.
    pub peers: usize,
    /// Where a failure goes; set, it ends the run everywhere.
    pub abort: Abort,
    /// The process's gauge.
    pub live: LiveBytes,
    /// The process's counters.
    pub counters: Counters,
    /// Of the sources.
    pub readers: Readers,
    /// Of the process.
    pub tables: Tables,
    /// Of the process: what steps remember by key.
    pub state: Arc<StateMemory>,
    /// Of the run.
    pub traces: Traces,
    /// Batch times of the epochs that this worker has heard of and not yet delivered.
    pub times: RefCell<BTreeMap<Epoch, BatchTime>>,
}

impl Context {
    /// The worker that owns a partition after an exchange.
    pub fn owner(&self, partition: u32) -> WorkerIndex {
        WorkerIndex(partition as usize % self.peers)
    }

    /// The partitions after an exchange that this worker owns.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        let all = 0..self.plan.partitions;
        all.filter(|partition| self.owner(*partition) == self.worker)
            .map(PartitionId)
    }

    /// What a plugin is told of its first call for a partition of an epoch.
    pub fn call(&self, epoch: Epoch, time: BatchTime, partition: PartitionId) -> CallContext {
        CallContext {
            epoch,
            time,
            partition,
            call: 0,
            seed: self.seed(epoch, partition),
        }
    }

    /// The seed that plugins get: equal whenever this partition of this epoch is computed.
    fn seed(&self, epoch: Epoch, partition: PartitionId) -> u64 {
        let name = xxhash_rust::xxh3::xxh3_64(self.plan.name.as_str().as_bytes());
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&epoch.0.to_le_bytes());
        bytes[8..].copy_from_slice(&partition.0.to_le_bytes());
        xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, name)
    }
}

/// Shared by the operators of one worker.
pub type Shared = Rc<Context>;

/// Bytes of batches alive in a process's data plane.
#[derive(Clone, Debug)]
pub struct LiveBytes {
    now: Arc<AtomicU64>,
    peak: Arc<AtomicU64>,
    limit: u64,
}

impl LiveBytes {
    /// A gauge at zero; producers pause above `limit`.
    pub fn new(limit: u64) -> Self {
        Self {
            now: Arc::default(),
            peak: Arc::default(),
            limit,
        }
    }

    /// Counts `bytes` until the charge is dropped, here and on the operator's own gauge.
    pub fn charge(&self, bytes: usize, operator: &Emitted) -> Arc<Charge> {
        let bytes = bytes as u64;
        let now = self.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(now, Ordering::Relaxed);
        operator.0.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Charge {
            process: self.now.clone(),
            operator: operator.0.clone(),
            bytes,
        })
    }

    /// Whether producers should pause.
    pub fn is_over(&self) -> bool {
        self.now.load(Ordering::Relaxed) > self.limit
    }

    /// Bytes alive.
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// The most there ever were.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

/// Bytes that one operator emitted and that are still alive behind it.
///
/// An operator that makes rows of rows pauses while the process is over its limit, but only as long as this is not zero:
/// what it emitted always drains in the end, what waits in its own queue does not, so it must go on then.
#[derive(Clone, Debug, Default)]
pub struct Emitted(Arc<AtomicU64>);

impl Emitted {
    /// Whether anything is still alive.
    pub fn is_alive(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// Bytes on the gauges; comes off when dropped.
#[derive(Debug)]
pub struct Charge {
    process: Arc<AtomicU64>,
    operator: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.process.fetch_sub(self.bytes, Ordering::Relaxed);
        self.operator.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Lets an I/O thread schedule an operator of a worker.
///
/// Each activation queues a path in timely, so a flag keeps a fast thread from queueing thousands: the operator calls
/// [`Waker::rearm`] before it looks at its channel, and any later [`Waker::wake`] activates it again.
#[derive(Debug, Default)]
pub struct Waker {
    pending: AtomicBool,
    activator: OnceLock<SyncActivator>,
}

impl Waker {
    /// Binds the operator; called once, on its worker's thread, while the graph is built.
    pub fn bind(&self, activator: SyncActivator) {
        if self.activator.set(activator).is_err() {
            unreachable!("a waker belongs to one operator");
        }
    }

    /// Schedules the operator. Before [`Self::bind`] it does nothing: a new operator is scheduled anyway.
    pub fn wake(&self) {
        if let Some(activator) = self.activator.get()
            && !self.pending.swap(true, Ordering::AcqRel)
        {
            // The worker has left: the run is over and nobody needs waking.
            activator.activate().ok();
        }
    }

    /// To be called by the operator before it drains its channel.
    pub fn rearm(&self) {
        self.pending.store(false, Ordering::Release);
    }
}
