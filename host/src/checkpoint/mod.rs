//! What a pipeline writes down so that a crash loses and repeats nothing.
//!
//! Before an epoch is worked on, its [`EpochRecord`] says which input it has: a planned epoch is run again with exactly that.
//! When every sink holds the whole epoch, a [`CommitRecord`] says so, and only then do sinks make it visible. [`protocol`]
//! decides what a start finds and what may go; [`storage`] keeps the bytes; this file puts both together.
//!
//! Process 0 of a run is the only writer.

mod protocol;
mod record;
mod storage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::Table;
use crate::error::Failure;
use crate::ids::{Epoch, PartitionId};

pub use protocol::Resume;
pub use record::{CommitRecord, EpochRecord, PipelineRecord, RecordedRead};
use storage::{Claim, LocalDisk, Storage};

/// Committed epochs whose records are kept by default: enough to look at what has just happened.
const DEFAULT_RETAIN: u64 = 100;

const PIPELINE: &str = "pipeline";
const PLANS: &str = "plan";
const COMMITS: &str = "commit";
const INPUT: &str = "input";

/// A checked `[checkpoint]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointConfig {
    path: PathBuf,
    retain: u64,
}

impl CheckpointConfig {
    /// Reads its settings.
    pub fn from_table(table: &mut Table) -> Option<Self> {
        let path = table.required_path("path", "the directory to keep records in");
        let retain = table.integer("retain", 1);
        Some(Self {
            path: path?.into_inner(),
            retain: retain.map_or(DEFAULT_RETAIN, toml::Spanned::into_inner),
        })
    }

    /// Where the records are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last epoch committed, for a process that only reads.
    ///
    /// # Errors
    /// When there is no checkpoint, or it cannot be read.
    pub fn last_commit(&self) -> Result<Option<Epoch>, Failure> {
        let storage = LocalDisk::new(&self.path);
        if storage
            .get(PIPELINE)
            .map_err(|error| self.failure(&error))?
            .is_none()
        {
            let message = format!(
                "there is no checkpoint in `{}`, where process 0 has one",
                self.path.display()
            );
            return Err(Failure::user(message).help(
                "several machines need a checkpoint on storage that all of them see under the same path",
            ));
        }
        let commits = epochs(&storage, COMMITS).map_err(|error| self.failure(&error))?;
        Ok(commits.last().copied())
    }

    fn failure(&self, error: &std::io::Error) -> Failure {
        Failure::external(format!(
            "the checkpoint in `{}`: {error}",
            self.path.display()
        ))
    }
}

/// The records of a pipeline, open for its one writer.
#[derive(Debug)]
pub struct Checkpoint {
    config: CheckpointConfig,
    storage: LocalDisk,
    /// Epochs whose records are there and committed, the oldest first.
    committed: BTreeSet<Epoch>,
    /// Ends when the process does, however it ends.
    _claim: Claim,
}

