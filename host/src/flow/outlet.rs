//! The I/O thread of a sink: one per sink and process, fed by the process's workers through a bounded channel.
//!
//! What the sink prepares of an epoch goes back to a worker as [`SinkToken`]s, and with the epoch's progress to the epoch driver. When
//! the driver says by a [`Verdict`] what becomes of it, it says so to process 0's thread alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};

use super::context::{Charge, Waker};
use super::parcel::Provenance;
use super::rejects::{RejectedRow, Rejects, row_as_json};
use crate::abort::Abort;
use crate::checkpoint::{Prepared, Token};
use crate::deliver::{EpochInfo, Sink};
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, NodeName, PartitionId};
use crate::pipeline::{Node, OnError};
use crate::receive::Readers;
use crate::telemetry::{NodeCounters, count};
use crate::thread;
use crate::trace::Traces;

/// Batches on their way to the I/O thread: enough to keep it busy while workers compute.
const QUEUE: usize = 16;

/// What a worker says to the outlet.
pub enum Message {
    /// Rows of one partition, in order.
    Rows {
        /// Which epoch.
        info: EpochInfo,
        /// Which partition.
        partition: PartitionId,
        /// The rows.
        batch: RecordBatch,
        /// Whether they are the partition's last.
        last: bool,
        /// Where they come from.
        provenance: Option<Provenance>,
        /// Keeps the bytes on the gauge while they wait.
        charge: Option<Arc<Charge>>,
    },
    /// This worker has no more rows of the epoch.
    Finish(EpochInfo),
}

/// What the epoch driver says to process 0's outlet. All epochs come in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The epoch is delivered everywhere and, with a checkpoint, recorded as over.
    Commit(Prepared),
    /// The run ends before it is.
    Abort(Prepared),
    /// The run ends, and every epoch is committed.
    End,
}

/// By which a sink finds a part of an epoch, on its way to the epoch driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SinkToken {
    /// The sink.
    pub sink: NodeName,
    /// The partition.
    pub partition: PartitionId,
    /// What the sink gave for it.
    pub token: Token,
}

/// A worker's end of an outlet.
#[derive(Clone)]
pub struct Outlet {
    /// To the thread.
    pub messages: Sender<Message>,
    /// Rows that the sink refused, back to a worker of this process that passes them on.
    pub refused: Receiver<(Epoch, BatchTime, PartitionId, Rejects)>,
    /// What the sink has prepared, back to a worker in the same way.
    pub prepared: Receiver<(Epoch, SinkToken)>,
    progress: Arc<Progress>,
}

/// The epoch driver's end of an outlet.
pub struct Committer {
    verdicts: Sender<Verdict>,
    progress: Arc<Progress>,
}

impl Committer {
    /// One whose verdicts nobody obeys: its sink has made visible what is before `visible`.
    #[cfg(test)]
    pub fn of_test(visible: Epoch) -> (Self, Receiver<Verdict>) {
        let (verdicts, told) = crossbeam_channel::unbounded();
        let progress = Arc::new(Progress {
            delivered: AtomicU64::new(0),
            visible: AtomicU64::new(visible.0),
            due: AtomicI64::new(NEVER),
            wakers: Vec::new(),
        });
        (Self { verdicts, progress }, told)
    }

    /// Tells the thread.
    pub fn tell(&self, verdict: Verdict) {
        // It has gone only when the run has failed.
        self.verdicts.send(verdict).ok();
    }

    /// Every epoch below this one that was committed is visible.
    pub fn visible(&self) -> Epoch {
        Epoch(self.progress.visible.load(Ordering::Acquire))
    }

    /// When the sink wants an epoch even without rows.
    pub fn due(&self) -> Option<i64> {
        let due = self.progress.due.load(Ordering::Relaxed);
        (due < NEVER).then_some(due)
    }
}

/// No time is due.
const NEVER: i64 = i64::MAX;

