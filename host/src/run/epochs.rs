//! The epoch driver: asks the receivers what there is, cuts epochs, and hands their plans to the data plane.
//!
//! Runs on a thread of process 0. When to cut is [`Batcher`]'s decision; who reads what is decided by [`Placement`];
//! this file acts on both. With a [`Checkpoint`], an epoch is handed on when its plan is durable, and committed when
//! every sink holds it; a start first hands on what an earlier run had planned and not committed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver as Channel, RecvTimeoutError, Sender};
use serde_json::Value;

use super::batcher::{Batcher, Decision, Moment};
use super::commits::Commits;
use super::intake::Intake;
use super::kept::StatePool;
use super::placement::Placement;
use super::rate::Delivered;
use super::status::EpochFigures;
use super::tick::{batch_time, now_millis};
use super::{Status, Stop};
use crate::abort::Abort;
use crate::checkpoint::{Checkpoint, EpochRecord, RecordedRead, Resume};
use crate::error::Failure;
use crate::flow::context::{LiveBytes, Waker};
use crate::flow::plan::EpochPlan;
use crate::ids::{BatchTime, Epoch, NodeName, PartitionId, PipelineName};
use crate::pipeline::plan::{EpochRules, Trigger};
use crate::receive::{Budget, Reader, Receiver, Waiting};
use crate::trace::{self, Traces};

/// A source's receiver, with the node it belongs to.
pub struct Driven {
    /// Index of the source in the plan.
    pub index: usize,
    /// Its name.
    pub name: NodeName,
    /// Its receiver.
    pub receiver: Box<dyn Receiver>,
    /// Its reader.
    pub reader: Arc<dyn Reader>,
}

/// What the driver is connected to.
pub struct Wiring {
    /// To worker 0; closed, time ends.
    pub plans: Option<Sender<EpochPlan>>,
    /// Schedules worker 0's end.
    pub waker: Arc<Waker>,
    /// Every epoch below the number received is delivered everywhere, and its state is durable.
    pub delivered: Channel<u64>,
    /// The process's gauge.
    pub live: LiveBytes,
    /// Tells how it went.
    pub traces: Traces,
    /// Shows how it goes.
    pub status: Arc<Status>,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// Rows that may be taken in.
    pub intake: Arc<Intake>,
    /// What may be remembered.
    pub state: Arc<StatePool>,
    /// Asks for a drain.
    pub stop: Stop,
    /// Ends the run.
    pub abort: Abort,
}

/// Cuts epochs until the input or the run ends.
pub fn drive(
    rules: EpochRules,
    placement: Placement,
    sources: Vec<Driven>,
    journal: Option<Journal>,
    commits: Commits,
    wiring: Wiring,
) -> Result<(), Failure> {
    let mut driver = Driver {
        journal,
        commits,
        interval: match rules.trigger {
            Trigger::Interval(interval) => Some(interval),
            Trigger::AvailableNow => None,
        },
        batcher: Batcher::new(rules),
        placement,
        sources,
        absent: BTreeMap::new(),
        wiring,
        started: Instant::now(),
        next: Epoch(0),
        last_time: BatchTime(0),
        in_flight: VecDeque::new(),
        last_delivery: Instant::now(),
        stopped: false,
        dictated: None,
        allowed: None,
        held: None,
        turn: 0,
    };
    let ended = driver.run();
    driver.end(ended.is_ok());
    ended
}

/// The records of a pipeline with a checkpoint.
pub struct Journal {
    /// The records.
    pub checkpoint: Checkpoint,
    /// Where to go on.
    pub resume: Resume,
}

struct InFlight {
    epoch: Epoch,
    time: BatchTime,
    /// Before its plan was recorded.
    began: Instant,
    cut: Instant,
    bytes: u64,
}

impl InFlight {
    fn new(plan: &EpochPlan) -> Self {
        let now = Instant::now();
        Self {
            epoch: plan.epoch,
            time: plan.time,
            began: now,
            cut: now,
            bytes: plan.reads.iter().map(|read| read.range.bytes()).sum(),
        }
    }
}

