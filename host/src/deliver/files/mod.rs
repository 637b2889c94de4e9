//! The `files` sink: a file per roll of epochs and partition, `PATH/epoch-00000012/part-00003.json`.
//!
//! What a process has of a partition and an epoch is staged ([`staging`]) by its [`writer`] until the epoch is committed. Process 0 then gives
//! it its name ([`publish`]), at once or, if a [`roll`] is of several epochs, with them as one file, and lists it in a [`manifest`].
//! With a checkpoint, a start publishes what a crash has left of committed epochs, and removes the rest. Partitions without rows write
//! no file.

pub mod manifest;
mod publish;
mod roll;
mod staging;
mod writer;

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::PathBuf;

use arrow::datatypes::{Schema, SchemaRef};
use publish::Publisher;
use roll::Roll;
use staging::Staging;
use writer::FileWriter;

use super::{OpenOptions, Sink};
use crate::config::Table;
use crate::error::Failure;
use crate::format::FileFormat;
use crate::ids::{Epoch, PartitionId, ProcessIndex};

const EPOCH_PREFIX: &str = "epoch-";

/// A checked `files` sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSink {
    path: PathBuf,
    format: FileFormat,
    existing: Existing,
    sync: bool,
    roll: Roll,
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
        let roll = Roll::from_table(table);
        Some(Self {
            path: path?.into_inner(),
            format,
            existing,
            sync,
            roll,
        })
    }

    /// A JSON object a line, into a folder that is read back and removed.
    pub fn scratch(path: PathBuf) -> Self {
        Self {
            path,
            format: FileFormat::Json,
            existing: Existing::Fail,
            sync: false,
            roll: Roll::EVERY_EPOCH,
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
        let staging = Staging::of(&self.path, &options.node);
        fs::create_dir_all(staging.folder()).map_err(|error| self.failure(&error))?;
        let publisher = match options.process {
            ProcessIndex(0) => Some(self.publisher(&staging, schema, &options)?),
            _ => None,
        };
        Ok(Box::new(FileWriter::new(self, staging, publisher, options)))
    }

    /// Sees to what an earlier run has left, in process 0.
    fn publisher(
        &self,
        staging: &Staging,
        schema: SchemaRef,
        options: &OpenOptions,
    ) -> Result<Publisher, Failure> {
        let committed = options.lineage.committed;
        let foreign = self.has_foreign_epochs(committed);
        if foreign.map_err(|error| self.failure(&error))? {
            // Nothing was written: leave the directory as it was found, as far as that can be.
            staging.remove_if_empty();
            let message = format!(
                "`{}` already holds the epochs of an earlier run",
                self.path.display()
            );
            return Err(Failure::user(message)
                .help("choose another `path`, or set `existing = \"replace\"` to delete them at the start"));
        }
        let listed = manifest::epochs(&self.path).map_err(|error| self.failure(&error))?;
        let pending = options.lineage.pending.get(&options.node);
        let pending = pending.map_or(&[][..], Vec::as_slice);
        let is_listed = |epoch: &Epoch| listed.contains(epoch);
        let published = pending.iter().map(|prepared| prepared.epoch);
        let published = published.filter(is_listed).max();
        let rest = pending.partition_point(|prepared| Some(prepared.epoch) <= published);
        let kept = staging.files(&pending[rest..])?;
        staging.keep(&kept).map_err(|error| self.failure(&error))?;
        Publisher::new(self, staging.clone(), schema, published, committed)
    }

    /// Whether epochs are there that must not be overwritten; removes them if they may be.
    fn has_foreign_epochs(&self, committed: Option<Epoch>) -> io::Result<bool> {
        let listed = manifest::epochs(&self.path)?.into_iter();
        for epoch in listed.filter(|epoch| Some(*epoch) > committed) {
            match self.existing {
                Existing::Fail => return Ok(true),
                Existing::Replace => fs::remove_file(manifest::path(&self.path, epoch))?,
            }
        }
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let epoch = path.file_name().and_then(OsStr::to_str).and_then(epoch_of);
            if epoch.is_some_and(|epoch| Some(epoch) > committed) {
                match self.existing {
                    Existing::Fail => return Ok(true),
                    Existing::Replace => fs::remove_dir_all(&path)?,
                }
            }
        }
        Ok(false)
    }

    fn folder(&self, epoch: Epoch) -> PathBuf {
        self.path.join(name_of(epoch))
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

fn name_of(Epoch(epoch): Epoch) -> String {
    format!("{EPOCH_PREFIX}{epoch:08}")
}

/// The partition that a file of [`FilesSink::file_name`] is of.
fn partition_of(path: &str) -> Option<PartitionId> {
    let (_, name) = path.rsplit_once("/part-")?;
    let (digits, _) = name.split_once('.')?;
    digits.parse().ok().map(PartitionId)
}

fn epoch_of(name: &str) -> Option<Epoch> {
    let digits = name.strip_prefix(EPOCH_PREFIX)?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok().map(Epoch)).flatten()
}
