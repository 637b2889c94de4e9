//! What is on disk of state, in a temporary folder: the entries of tables in a key-value store, as large as the disk and as slow, and batches in files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fjall::config::PartitioningPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, Slice};
use tempfile::TempDir;

use super::entries::Entry;
use super::memory::StateConfig;
use super::records::Records;
use super::timers::{Timer, Timers};
use crate::error::Failure;

/// Of what is read, so much is held at least.
const LEAST_CACHE: u64 = 8 << 20;
const TABLE_BYTES: usize = size_of::<u32>();
const TIMER_BYTES: usize = size_of::<i64>();
/// The longest key that the store takes, less a table's number and a time.
pub const LONGEST_KEY: usize = u16::MAX as usize - TABLE_BYTES - TIMER_BYTES;

/// A key-value store in a folder that is removed with it. Nothing in it outlives the process: the checkpoint has it all.
pub struct Spill {
    /// The state of each key of each table, and its timer.
    entries: Keyspace,
    /// Times and keys of each table, in the order of the times.
    timers: Keyspace,
    /// Tables that were given a number.
    tables: AtomicU32,
    // Goes last, when nobody writes to it any more.
    folder: TempDir,
}

impl Spill {
    /// In a new folder.
    pub fn open(config: &StateConfig) -> Result<Self, Failure> {
        let place = config.spill.clone().unwrap_or_else(std::env::temp_dir);
        let folder = temporary(&place).map_err(|error| unusable(&place, error))?;
        let opened = Self::in_folder(folder, config.memory);
        opened.map_err(|error| unusable(&place, error))
    }

    /// As much again as tables in memory may take is used for what is read often. One thread puts files together; with more, the store
    /// keeps one of them spinning for files to write, of which there are none: they are written by who has them.
    fn in_folder(folder: TempDir, memory: u64) -> fjall::Result<Self> {
        let database = Database::builder(folder.path())
            .cache_size(memory.max(LEAST_CACHE))
            .worker_threads(1)
            .open()?;
        // Else a file's whole index is read for one key.
        let options = || {
            KeyspaceCreateOptions::default()
                .index_block_partitioning_policy(PartitioningPolicy::all(true))
                .filter_block_partitioning_policy(PartitioningPolicy::all(true))
        };
        Ok(Self {
            entries: database.keyspace("entries", options)?,
            timers: database.keyspace("timers", options)?,
            tables: AtomicU32::new(0),
            folder,
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Says what has gone wrong there.
    pub fn done<T>(&self, result: Result<T, impl std::fmt::Display>) -> Result<T, Failure> {
        result.map_err(|error| unusable(self.folder.path(), error))
    }
}

fn temporary(place: &PathBuf) -> std::io::Result<TempDir> {
    std::fs::create_dir_all(place)?;
    tempfile::Builder::new()
        .prefix("wasmill-state-")
        .tempdir_in(place)
}

impl std::fmt::Debug for Spill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Spill").field(&self.folder).finish()
    }
}

fn unusable(folder: &Path, error: impl std::fmt::Display) -> Failure {
    let message = format!("state cannot be kept in `{}`: {error}", folder.display());
    Failure::external(message)
        .help("name a folder on a disk with room as `spill` in `[state]`, or raise `memory` there")
}

/// The entries of one table.
pub struct OnDisk {
    store: Arc<Spill>,
    /// Stands before every name of the table's.
    table: [u8; TABLE_BYTES],
}

/// What is kept of a key, as the store has it: whether there is a timer, the state, the timer.
#[derive(Debug)]
pub struct Value(Slice);

impl Value {
    fn new(state: &[u8], timer: Option<i64>) -> Self {
        let timer = timer.map(i64::to_le_bytes);
        let timer_bytes = timer.as_ref().map_or(&[][..], |timer| timer);
        let mark = u8::from(timer.is_some());
        Self([&[mark], state, timer_bytes].concat().into())
    }

    /// The same, read.
    pub fn entry(&self) -> Entry<'_> {
        let (mark, rest) = self.0.split_first().expect("a mark stands before it");
        let behind = rest.split_last_chunk().filter(|_| *mark != 0);
        match behind {
            Some((state, timer)) => Entry {
                state,
                timer: Some(i64::from_le_bytes(*timer)),
            },
            None => Entry {
                state: rest,
                timer: None,
            },
        }
    }
}

impl OnDisk {
    /// A table of its own in a store.
    pub fn new(store: Arc<Spill>) -> Self {
        let table = store.tables.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Self { store, table }
    }

    /// Writes down what has changed, as sorted files: they need no memory, and are not sorted again.
    pub fn write(&self, records: &Records, timers: &Timers) -> Result<(), Failure> {
        let mut all: Vec<_> = records.iter().collect();
        for (key, _) in &all {
            check(key.len())?;
        }
        all.sort_unstable_by_key(|(key, _)| *key);
        self.store.done(self.ingest(all, timers))
    }

    fn ingest(
        &self,
        records: Vec<(&[u8], Option<Entry<'_>>)>,
        timers: &Timers,
    ) -> fjall::Result<()> {
        let Spill { entries, .. } = &*self.store;
        let mut files = entries.start_ingestion()?;
        for (key, entry) in records {
            match entry {
                Some(entry) => {
                    files.write(self.name(key), Value::new(entry.state, entry.timer).0)?
                }
                None => files.write_tombstone(self.name(key))?,
            }
        }
        files.finish()?;
        let mut files = self.store.timers.start_ingestion()?;
        for (timer, is_set) in timers.changes() {
            match is_set {
                true => files.write(self.timer(timer), [])?,
                false => files.write_tombstone(self.timer(timer))?,
            }
        }
        files.finish()
    }

    /// What is kept of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, Failure> {
        let value = self.store.entries.get(self.name(key));
        Ok(self.store.done(value)?.map(Value))
    }

    fn name(&self, key: &[u8]) -> Vec<u8> {
        [&self.table, key].concat()
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = Result<Box<[u8]>, Failure>> {
        let entries = self.store.entries.prefix(self.table);
        entries.map(|entry| Ok(self.store.done(entry.key())?[TABLE_BYTES..].into()))
    }

    /// The timers, in the order of the times.
    pub fn timers(&self) -> impl Iterator<Item = Result<Timer, Failure>> {
        let timers = self.store.timers.prefix(self.table);
        timers.map(|timer| {
            let name = self.store.done(timer.key())?;
            let ordered = name[TABLE_BYTES..].first_chunk();
            let ordered = *ordered.expect("the time stands behind the table's number");
            let time = i64::from_be_bytes(ordered) ^ i64::MIN;
            Ok((time, name[TABLE_BYTES + TIMER_BYTES..].into()))
        })
    }

    /// The name of a timer: names are in the order of the times.
    fn timer(&self, (time, key): &Timer) -> Vec<u8> {
        let ordered = (time ^ i64::MIN).to_be_bytes();
        [&self.table, &ordered[..], key].concat()
    }
}

fn check(key_bytes: usize) -> Result<(), Failure> {
    if key_bytes <= LONGEST_KEY {
        return Ok(());
    }
    let message = format!("a key of {key_bytes} bytes is too long to be kept on disk");
    Err(Failure::user(message).help(format!(
        "make keys of at most {LONGEST_KEY} bytes, or raise `memory` in `[state]`"
    )))
}

impl std::fmt::Debug for OnDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OnDisk").field(&self.store).finish()
    }
}