struct Driver {
    journal: Option<Journal>,
    commits: Commits,
    interval: Option<Duration>,
    batcher: Batcher,
    placement: Placement,
    sources: Vec<Driven>,
    /// Where sources of rejected rows stand whose nodes do not reject now: if they do again, nothing comes twice.
    absent: BTreeMap<NodeName, Value>,
    wiring: Wiring,
    started: Instant,
    next: Epoch,
    last_time: BatchTime,
    /// Epochs not delivered yet, in order.
    in_flight: VecDeque<InFlight>,
    last_delivery: Instant,
    stopped: bool,
    /// The time of the next epoch, if a source says so.
    dictated: Option<BatchTime>,
    /// Rows that may be taken in, when it was last decided.
    allowed: Option<u64>,
    /// Until when it is counted that there is more to read than may be.
    held: Option<Instant>,
    /// Which source is asked first: they take turns, so that one with a backlog does not starve the others.
    turn: usize,
}

impl Driver {
    /// Goes on until the input or the run ends, and every epoch is committed.
    fn run(&mut self) -> Result<(), Failure> {
        self.wiring.stop.unpark_me();
        self.wiring.abort.unpark_me();
        self.resume()?;
        while !self.wiring.abort.is_set() {
            if self.wiring.stop.is_requested() && !self.stopped {
                self.stopped = true;
                for source in &mut self.sources {
                    source.receiver.stop();
                }
            }
            match self.decide()? {
                Decision::Cut(budget) => self.cut(budget)?,
                Decision::Wait(span) => self.wait(span)?,
                Decision::Hold(span) => {
                    self.held.get_or_insert_with(Instant::now);
                    self.wait(span)?;
                }
                Decision::End => break,
            }
        }
        self.drain()
    }

