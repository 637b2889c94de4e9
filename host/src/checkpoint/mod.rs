//! What a pipeline writes down so that a crash loses and repeats nothing.
//!
//! Before an epoch is worked on, its [`EpochRecord`] says which input it has: a planned epoch is run again with exactly that.
//! When every sink holds the whole epoch, a [`CommitRecord`] says so, and only then do sinks make it visible. [`protocol`]
//! decides what a start finds and what may go; [`storage`] keeps the bytes; this file puts both together.
//!
//! Process 0 of a run is the only writer.

mod protocol;
mod record;
mod segment;
mod state;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::config::Table;
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, NodeName, PartitionId};

pub use protocol::Resume;
use record::{CommitRecord, IdentityRecord};
pub use record::{EpochRecord, PipelineRecord, RecordedRead};
pub use segment::{MARKS, PartitionState, Segment};
pub use state::{ColumnRecord, Manifest, NodeState, StateRecord, StateStore};
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

    /// Where the state of steps is kept.
    pub fn state(&self) -> StateStore {
        StateStore::at(&self.path)
    }

    /// What numbers the epochs, for any process of a run whose process 0 has opened the checkpoint; `states` are what the steps
    /// of the pipeline remember.
    ///
    /// # Errors
    /// When there is no checkpoint, or it cannot be read.
    pub fn lineage(&self, states: &BTreeMap<NodeName, StateRecord>) -> Result<Lineage, Failure> {
        let records = Records::at(&self.path);
        let identity = records.identity()?.ok_or_else(|| {
            records.missing().help("process 0 has it: several machines need a checkpoint on storage that all of them see under the same path")
        })?;
        let committed = records.committed()?.last().copied();
        let (time, mut state) = records.state_after(committed)?;
        // What cannot be gone on with was confirmed to process 0, or it would not have come here.
        adapt(&records, &mut state, states, true)?;
        Ok(Lineage {
            id: identity.id,
            is_recorded: true,
            committed,
            time,
            state,
        })
    }
}

/// What numbers the epochs of a run: a number means the same epoch only within one lineage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// Tells it from every other.
    pub id: String,
    /// Whether a checkpoint goes on with it after a crash; else it ends with the run.
    pub is_recorded: bool,
    /// The last epoch that was over when the run began.
    pub committed: Option<Epoch>,
    /// Its batch time.
    pub time: BatchTime,
    /// What the steps remembered after it.
    pub state: Manifest,
}

impl Lineage {
    /// Of a run without a checkpoint.
    pub fn of_one_run() -> Self {
        Self {
            id: new_id(),
            is_recorded: false,
            committed: None,
            time: BatchTime::default(),
            state: Manifest::new(),
        }
    }
}

fn new_id() -> String {
    // Every hash table of the process has needed it before.
    let id = getrandom::u64().expect("the system has random numbers");
    format!("{id:016x}")
}

/// The records of a pipeline, to be read while it runs or after.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    storage: LocalDisk,
}

impl Records {
    /// Those in a folder.
    ///
    /// # Errors
    /// When there are none.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let records = Self::at(path);
        match records.identity()? {
            Some(_) => Ok(records),
            None => Err(records.missing()),
        }
    }

    fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            storage: LocalDisk::new(path),
        }
    }

    /// Whose they are; of nobody yet where there are none.
    fn identity(&self) -> Result<Option<IdentityRecord>, Failure> {
        self.read(PIPELINE)
    }

    fn missing(&self) -> Failure {
        Failure::user(format!(
            "there is no checkpoint in `{}`",
            self.path.display()
        ))
    }

    /// The epochs whose plans are there.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn planned(&self) -> Result<BTreeSet<Epoch>, Failure> {
        self.epochs(PLANS)
    }

    /// The epochs that are recorded as over.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn committed(&self) -> Result<BTreeSet<Epoch>, Failure> {
        self.epochs(COMMITS)
    }

    fn epochs(&self, kind: &str) -> Result<BTreeSet<Epoch>, Failure> {
        let names = self.on_disk(self.storage.list(kind))?;
        let epochs = names.iter().filter_map(|name| name.parse().ok());
        Ok(epochs.map(Epoch).collect())
    }

    /// Where the state of the steps is.
    pub fn store(&self) -> StateStore {
        StateStore::at(&self.path)
    }

    /// In how many partitions it is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn partitions(&self) -> Result<u32, Failure> {
        let identity = self.identity()?.ok_or_else(|| self.missing())?;
        Ok(identity.pipeline.partitions)
    }

    /// The plan of an epoch, if it is there.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn plan(&self, epoch: Epoch) -> Result<Option<EpochRecord>, Failure> {
        self.read(&name(PLANS, epoch))
    }

    /// The time of an epoch and what the steps remember after it; nothing before the first.
    ///
    /// # Errors
    /// When the epoch's commit is not there, cannot be read or is damaged.
    pub fn state_after(&self, epoch: Option<Epoch>) -> Result<(BatchTime, Manifest), Failure> {
        let Some(epoch) = epoch else {
            return Ok((BatchTime::default(), Manifest::new()));
        };
        let name = name(COMMITS, epoch);
        let commit: Option<CommitRecord> = self.read(&name)?;
        match commit {
            Some(commit) => Ok((commit.time, commit.state)),
            None => Err(self.damaged(&format!("`{name}` is not there"))),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(bytes) = self.on_disk(self.storage.get(name))? else {
            return Ok(None);
        };
        let record = record::decode(&bytes);
        record
            .map(Some)
            .map_err(|wrong| self.damaged(&format!("`{name}` {wrong}")))
    }

    fn on_disk<T>(&self, result: std::io::Result<T>) -> Result<T, Failure> {
        result.map_err(|error| {
            Failure::external(format!(
                "the checkpoint in `{}`: {error}",
                self.path.display()
            ))
        })
    }

    fn damaged(&self, wrong: &str) -> Failure {
        let path = self.path.display();
        Failure::external(format!("the checkpoint in `{path}` is damaged: {wrong}")).help(
            "restore the directory from a copy, or start anew with another `path`, knowing what the sinks already hold",
        )
    }
}

