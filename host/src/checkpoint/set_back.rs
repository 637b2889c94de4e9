//! Sets a pipeline that does not run back to what it remembered after an earlier commit.
//!
//! Nothing that was written is changed. A plan is added with all input since, once more, and with the state to begin with: it is one record,
//! there or not there. What it names is written before it: copies of the state's segments, since those of the commit go with it, and of
//! input that its source could not give again. Sinks meet it as an epoch that they have not seen.

use super::input::Keeping;
use super::protocol;
use super::record::{self, EpochRecord};
use super::records::{PLANS, Records, name};
use super::{claim, generation, state};
use crate::error::Failure;
use crate::ids::{Digest, Epoch, PartitionId};

impl Records {
    /// The last epoch that a code has committed, if its commit is still there.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn last_by(&self, code: Digest) -> Result<Option<Epoch>, Failure> {
        let plans: Vec<EpochRecord> = self.plans_after(None)?;
        let starts = protocol::code_of_starts(&plans);
        for epoch in self.committed()?.into_iter().rev() {
            if starts.get(&self.commit(epoch)?.generation) == Some(&code) {
                return Ok(Some(epoch));
            }
        }
        Ok(None)
    }

    /// Has the next start begin with the state that the commit of an epoch names, and with all input since. Gives the epoch that has it, or
    /// nothing if there is none.
    ///
    /// # Errors
    /// When a process runs on the records, they do not hold the commit or all that has come since, or cannot be written.
    pub fn set_back(&self, to: Epoch) -> Result<Option<Epoch>, Failure> {
        let _claim = claim(self)?;
        let base = self.epoch(to)?;
        let kept = self.commit(to)?.state;
        let later = self.plans_after(Some(to))?;
        if later.is_empty() {
            return Ok(None);
        }
        if let Some(plan) = later.iter().find(|plan| plan.state.is_some()) {
            let epoch = plan.epoch;
            let is_new = self.committed()?.last() < Some(&epoch);
            if is_new && later.last() == Some(plan) && plan.pipeline == base.pipeline {
                return Ok(Some(epoch));
            }
            return Err(Failure::user(format!(
                "the pipeline was set back before, by epoch {epoch}, and cannot be to what was before that"
            ))
            .help("let it run, and it can be set back to what it has committed since"));
        }
        let own = generation::claim(self)?;
        let state = state::copied(self, kept, own)?;
        let mut plan = protocol::set_back(own, state, &base, &later);
        let before = later.iter().flat_map(|plan| {
            let partitions = (0..plan.reads.len() as u32).map(PartitionId);
            partitions.map(move |partition| (plan, partition))
        });
        let mut keeping = Keeping::new(self, plan.epoch, own);
        for (read, (plan_before, old)) in plan.reads.iter_mut().zip(before) {
            if read.range.block().is_some() {
                read.kept = Some(keeping.add(self.input(plan_before, old)?)?);
            }
        }
        keeping.finish()?;
        generation::check(self, own)?;
        let written = self
            .storage
            .put_new(&name(PLANS, plan.epoch), &record::encode(&plan));
        self.on_disk(written)?;
        Ok(Some(plan.epoch))
    }

    /// The plans of all epochs after one.
    fn plans_after(&self, epoch: Option<Epoch>) -> Result<Vec<EpochRecord>, Failure> {
        let planned = self.planned()?.into_iter();
        let later = planned.filter(|planned| Some(*planned) > epoch);
        later.map(|epoch| self.epoch(epoch)).collect()
    }
}
