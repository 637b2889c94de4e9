//! What a pipeline writes down so that a crash loses and repeats nothing.
//!
//! Before an epoch is worked on, its [`EpochRecord`] says which input it has: a planned epoch is run again with exactly that.
//! When every sink holds the whole epoch, a [`CommitRecord`] says so, and only then do sinks make it visible. [`protocol`]
//! decides what a start finds and what may go; [`storage`] keeps the bytes; this file puts both together.
//!
//! Process 0 of a run is the only writer, and only as long as no newer run has started ([`generation`]).

mod code;
mod config;
mod generation;
mod input;
mod prepared;
mod protocol;
mod record;
mod records;
mod segment;
mod set_back;
mod state;
pub mod storage;
#[cfg(test)]
mod tests;
mod unwritten;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::ids::{Digest, Epoch, Generation, NodeName, PartitionId};
use crate::thread::SideBySide;

pub use code::{Code, ComponentFile};
pub use config::CheckpointConfig;
use input::Keeping;
pub use prepared::{Pending, Prepared, Token, Tokens};
pub use protocol::Resume;
use record::IdentityRecord;
pub use record::{CommitRecord, EpochRecord, PipelineRecord, RecordedRead};
use records::{COMMITS, INPUT, PIPELINE, PLANS, Stand, name, new_id};
pub use records::{Lineage, Records};
pub use segment::{InPack, MARKS, PartitionState, Segment};
pub use state::{ColumnRecord, Manifest, NodeState, StateRecord, StateStore};
use storage::Claim;
pub use unwritten::{Object, Unwritten};

/// A bucket answers one request while others are under way.
const DELETIONS_AT_ONCE: usize = 16;

/// A pipeline, as far as its checkpoint has to know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Definition {
    /// What has to stay the same.
    pub record: PipelineRecord,
    /// What its steps remember.
    pub states: BTreeMap<NodeName, StateRecord>,
    /// What plans its epochs.
    pub code: Code,
}

/// The records of a pipeline, open for its one writer.
#[derive(Debug)]
pub struct Checkpoint {
    records: Records,
    retain: u64,
    generation: Generation,
    /// What plans epochs from here on.
    code: Code,
    /// Epochs whose plans are there.
    planned: BTreeSet<Epoch>,
    /// The commits that are there, by the last of their epochs, each with the segments of state that it is the last to need, as far as
    /// this start knows them.
    committed: BTreeMap<Epoch, Option<Vec<String>>>,
    /// What the steps remember after the last of them.
    state: Manifest,
    /// The last epoch that was committed at the start.
    began_after: Option<Epoch>,
    /// Whether what earlier starts have left behind is gone.
    is_swept: bool,
    /// Ends when the process does, however it ends.
    _claim: Claim,
}

impl Checkpoint {
    /// Claims the records, of which those of `retain` committed epochs stay, and says where to go on. `accept_changes` lets a
    /// pipeline go on that is not what it was.
    ///
    /// # Errors
    /// When another process has them, they are another pipeline's, or they cannot be read.
    pub fn open(
        records: Records,
        retain: u64,
        pipeline: Definition,
        accept_changes: bool,
    ) -> Result<(Self, Resume), Failure> {
        let Definition {
            record: pipeline,
            states,
            code,
        } = pipeline;
        let claim = claim(&records)?;
        // Before anything is read: what an older process writes after it is recognised.
        let generation = generation::claim(&records)?;
        let Stand {
            planned,
            committed,
            commit,
            mut resume,
        } = records.stand()?;
        let last = committed.last().copied();
        let has_state = has_state(&resume.state);
        identify(&records, generation, &pipeline, has_state, accept_changes)?;
        state::adapt(&records, &mut resume.state, &states, accept_changes)?;
        if let Some((epoch, source)) = protocol::reads_a_lost_source(&resume, &pipeline) {
            let message = format!(
                "epoch {epoch} was planned with input of the source `{source}`, and is not committed; the pipeline has no such source any more"
            );
            return Err(Failure::user(message)
                .help("run the pipeline as it was until it has ended, then change it"));
        }
        code::keep(&records, &code)?;
        let checkpoint = Self {
            records,
            retain,
            generation,
            code,
            began_after: last,
            is_swept: false,
            planned,
            committed: committed.into_iter().map(|epoch| (epoch, None)).collect(),
            state: commit.map(|commit| commit.state).unwrap_or_default(),
            _claim: claim,
        };
        Ok((checkpoint, resume))
    }

    /// Which start of the pipeline this is.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The digest of what plans epochs from here on.
    pub fn code(&self) -> Digest {
        self.code.digest
    }

    /// Makes an epoch's plan durable. From here on it is run with exactly this input, however often it takes.
    ///
    /// # Errors
    /// When it cannot be written, or another writer has planned the epoch.
    pub fn plan_epoch(&mut self, plan: &EpochRecord) -> Result<(), Failure> {
        crate::abort::crash_point!("plan-before");
        self.put_new(&name(PLANS, plan.epoch), &record::encode(plan))?;
        self.planned.insert(plan.epoch);
        crate::abort::crash_point!("plan-after");
        Ok(())
    }

