//! How epochs end: what steps and sinks have made durable of them goes into a commit record, and then sinks are told to make it visible.
//!
//! A record may cover several epochs. It also names what sinks have not made visible yet of epochs before, so a start
//! needs only the last one. Without a checkpoint an epoch ends when it is delivered everywhere.

use std::collections::BTreeMap;

use crossbeam_channel::Receiver;

use super::epochs::Journal;
use crate::checkpoint::{CommitRecord, Manifest, Pending, Prepared, Resume, Tokens};
use crate::error::Failure;
use crate::flow::outlet::{Committer, SinkToken, Verdict};
use crate::flow::store::Stored;
use crate::ids::{BatchTime, Epoch, NodeName};

/// The epochs that are delivered, from then to their end.
pub struct Commits {
    /// What is kept of an epoch; told before the epoch is delivered.
    stored: Receiver<(Epoch, Stored)>,
    /// What sinks have prepared of an epoch; told before it is delivered.
    prepared: Receiver<(Epoch, SinkToken)>,
    sinks: BTreeMap<NodeName, Committer>,
    /// What steps remember after the last epoch that is delivered.
    state: Manifest,
    /// What epochs in flight change of it.
    changes: BTreeMap<Epoch, Vec<Stored>>,
    /// What sinks have prepared of epochs in flight.
    tokens: BTreeMap<Epoch, BTreeMap<NodeName, Tokens>>,
    /// What sinks have not made visible yet, as far as is known, of epochs that are delivered.
    pending: Pending,
    /// Delivered, and not committed yet.
    delivered: Vec<(Epoch, BatchTime)>,
    /// A record covers so many epochs, unless there are no more for now.
    every: usize,
}

impl Commits {
    /// Of a run that begins, with a record for `every` so many epochs.
    pub fn new(
        every: u32,
        stored: Receiver<(Epoch, Stored)>,
        prepared: Receiver<(Epoch, SinkToken)>,
        sinks: BTreeMap<NodeName, Committer>,
    ) -> Self {
        Self {
            stored,
            prepared,
            sinks,
            state: Manifest::new(),
            changes: BTreeMap::new(),
            tokens: BTreeMap::new(),
            pending: Pending::new(),
            delivered: Vec::new(),
            every: every as usize,
        }
    }

    /// Goes on after an earlier run, and has sinks make visible what it may have left.
    pub fn resume(&mut self, resume: &mut Resume) {
        self.state = std::mem::take(&mut resume.state);
        self.pending = std::mem::take(&mut resume.pending);
        for (name, pending) in &self.pending {
            let Some(sink) = self.sinks.get(name) else {
                let epochs = pending.len();
                tracing::warn!(sink = %name, epochs, "the sink is gone; what it had not made visible yet of committed epochs is lost");
                continue;
            };
            for prepared in pending {
                sink.tell(Verdict::Commit(prepared.clone()));
            }
        }
    }

    /// Takes up what was told of epochs that are not delivered yet.
    fn listen(&mut self) {
        for (epoch, stored) in self.stored.try_iter() {
            self.changes.entry(epoch).or_default().push(stored);
        }
        for (epoch, told) in self.prepared.try_iter() {
            let of_epoch = self.tokens.entry(epoch).or_default();
            let of_sink = of_epoch.entry(told.sink).or_default();
            of_sink.insert(told.partition, told.token);
        }
    }

    /// An epoch is delivered everywhere, and its state is durable.
    pub fn deliver(&mut self, epoch: Epoch, time: BatchTime) {
        self.listen();
        for stored in self.changes.remove(&epoch).unwrap_or_default() {
            let step = self.state.entry(stored.node).or_default();
            step.partitions.insert(stored.partition, stored.state);
        }
        let mut all = self.tokens.remove(&epoch).unwrap_or_default();
        for sink in self.sinks.keys() {
            let tokens = all.remove(sink).unwrap_or_default();
            let pending = self.pending.entry(sink.clone()).or_default();
            // The time of an epoch without rows, too, may end what the sink holds back.
            if !tokens.is_empty() || !pending.is_empty() {
                pending.push(Prepared {
                    epoch,
                    time,
                    tokens,
                });
            }
        }
        self.delivered.push((epoch, time));
    }