/// The records of a pipeline, open for its one writer.
#[derive(Debug)]
pub struct Checkpoint {
    records: Records,
    retain: u64,
    /// Epochs that are committed and whose records are there.
    committed: BTreeSet<Epoch>,
    /// Ends when the process does, however it ends.
    _claim: Claim,
}

impl Checkpoint {
    /// Claims the records, and says where to go on. `states` are what the steps of the pipeline remember; `accept_changes` lets a
    /// pipeline go on that is not what it was.
    ///
    /// # Errors
    /// When another process has them, they are another pipeline's, or they cannot be read.
    pub fn open(
        config: &CheckpointConfig,
        pipeline: &PipelineRecord,
        states: &BTreeMap<NodeName, StateRecord>,
        accept_changes: bool,
    ) -> Result<(Self, Resume), Failure> {
        let records = Records::at(&config.path);
        let claim = match records.storage.claim() {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let path = config.path.display();
                let message = format!("another process is running on the checkpoint in `{path}`");
                return Err(Failure::user(message)
                    .help("stop it first, or give this pipeline a checkpoint of its own"));
            }
            claimed => records.on_disk(claimed)?,
        };
        let (planned, committed) = (records.planned()?, records.committed()?);
        let (_, mut state) = records.state_after(committed.last().copied())?;
        let has_state = state.values().any(|state| !state.partitions.is_empty());
        identify(&records, pipeline, has_state, accept_changes)?;
        adapt(&records, &mut state, states, accept_changes)?;
        let wanted = protocol::wanted(&planned, &committed);
        let plans = wanted
            .into_iter()
            .filter_map(|epoch| records.plan(epoch).transpose());
        let mut resume = protocol::resume(plans.collect::<Result<_, _>>()?, &committed)
            .map_err(|wrong| records.damaged(&wrong))?;
        resume.state = state;
        if let Some((epoch, source)) = protocol::reads_a_lost_source(&resume, pipeline) {
            let message = format!(
                "epoch {epoch} was planned with input of the source `{source}`, and is not committed; the pipeline has no such source any more"
            );
            return Err(Failure::user(message)
                .help("run the pipeline as it was until it has ended, then change it"));
        }
        let checkpoint = Self {
            records,
            retain: config.retain,
            committed,
            _claim: claim,
        };
        Ok((checkpoint, resume))
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
        self.records
            .on_disk(self.records.storage.put(&name, &record::sealed(bytes)))
    }

    /// The input that [`Self::keep_input`] has kept.
    ///
    /// # Errors
    /// When it is not there as it was.
    pub fn kept_input(&self, epoch: Epoch, partition: PartitionId) -> Result<Vec<u8>, Failure> {
        let name = input_name(epoch, partition);
        let bytes = self.records.on_disk(self.records.storage.get(&name))?;
        let bytes = bytes.ok_or_else(|| self.records.damaged(&format!("`{name}` is not there")))?;
        let content = record::unsealed(&bytes);
        Ok(content
            .map_err(|wrong| self.records.damaged(&format!("`{name}` {wrong}")))?
            .to_vec())
    }

    /// Makes an epoch's end durable, with what the steps remember after it, and forgets epochs that need not be remembered any more.
    ///
    /// # Errors
    /// When it cannot be written, or another writer has committed the epoch.
    pub fn commit_epoch(
        &mut self,
        epoch: Epoch,
        time: BatchTime,
        state: &Manifest,
    ) -> Result<(), Failure> {
        crate::abort::crash_point!("commit-before");
        let commit = CommitRecord {
            epoch,
            time,
            state: state.clone(),
        };
        self.put_new(&name(COMMITS, epoch), &record::encode(&commit))?;
        crate::abort::crash_point!("commit-after");
        self.committed.insert(epoch);
        for old in protocol::forgotten(&self.committed, self.retain) {
            self.forget_state(old)?;
            self.forget(old)?;
            self.committed.remove(&old);
        }
        Ok(())
    }

    /// Removes the segments that an epoch is the last to need.
    fn forget_state(&self, epoch: Epoch) -> Result<(), Failure> {
        let after = self.committed.range(Epoch(epoch.0 + 1)..).next().copied();
        let needed = state::names(&self.records.state_after(after)?.1);
        let mut names = state::names(&self.records.state_after(Some(epoch))?.1);
        names.retain(|name| !needed.contains(name));
        for name in names {
            self.records.on_disk(self.records.storage.delete(&name))?;
        }
        Ok(())
    }

    /// Removes all of an epoch, its commit last: what is left after a crash is still recognised as committed.
    fn forget(&self, epoch: Epoch) -> Result<(), Failure> {
        let Records { storage, .. } = &self.records;
        let forget = || {
            let inputs = name(INPUT, epoch);
            for input in storage.list(&inputs)? {
                storage.delete(&format!("{inputs}/{input}"))?;
            }
            // A crash may have left the folder of what was removed, which goes with a file of it.
            storage.delete(&input_name(epoch, PartitionId(0)))?;
            storage.delete(&name(PLANS, epoch))?;
            storage.delete(&name(COMMITS, epoch))
        };
        self.records.on_disk(forget())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        match self.records.storage.put_new(name, bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let path = self.records.path.display();
                Err(Failure::external(format!(
                    "another process has written `{name}` to the checkpoint in `{path}`: it has taken over this pipeline"
                )))
            }
            written => self.records.on_disk(written),
        }
    }
}