    /// Sets the sources to where they stood, and hands on the epochs that are planned and not over.
    fn resume(&mut self) -> Result<(), Failure> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let mut resume = std::mem::take(&mut journal.resume);
        (self.next, self.last_time) = (resume.next, resume.time);
        self.commits.resume(&mut resume);
        let remembered = self.commits.state_bytes();
        self.wiring.state.note(&self.wiring.pipeline, remembered);
        self.wiring.status.set_state(remembered);
        for source in &mut self.sources {
            // A source that is new to the pipeline stands at its beginning.
            if let Some(position) = resume.positions.get(&source.name) {
                source.receiver.restore(position)?;
            }
        }
        self.absent = std::mem::take(&mut resume.positions);
        self.absent.retain(|name, _| {
            name.is_again() && self.sources.iter().all(|source| source.name != *name)
        });
        if let Some(epoch) = resume.committed {
            tracing::info!(
                epoch = epoch.0,
                again = resume.planned.len(),
                "going on after the last commit"
            );
        }
        for plan in resume.planned {
            let mut reads = Vec::with_capacity(plan.reads.len());
            for (partition, read) in (0..).map(PartitionId).zip(&plan.reads) {
                let source = self
                    .sources
                    .iter_mut()
                    .find(|source| source.name == read.source);
                let source = source.expect("a plan that reads a lost source is refused");
                if read.range.block().is_some() {
                    let kept = journal.checkpoint.kept_input(&plan, partition)?;
                    source.reader.load(&read.range, &kept)?;
                }
                reads.push((source.index, read.range.clone()));
            }
            let plan = self.placement.plan(plan.epoch, plan.time, reads);
            self.in_flight.push_back(InFlight::new(&plan));
            self.wiring.begin(plan);
        }
        Ok(())
    }

    fn decide(&mut self) -> Result<Decision, Failure> {
        while let Ok(before) = self.wiring.delivered.try_recv() {
            self.note_delivered(before)?;
        }
        let mut all = Waiting {
            bytes: 0,
            ended: true,
            time: None,
            quiet: Duration::MAX,
        };
        for source in &mut self.sources {
            let waiting = source
                .receiver
                .waiting()
                .map_err(|failure| failure.at_node(&source.name))?;
            all.bytes = all.bytes.saturating_add(waiting.bytes);
            all.ended &= waiting.ended;
            all.time = earlier(all.time, waiting.time);
            all.quiet = all.quiet.min(waiting.quiet);
        }
        self.dictated = all.time;
        self.wiring
            .status
            .set_load(all.bytes, self.wiring.live.now());
        let now = Instant::now();
        if let Some(since) = &mut self.held {
            if all.bytes > 0 {
                self.wiring.status.count_held(now - *since);
            }
            *since = now;
        }
        self.allowed = self.wiring.intake.left(now);
        let until_due = self.next_due().map_or(Duration::MAX, until);
        let moment = Moment {
            allowed_rows: self.allowed,
            now: self.started.elapsed(),
            waiting_bytes: all.bytes,
            due: until_due == Duration::ZERO,
            quiet: all.quiet.min(until_due),
            in_flight: (self.in_flight.len() + self.commits.waiting()) as u32,
            overfull: self.wiring.live.is_over(),
            draining: self.stopped,
            ended: all.ended,
        };
        if self.in_flight.is_empty() && self.batcher.is_idle(moment) {
            self.commit()?;
        }
        Ok(self.batcher.decide(moment))
    }

    fn cut(&mut self, budget: Budget) -> Result<(), Failure> {
        let mut left = budget;
        let mut reads = Vec::new();
        let mut rows = 0;
        let count = self.sources.len();
        self.turn = (self.turn + 1) % count.max(1);
        let dictated = self.dictated;
        for place in 0..count {
            let source = &mut self.sources[(place + self.turn) % count];
            // Input that says its time belongs to the epoch of that time.
            if source
                .receiver
                .waiting()?
                .time
                .is_some_and(|time| Some(time) != dictated)
            {
                continue;
            }
            if left.rows == 0 || left.bytes == 0 {
                break;
            }
            let offer = source
                .receiver
                .poll(left)
                .map_err(|failure| failure.at_node(&source.name))?;
            rows += offer.rows;
            left.rows -= offer.rows.min(left.rows);
            for range in offer.ranges {
                left.bytes = left.bytes.saturating_sub(range.bytes());
                reads.push((source.index, range));
            }
        }
        self.batcher.cut(self.started.elapsed(), rows);
        self.wiring.intake.take(rows);
        let is_short = self.allowed.is_some_and(|allowed| rows >= allowed);
        self.held = is_short.then(Instant::now);
        if reads.is_empty()
            && dictated.is_none()
            && self.next_due().is_none_or(|due| due > now_millis())
        {
            return Ok(());
        }
        // The order of partitions is that of the sources in the file, whoever was asked first.
        reads.sort_by_key(|(source, _)| *source);
        let epoch = self.next;
        self.next = Epoch(epoch.0 + 1);
        self.last_time = match dictated {
            Some(time) if time > self.last_time => time,
            Some(time) => {
                let last = self.last_time;
                return Err(Failure::user(format!(
                    "a batch has the time {time}, and the epoch before it {last}: batch times begin after 0 and only grow"
                )));
            }
            None => batch_time(now_millis(), self.interval, self.last_time),
        };
        let plan = self.placement.plan(epoch, self.last_time, reads);
        let began = Instant::now();
        self.record(&plan)?;
        self.wiring.traces.planned(epoch, began);
        self.in_flight.push_back(InFlight {
            began,
            ..InFlight::new(&plan)
        });
        self.wiring.begin(plan);
        Ok(())
    }

    /// When a step or a sink wants an epoch even if there are no rows.
    fn next_due(&self) -> Option<i64> {
        if self.dictated.is_some() {
            return None;
        }
        let next = self.commits.due(self.last_time);
        let latest = self.in_flight.back().map(|epoch| epoch.time.0);
        // What is due at an epoch in flight is called in it.
        next.filter(|due| latest.is_none_or(|latest| latest < *due))
    }

    /// Makes a plan durable, and before it what its sources could not give again.
    fn record(&mut self, plan: &EpochPlan) -> Result<(), Failure> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let mut reads = Vec::with_capacity(plan.reads.len());
        let mut keeping = journal.checkpoint.keep_input(plan.epoch);
        for read in &plan.reads {
            let source = self
                .sources
                .iter()
                .find(|source| source.index == read.source);
            let source = source.expect("a plan reads the sources that were asked");
            let saved = source.receiver.save(&read.range);
            reads.push(RecordedRead {
                source: source.name.clone(),
                range: read.range.clone(),
                kept: saved.map(|bytes| keeping.add(bytes)).transpose()?,
            });
        }
        keeping.finish()?;
        let stands = |source: &Driven| (source.name.clone(), source.receiver.position());
        let stand = self.sources.iter().map(stands);
        journal.checkpoint.plan_epoch(&EpochRecord {
            epoch: plan.epoch,
            generation: journal.checkpoint.generation(),
            time: plan.time,
            pipeline: journal.checkpoint.code(),
            reads,
            positions: stand.chain(self.absent.clone()).collect(),
            state: None,
        })
    }

    fn wait(&mut self, span: Duration) -> Result<(), Failure> {
        if self.in_flight.is_empty() {
            // Nothing can be delivered. Sources, a stop and an abort wake this thread.
            std::thread::park_timeout(span);
            return Ok(());
        }
        match self.wiring.delivered.recv_timeout(span) {
            Ok(before) => self.note_delivered(before)?,
            Err(RecvTimeoutError::Timeout) => {}
            // The workers have left; the loop will see why.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(span),
        }
        Ok(())
    }

    /// Counts what the steps remember by now, before it is committed.
    fn remember(&self) -> Result<(), Failure> {
        let bytes = self.commits.state_bytes();
        self.wiring.status.set_state(bytes);
        self.wiring.state.keep(&self.wiring.pipeline, bytes)
    }

    /// Waits for the epochs that are still being delivered.
    fn drain(&mut self) -> Result<(), Failure> {
        while !self.in_flight.is_empty()
            && !self.wiring.abort.is_set()
            && let Ok(before) = self.wiring.delivered.recv()
        {
            self.note_delivered(before)?;
        }
        match self.wiring.abort.is_set() {
            true => Ok(()),
            false => self.commit(),
        }
    }

    /// Commits what is delivered, and then forgets what is older than need be.
    fn commit(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let Some(epoch) = self.commits.commit(self.journal.as_mut())? else {
            return Ok(());
        };
        self.wiring.traces.committed(epoch, began);
        match &mut self.journal {
            Some(journal) => journal.checkpoint.forget_surplus(),
            None => Ok(()),
        }
    }

    /// Ends time, and says to sinks how it has ended.
    fn end(mut self, is_well: bool) {
        if is_well && !self.wiring.abort.is_set() {
            self.commits.end();
        } else if self.is_newest() {
            self.commits.abort();
        }
        self.wiring.plans = None;
        self.wiring.waker.wake();
    }

    /// Whether no later run has taken over, which might have prepared the same epochs again.
    fn is_newest(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_none_or(|journal| journal.checkpoint.check_generation().is_ok())
    }

    fn note_delivered(&mut self, before: u64) -> Result<(), Failure> {
        let now = Instant::now();
        while let Some(&InFlight {
            epoch,
            time,
            began,
            cut,
            bytes,
        }) = self.in_flight.front()
            && epoch.0 < before
        {
            let begun = cut.max(self.last_delivery);
            let (processing, delay) = (now - begun, begun - cut);
            self.wiring.status.count_delivered(EpochFigures {
                epoch,
                time,
                bytes,
                processing_us: processing.as_micros() as u64,
                delay_us: delay.as_micros() as u64,
            });
            self.batcher.deliver(Delivered {
                bytes,
                processing,
                delay,
            });
            self.last_delivery = now;
            self.in_flight.pop_front();
            self.placement.delivered(epoch);
            self.commits.deliver(epoch, time);
            self.wiring.traces.delivered(trace::Delivered {
                epoch,
                time,
                cut: began,
                bytes,
                delay,
            });
            self.remember()?;
            if self.commits.is_due() {
                self.commit()?;
            }
        }
        Ok(())
    }
}

impl Wiring {
    fn begin(&self, plan: EpochPlan) {
        self.status.count_cut();
        // Taken up at once, whatever the workers are at; closed, the run is over.
        let plans = self.plans.as_ref().expect("open until the end");
        if plans.send(plan).is_ok() {
            self.waker.wake();
        }
    }
}

/// How long until a time, in milliseconds since 1970; nothing once it has come.
fn until(time: i64) -> Duration {
    let millis = time.saturating_sub(now_millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn earlier(one: Option<BatchTime>, other: Option<BatchTime>) -> Option<BatchTime> {
    one.into_iter().chain(other).min()
}
