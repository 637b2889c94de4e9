//! The `files` sink: a file per epoch and partition, `PATH/epoch-00000012/part-00003.json`.
//!
//! A file is written aside, below `PATH/.wasmill-tmp`, and renamed when its epoch is committed: who lists `PATH` never sees
//! half a file. With a checkpoint, a start renames what a crash has left of committed epochs, and removes the rest. Partitions
//! without rows write none.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions as FileOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::{EpochInfo, OpenOptions, Refused, Sink};
use crate::config::Table;
use crate::error::Failure;
use crate::format::{FileFormat, Unwritable};
use crate::ids::{Epoch, NodeName, PartitionId, ProcessIndex};

const TEMPORARY: &str = ".wasmill-tmp";
const EPOCH_PREFIX: &str = "epoch-";
/// Bytes of a part held before they are written: few system calls, and a core's cache still holds them.
const PART_BUFFER: usize = 256 << 10;
/// Bytes of all parts held before they are written.
const ALL_BUFFERS: usize = 16 << 20;
/// Files open at once; systems allow 1,024 to a process and others need some.
const OPEN_FILES: usize = 128;

/// A checked `files` sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSink {
    path: PathBuf,
    format: FileFormat,
    existing: Existing,
    sync: bool,
}

/// What to do about epochs that another run has left in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    Fail,
    Replace,
}

impl FilesSink {
    /// Reads its settings.
    pub fn from_table(table: &mut Table) -> Option<Self> {
        let path = table.required_path("path", "the directory to write to");
        let formats = [
            ("text", FileFormat::Text),
            ("json", FileFormat::Json),
            ("csv", FileFormat::Csv { header: true }),
        ];
        let mut format = table.one_of("format", &formats, FileFormat::Json);
        // Taken only for CSV, so that it is an unknown setting for the others.
        if let FileFormat::Csv { header } = &mut format {
            *header = table.boolean("header", true);
        }
        let known = [("fail", Existing::Fail), ("replace", Existing::Replace)];
        let existing = table.one_of("existing", &known, Existing::Fail);
        let sync = table.boolean("sync", true);
        Some(Self {
            path: path?.into_inner(),
            format,
            existing,
            sync,
        })
    }

    /// A JSON object a line, into a folder that is read back and removed.
    pub fn scratch(path: PathBuf) -> Self {
        Self {
            path,
            format: FileFormat::Json,
            existing: Existing::Fail,
            sync: false,
        }
    }