/// What the thread tells all workers and the epoch driver.
struct Progress {
    /// Every epoch below it is delivered.
    delivered: AtomicU64,
    /// Every epoch below it that was committed is visible.
    visible: AtomicU64,
    /// When an epoch is due even without rows, in milliseconds since 1970.
    due: AtomicI64,
    wakers: Vec<Arc<Waker>>,
}

impl Outlet {
    /// Every epoch below this one is delivered by this process.
    pub fn delivered(&self) -> u64 {
        self.progress.delivered.load(Ordering::Acquire)
    }

    /// The waker of the local worker at this place.
    pub fn waker(&self, local: usize) -> Arc<Waker> {
        self.progress.wakers[local].clone()
    }
}

/// What a sink's thread knows of the run.
pub struct Place {
    /// The sink's node.
    pub node: Node,
    /// Its index in the plan.
    pub index: usize,
    /// Local workers that feed it.
    pub workers: usize,
    /// The node's counters.
    pub counters: Arc<NodeCounters>,
    /// Of the sources.
    pub readers: Readers,
    /// Of the run.
    pub traces: Traces,
    /// Where a failure goes.
    pub abort: Abort,
}

/// Starts the thread of a sink. It ends when the workers and the committer have gone.
pub fn start(sink: Box<dyn Sink>, place: Place) -> (Outlet, Committer, JoinHandle<()>) {
    let (messages, queue) = crossbeam_channel::bounded(QUEUE);
    // At most as many as there are epochs in flight, for they go before what workers say.
    let (tell, verdicts) = crossbeam_channel::unbounded();
    let (refuse, refused) = crossbeam_channel::unbounded();
    let (prepare, prepared) = crossbeam_channel::unbounded();
    let progress = Arc::new(Progress {
        delivered: AtomicU64::new(0),
        visible: AtomicU64::new(0),
        due: AtomicI64::new(NEVER),
        wakers: (0..place.workers).map(|_| Arc::default()).collect(),
    });
    let (name, abort) = (format!("sink:{}", place.node.name), place.abort.clone());
    let worker = Thread {
        sink,
        place,
        refuse,
        prepare,
        progress: progress.clone(),
        finishing: BTreeMap::new(),
    };
    let handle = thread::spawn(name, move || {
        if let Err(failure) = abort.guard(|| worker.run(queue, verdicts)) {
            abort.fail(failure);
        }
    });
    let committer = Committer {
        verdicts: tell,
        progress: progress.clone(),
    };
    let outlet = Outlet {
        messages,
        refused,
        prepared,
        progress,
    };
    (outlet, committer, handle)
}

struct Thread {
    sink: Box<dyn Sink>,
    place: Place,
    refuse: Sender<(Epoch, BatchTime, PartitionId, Rejects)>,
    prepare: Sender<(Epoch, SinkToken)>,
    progress: Arc<Progress>,
    finishing: BTreeMap<Epoch, usize>,
}

