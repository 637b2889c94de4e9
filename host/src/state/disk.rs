//! Tables whose entries are on disk: a key-value store in a temporary folder, as large as the disk and as slow.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, Slice};
use tempfile::TempDir;

use super::entries::{Change, Difference, Entry, TIMER_BYTES, becomes};
use super::memory::StateConfig;
use crate::error::Failure;

/// Of what is read, so much is held at least.
const LEAST_CACHE: u64 = 8 << 20;
/// Of what is written, so much is held at least and at most before it is sorted into a file.
const LEAST_BUFFER: u64 = 2 << 20;
const LARGEST_BUFFER: u64 = 32 << 20;
const TABLE_BYTES: usize = size_of::<u32>();
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
        let folder = match &config.spill {
            Some(folder) => std::fs::create_dir_all(folder).and_then(|()| {
                tempfile::Builder::new()
                    .prefix("wasmill-state-")
                    .tempdir_in(folder)
            }),
            None => tempfile::Builder::new().prefix("wasmill-state-").tempdir(),
        };
        let folder = folder.map_err(|error| {
            let place = config.spill.clone().unwrap_or_else(std::env::temp_dir);
            unusable(&place, error)
        })?;
        let opened = keyspaces(config.memory, folder.path());
        let (entries, timers) = opened.map_err(|error| unusable(folder.path(), error))?;
        Ok(Self {
            entries,
            timers,
            tables: AtomicU32::new(0),
            folder,
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Says what has gone wrong there.
    fn done<T>(&self, result: fjall::Result<T>) -> Result<T, Failure> {
        result.map_err(|error| unusable(self.folder.path(), error))
    }
}

/// As much again is used for what is read often as tables in memory may take.
fn keyspaces(memory: u64, folder: &Path) -> fjall::Result<(Keyspace, Keyspace)> {
    let database = Database::builder(folder)
        .cache_size(memory.max(LEAST_CACHE))
        .manual_journal_persist(true)
        .worker_threads(1)
        .open()?;
    let buffer = (memory / 8).clamp(LEAST_BUFFER, LARGEST_BUFFER);
    let options = || KeyspaceCreateOptions::default().max_memtable_size(buffer);
    Ok((
        database.keyspace("entries", options)?,
        database.keyspace("timers", options)?,
    ))
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

impl OnDisk {
    /// Of a table of its own in a store.
    pub fn new(store: Arc<Spill>) -> Self {
        let table = store.tables.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Self { store, table }
    }

    /// What is kept of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Slice>, Failure> {
        self.store.done(self.store.entries.get(self.name(key)))
    }

    fn name(&self, key: &[u8]) -> Vec<u8> {
        [&self.table, key].concat()
    }

    /// Changes a key; `state` is what it is given.
    pub fn change(
        &self,
        key: &[u8],
        change: Change,
        state: Option<&[u8]>,
    ) -> Result<Difference, Failure> {
        let before = self.get(key)?.map(Entry::Value);
        let after = becomes(before.as_ref(), change, state);
        let timer_before = before.as_ref().and_then(Entry::timer);
        self.put(key, timer_before, after)?;
        Ok(Difference::from(after.is_some()) - Difference::from(before.is_some()))
    }

    /// Puts what there is of a key that had this timer.
    pub fn put(
        &self,
        key: &[u8],
        timer_before: Option<i64>,
        after: Option<(&[u8], Option<i64>)>,
    ) -> Result<(), Failure> {
        if key.len() > LONGEST_KEY {
            let message = format!(
                "a key of {} bytes is too long to be kept on disk",
                key.len()
            );
            return Err(Failure::user(message).help(format!(
                "make keys of at most {LONGEST_KEY} bytes, or raise `memory` in `[state]`"
            )));
        }
        let Spill {
            entries, timers, ..
        } = &*self.store;
        let timer = after.and_then(|(_, timer)| timer);
        if timer != timer_before {
            if let Some(time) = timer_before {
                self.store.done(timers.remove(self.timer(time, key)))?;
            }
            if let Some(time) = timer {
                self.store.done(timers.insert(self.timer(time, key), []))?;
            }
        }
        self.store.done(match after {
            Some((state, timer)) => entries.insert(self.name(key), encode(state, timer)),
            None => entries.remove(self.name(key)),
        })
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = Result<Vec<u8>, Failure>> {
        let entries = self.store.entries.prefix(self.table);
        entries.map(|entry| Ok(self.store.done(entry.key())?[TABLE_BYTES..].to_vec()))
    }

    /// The times of the timers and their keys, in the order of the times.
    fn timers(&self) -> impl Iterator<Item = Result<(i64, Vec<u8>), Failure>> {
        let timers = self.store.timers.prefix(self.table);
        timers.map(|timer| {
            let name = self.store.done(timer.key())?;
            let ordered = name[TABLE_BYTES..].first_chunk();
            let ordered = *ordered.expect("the time stands behind the table's number");
            let time = i64::from_be_bytes(ordered) ^ i64::MIN;
            Ok((time, name[TABLE_BYTES + TIMER_BYTES..].to_vec()))
        })
    }

    /// When the first timer is due.
    pub fn next_timer(&self) -> Result<Option<i64>, Failure> {
        let first = self.timers().next().transpose()?;
        Ok(first.map(|(time, _)| time))
    }

    /// The keys whose timers are due, those due first first.
    pub fn due(&self, time: i64) -> Result<Vec<Vec<u8>>, Failure> {
        let mut due = Vec::new();
        for timer in self.timers() {
            let (at, key) = timer?;
            if at > time {
                break;
            }
            due.push(key);
        }
        Ok(due)
    }

    /// The name of a timer: names are in the order of the times.
    fn timer(&self, time: i64, key: &[u8]) -> Vec<u8> {
        let ordered = (time ^ i64::MIN).to_be_bytes();
        [&self.table, &ordered[..], key].concat()
    }
}

/// Whether there is a timer, the state, the timer.
fn encode(state: &[u8], timer: Option<i64>) -> Vec<u8> {
    let timer = timer.map(i64::to_le_bytes);
    let timer_bytes = timer.as_ref().map_or(&[][..], |timer| timer);
    [&[u8::from(timer.is_some())], state, timer_bytes].concat()
}

impl std::fmt::Debug for OnDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OnDisk").field(&self.store).finish()
    }
}
