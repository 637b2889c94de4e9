//! What the records found at a start mean, and which of them may go: pure decisions over plain data.
//!
//! Plans are written in order, commits are written in order, and an epoch is planned before it is committed. A commit covers the epochs from
//! the commit before it to the one that it is called by. So all epochs up to the last commit are over, those planned after it are run
//! again, and what comes next is cut anew.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::prepared::Pending;
use super::record::{EpochRecord, PipelineRecord};
use super::state::Manifest;
use crate::ids::{BatchTime, Digest, Epoch, Generation, NodeName};
use crate::receive::Range;

/// Where a run goes on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resume {
    /// The last epoch that is over.
    pub committed: Option<Epoch>,
    /// Epochs to run again as they were planned, in order.
    pub planned: Vec<EpochRecord>,
    /// The first epoch to be cut anew.
    pub next: Epoch,
    /// Batch times go on after this one.
    pub time: BatchTime,
    /// Where each source goes on after all of that.
    pub positions: BTreeMap<NodeName, Value>,
    /// What the steps remember after the last epoch that is over.
    pub state: Manifest,
    /// What sinks may not have made visible yet of epochs that are over.
    pub pending: Pending,
}

/// The plans to read at a start: those to run again, or else the one that says where the sources stand.
pub fn wanted(planned: &BTreeSet<Epoch>, committed: &BTreeSet<Epoch>) -> Vec<Epoch> {
    let last = committed.last();
    let after = |epoch: &&Epoch| last.is_none_or(|last| *epoch >= last);
    planned.iter().filter(after).copied().collect()
}

/// Where to go on, from the [`wanted`] plans; or what is wrong with the records.
pub fn resume(plans: Vec<EpochRecord>, committed: &BTreeSet<Epoch>) -> Result<Resume, String> {
    let committed = committed.last().copied();
    let Some(newest) = plans.last().cloned() else {
        return match committed {
            None => Ok(Resume::default()),
            Some(epoch) => Err(format!(
                "epoch {epoch} is committed, and its plan is not there"
            )),
        };
    };
    let first = committed.unwrap_or_default();
    for (expected, plan) in (first.0..).zip(&plans) {
        if plan.epoch != Epoch(expected) {
            return Err(format!(
                "the plan of epoch {expected} is not there, but that of epoch {} is",
                plan.epoch
            ));
        }
    }
    let after = |plan: &EpochRecord| committed.is_none_or(|last| plan.epoch > last);
    let mut planned: Vec<_> = plans.into_iter().filter(after).collect();
    // One that sets the steps back has the input of those before it.
    if let Some(first) = planned.iter().rposition(|plan| plan.state.is_some()) {
        planned.drain(..first);
    }
    Ok(Resume {
        committed,
        planned,
        next: Epoch(newest.epoch.0 + 1),
        time: newest.time,
        positions: newest.positions,
        state: Manifest::new(),
        pending: Pending::new(),
    })
}

/// The epoch that has all input since an epoch once more, after the state that was remembered then. `later` are the plans since, of which
/// there is one at least; held input is counted anew.
pub fn set_back(
    generation: Generation,
    state: Manifest,
    base: &EpochRecord,
    later: &[EpochRecord],
) -> EpochRecord {
    let last = later.last().unwrap_or(base);
    let reads = later.iter().flat_map(|plan| &plan.reads).cloned();
    let numbered = (0..).zip(reads).map(|(partition, mut read)| {
        if let Range::Held { block, .. } = &mut read.range {
            *block = partition;
        }
        read
    });
    EpochRecord {
        epoch: Epoch(last.epoch.0 + 1),
        generation,
        time: BatchTime(last.time.0 + 1),
        pipeline: base.pipeline,
        reads: numbered.collect(),
        positions: last.positions.clone(),
        state: Some(state),
    }
}

/// By which code each start ran, as far as the plans say that it made.
pub fn code_of_starts(plans: &[EpochRecord]) -> BTreeMap<Generation, Digest> {
    let starts = plans.iter().map(|plan| (plan.generation, plan.pipeline));
    starts.collect()
}

/// An epoch to run again, and its source that the pipeline does not have.
pub fn reads_a_lost_source<'a>(
    resume: &'a Resume,
    pipeline: &PipelineRecord,
) -> Option<(Epoch, &'a NodeName)> {
    let reads = resume
        .planned
        .iter()
        .flat_map(|plan| plan.reads.iter().map(|read| (plan.epoch, &read.source)));
    let mut lost = reads.filter(|(_, source)| {
        pipeline
            .nodes
            .get(*source)
            .is_none_or(|kind| kind != "source")
    });
    lost.next()
}