    /// What it has written of an epoch: its files one after another, in the order of their partitions.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(&self, epoch: Epoch) -> io::Result<Vec<u8>> {
        let mut files = match fs::read_dir(self.folder(epoch)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files?
                .map(|file| Ok(file?.path()))
                .collect::<io::Result<Vec<_>>>()?,
        };
        files.sort();
        let contents = files.iter().map(fs::read).collect::<io::Result<Vec<_>>>()?;
        Ok(contents.concat())
    }

    /// Whether it can take rows with these columns; if not, why.
    pub fn check(&self, schema: &Schema) -> Result<(), String> {
        self.format.check(schema)
    }

    /// Makes it ready to write; process 0 sees to what an earlier run has left.
    pub fn open(&self, schema: SchemaRef, options: OpenOptions) -> Result<Box<dyn Sink>, Failure> {
        self.check(&schema)
            .map_err(|reason| Failure::user(reason).at_node(&options.node))?;
        let temporary = self.path.join(TEMPORARY);
        let mine = temporary.join(temporary_name(&options.node, options.process));
        let prepare = || -> io::Result<bool> {
            fs::create_dir_all(&temporary)?;
            if options.process == ProcessIndex(0) {
                self.settle_leftovers(&temporary, &options)?;
            }
            self.settle(&mine, options.lineage.committed)?;
            fs::create_dir(&mine)?;
            Ok(options.process == ProcessIndex(0)
                && self.has_foreign_epochs(options.lineage.committed)?)
        };
        let foreign = prepare().map_err(|error| self.failure(&error).at_node(&options.node))?;
        if foreign {
            // Nothing was written: leave the directory as it was found, as far as that can be.
            fs::remove_dir(&mine)
                .and_then(|()| fs::remove_dir(&temporary))
                .ok();
            let message = format!(
                "`{}` already holds the epochs of an earlier run",
                self.path.display()
            );
            return Err(Failure::user(message)
                .help("choose another `path`, or set `existing = \"replace\"` to delete them at the start")
                .at_node(&options.node));
        }
        Ok(Box::new(FileWriter {
            config: self.clone(),
            node: options.node,
            keeps_unpublished: options.lineage.is_recorded,
            temporary: mine,
            parts: BTreeMap::new(),
            buffered: 0,
            open: 0,
        }))
    }

    /// Whether epochs are there that must not be overwritten; removes them if they may be.
    fn has_foreign_epochs(&self, committed: Option<Epoch>) -> io::Result<bool> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            match epoch_of(&path) {
                None => {}
                Some(epoch) if Some(epoch) <= committed => {}
                Some(_) => match self.existing {
                    Existing::Fail => return Ok(true),
                    Existing::Replace => fs::remove_dir_all(&path)?,
                },
            }
        }
        Ok(false)
    }

    /// Settles what processes of a dead run have left that this run does not have.
    fn settle_leftovers(&self, temporary: &Path, options: &OpenOptions) -> io::Result<()> {
        for entry in fs::read_dir(temporary)? {
            let path = entry?.path();
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let process = name
                .rsplit_once('.')
                .filter(|(node, _)| *node == options.node.as_str())
                .and_then(|(_, process)| process.parse::<usize>().ok());
            if process.is_some_and(|process| process >= options.processes) {
                self.settle(&path, options.lineage.committed)?;
            }
        }
        Ok(())
    }

    /// Publishes what a dead process has left of committed epochs, and removes the rest.
    fn settle(&self, temporary: &Path, committed: Option<Epoch>) -> io::Result<()> {
        let entries = match fs::read_dir(temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let mut published = BTreeSet::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let part = name.split_once('-').and_then(|(epoch, partition)| {
                Some((
                    Epoch(epoch.parse().ok()?),
                    PartitionId(partition.parse().ok()?),
                ))
            });
            // Committed, so every file of it was complete before.
            if let Some((epoch, partition)) = part.filter(|(epoch, _)| Some(*epoch) <= committed) {
                let folder = self.folder(epoch);
                fs::create_dir_all(&folder)?;
                fs::rename(&path, folder.join(self.file_name(partition)))?;
                published.insert(folder);
            }
        }
        for folder in &published {
            sync_folder(folder)?;
        }
        if !published.is_empty() {
            sync_folder(&self.path)?;
        }
        fs::remove_dir_all(temporary)
    }

    fn folder(&self, Epoch(epoch): Epoch) -> PathBuf {
        self.path.join(format!("{EPOCH_PREFIX}{epoch:08}"))
    }

    fn file_name(&self, PartitionId(partition): PartitionId) -> String {
        format!("part-{partition:05}.{}", self.format.extension())
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::external(format!(
            "cannot write to `{}`: {error}",
            self.path.display()
        ))
    }
}

fn temporary_name(node: &NodeName, process: ProcessIndex) -> String {
    format!("{node}.{process}")
}

fn epoch_of(path: &Path) -> Option<Epoch> {
    let name = path.file_name().and_then(OsStr::to_str)?;
    let digits = name.strip_prefix(EPOCH_PREFIX)?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok().map(Epoch)).flatten()
}

/// A file in the making.
struct Part {
    path: PathBuf,
    /// Encoded and not yet written.
    buffer: Vec<u8>,
    /// Open, if it was written to and there is room for open files.
    file: Option<File>,
    /// Whether the file exists.
    created: bool,
    /// Whether all that was written is on the disk for good.
    synced: bool,
}

