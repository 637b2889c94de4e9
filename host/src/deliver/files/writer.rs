//! Writes what a process has of each partition and epoch, aside.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions as FileOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use arrow::array::RecordBatch;

use super::FilesSink;
use super::publish::Publisher;
use super::staging::{Staged, Staging, Sum};
use crate::checkpoint::{Prepared, Tokens};
use crate::deliver::{EpochInfo, HeldBack, OpenOptions, Refused, Sink};
use crate::error::Failure;
use crate::format::Unwritable;
use crate::ids::{Epoch, Generation, NodeName, PartitionId};
use crate::thread::SideBySide;

/// Bytes of a part held before they are written: few system calls, and a core's cache still holds them.
pub const PART_BUFFER: usize = 256 << 10;
/// Bytes of all parts held before they are written.
const ALL_BUFFERS: usize = 16 << 20;
/// Files open at once; systems allow 1,024 to a process and others need some.
const OPEN_FILES: usize = 128;

/// A disk is through with several files in little more than the time for one.
const SYNCS_AT_ONCE: usize = 16;

/// A file in the making.
struct Part {
    path: PathBuf,
    /// Encoded and not yet written.
    buffer: Vec<u8>,
    /// Open, if it was written to and there is room for open files.
    file: Option<File>,
    /// Whether the file exists.
    created: bool,
    /// Whether all that was written is on the disk for good when [`FileWriter::syncing`] is through with its epoch.
    synced: bool,
    /// Rows taken.
    rows: u64,
    /// Of what was written.
    sum: Sum,
}

/// The sink in one process.
pub struct FileWriter {
    config: FilesSink,
    node: NodeName,
    generation: Generation,
    /// Whether a file that is finished and not published is worth keeping for the next start.
    keeps_unpublished: bool,
    staging: Staging,
    /// In process 0.
    publisher: Option<Publisher>,
    parts: BTreeMap<(Epoch, PartitionId), Part>,
    syncing: SideBySide<Epoch, io::Result<()>>,
    buffered: usize,
    open: usize,
}

impl Sink for FileWriter {
    fn write(
        &mut self,
        epoch: EpochInfo,
        partition: PartitionId,
        batch: &RecordBatch,
        last: bool,
    ) -> Result<Vec<Refused>, Failure> {
        let key = (epoch.epoch, partition);
        let mut refused = Vec::new();
        if batch.num_rows() > 0 {
            refused = self.encode(key, batch)?;
        }
        let buffered = self.parts.get(&key).map_or(0, |part| part.buffer.len());
        let written = if last {
            self.complete(key)
        } else if buffered >= PART_BUFFER {
            self.write_out(key)
        } else if self.buffered > ALL_BUFFERS {
            self.write_out_all()
        } else {
            Ok(())
        };
        written.map_err(|error| self.failure(&error))?;
        Ok(refused)
    }

    fn finish(&mut self, epoch: EpochInfo) -> Result<Tokens, Failure> {
        let mut tokens = Tokens::new();
        for key in self.parts_of(epoch.epoch) {
            self.complete(key).map_err(|error| self.failure(&error))?;
            let part = self.parts.remove(&key).expect("the key was just listed");
            if part.created {
                let staged = Staged {
                    generation: self.generation,
                    rows: part.rows,
                    bytes: part.sum.bytes(),
                    xxh3: part.sum.xxh3(),
                };
                tokens.insert(key.1, staged.token());
            }
        }
        let sync_names = self.keeps_unpublished && self.config.sync && !tokens.is_empty();
        let synced = self.all_synced(epoch.epoch, sync_names);
        synced.map_err(|error| self.failure(&error))?;
        Ok(tokens)
    }

    fn commit(&mut self, prepared: &Prepared) -> Result<Option<HeldBack>, Failure> {
        self.publisher().commit(prepared)
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.publisher().publish()
    }
}

impl FileWriter {
    /// Has written nothing yet.
    pub fn new(
        config: &FilesSink,
        staging: Staging,
        publisher: Option<Publisher>,
        options: OpenOptions,
    ) -> Self {
        Self {
            config: config.clone(),
            node: options.node,
            generation: options.lineage.generation,
            keeps_unpublished: options.lineage.is_recorded,
            staging,
            publisher,
            parts: BTreeMap::new(),
            syncing: SideBySide::new(SYNCS_AT_ONCE),
            buffered: 0,
            open: 0,
        }
    }

