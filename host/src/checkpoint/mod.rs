//! What a pipeline writes down so that a crash loses and repeats nothing.
//!
//! Before an epoch is worked on, its [`EpochRecord`] says which input it has: a planned epoch is run again with exactly that.
//! When every sink holds the whole epoch, a [`CommitRecord`] says so, and only then do sinks make it visible. [`protocol`]
//! decides what a start finds and what may go; [`storage`] keeps the bytes; this file puts both together.
//!
//! Process 0 of a run is the only writer, and only as long as no newer run has started ([`generation`]).

mod config;
mod generation;
mod protocol;
mod record;
mod segment;
mod state;
pub mod storage;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, Generation, NodeName, PartitionId};

pub use config::CheckpointConfig;
pub use protocol::Resume;
use record::{CommitRecord, IdentityRecord};
pub use record::{EpochRecord, PipelineRecord, RecordedRead};
pub use segment::{MARKS, PartitionState, Segment};
pub use state::{ColumnRecord, Manifest, NodeState, StateRecord, StateStore};
use storage::{Claim, Location, Storage};

const PIPELINE: &str = "pipeline";
const PLANS: &str = "plan";
const COMMITS: &str = "commit";
const INPUT: &str = "input";

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
    /// Which start of the pipeline the run is.
    pub generation: Generation,
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
            generation: Generation::default(),
        }
    }
}

fn new_id() -> String {
    // Every hash table of the process has needed it before.
    let id = getrandom::u64().expect("the system has random numbers");
    format!("{id:016x}")
}

/// The records of a pipeline, to be read while it runs or after. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Records {
    location: Location,
    storage: Arc<dyn Storage>,
}

impl Records {
    /// Those of a place.
    ///
    /// # Errors
    /// When there are none.
    pub fn open(location: &Location) -> Result<Self, Failure> {
        let records = Self::at(location)?;
        match records.identity()? {
            Some(_) => Ok(records),
            None => Err(records.missing()),
        }
    }

    fn at(location: &Location) -> Result<Self, Failure> {
        Ok(Self {
            location: location.clone(),
            storage: location.open()?,
        })
    }

    /// What numbers the epochs, for any process of a run whose process 0 has opened the checkpoint and said its generation;
    /// `states` are what the steps of the pipeline remember.
    ///
    /// # Errors
    /// When there is no checkpoint, or it cannot be read.
    pub fn lineage(
        &self,
        generation: Generation,
        states: &BTreeMap<NodeName, StateRecord>,
    ) -> Result<Lineage, Failure> {
        let identity = self.identity()?.ok_or_else(|| {
            self.missing().help("process 0 has it: several machines need a checkpoint on storage that all of them see under the same path")
        })?;
        let committed = self.committed()?.last().copied();
        let (time, mut state) = self.state_after(committed)?;
        // What cannot be gone on with was confirmed to process 0, or it would not have come here.
        adapt(self, &mut state, states, true)?;
        Ok(Lineage {
            id: identity.id,
            is_recorded: true,
            committed,
            time,
            state,
            generation,
        })
    }

    /// Whose they are; of nobody yet where there are none.
    fn identity(&self) -> Result<Option<IdentityRecord>, Failure> {
        self.read(PIPELINE)
    }

    fn missing(&self) -> Failure {
        Failure::user(format!("there is no checkpoint in `{}`", self.location))
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

    /// Where the state of the steps is read.
    pub fn store(&self) -> StateStore {
        self.store_of(Generation::default())
    }

    /// Where a start of the pipeline writes the state of the steps.
    pub fn store_of(&self, generation: Generation) -> StateStore {
        StateStore::new(self.clone(), generation)
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
        result.map_err(|error| self.location.failure(&error))
    }

    fn damaged(&self, wrong: &str) -> Failure {
        let place = &self.location;
        Failure::external(format!("the checkpoint in `{place}` is damaged: {wrong}")).help(
            "restore it from a copy, or start anew with another `path`, knowing what the sinks already hold",
        )
    }
}

/// The records of a pipeline, open for its one writer.
#[derive(Debug)]
pub struct Checkpoint {
    records: Records,
    retain: u64,
    generation: Generation,
    /// Epochs that are committed and whose records are there.
    committed: BTreeSet<Epoch>,
    /// The last epoch that was committed at the start.
    began_after: Option<Epoch>,
    /// Whether what earlier starts have left behind is gone.
    is_swept: bool,
    /// Ends when the process does, however it ends.
    _claim: Claim,
}

impl Checkpoint {
    /// Claims the records, of which those of `retain` committed epochs stay, and says where to go on. `states` are what the steps of the pipeline remember; `accept_changes` lets a
    /// pipeline go on that is not what it was.
    ///
    /// # Errors
    /// When another process has them, they are another pipeline's, or they cannot be read.
    pub fn open(
        records: Records,
        retain: u64,
        pipeline: &PipelineRecord,
        states: &BTreeMap<NodeName, StateRecord>,
        accept_changes: bool,
    ) -> Result<(Self, Resume), Failure> {
        let claim = claim(&records)?;
        // Before anything is read: what an older process writes after it is recognised.
        let generation = generation::claim(&records)?;
        let (planned, committed) = (records.planned()?, records.committed()?);
        let (_, mut state) = records.state_after(committed.last().copied())?;
        let has_state = state.values().any(|state| !state.partitions.is_empty());
        identify(&records, generation, pipeline, has_state, accept_changes)?;
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
            retain,
            generation,
            began_after: committed.last().copied(),
            is_swept: false,
            committed,
            _claim: claim,
        };
        Ok((checkpoint, resume))
    }