/// Leaves of the state what the steps of the pipeline can go on with, as they keep it.
fn adapt(
    records: &Records,
    state: &mut Manifest,
    states: &BTreeMap<NodeName, StateRecord>,
    accept_changes: bool,
) -> Result<(), Failure> {
    for (node, kept) in std::mem::take(state) {
        let refusal = match states.get(&node) {
            _ if kept.partitions.is_empty() => continue,
            None => Some("it remembered something, and does not any more".to_owned()),
            Some(now) => now.refuses(&kept),
        };
        match refusal {
            None => drop(state.insert(node, kept)),
            Some(_) if accept_changes => {}
            Some(reason) => {
                let path = records.path.display();
                let message = format!("the checkpoint in `{path}` cannot be used: {reason}");
                return Err(Failure::user(message).at_node(&node).help(
                    "use the plugin's earlier version, give it a `migrate`, or confirm with --accept-changes: the step's state is then forgotten",
                ));
            }
        }
    }
    for (node, now) in states {
        let kept = state.entry(node.clone()).or_default();
        kept.keys.clone_from(&now.keys);
        kept.versions.insert(now.version, now.columns.clone());
    }
    Ok(())
}

/// Whether this is the pipeline that the records are of; notes it if they are of none yet.
fn identify(
    records: &Records,
    pipeline: &PipelineRecord,
    has_state: bool,
    accept_changes: bool,
) -> Result<(), Failure> {
    let known = records.identity()?;
    if let Some(known) = &known {
        let (before, now) = (known.pipeline.partitions, pipeline.partitions);
        if has_state && before != now {
            let path = records.path.display();
            return Err(Failure::user(format!(
                "the checkpoint in `{path}` keeps state in {before} partitions, and the pipeline has {now}"
            ))
            .help(format!("write partitions = {before}, or use another checkpoint")));
        }
        let changes = protocol::changes(&known.pipeline, pipeline);
        if !changes.is_empty() && !accept_changes {
            let path = records.path.display();
            let changes = changes.join("; ");
            let message = format!("the checkpoint in `{path}` is of another pipeline: {changes}");
            return Err(Failure::user(message).help(
                "undo the change, use another checkpoint, or confirm with --accept-changes: what was kept for a name that is gone is then forgotten",
            ));
        }
        if known.pipeline == *pipeline {
            return Ok(());
        }
    }
    let identity = IdentityRecord {
        id: known.map_or_else(new_id, |known| known.id),
        pipeline: pipeline.clone(),
    };
    records.on_disk(records.storage.put(PIPELINE, &record::encode(&identity)))
}

fn name(kind: &str, epoch: Epoch) -> String {
    format!("{kind}/{:020}", epoch.0)
}

fn input_name(epoch: Epoch, partition: PartitionId) -> String {
    format!("{}/{:010}", name(INPUT, epoch), partition.0)
}