    fn publisher(&mut self) -> &mut Publisher {
        let publisher = self.publisher.as_mut();
        publisher.expect("process 0 has one, and no other is told of commits")
    }

    fn parts_of(&self, epoch: Epoch) -> Vec<(Epoch, PartitionId)> {
        let all = (epoch, PartitionId(0))..=(epoch, PartitionId(u32::MAX));
        self.parts.range(all).map(|(key, _)| *key).collect()
    }

    fn encode(
        &mut self,
        key: (Epoch, PartitionId),
        batch: &RecordBatch,
    ) -> Result<Vec<Refused>, Failure> {
        let part = self.parts.entry(key).or_insert_with(|| Part {
            path: self.staging.file(self.generation, key.0, key.1),
            buffer: Vec::new(),
            file: None,
            created: false,
            synced: false,
            rows: 0,
            sum: Sum::default(),
        });
        let before = part.buffer.len();
        let first = before == 0 && !part.created;
        let unwritable = self
            .config
            .format
            .encode(batch, first, &mut part.buffer)
            .map_err(|error| {
                Failure::internal(format!("cannot encode rows: {error}")).at_node(&self.node)
            })?;
        self.buffered += part.buffer.len() - before;
        part.rows += (batch.num_rows() - unwritable.len()) as u64;
        Ok(unwritable.into_iter().map(Refused::from).collect())
    }

    /// Writes what is buffered of a part.
    fn write_out(&mut self, key: (Epoch, PartitionId)) -> io::Result<()> {
        let Some(part) = self
            .parts
            .get_mut(&key)
            .filter(|part| !part.buffer.is_empty())
        else {
            return Ok(());
        };
        let file = match &mut part.file {
            Some(file) => file,
            none => {
                // The process of an earlier run may have removed it at its very end.
                fs::create_dir_all(self.staging.folder())?;
                let opened = FileOptions::new()
                    .create(true)
                    .append(true)
                    .open(&part.path)?;
                part.created = true;
                self.open += 1;
                none.insert(opened)
            }
        };
        file.write_all(&part.buffer)?;
        part.sum.add(&part.buffer);
        part.synced = false;
        self.buffered -= part.buffer.len();
        part.buffer.clear();
        if self.open > OPEN_FILES {
            part.file = None;
            self.open -= 1;
        }
        Ok(())
    }

    fn write_out_all(&mut self) -> io::Result<()> {
        let keys: Vec<_> = self.parts.keys().copied().collect();
        keys.into_iter().try_for_each(|key| self.write_out(key))
    }

    /// Writes all of a part, and begins to sync its file.
    fn complete(&mut self, key: (Epoch, PartitionId)) -> io::Result<()> {
        self.write_out(key)?;
        let Some(part) = self.parts.get_mut(&key) else {
            return Ok(());
        };
        part.buffer = Vec::new();
        let file = part.file.take();
        self.open -= usize::from(file.is_some());
        if self.config.sync && part.created && !part.synced {
            let file = file.map_or_else(|| File::open(&part.path), Ok)?;
            part.synced = true;
            self.sync(key.0, file)?;
        }
        Ok(())
    }

    fn sync(&mut self, epoch: Epoch, file: File) -> io::Result<()> {
        let earlier = self.syncing.start(epoch, "sync", move || file.sync_all());
        earlier.unwrap_or(Ok(()))
    }

    /// Waits until the files of an epoch are on the disk for good, and their names if these are to be there when the commit says so.
    fn all_synced(&mut self, epoch: Epoch, names: bool) -> io::Result<()> {
        if names {
            self.sync(epoch, File::open(self.staging.folder())?)?;
        }
        let synced = self.syncing.wait_for(|of| *of == epoch);
        synced.into_iter().collect()
    }

    fn failure(&self, error: &io::Error) -> Failure {
        self.config.failure(error).at_node(&self.node)
    }
}

/// Process 0 cleans up when all is over: a finished run leaves nothing behind, and what a failed one leaves and cannot use goes too.
impl Drop for FileWriter {
    fn drop(&mut self) {
        if self.publisher.is_none() {
            return;
        }
        if !self.keeps_unpublished {
            // What cannot be removed now is removed at the next start.
            fs::remove_dir_all(self.staging.folder()).ok();
        }
        self.staging.remove_if_empty();
    }
}

impl From<Unwritable> for Refused {
    fn from(unwritable: Unwritable) -> Self {
        Self {
            row: unwritable.row,
            reason: unwritable.reason,
        }
    }
}