    /// Which start of the pipeline this is.
    pub fn generation(&self) -> Generation {
        self.generation
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
        let name = input_name(epoch, self.generation, partition);
        self.records
            .on_disk(self.records.storage.put(&name, &record::sealed(bytes)))
    }

    /// The input that [`Self::keep_input`] has kept.
    ///
    /// # Errors
    /// When it is not there as it was.
    pub fn kept_input(
        &self,
        plan: &EpochRecord,
        partition: PartitionId,
    ) -> Result<Vec<u8>, Failure> {
        let name = input_name(plan.epoch, plan.generation, partition);
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
            generation: self.generation,
            time,
            state: state.clone(),
        };
        self.put_new(&name(COMMITS, epoch), &record::encode(&commit))?;
        crate::abort::crash_point!("commit-after");
        self.committed.insert(epoch);
        self.sweep()?;
        for old in protocol::forgotten(&self.committed, self.retain) {
            self.forget_state(old)?;
            self.forget(old)?;
            self.committed.remove(&old);
        }
        Ok(())
    }

    /// Removes, once, the segments that earlier starts have written and not committed. Only after a commit of this one: before it,
    /// an earlier one that is still alive might commit them.
    fn sweep(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.is_swept, true) {
            return Ok(());
        }
        let storage = &*self.records.storage;
        let sweep = || {
            for orphan in state::orphans(storage, self.generation, self.began_after)? {
                storage.delete(&orphan)?;
            }
            Ok(())
        };
        self.records.on_disk(sweep())
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
            storage.delete(&format!("{inputs}/any"))?;
            storage.delete(&name(PLANS, epoch))?;
            storage.delete(&name(COMMITS, epoch))
        };
        self.records.on_disk(forget())
    }

    /// Writes a record, unless another process has taken over.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        generation::check(&self.records, self.generation)?;
        let written = self.records.storage.put_new(name, bytes);
        // A newer process may have started since, even long ago if this one has slept: then nothing may come of what was written.
        generation::check(&self.records, self.generation)?;
        match written {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let place = &self.records.location;
                let message = format!(
                    "the process before this one has still written `{name}` to the checkpoint in `{place}` when this one had begun"
                );
                Err(Failure::external(message).help(
                    "nothing is lost: start the pipeline again, and let only one run at a time",
                ))
            }
            written => self.records.on_disk(written),
        }
    }
}

/// Keeps other processes out where that can be done.
fn claim(records: &Records) -> Result<Claim, Failure> {
    match records.storage.claim() {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            let place = &records.location;
            let message = format!("another process is running on the checkpoint in `{place}`");
            Err(Failure::user(message)
                .help("stop it first, or give this pipeline a checkpoint of its own"))
        }
        claimed => records.on_disk(claimed),
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
                let path = &records.location;
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
    generation: Generation,
    pipeline: &PipelineRecord,
    has_state: bool,
    accept_changes: bool,
) -> Result<(), Failure> {
    let known = records.identity()?;
    if let Some(known) = &known {
        let (before, now) = (known.pipeline.partitions, pipeline.partitions);
        if has_state && before != now {
            let path = &records.location;
            return Err(Failure::user(format!(
                "the checkpoint in `{path}` keeps state in {before} partitions, and the pipeline has {now}"
            ))
            .help(format!("write partitions = {before}, or use another checkpoint")));
        }
        let changes = protocol::changes(&known.pipeline, pipeline);
        if !changes.is_empty() && !accept_changes {
            let path = &records.location;
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
    generation::check(records, generation)?;
    let is_new = known.is_none();
    let identity = record::encode(&IdentityRecord {
        id: known.map_or_else(new_id, |known| known.id),
        pipeline: pipeline.clone(),
    });
    records.on_disk(if is_new {
        records.storage.put_new(PIPELINE, &identity)
    } else {
        records.storage.put(PIPELINE, &identity)
    })
}

fn name(kind: &str, epoch: Epoch) -> String {
    format!("{kind}/{:020}", epoch.0)
}

/// Of an epoch that two starts have cut, each has its own input.
fn input_name(epoch: Epoch, generation: Generation, partition: PartitionId) -> String {
    let (inputs, generation) = (name(INPUT, epoch), generation.0);
    format!("{inputs}/{generation:020}-{:010}", partition.0)
}
