//! The records of a pipeline as anyone may read them, and how they are named.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::generation::GENERATIONS;
use super::prepared::Pending;
use super::protocol::{self, Resume};
use super::record::{self, CommitRecord, EpochRecord, IdentityRecord};
use super::state::{self, Manifest, StateRecord, StateStore};
use super::storage::{Location, Scratch, Storage};
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, Generation, NodeName};

pub(super) const PIPELINE: &str = "pipeline";
pub(super) const PLANS: &str = "plan";
pub(super) const COMMITS: &str = "commit";
pub(super) const INPUT: &str = "input";

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
    /// What sinks may not have made visible of it and of epochs before it.
    pub pending: Pending,
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
            pending: Pending::new(),
            generation: Generation::default(),
        }
    }
}

/// What a start finds.
#[derive(Debug)]
pub(super) struct Stand {
    /// Epochs whose plans are there.
    pub planned: BTreeSet<Epoch>,
    /// The epochs that commits are called by.
    pub committed: BTreeSet<Epoch>,
    /// The last commit.
    pub commit: Option<CommitRecord>,
    /// Where to go on.
    pub resume: Resume,
}

/// The records of a pipeline, to be read while it runs or after. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Records {
    pub(super) location: Location,
    pub(super) storage: Arc<dyn Storage>,
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

    pub(super) fn at(location: &Location) -> Result<Self, Failure> {
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
        let Stand { commit, resume, .. } = self.stand()?;
        let (committed, mut state) = (resume.committed, resume.state);
        let (time, pending) = commit
            .map(|last| (last.time, last.pending))
            .unwrap_or_default();
        // What cannot be gone on with was confirmed to process 0, or it would not have come here.
        state::adapt(self, &mut state, states, true)?;
        Ok(Lineage {
            id: identity.id,
            is_recorded: true,
            committed,
            time,
            state,
            pending,
            generation,
        })
    }

    /// What a start finds. The run of another process may go on meanwhile: what has gone since it was listed is looked for again.
    pub(super) fn stand(&self) -> Result<Stand, Failure> {
        let mut committed = self.committed()?;
        loop {
            let planned = self.planned()?;
            let stand = self.stand_of(planned, committed.clone());
            let listed = self.committed()?;
            if listed == committed || stand.is_ok() {
                return stand;
            }
            committed = listed;
        }
    }

    fn stand_of(
        &self,
        planned: BTreeSet<Epoch>,
        committed: BTreeSet<Epoch>,
    ) -> Result<Stand, Failure> {
        let last = committed.last().copied();
        let commit = last.map(|epoch| self.commit(epoch)).transpose()?;
        let plans = protocol::wanted(&planned, &committed).into_iter();
        let plans = plans.filter_map(|epoch| self.plan(epoch).transpose());
        let mut resume = protocol::resume(plans.collect::<Result<_, _>>()?, &committed)
            .map_err(|wrong| self.damaged(&wrong))?;
        let set_back = resume.planned.first().and_then(|plan| plan.state.clone());
        let last = commit.as_ref();
        resume.state = set_back
            .or_else(|| last.map(|commit| commit.state.clone()))
            .unwrap_or_default();
        resume.pending = last
            .map(|commit| commit.pending.clone())
            .unwrap_or_default();
        Ok(Stand {
            planned,
            committed,
            commit,
            resume,
        })
    }

    /// Whose they are; of nobody yet where there are none.
    pub(super) fn identity(&self) -> Result<Option<IdentityRecord>, Failure> {
        self.read(PIPELINE)
    }

    fn missing(&self) -> Failure {
        Failure::user(format!("there is no checkpoint in `{}`", self.location))
    }

    /// Where the sources stood after the oldest commit that is kept: what they had read by then is never read again.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn oldest_positions(&self) -> Result<BTreeMap<NodeName, Value>, Failure> {
        let oldest = self.committed()?.first().copied();
        let plan = oldest.map(|epoch| self.plan(epoch)).transpose()?.flatten();
        Ok(plan.map(|plan| plan.positions).unwrap_or_default())
    }

    /// The epochs whose plans are there.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn planned(&self) -> Result<BTreeSet<Epoch>, Failure> {
        self.epochs(PLANS)
    }

    /// The epochs that commits are called by. All up to the last of them are over.
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

    /// These records as they were when an epoch was planned and the one before it was over, to run it again on. What is written there
    /// is kept nowhere.
    ///
    /// # Errors
    /// When they do not hold the epoch, or not what was before it.
    pub fn before(&self, epoch: Epoch) -> Result<Self, Failure> {
        self.epoch(epoch)?;
        // The pipeline may be running, and plan and commit epochs meanwhile.
        let scratch = Scratch::new(self.storage.clone(), &[PLANS, COMMITS, GENERATIONS]);
        let copy = Self {
            location: self.location.clone(),
            storage: Arc::new(self.on_disk(scratch)?),
        };
        let scratch = &copy.storage;
        let (planned, committed) = (copy.planned()?, copy.committed()?);
        let base = committed.range(..epoch).next_back().copied();
        let first = base.map_or(0, |base| base.0 + 1);
        if (first..epoch.0).any(|before| !planned.contains(&Epoch(before))) {
            let place = &self.location;
            let message = format!(
                "the checkpoint in `{place}` does not hold the state before epoch {epoch} any more"
            );
            return Err(Failure::user(message).help(
                "of `retain` committed epochs all but the oldest can be run again; raise it in `[checkpoint]` to look further back",
            ));
        }
        let later = |epochs: BTreeSet<Epoch>, than: Option<Epoch>, kind| {
            let later = epochs.into_iter().filter(move |epoch| Some(*epoch) > than);
            later.map(move |epoch| name(kind, epoch))
        };
        for name in later(committed, base, COMMITS).chain(later(planned, Some(epoch), PLANS)) {
            self.on_disk(scratch.delete(&name))?;
        }
        for epoch in (first..=epoch.0).map(Epoch) {
            // It may have been forgotten since it was listed, which the run will find.
            if let Some(mut plan) = self.plan(epoch)? {
                let folder = self.folder(plan.pipeline)?;
                for read in &mut plan.reads {
                    read.range.see_from(&folder);
                }
                let plan = record::encode(&plan);
                self.on_disk(scratch.put(&name(PLANS, epoch), &plan))?;
            }
        }
        if let Some(base) = base {
            // What sinks were about to make visible is theirs, not that of the run on the copy.
            let commit = CommitRecord {
                pending: Pending::new(),
                ..self.commit(base)?
            };
            self.on_disk(scratch.put(&name(COMMITS, base), &record::encode(&commit)))?;
        }
        Ok(copy)
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

    /// The plan of an epoch that is to be there.
    ///
    /// # Errors
    /// When it is not, cannot be read or is damaged.
    pub fn epoch(&self, epoch: Epoch) -> Result<EpochRecord, Failure> {
        self.plan(epoch)?.ok_or_else(|| {
            let place = &self.location;
            let message = format!("the checkpoint in `{place}` holds no epoch {epoch}");
            Failure::user(message).help(
                "`wasmill epoch ls` lists those that it holds; older ones are forgotten, see `retain`",
            )
        })
    }

    /// The time of an epoch and what the steps remember after it; nothing before the first.
    ///
    /// # Errors
    /// When the epoch's commit is not there, cannot be read or is damaged.
    pub fn state_after(&self, epoch: Option<Epoch>) -> Result<(BatchTime, Manifest), Failure> {
        let commit = epoch.map(|epoch| self.commit(epoch)).transpose()?;
        Ok(commit
            .map(|commit| (commit.time, commit.state))
            .unwrap_or_default())
    }

    /// The commit that is called by an epoch.
    ///
    /// # Errors
    /// When it is not there, cannot be read or is damaged.
    pub fn commit(&self, epoch: Epoch) -> Result<CommitRecord, Failure> {
        let name = name(COMMITS, epoch);
        let commit = self.read(&name)?;
        commit.ok_or_else(|| self.damaged(&format!("`{name}` is not there")))
    }

    pub(super) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(bytes) = self.on_disk(self.storage.get(name))? else {
            return Ok(None);
        };
        let record = record::decode(&bytes);
        record
            .map(Some)
            .map_err(|wrong| self.damaged(&format!("`{name}` {wrong}")))
    }

    /// What was sealed under a name that must be there.
    pub(super) fn content(&self, name: &str) -> Result<Vec<u8>, Failure> {
        self.unsealed(name, self.storage.get(name))
    }

    /// The same of what was sealed as these bytes of it.
    pub(super) fn part(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, Failure> {
        self.unsealed(name, self.storage.get_range(name, range))
    }

    fn unsealed(
        &self,
        name: &str,
        read: std::io::Result<Option<Vec<u8>>>,
    ) -> Result<Vec<u8>, Failure> {
        let bytes = self.on_disk(read)?;
        let mut bytes = bytes.ok_or_else(|| self.damaged(&format!("`{name}` is not there")))?;
        let content = record::unsealed(&bytes).map(<[u8]>::len);
        bytes.truncate(content.map_err(|wrong| self.damaged(&format!("`{name}` {wrong}")))?);
        Ok(bytes)
    }

    pub(super) fn on_disk<T>(&self, result: std::io::Result<T>) -> Result<T, Failure> {
        result.map_err(|error| self.location.failure(&error))
    }

    pub(super) fn damaged(&self, wrong: &str) -> Failure {
        let place = &self.location;
        Failure::external(format!("the checkpoint in `{place}` is damaged: {wrong}")).help(
            "restore it from a copy, or start anew with another `path`, knowing what the sinks already hold",
        )
    }
}

pub(super) fn new_id() -> String {
    // Every hash table of the process has needed it before.
    let id = getrandom::u64().expect("the system has random numbers");
    format!("{id:016x}")
}

pub(super) fn name(kind: &str, epoch: Epoch) -> String {
    format!("{kind}/{:020}", epoch.0)
}

/// Of an epoch that two starts have cut, each has its own input.
pub(super) fn input_name(epoch: Epoch, generation: Generation, object: u32) -> String {
    let (inputs, generation) = (name(INPUT, epoch), generation.0);
    format!("{inputs}/{generation:020}-{object:010}")
}