struct FileWriter {
    config: FilesSink,
    node: NodeName,
    /// Whether a file that is finished and not published is worth keeping for the next start.
    keeps_unpublished: bool,
    temporary: PathBuf,
    parts: BTreeMap<(Epoch, PartitionId), Part>,
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

    fn finish(&mut self, epoch: EpochInfo) -> Result<(), Failure> {
        for key in self.parts_of(epoch.epoch) {
            self.complete(key).map_err(|error| self.failure(&error))?;
        }
        if self.keeps_unpublished && self.config.sync {
            // The names, too, are to be there when the commit says that they are.
            sync_folder(&self.temporary).map_err(|error| self.failure(&error))?;
        }
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch) -> Result<(), Failure> {
        let folder = self.config.folder(epoch);
        let mut visible = false;
        for key in self.parts_of(epoch) {
            let part = self.parts.remove(&key).expect("the key was just listed");
            if part.created {
                crate::abort::crash_point!("publish");
                self.publish(&part, &folder, key.1)?;
                visible = true;
            }
        }
        if visible && self.config.sync {
            let synced = sync_folder(&folder).and_then(|()| sync_folder(&self.config.path));
            synced.map_err(|error| self.failure(&error))?;
        }
        Ok(())
    }
}

impl FileWriter {
    fn parts_of(&self, epoch: Epoch) -> Vec<(Epoch, PartitionId)> {
        let all = (epoch, PartitionId(0))..=(epoch, PartitionId(u32::MAX));
        self.parts.range(all).map(|(key, _)| *key).collect()
    }

    fn encode(
        &mut self,
        key: (Epoch, PartitionId),
        batch: &RecordBatch,
    ) -> Result<Vec<Refused>, Failure> {
        let (Epoch(epoch), PartitionId(partition)) = key;
        let part = self.parts.entry(key).or_insert_with(|| Part {
            path: self.temporary.join(format!("{epoch}-{partition}")),
            buffer: Vec::new(),
            file: None,
            created: false,
            synced: false,
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

    /// Writes all of a part, for good, and closes its file.
    fn complete(&mut self, key: (Epoch, PartitionId)) -> io::Result<()> {
        self.write_out(key)?;
        let Some(part) = self.parts.get_mut(&key) else {
            return Ok(());
        };
        part.buffer = Vec::new();
        let file = part.file.take();
        self.open -= usize::from(file.is_some());
        if self.config.sync && part.created && !part.synced {
            file.map_or_else(|| File::open(&part.path), Ok)?
                .sync_data()?;
            part.synced = true;
        }
        Ok(())
    }

    /// Gives a complete file its name.
    fn publish(&self, part: &Part, folder: &Path, partition: PartitionId) -> Result<(), Failure> {
        let target = folder.join(self.config.file_name(partition));
        fs::create_dir_all(folder).map_err(|error| self.failure(&error))?;
        if target.exists() {
            let message = format!("`{}` is there already", target.display());
            return Err(Failure::user(message)
                .help("give every `files` sink and every pipeline a directory of its own")
                .at_node(&self.node));
        }
        fs::rename(&part.path, &target).map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        self.config.failure(error).at_node(&self.node)
    }
}

/// A finished writer leaves nothing behind; a failed one removes what is of no use, and the next run the rest.
impl Drop for FileWriter {
    fn drop(&mut self) {
        // None of these matters: what cannot be removed now is settled at the next start.
        if self.keeps_unpublished {
            fs::remove_dir(&self.temporary).ok();
        } else {
            fs::remove_dir_all(&self.temporary).ok();
        }
        if let Some(shared) = self.temporary.parent() {
            // Fails while other processes or sinks use it, as it should.
            fs::remove_dir(shared).ok();
        }
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

impl From<Unwritable> for Refused {
    fn from(unwritable: Unwritable) -> Self {
        Self {
            row: unwritable.row,
            reason: unwritable.reason,
        }
    }
}