/// What is different about a pipeline, as far as it matters to what is kept for it. A new node is no difference.
pub fn changes(known: &PipelineRecord, now: &PipelineRecord) -> Vec<String> {
    let mut changes = Vec::new();
    if known.name != now.name {
        changes.push(format!(
            "it was called `{}` and is called `{}`",
            known.name, now.name
        ));
    }
    if known.partitions != now.partitions {
        changes.push(format!(
            "it had {} partitions and has {}",
            known.partitions, now.partitions
        ));
    }
    // A node that does not reject any more has lost nothing: where its rows were read again is remembered.
    let lasting = known.nodes.iter().filter(|(name, _)| !name.is_again());
    for (name, kind) in lasting {
        match now.nodes.get(name) {
            None => changes.push(format!("the {kind} `{name}` is gone")),
            Some(other) if other != kind => {
                changes.push(format!("`{name}` was a {kind} and is a {other}"))
            }
            Some(_) => {}
        }
    }
    changes
}

/// How many of some commits, the oldest first, are not needed for the records of the newest `retain` epochs.
pub fn surplus(commits: impl DoubleEndedIterator<Item = Epoch> + Clone, retain: u64) -> usize {
    let Some(last) = commits.clone().next_back() else {
        return 0;
    };
    commits
        .take_while(|commit| last.0 - commit.0 >= retain)
        .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(epoch: u64) -> EpochRecord {
        EpochRecord {
            epoch: Epoch(epoch),
            generation: Generation(1),
            time: BatchTime(1000 + epoch as i64),
            pipeline: Digest([0; 32]),
            reads: Vec::new(),
            positions: BTreeMap::from([(NodeName::from("lines"), Value::from(epoch))]),
            state: None,
        }
    }

    fn set(epochs: impl IntoIterator<Item = u64>) -> BTreeSet<Epoch> {
        epochs.into_iter().map(Epoch).collect()
    }

    fn found(planned: &BTreeSet<Epoch>, committed: &BTreeSet<Epoch>) -> Result<Resume, String> {
        let plans = wanted(planned, committed)
            .into_iter()
            .map(|epoch| plan(epoch.0));
        resume(plans.collect(), committed)
    }

    proptest! {
        // The slow twin lives through every write, and crashes after any one of them.
        #[test]
        fn a_crash_after_any_write_goes_on_where_it_was(
            steps in prop::collection::vec((0u8..3, 1u64..4), 0..60), retain in 1u64..5,
        ) {
            let (mut planned, mut committed) = (BTreeSet::new(), BTreeSet::new());
            let (mut next, mut over) = (0u64, 0u64);
            for (step, covered) in steps {
                match step {
                    0 => { planned.insert(Epoch(next)); next += 1; }
                    // A commit covers some epochs.
                    1 if over < next => {
                        over = next.min(over + covered);
                        committed.insert(Epoch(over - 1));
                    }
                    _ => for _ in 0..surplus(committed.iter().copied(), retain) {
                        let old = committed.pop_first().expect("more than `retain`");
                        planned.retain(|epoch| *epoch > old);
                    }
                }
                if over > 0 {
                    // So many as are asked for are there, and not one more than that and a commit's.
                    let first = planned.first().map_or(over, |first| first.0);
                    prop_assert!(over - first >= retain.min(over));
                    if step == 2 {
                        prop_assert!(over - first < retain + 3);
                    }
                }
                let resume = found(&planned, &committed).expect("these are records of a run");
                prop_assert_eq!(resume.committed, over.checked_sub(1).map(Epoch));
                let again: Vec<_> = resume.planned.iter().map(|plan| plan.epoch.0).collect();
                prop_assert_eq!(again, (over..next).collect::<Vec<_>>());
                prop_assert_eq!(resume.next, Epoch(next));
                let stands = resume.positions.values().next().and_then(Value::as_u64);
                prop_assert_eq!(stands, next.checked_sub(1));
            }
        }
    }

    #[test]
    fn a_record_that_is_missing_is_named() {
        let gap = found(&set([3, 5]), &set([3]));
        assert_eq!(
            gap,
            Err("the plan of epoch 4 is not there, but that of epoch 5 is".to_owned())
        );
        let lost = found(&set([]), &set([3]));
        assert_eq!(
            lost,
            Err("epoch 3 is committed, and its plan is not there".to_owned())
        );
    }

    #[test]
    fn a_pipeline_may_gain_nodes_but_not_lose_or_turn_them() {
        let record = |name: &str, nodes: &[(&str, &str)]| PipelineRecord {
            name: name.into(),
            nodes: nodes
                .iter()
                .map(|(name, kind)| ((*name).into(), (*kind).to_owned()))
                .collect(),
            partitions: 8,
        };
        let known = record("p", &[("a", "source"), ("b", "sink")]);
        assert!(
            changes(
                &known,
                &record("p", &[("a", "source"), ("b", "sink"), ("c", "step")])
            )
            .is_empty()
        );
        let rejecting = record(
            "p",
            &[("a", "source"), ("b", "sink"), ("b.again", "source")],
        );
        assert!(changes(&rejecting, &known).is_empty());
        let other = record("q", &[("a", "step"), ("c", "sink")]);
        assert_eq!(
            changes(&known, &other),
            [
                "it was called `p` and is called `q`",
                "`a` was a source and is a step",
                "the sink `b` is gone"
            ]
        );
    }
}
