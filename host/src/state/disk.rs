//! Tables whose entries are on disk: a key-value store in a temporary folder, as large as the disk and as slow.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, Slice};
use tempfile::TempDir;

use super::entries::{Change, Entry};
use super::memory::StateConfig;
use super::records::Records;
use crate::error::Failure;

/// Of what is read, so much is held at least.
const LEAST_CACHE: u64 = 8 << 20;
/// Of what is written, so much is held at least and at most before it is sorted into a file.
const LEAST_BUFFER: u64 = 2 << 20;
const LARGEST_BUFFER: u64 = 64 << 20;
/// One sorts what is written into files while the other puts files together.
const THREADS: usize = 2;
const TABLE_BYTES: usize = size_of::<u32>();
const TIMER_BYTES: usize = size_of::<i64>();
/// The longest key that the store takes, less a table's number and a time.
pub const LONGEST_KEY: usize = u16::MAX as usize - TABLE_BYTES - TIMER_BYTES;

/// A key-value store in a folder that is removed with it. Nothing in it outlives the process: the checkpoint has it all.
pub struct Spill {
    database: Database,
    /// The state of each key of each table, and its timer.
    entries: Keyspace,
    /// Times and keys of each table, in the order of the times.
    timers: Keyspace,
    /// Bytes that may wait in memory to be sorted into files.
    buffer: u64,
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

    /// As much again as tables in memory may take is used for what is read often, and a quarter of it for what is written.
    fn in_folder(folder: TempDir, memory: u64) -> fjall::Result<Self> {
        let buffer = (memory / 4).clamp(LEAST_BUFFER, LARGEST_BUFFER);
        let database = Database::builder(folder.path())
            .cache_size(memory.max(LEAST_CACHE))
            .manual_journal_persist(true)
            .worker_threads(THREADS)
            .open()?;
        // The store would do so by itself, but later: it has the keys flow in while its threads are busy.
        let options = || KeyspaceCreateOptions::default().max_memtable_size(2 * buffer);
        Ok(Self {
            entries: database.keyspace("entries", options)?,
            timers: database.keyspace("timers", options)?,
            database,
            buffer,
            tables: AtomicU32::new(0),
            folder,
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until what was written is in files, if it is more than may be in memory.
    fn bound(&self) -> fjall::Result<()> {
        if self.database.write_buffer_size() > self.buffer {
            self.entries.rotate_memtable_and_wait()?;
            self.timers.rotate_memtable_and_wait()?;
        }
        Ok(())
    }

    /// Says what has gone wrong there.
    fn done<T>(&self, result: fjall::Result<T>) -> Result<T, Failure> {
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
    /// Changes that are not in the store yet.
    changes: OwnedWriteBatch,
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
    /// A table of its own in a store, with all that was in memory.
    pub fn new(store: Arc<Spill>, records: &Records) -> Result<Self, Failure> {
        let table = store.tables.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let disk = Self {
            changes: store.database.batch(),
            store,
            table,
        };
        for (key, _) in records.iter() {
            check(key.len())?;
        }
        disk.store.done(disk.take(records))?;
        Ok(disk)
    }

    /// Writes sorted files: no memory is needed for what is written so, nor work to sort it once more.
    fn take(&self, records: &Records) -> fjall::Result<()> {
        let mut all: Vec<_> = records.iter().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        let mut entries = self.store.entries.start_ingestion()?;
        for (key, entry) in all {
            entries.write(self.name(key), Value::new(entry.state, entry.timer).0)?;
        }
        entries.finish()?;
        let mut timers = self.store.timers.start_ingestion()?;
        for (time, key) in records.timers() {
            timers.write(self.timer(time, key), [])?;
        }
        timers.finish()
    }

    /// What is kept of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, Failure> {
        let value = self.store.entries.get(self.name(key));
        Ok(self.store.done(value)?.map(Value))
    }

    fn name(&self, key: &[u8]) -> Vec<u8> {
        [&self.table, key].concat()
    }

    /// Changes a key of which this is kept, or nothing; `state` is what it is given. Answers what is kept of it now.
    pub fn change(
        &mut self,
        before: Option<Value>,
        key: &[u8],
        change: Change,
        state: Option<&[u8]>,
    ) -> Result<Option<Value>, Failure> {
        check(key.len())?;
        let entry = before.as_ref().map(Value::entry);
        let timer_before = entry.and_then(|entry| entry.timer);
        let state = state.or(entry.map(|entry| entry.state));
        let state = state.filter(|_| change.state != Some(false));
        let timer = state.and_then(|_| change.timer.unwrap_or(timer_before));
        let (name, now) = (self.name(key), state.map(|state| Value::new(state, timer)));
        let Spill {
            entries, timers, ..
        } = &*self.store;
        match &now {
            Some(value) => self.changes.insert(entries, name, value.0.clone()),
            None if before.is_some() => self.changes.remove(entries, name),
            None => {}
        }
        if timer != timer_before {
            let [before, after] = [timer_before, timer].map(|time| Some(self.timer(time?, key)));
            if let Some(name) = before {
                self.changes.remove(timers, name);
            }
            if let Some(name) = after {
                self.changes.insert(timers, name, []);
            }
        }
        Ok(now)
    }

    /// Writes down what has changed.
    pub fn flush(&mut self) -> Result<(), Failure> {
        let none = self.store.database.batch();
        let changes = std::mem::replace(&mut self.changes, none);
        let written = changes.commit().and_then(|()| self.store.bound());
        self.store.done(written)
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
