//! How much memory the state of a process may take, and where it goes beyond that.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::disk::Spill;
use crate::config::Table;
use crate::error::Failure;

/// More than most pipelines ever remember: beyond it a key costs several times as much (docs/benchmarks.md).
const DEFAULT_MEMORY: u64 = 4 << 30;

/// A checked `[state]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateConfig {
    /// Bytes of state that a process holds in memory.
    pub memory: u64,
    /// The folder that holds what is beyond; the system's for temporary files unless said.
    pub spill: Option<PathBuf>,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            memory: DEFAULT_MEMORY,
            spill: None,
        }
    }
}

impl StateConfig {
    /// Reads its settings.
    pub fn from_table(table: &mut Table) -> Self {
        let memory = table.size("memory");
        let spill = table.string("spill");
        Self {
            memory: memory.map_or(DEFAULT_MEMORY, |memory| memory.into_inner()),
            spill: spill.map(|spill| table.resolve(&spill)),
        }
    }
}

/// What the steps of a process remember: what all shares hold in memory together, and the store on disk of those that have grown too large.
#[derive(Debug)]
pub struct StateMemory {
    config: StateConfig,
    used: AtomicU64,
    shares: AtomicU64,
    store: Mutex<Option<Arc<Spill>>>,
}

impl StateMemory {
    /// Of a process.
    pub fn new(config: StateConfig) -> Self {
        Self {
            config,
            used: AtomicU64::new(0),
            shares: AtomicU64::new(0),
            store: Mutex::default(),
        }
    }

    /// Counts that a share takes other bytes of memory now. Answers whether it is to go to disk: all of them together are too large, and it
    /// has grown and is not smaller than most.
    fn resize(&self, before: u64, after: u64) -> bool {
        if after <= before {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
            return false;
        }
        let grown = after - before;
        let used = self.used.fetch_add(grown, Ordering::Relaxed) + grown;
        let shares = self.shares.load(Ordering::Relaxed);
        used > self.config.memory && after.saturating_mul(shares) >= used
    }

    /// What all shares take of memory together.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The store, made when it is first needed.
    fn spill(&self) -> Result<Arc<Spill>, Failure> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*store {
            return Ok(store.clone());
        }
        let opened = Arc::new(Spill::open(&self.config)?);
        tracing::info!(
            memory = self.config.memory,
            folder = %opened.folder().display(),
            "state is larger than `state.memory`: what is beyond goes to disk"
        );
        Ok(store.insert(opened).clone())
    }
}

/// What one table, or the windows of one input, hold in memory; it goes with them.
#[derive(Debug)]
pub struct Share {
    memory: Arc<StateMemory>,
    bytes: u64,
}

impl Share {
    /// Of nothing yet.
    pub fn new(memory: Arc<StateMemory>) -> Self {
        memory.shares.fetch_add(1, Ordering::Relaxed);
        Self { memory, bytes: 0 }
    }

    /// Counts how many bytes it is now. Answers the store on disk if it is to go there, and is then to be told what is left in memory.
    pub fn resize(&mut self, bytes: u64) -> Result<Option<Arc<Spill>>, Failure> {
        let is_too_much = self.memory.resize(self.bytes, bytes);
        self.bytes = bytes;
        is_too_much.then(|| self.memory.spill()).transpose()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.shares.fetch_sub(1, Ordering::Relaxed);
        self.memory.resize(self.bytes, 0);
    }
}