    /// Bytes of what steps remember after the last epoch that is delivered.
    pub fn state_bytes(&self) -> u64 {
        let partitions = self
            .state
            .values()
            .flat_map(|step| step.partitions.values());
        let segments = partitions.flat_map(|partition| &partition.segments);
        segments.map(|segment| segment.bytes).sum()
    }

    /// How many epochs are delivered and not committed.
    pub fn waiting(&self) -> usize {
        self.delivered.len()
    }

    /// Whether there are enough of them for a record.
    pub fn is_due(&self) -> bool {
        self.delivered.len() >= self.every
    }

    /// Ends all epochs that are delivered.
    ///
    /// # Errors
    /// When that cannot be recorded.
    pub fn commit(&mut self, journal: Option<&mut Journal>) -> Result<Option<Epoch>, Failure> {
        let ended = std::mem::take(&mut self.delivered);
        let (Some((first, _)), Some((last, time))) = (ended.first(), ended.last()) else {
            return Ok(None);
        };
        let last = *last;
        self.pending.retain(|name, pending| {
            let visible = self.sinks.get(name).map(Committer::visible);
            pending.retain(|prepared| visible.is_some_and(|visible| prepared.epoch >= visible));
            !pending.is_empty()
        });
        if let Some(journal) = journal {
            journal.checkpoint.commit(CommitRecord {
                first: *first,
                epoch: last,
                generation: journal.checkpoint.generation(),
                time: *time,
                state: self.state.clone(),
                pending: self.pending.clone(),
            })?;
        }
        for (epoch, time) in ended {
            for (name, sink) in &self.sinks {
                sink.tell(Verdict::Commit(self.prepared_by(name, epoch, time)));
            }
        }
        Ok(Some(last))
    }

    fn prepared_by(&self, sink: &NodeName, epoch: Epoch, time: BatchTime) -> Prepared {
        let mut pending = self.pending.get(sink).into_iter().flatten().rev();
        let prepared = pending.find(|prepared| prepared.epoch == epoch);
        prepared.cloned().unwrap_or_else(|| Prepared {
            epoch,
            time,
            tokens: Tokens::new(),
        })
    }

    /// The run ends, and no record was tried to be written of what is not committed: has sinks undo what they have prepared of it.
    pub fn abort(&mut self) {
        self.listen();
        let first = self.delivered.first().map(|(epoch, _)| *epoch);
        for (name, sink) in &self.sinks {
            let pending = self.pending.get(name).into_iter().flatten();
            let delivered =
                pending.filter(|prepared| first.is_some_and(|first| prepared.epoch >= first));
            let in_flight = self.tokens.iter().filter_map(|(epoch, sinks)| {
                Some(Prepared {
                    epoch: *epoch,
                    time: BatchTime::default(),
                    tokens: sinks.get(name)?.clone(),
                })
            });
            let all = delivered.cloned().chain(in_flight);
            for prepared in all.filter(|prepared| !prepared.tokens.is_empty()) {
                sink.tell(Verdict::Abort(prepared));
            }
        }
    }

    /// When a step or a sink wants an epoch even if there are no rows, in milliseconds since 1970. What a sink wants to be told of at a time
    /// up to that of the last epoch that was `planned`, it will be told with that one.
    pub fn due(&self, planned: BatchTime) -> Option<i64> {
        let steps = self.state.values();
        let partitions = steps.flat_map(|step| step.partitions.values());
        let timers = partitions.filter_map(|state| state.next_timer);
        let sinks = self.sinks.values().filter_map(Committer::due);
        timers.chain(sinks.filter(|due| *due > planned.0)).min()
    }