impl Checkpoint {
    /// Claims the records, and says where to go on. `accept_changes` lets a pipeline go on that is not what it was.
    ///
    /// # Errors
    /// When another process has them, they are another pipeline's, or they cannot be read.
    pub fn open(
        config: &CheckpointConfig,
        pipeline: &PipelineRecord,
        accept_changes: bool,
    ) -> Result<(Self, Resume), Failure> {
        let storage = LocalDisk::new(&config.path);
        let claim = storage.claim().map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => {
                let path = config.path.display();
                Failure::user(format!(
                    "another process is running on the checkpoint in `{path}`"
                ))
                .help("stop it first, or give this pipeline a checkpoint of its own")
            }
            _ => config.failure(&error),
        })?;
        let mut checkpoint = Self {
            config: config.clone(),
            committed: epochs(&storage, COMMITS).map_err(|error| config.failure(&error))?,
            storage,
            _claim: claim,
        };
        checkpoint.identify(pipeline, accept_changes)?;
        let planned = checkpoint.on_disk(epochs(&checkpoint.storage, PLANS))?;
        let wanted = protocol::wanted(&planned, &checkpoint.committed);
        let plans = wanted.into_iter().map(|epoch| checkpoint.plan(epoch));
        let resume = protocol::resume(plans.collect::<Result<_, _>>()?, &checkpoint.committed)
            .map_err(|wrong| checkpoint.damaged(&wrong))?;
        if let Some(lost) = protocol::reads_a_lost_source(&resume, pipeline) {
            let message = format!(
                "epoch {} was planned with input of the source `{}`, and is not committed; the pipeline has no such source any more",
                lost.0, lost.1
            );
            return Err(Failure::user(message)
                .help("run the pipeline as it was until it has ended, then change it"));
        }
        Ok((checkpoint, resume))
    }

    /// Whether this is the pipeline that the records are of; notes it if they are of none yet.
    fn identify(&mut self, pipeline: &PipelineRecord, accept_changes: bool) -> Result<(), Failure> {
        let known = self.on_disk(self.storage.get(PIPELINE))?;
        if let Some(bytes) = known {
            let known: PipelineRecord = self.decoded(PIPELINE, &bytes)?;
            let changes = protocol::changes(&known, pipeline);
            if !changes.is_empty() && !accept_changes {
                let path = self.config.path.display();
                let message = format!(
                    "the checkpoint in `{path}` is of another pipeline: {}",
                    changes.join("; ")
                );
                return Err(Failure::user(message).help(
                    "undo the change, use another checkpoint, or confirm with --accept-changes: what was kept for a name that is gone is then forgotten",
                ));
            }
            if known == *pipeline {
                return Ok(());
            }
        }
        self.on_disk(self.storage.put(PIPELINE, &record::encode(pipeline)))
    }

    /// Makes an epoch's plan durable. From here on it is run with exactly this input, however often it takes.
    ///
    /// # Errors
    /// When it cannot be written, or another writer has planned the epoch.
    pub fn plan_epoch(&mut self, plan: &EpochRecord) -> Result<(), Failure> {
        crate::abort::crash_point!("plan-before");
        self.put_new(&name(PLANS, plan.epoch), &record::encode(plan))?;
        crate::abort::crash_point!("plan-after");
        Ok(())
    }

    /// Makes a partition's input durable that its source could not give again. Before the epoch's plan.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_input(
        &mut self,
        epoch: Epoch,
        partition: PartitionId,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        // May be there from an epoch that was never planned.
        let name = input_name(epoch, partition);
        self.on_disk(self.storage.put(&name, &record::sealed(bytes)))
    }

    /// The input that [`Self::keep_input`] has kept.
    ///
    /// # Errors
    /// When it is not there as it was.
    pub fn kept_input(&self, epoch: Epoch, partition: PartitionId) -> Result<Vec<u8>, Failure> {
        let name = input_name(epoch, partition);
        let bytes = self.on_disk(self.storage.get(&name))?;
        let bytes = bytes.ok_or_else(|| self.damaged(&format!("`{name}` is not there")))?;
        let content = record::unsealed(&bytes);
        Ok(content
            .map_err(|wrong| self.damaged(&format!("`{name}` {wrong}")))?
            .to_vec())
    }

    /// Makes an epoch's end durable, and forgets epochs that need not be remembered any more.
    ///
    /// # Errors
    /// When it cannot be written, or another writer has committed the epoch.
    pub fn commit_epoch(&mut self, epoch: Epoch) -> Result<(), Failure> {
        crate::abort::crash_point!("commit-before");
        self.put_new(
            &name(COMMITS, epoch),
            &record::encode(&CommitRecord { epoch }),
        )?;
        crate::abort::crash_point!("commit-after");
        self.committed.insert(epoch);
        for old in protocol::forgotten(&self.committed, self.config.retain) {
            self.forget(old)?;
            self.committed.remove(&old);
        }
        Ok(())
    }

    /// Removes all of an epoch, its commit last: what is left after a crash is still recognised as committed.
    fn forget(&self, epoch: Epoch) -> Result<(), Failure> {
        let inputs = self.on_disk(self.storage.list(&format!("{INPUT}/{:020}", epoch.0)))?;
        for input in inputs {
            self.on_disk(
                self.storage
                    .delete(&format!("{INPUT}/{:020}/{input}", epoch.0)),
            )?;
        }
        self.on_disk(self.storage.delete(&name(PLANS, epoch)))?;
        self.on_disk(self.storage.delete(&name(COMMITS, epoch)))
    }

    fn plan(&self, epoch: Epoch) -> Result<EpochRecord, Failure> {
        let name = name(PLANS, epoch);
        let bytes = self.on_disk(self.storage.get(&name))?;
        let bytes = bytes.ok_or_else(|| self.damaged(&format!("`{name}` is not there")))?;
        self.decoded(&name, &bytes)
    }

    fn decoded<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        bytes: &[u8],
    ) -> Result<T, Failure> {
        record::decode(bytes).map_err(|wrong| self.damaged(&format!("`{name}` {wrong}")))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        match self.storage.put_new(name, bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let path = self.config.path.display();
                Err(Failure::external(format!(
                    "another process has written `{name}` to the checkpoint in `{path}`: it has taken over this pipeline"
                )))
            }
            written => self.on_disk(written),
        }
    }

    fn on_disk<T>(&self, result: std::io::Result<T>) -> Result<T, Failure> {
        result.map_err(|error| self.config.failure(&error))
    }

    fn damaged(&self, wrong: &str) -> Failure {
        let path = self.config.path.display();
        Failure::external(format!("the checkpoint in `{path}` is damaged: {wrong}")).help(
            "restore the directory from a copy, or start anew with another `path`, knowing what the sinks already hold",
        )
    }
}

fn name(kind: &str, epoch: Epoch) -> String {
    format!("{kind}/{:020}", epoch.0)
}

fn input_name(epoch: Epoch, partition: PartitionId) -> String {
    format!("{INPUT}/{:020}/{:010}", epoch.0, partition.0)
}

/// The epochs that have a record of this kind.
fn epochs(storage: &LocalDisk, kind: &str) -> std::io::Result<BTreeSet<Epoch>> {
    let names = storage.list(kind)?;
    Ok(names
        .iter()
        .filter_map(|name| name.parse().ok().map(Epoch))
        .collect())
}