impl Thread {
    fn run(
        mut self,
        mut queue: Receiver<Message>,
        mut verdicts: Receiver<Verdict>,
    ) -> Result<(), Failure> {
        // Both close in the end; what was sent before still comes.
        let (mut writing, mut committing) = (true, true);
        while writing || committing {
            crossbeam_channel::select_biased! {
                recv(verdicts) -> verdict => match verdict {
                    Ok(verdict) => self.obey(verdict)?,
                    Err(_) => (committing, verdicts) = (false, crossbeam_channel::never()),
                },
                recv(queue) -> message => match message {
                    Ok(message) => self.take(message)?,
                    Err(_) => (writing, queue) = (false, crossbeam_channel::never()),
                },
            }
            for waker in &self.progress.wakers {
                waker.wake();
            }
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Message::Rows {
                info,
                partition,
                batch,
                last,
                provenance,
                charge,
            } => {
                let began = Instant::now();
                self.write(info, partition, &batch, last, provenance)
                    .map_err(|failure| {
                        let name = &self.place.node.name;
                        failure.at_node(name).at(info.epoch, partition)
                    })?;
                self.worked(info.epoch, began);
                drop(charge);
            }
            Message::Finish(info) => {
                let finished = self.finishing.entry(info.epoch).or_insert(0);
                *finished += 1;
                if *finished == self.place.workers {
                    self.finishing.remove(&info.epoch);
                    self.finish(info)?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, info: EpochInfo) -> Result<(), Failure> {
        crate::abort::crash_point!("prepare-before");
        let began = Instant::now();
        let tokens = self
            .sink
            .finish(info)
            .map_err(|failure| self.placed(failure, info.epoch))?;
        self.worked(info.epoch, began);
        crate::abort::crash_point!("prepare-after");
        for (partition, token) in tokens {
            let sink = self.place.node.name.clone();
            let token = SinkToken {
                sink,
                partition,
                token,
            };
            // The workers have gone only when the run has failed.
            self.prepare.send((info.epoch, token)).ok();
        }
        self.progress
            .delivered
            .store(info.epoch.0 + 1, Ordering::Release);
        Ok(())
    }

    fn obey(&mut self, verdict: Verdict) -> Result<(), Failure> {
        match verdict {
            Verdict::Commit(prepared) => {
                let held = self
                    .sink
                    .commit(&prepared)
                    .map_err(|failure| self.placed(failure, prepared.epoch))?;
                let (visible, due) = match held {
                    None => (Epoch(prepared.epoch.0 + 1), None),
                    Some(held) => (held.since, held.due),
                };
                let Progress {
                    visible: told,
                    due: next,
                    ..
                } = &*self.progress;
                told.store(visible.0, Ordering::Release);
                next.store(due.map_or(NEVER, |due| due.0), Ordering::Relaxed);
                Ok(())
            }
            Verdict::Abort(prepared) => {
                let aborted = self.sink.abort(&prepared);
                aborted.map_err(|failure| self.placed(failure, prepared.epoch))
            }
            Verdict::End => {
                let ended = self.sink.end();
                ended.map_err(|failure| failure.at_node(&self.place.node.name))
            }
        }
    }

    fn worked(&self, epoch: Epoch, began: Instant) {
        self.place
            .traces
            .worked(epoch, &self.place.node.name, began);
    }

    fn placed(&self, mut failure: Failure, epoch: Epoch) -> Failure {
        failure.place.epoch.get_or_insert(epoch);
        failure.at_node(&self.place.node.name)
    }

    fn write(
        &mut self,
        info: EpochInfo,
        partition: PartitionId,
        batch: &RecordBatch,
        last: bool,
        provenance: Option<Provenance>,
    ) -> Result<(), Failure> {
        let Place {
            node,
            counters,
            readers,
            ..
        } = &self.place;
        count(&counters.rows_in, batch.num_rows() as u64);
        let refused = self.sink.write(info, partition, batch, last)?;
        count(
            &counters.rows_out,
            (batch.num_rows() - refused.len()) as u64,
        );
        let Some(first) = refused.first() else {
            return Ok(());
        };
        let origin = |row: u32| provenance.as_ref()?.origin(readers, row as usize);
        match node.on_error {
            OnError::Fail => {
                return Err(Failure::user(format!("the sink refused a row: {}", first.reason))
                    .at_row(u64::from(first.row))
                    .help("set `on_error = \"skip\"` or `\"reject\"` on the sink to go on without such rows"));
            }
            OnError::Skip => count(&counters.skipped, refused.len() as u64),
            OnError::Reject => {
                count(&counters.rejected, refused.len() as u64);
                let mut rejects = Rejects::new(node, self.place.index);
                for refused in refused {
                    rejects.add(RejectedRow {
                        input: None,
                        origin: origin(refused.row),
                        row: row_as_json(batch, refused.row as usize),
                        reason: refused.reason,
                        bytes: None,
                        cut: false,
                    });
                }
                // The workers have gone only when the run has failed.
                self.refuse
                    .send((info.epoch, info.time, partition, rejects))
                    .ok();
            }
        }
        Ok(())
    }
}
