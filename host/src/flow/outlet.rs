//! The I/O thread of a sink: one per sink and process, fed by the process's workers through a bounded channel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, Sender};

use super::context::{Charge, Waker};
use super::parcel::Provenance;
use super::rejects::{RejectedRow, Rejects, row_as_json};
use crate::abort::Abort;
use crate::deliver::{EpochInfo, Sink};
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, PartitionId};
use crate::pipeline::{Node, OnError};
use crate::receive::Readers;
use crate::telemetry::{NodeCounters, count};

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

/// A worker's end of an outlet.
#[derive(Clone)]
pub struct Outlet {
    /// To the thread.
    pub messages: Sender<Message>,
    /// Epochs that a checkpoint says are over, in order; to the thread.
    pub commits: Sender<Epoch>,
    /// Rows that the sink refused, back to the worker that is to pass them on: the one at this process's first place.
    pub refused: Receiver<(Epoch, BatchTime, PartitionId, Rejects)>,
    progress: Arc<Progress>,
}

/// What the thread tells all workers.
struct Progress {
    /// Every epoch below it is delivered.
    delivered: AtomicU64,
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
    /// Whether an epoch that is finished waits for a checkpoint to say that it is over.
    pub checkpoint: bool,
    /// Where a failure goes.
    pub abort: Abort,
}

/// Starts the thread of a sink. It ends when the workers have gone.
pub fn start(sink: Box<dyn Sink>, place: Place) -> (Outlet, std::thread::JoinHandle<()>) {
    let (messages, queue) = crossbeam_channel::bounded(QUEUE);
    // At most as many as there are epochs in flight.
    let (commits, committed) = crossbeam_channel::unbounded();
    let (refuse, refused) = crossbeam_channel::unbounded();
    let progress = Arc::new(Progress {
        delivered: AtomicU64::new(0),
        wakers: (0..place.workers).map(|_| Arc::default()).collect(),
    });
    let (name, abort) = (format!("sink:{}", place.node.name), place.abort.clone());
    let thread = Thread {
        sink,
        place,
        refuse,
        progress: progress.clone(),
        finishing: BTreeMap::new(),
    };
    let handle = std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            if let Err(failure) = abort.guard(|| thread.run(queue, committed)) {
                abort.fail(failure);
            }
        })
        .expect("the system can start a thread");
    (
        Outlet {
            messages,
            commits,
            refused,
            progress,
        },
        handle,
    )
}

struct Thread {
    sink: Box<dyn Sink>,
    place: Place,
    refuse: Sender<(Epoch, BatchTime, PartitionId, Rejects)>,
    progress: Arc<Progress>,
    finishing: BTreeMap<Epoch, usize>,
}

impl Thread {
    fn run(
        mut self,
        mut queue: Receiver<Message>,
        mut committed: Receiver<Epoch>,
    ) -> Result<(), Failure> {
        // Both close when the workers have gone; what was sent before still comes.
        let (mut writing, mut committing) = (true, self.place.checkpoint);
        while writing || committing {
            crossbeam_channel::select! {
                recv(queue) -> message => match message {
                    Ok(message) => self.take(message)?,
                    Err(_) => (writing, queue) = (false, crossbeam_channel::never()),
                },
                recv(committed) -> epoch => match epoch {
                    Ok(epoch) => self.commit(epoch)?,
                    Err(_) => (committing, committed) = (false, crossbeam_channel::never()),
                },
            }
            for waker in &self.progress.wakers {
                waker.wake();
            }
        }
        self.sink
            .close()
            .map_err(|failure| failure.at_node(&self.place.node.name))
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
                self.write(info, partition, &batch, last, provenance)
                    .map_err(|failure| {
                        let name = &self.place.node.name;
                        failure.at_node(name).at(info.epoch, partition)
                    })?;
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
        fail::fail_point!("sink-finish");
        self.sink
            .finish(info)
            .map_err(|failure| self.placed(failure, info.epoch))?;
        if !self.place.checkpoint {
            self.commit(info.epoch)?;
        }
        self.progress
            .delivered
            .store(info.epoch.0 + 1, Ordering::Release);
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch) -> Result<(), Failure> {
        self.sink
            .commit(epoch)
            .map_err(|failure| self.placed(failure, epoch))
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
                        origin: origin(refused.row),
                        row: row_as_json(batch, refused.row as usize),
                        reason: refused.reason,
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