    /// Begins to keep input of an epoch that its sources could not give again. Before the epoch's plan, which says where it is.
    pub fn keep_input(&self, epoch: Epoch) -> Keeping<'_> {
        Keeping::new(&self.records, epoch, self.generation)
    }

    /// The input that was kept of a partition.
    ///
    /// # Errors
    /// When it is not there as it was.
    pub fn kept_input(
        &self,
        plan: &EpochRecord,
        partition: PartitionId,
    ) -> Result<Vec<u8>, Failure> {
        self.records.input(plan, partition)
    }

    /// Makes the end of some epochs durable.
    ///
    /// # Errors
    /// When it cannot be written, or another writer has committed the epoch.
    pub fn commit(&mut self, commit: CommitRecord) -> Result<(), Failure> {
        crate::abort::crash_point!("commit-before");
        self.put_new(&name(COMMITS, commit.epoch), &record::encode(&commit))?;
        crate::abort::crash_point!("commit-after");
        if let Some(mut last) = self.committed.last_entry() {
            last.insert(Some(state::superseded(&self.state, &commit.state)));
        }
        self.committed.insert(commit.epoch, None);
        self.state = commit.state;
        Ok(())
    }

    /// Forgets epochs that need not be remembered any more. After a commit, and when everyone has been told of it: nobody waits for this.
    ///
    /// # Errors
    /// When the storage does not do it.
    pub fn forget_surplus(&mut self) -> Result<(), Failure> {
        self.sweep()?;
        let surplus = protocol::surplus(self.committed.keys().copied(), self.retain);
        for _ in 0..surplus {
            self.forget_oldest()?;
        }
        Ok(())
    }

    /// Whether no newer start has taken over.
    ///
    /// # Errors
    /// When one has, or nobody knows.
    pub fn check_generation(&self) -> Result<(), Failure> {
        generation::check(&self.records, self.generation).map(drop)
    }

    /// Removes, once, the segments that earlier starts have written and not committed, and code of theirs that no epoch names. Only after a
    /// commit of this one: before it, an earlier one that is still alive might commit them.
    fn sweep(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.is_swept, true) {
            return Ok(());
        }
        let records = &self.records;
        let storage = &*records.storage;
        let orphans = state::orphans(storage, self.generation, self.began_after);
        for orphan in records.on_disk(orphans)? {
            records.on_disk(storage.delete(&orphan))?;
        }
        code::forget_unused(records, || self.named(), &self.code)
    }

    /// The code that any plan names.
    fn named(&self) -> Result<BTreeSet<Digest>, Failure> {
        let planned = self.records.planned()?.into_iter();
        let plans = planned.filter_map(|epoch| self.records.plan(epoch).transpose());
        plans.map(|plan| Ok(plan?.pipeline)).collect()
    }

    /// Removes the segments that the oldest commit is the last to need, and then its epochs.
    fn forget_oldest(&mut self) -> Result<(), Failure> {
        let Some((epoch, known)) = self.committed.pop_first() else {
            return Ok(());
        };
        let superseded = match known {
            Some(superseded) => superseded,
            // An earlier start has committed the one after it.
            None => {
                let after = self.committed.first_key_value().map(|(after, _)| *after);
                let (_, before) = self.records.state_after(Some(epoch))?;
                state::superseded(&before, &self.records.state_after(after)?.1)
            }
        };
        let mut deletions = SideBySide::new(DELETIONS_AT_ONCE);
        for name in superseded {
            let storage = self.records.storage.clone();
            let deleted = deletions.start((), "deletion", move || storage.delete(&name));
            self.records.on_disk(deleted.unwrap_or(Ok(())))?;
        }
        let deleted = deletions.wait_for(|()| true).into_iter();
        self.records.on_disk(deleted.collect::<io::Result<()>>())?;
        self.forget(epoch)
    }

    /// Removes all epochs of a commit, and the commit last: what is left after a crash is still recognised as committed.
    fn forget(&mut self, commit: Epoch) -> Result<(), Failure> {
        let later = self.planned.split_off(&Epoch(commit.0 + 1));
        let mut covered = std::mem::replace(&mut self.planned, later);
        // A crash may have come between its plan and its commit.
        covered.insert(commit);
        let Records { storage, .. } = &self.records;
        let forget = || {
            for epoch in covered {
                let inputs = name(INPUT, epoch);
                for input in storage.list(&inputs)? {
                    storage.delete(&format!("{inputs}/{input}"))?;
                }
                // A crash may have left the folder of what was removed, which goes with a file of it.
                storage.delete(&format!("{inputs}/any"))?;
                storage.delete(&name(PLANS, epoch))?;
            }
            storage.delete(&name(COMMITS, commit))
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
            Err(Failure::external(message)
                .help("stop it first, or give this pipeline a checkpoint of its own"))
        }
        claimed => records.on_disk(claimed),
    }
}

impl Records {
    /// Whether a pipeline could go on from what these records hold now, or held after the commit of an epoch. Another process may be adding
    /// to them meanwhile. Looks as [`Checkpoint::open`] does, and writes nothing.
    ///
    /// # Errors
    /// When it could not, or they cannot be read.
    pub fn suit(
        &self,
        pipeline: &Definition,
        after: Option<Epoch>,
        accept_changes: bool,
    ) -> Result<(), Failure> {
        let Some(known) = self.identity()? else {
            return Ok(());
        };
        let mut state = match after {
            Some(epoch) => self.commit(epoch)?.state,
            None => self.stand()?.resume.state,
        };
        let has_state = has_state(&state);
        recognise(self, &known, &pipeline.record, has_state, accept_changes)?;
        state::adapt(self, &mut state, &pipeline.states, accept_changes)
    }
}

fn has_state(state: &Manifest) -> bool {
    state.values().any(|state| !state.partitions.is_empty())
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
        recognise(records, known, pipeline, has_state, accept_changes)?;
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

/// Whether a pipeline is the one that the records are of, or may go on with them all the same.
fn recognise(
    records: &Records,
    known: &IdentityRecord,
    pipeline: &PipelineRecord,
    has_state: bool,
    accept_changes: bool,
) -> Result<(), Failure> {
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
    Ok(())
}