    /// The run ends, and every epoch is committed.
    pub fn end(&self) {
        for sink in self.sinks.values() {
            sink.tell(Verdict::End);
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::Sender;

    use super::*;
    use crate::checkpoint::Token;
    use crate::ids::PartitionId;

    /// With one sink, of which all before an epoch is visible, and an end to tell what it has prepared.
    fn commits(visible: u64) -> (Commits, Sender<(Epoch, SinkToken)>, Receiver<Verdict>) {
        let (_, stored) = crossbeam_channel::unbounded();
        let (tell, prepared) = crossbeam_channel::unbounded();
        let (sink, told) = Committer::of_test(Epoch(visible));
        let sinks = BTreeMap::from([("out".into(), sink)]);
        (Commits::new(2, stored, prepared, sinks), tell, told)
    }

    fn tell(told: &Sender<(Epoch, SinkToken)>, epoch: u64, partition: u32) {
        let token = SinkToken {
            sink: "out".into(),
            partition: PartitionId(partition),
            token: Token(vec![epoch as u8, partition as u8]),
        };
        told.send((Epoch(epoch), token)).unwrap();
    }

    fn prepared(epoch: u64, time: i64, partitions: &[u8]) -> Prepared {
        let tokens = partitions.iter().map(|partition| {
            let token = Token(vec![epoch as u8, *partition]);
            (PartitionId(u32::from(*partition)), token)
        });
        Prepared {
            epoch: Epoch(epoch),
            time: BatchTime(time),
            tokens: tokens.collect(),
        }
    }

    #[test]
    fn epochs_are_committed_together_and_what_is_not_committed_is_aborted() {
        let (mut commits, told, verdicts) = commits(0);
        // Partitions of any process, in any order; epoch 2 is told of before epoch 1 is delivered.
        for (epoch, partition) in [(0, 1), (0, 0), (2, 0), (4, 3)] {
            tell(&told, epoch, partition);
        }
        commits.deliver(Epoch(0), BatchTime(10));
        assert!(!commits.is_due());
        commits.deliver(Epoch(1), BatchTime(11));
        assert!(commits.is_due());
        commits.commit(None).unwrap();
        let expected = [prepared(0, 10, &[0, 1]), prepared(1, 11, &[])];
        let obeyed: Vec<_> = verdicts.try_iter().collect();
        assert_eq!(obeyed, expected.map(Verdict::Commit));
        commits.deliver(Epoch(2), BatchTime(12));
        commits.deliver(Epoch(3), BatchTime(13));
        tell(&told, 5, 0);
        commits.abort();
        let expected = [
            prepared(2, 12, &[0]),
            prepared(4, 0, &[3]),
            prepared(5, 0, &[0]),
        ];
        let obeyed: Vec<_> = verdicts.try_iter().collect();
        assert_eq!(obeyed, expected.map(Verdict::Abort));
    }

    #[test]
    fn what_is_not_visible_yet_is_pending_and_given_again_at_a_start() {
        let (mut one, told, _verdicts) = commits(1);
        for epoch in 0..3 {
            tell(&told, epoch, 0);
            one.deliver(Epoch(epoch), BatchTime(0));
        }
        // One without rows goes along while there is something to be made visible.
        one.deliver(Epoch(3), BatchTime(7));
        one.commit(None).unwrap();
        let pending = vec![
            prepared(1, 0, &[0]),
            prepared(2, 0, &[0]),
            prepared(3, 7, &[]),
        ];
        assert_eq!(
            one.pending,
            Pending::from([("out".into(), pending.clone())])
        );
        let (mut other, _, verdicts) = commits(0);
        let mut resume = Resume {
            pending: one.pending,
            ..Resume::default()
        };
        other.resume(&mut resume);
        let obeyed: Vec<_> = verdicts.try_iter().collect();
        assert_eq!(
            obeyed,
            pending.into_iter().map(Verdict::Commit).collect::<Vec<_>>()
        );
    }
}
