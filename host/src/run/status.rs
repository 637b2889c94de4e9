//! How a run goes, for the status line and the server's figures: written by the epoch driver, read by anyone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::ids::NodeName;
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
    /// Records decoded by the sources of this process.
    pub rows: u64,
    /// Bytes they read.
    pub bytes: u64,
    /// Rows skipped and rejected anywhere in this process.
    pub dropped: u64,
}

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

    /// An epoch was delivered.
    pub fn count_delivered(&self, processing: Duration, delay: Duration) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.processing_micros
            .store(processing.as_micros() as u64, Ordering::Relaxed);
        self.delay_micros
            .store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    /// What waits and what lives now.
    pub fn set_load(&self, backlog_bytes: u64, live_bytes: u64) {
        self.backlog_bytes.store(backlog_bytes, Ordering::Relaxed);
        self.live_bytes.store(live_bytes, Ordering::Relaxed);
    }
}
