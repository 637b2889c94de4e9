//! How a run goes, for the status line and the server's figures: written by the epoch driver, read by anyone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{BatchTime, Epoch, NodeName};
use crate::telemetry::{Counters, NodeCounts};

/// Live figures of a run. All of them are of process 0, which cuts the epochs.
#[derive(Debug, Default)]
pub struct Status {
    cut: AtomicU64,
    delivered: AtomicU64,
    processing_micros: AtomicU64,
    delay_micros: AtomicU64,
    backlog_bytes: AtomicU64,
    live_bytes: AtomicU64,
    state_bytes: AtomicU64,
    held_micros: AtomicU64,
    recent: Mutex<VecDeque<EpochFigures>>,
    counters: Mutex<Option<Counters>>,
}

/// [`Status`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Epochs cut so far.
    pub cut: u64,
    /// Epochs delivered by every sink of every process.
    pub delivered: u64,
    /// From the moment the last delivered epoch was begun to its delivery.
    pub processing: Duration,
    /// How long the last delivered epoch waited for the one before it.
    pub delay: Duration,
    /// Bytes waiting at the sources.
    pub backlog_bytes: u64,
    /// Bytes of batches alive in the data plane.
    pub live_bytes: u64,
    /// Bytes that its steps remember.
    pub state_bytes: u64,
    /// How long there was more to read than the rows that it shares with other runs.
    pub held: Duration,
    /// Records decoded by the sources of this process.
    pub rows: u64,
    /// Bytes they read.
    pub bytes: u64,
    /// Rows skipped and rejected anywhere in this process.
    pub dropped: u64,
}

/// An epoch that every sink of every process has delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochFigures {
    /// Its number.
    pub epoch: Epoch,
    /// Its time.
    pub time: BatchTime,
    /// Bytes of its input.
    pub bytes: u64,
    /// Microseconds from the moment it was begun to its delivery.
    pub processing_us: u64,
    /// Microseconds that it had waited for the one before it.
    pub delay_us: u64,
}

/// Delivered epochs that are shown: those of a second at some ten a second, and of faster pipelines the latest.
const RECENT: usize = 16;

impl Status {
    /// All figures now.
    pub fn read(&self) -> Snapshot {
        let get = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let mut snapshot = Snapshot {
            cut: get(&self.cut),
            delivered: get(&self.delivered),
            processing: Duration::from_micros(get(&self.processing_micros)),
            delay: Duration::from_micros(get(&self.delay_micros)),
            backlog_bytes: get(&self.backlog_bytes),
            live_bytes: get(&self.live_bytes),
            state_bytes: get(&self.state_bytes),
            held: Duration::from_micros(get(&self.held_micros)),
            ..Snapshot::default()
        };
        for counts in self.nodes().values() {
            if counts.bytes_in > 0 {
                snapshot.rows += counts.rows_in;
                snapshot.bytes += counts.bytes_in;
            }
            snapshot.dropped += counts.skipped + counts.rejected;
        }
        snapshot
    }

    /// The counts of every node of this process; none before the run has begun.
    pub fn nodes(&self) -> BTreeMap<NodeName, NodeCounts> {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.as_ref().map(Counters::read).unwrap_or_default()
    }

    /// Shows these counters from now on.
    pub fn attach(&self, counters: Counters) {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = Some(counters);
    }

    /// An epoch was cut.
    pub fn count_cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// The latest delivered epochs, the last one last.
    pub fn recent(&self) -> Vec<EpochFigures> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().copied().collect()
    }

    /// An epoch was delivered.
    pub fn count_delivered(&self, epoch: EpochFigures) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.processing_micros
            .store(epoch.processing_us, Ordering::Relaxed);
        self.delay_micros.store(epoch.delay_us, Ordering::Relaxed);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(epoch);
    }

    /// What its steps remember now.
    pub fn set_state(&self, bytes: u64) {
        self.state_bytes.store(bytes, Ordering::Relaxed);
    }

    /// There was more to read for so long than it might.
    pub fn count_held(&self, span: Duration) {
        self.held_micros
            .fetch_add(span.as_micros() as u64, Ordering::Relaxed);
    }

    /// What waits and what lives now.
    pub fn set_load(&self, backlog_bytes: u64, live_bytes: u64) {
        self.backlog_bytes.store(backlog_bytes, Ordering::Relaxed);
        self.live_bytes.store(live_bytes, Ordering::Relaxed);
    }
}
