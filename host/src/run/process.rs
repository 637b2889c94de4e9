//! The threads of one process: outlets, workers, and in process 0 the epoch driver.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use timely::CommunicationConfig;
use timely::communication::WorkerGuards;
use timely::communication::allocator::AllocatorBuilder;

use super::cluster::{Cluster, GRACE};
use super::commits::Commits;
use super::epochs::{self, Driven, Journal, Wiring};
use super::placement::Placement;
use super::worker::{Crew, Progress, work};
use super::{Memory, Options, Summary};
use crate::abort::Abort;
use crate::checkpoint::{CheckpointConfig, Lineage, Records};
use crate::deliver::{self, SinkConfig, rejected_schema};
use crate::error::Failure;
use crate::flow::build::Told;
use crate::flow::context::{LiveBytes, Waker};
use crate::flow::outlet::{self, Committer, Outlet};
use crate::flow::plan::EpochFeed;
use crate::flow::store::{self, Kept};
use crate::flow::tables::Tables;
use crate::ids::{NodeName, ProcessIndex};
use crate::pipeline::plan::Trigger;
use crate::pipeline::{Input, Node, NodeKind, OnError, Plan};
use crate::receive::{self, NoInput, Readers};
use crate::state::StateMemory;
use crate::telemetry::Counters;
use crate::thread::{self, Log};

/// How long the threads of a failed run have to notice it before they are left behind: with the message shown after it, the end
/// comes within two seconds.
const LEAVE_BEHIND: Duration = Duration::from_millis(1200);

/// Name of the node that the pipeline's `[rejected]` table makes.
pub const REJECTED: &str = "rejected";

/// Runs this process's part of the plan.
pub fn run(
    plan: Arc<Plan>,
    options: &Options,
    abort: Abort,
    memory: Memory,
    cluster: Option<Cluster>,
) -> Result<Summary, Failure> {
    let began = Instant::now();
    let place = Place::of(cluster.as_ref());
    let rejected = plan.rejected.as_ref().map(|_| NodeName::from(REJECTED));
    let counters = Counters::new(
        plan.nodes
            .iter()
            .map(|node| (node.name.clone(), node.counters()))
            .chain(rejected.map(|name| (name, Arc::default()))),
    );
    let live = LiveBytes::new(plan.epoch.max_live_bytes);
    options.status.attach(counters.clone());

    let lineage = match &memory.records {
        Some(records) => records.lineage(memory.generation, &plan.states())?,
        None => Lineage::of_one_run(),
    };
    let (readers, driven) = open_sources(&plan, &counters, place, options.recorded.is_none())?;
    let tables = Tables::open(&plan)?;
    let sinks = Sinks::open(&plan, &counters, &readers, &lineage, options, place, &abort)?;
    let mut threads = sinks.threads;
    let kept = keep_state(&plan, memory.records, lineage, &abort, &mut threads);
    let (feed, progress, driver) = if place.is_first() {
        let placement = Placement::new(options.workers * place.processes, options.workers);
        let (feed, progress, wiring, commits) =
            wire(&plan, options, &live, &abort, sinks.committers);
        let journal = memory.journal;
        let driver = start_driver(&plan, placement, driven, journal, commits, wiring);
        (Some(feed), Some(progress), Some(driver))
    } else {
        (None, None, None)
    };
    let crew = Arc::new(Crew {
        plan: plan.clone(),
        abort: abort.clone(),
        live: live.clone(),
        counters: counters.clone(),
        traces: options.traces_of(place.process),
        readers,
        tables,
        state: Arc::new(StateMemory::new(plan.state.clone())),
        outlets: sinks.outlets,
        rejected: sinks.rejected,
        feed: Mutex::new(feed),
        progress,
        kept,
        local: options.workers,
    });
    let is_cluster = cluster.is_some();
    let (allocators, network, control) = match cluster {
        Some(cluster) => cluster.split(options.workers)?,
        None => {
            let (allocators, network) = CommunicationConfig::Process(options.workers)
                .try_build()
                .map_err(Failure::internal)?;
            (allocators, network, None)
        }
    };
    let (workers, exits) = start_workers(allocators, network, crew, is_cluster)?;
    let threads = Threads {
        workers,
        exits,
        outside: threads,
        driver,
    };
    threads.finish(options.workers, &abort, is_cluster);
    let counts = counters.read();
    let nodes = match control {
        Some(control) => control.finish(counts, &abort),
        None => counts,
    };
    if let Some(failure) = abort.failure() {
        return Err(failure.clone());
    }
    Ok(Summary {
        epochs: options.status.read().delivered,
        elapsed: began.elapsed(),
        peak_live_bytes: live.peak(),
        nodes,
    })
}

/// The thread that cuts epochs.
fn start_driver(
    plan: &Plan,
    placement: Placement,
    sources: Vec<Driven>,
    journal: Option<Journal>,
    commits: Commits,
    wiring: Wiring,
) -> JoinHandle<()> {
    let (rules, abort) = (plan.epoch.clone(), wiring.abort.clone());
    thread::spawn("epochs", move || {
        let drive = || epochs::drive(rules, placement, sources, journal, commits, wiring);
        if let Err(failure) = abort.guard(drive) {
            abort.fail(failure);
        }
    })
}

/// The workers' threads, and a channel that says each time one has left. They alone keep the crew, and with it their end of
/// the outlets, which end when the last of them has gone.
fn start_workers(
    allocators: Vec<AllocatorBuilder>,
    network: Box<dyn Any + Send>,
    crew: Arc<Crew>,
    is_cluster: bool,
) -> Result<(WorkerGuards<()>, Receiver<()>), Failure> {
    let (left, exits) = crossbeam_channel::unbounded();
    let log = Log::here();
    let workers = timely::communication::initialize_from(allocators, network, move |allocator| {
        if let Err(failure) = crew.abort.guard(|| log.hear(|| work(allocator, &crew))) {
            // timely panics in a worker when a peer has gone.
            if is_cluster && failure.message.contains("timely") {
                give_way(&crew.abort);
            }
            crew.abort.fail(failure);
        }
        // The process has given up waiting.
        left.send(()).ok();
    });
    Ok((workers.map_err(Failure::internal)?, exits))
}

/// Which process this is.
#[derive(Clone, Copy)]
struct Place {
    process: ProcessIndex,
    processes: usize,
}

impl Place {
    fn of(cluster: Option<&Cluster>) -> Self {
        match cluster {
            Some(cluster) => Self {
                process: cluster.process(),
                processes: cluster.processes(),
            },
            None => Self {
                process: ProcessIndex(0),
                processes: 1,
            },
        }
    }

    fn is_first(self) -> bool {
        self.process.0 == 0
    }
}

type Sources = (Readers, Vec<Driven>);

/// The sources of a process; those of the first take input, unless the run repeats what was.
fn open_sources(
    plan: &Plan,
    counters: &Counters,
    place: Place,
    takes_input: bool,
) -> Result<Sources, Failure> {
    let provenance = plan
        .nodes
        .iter()
        .any(|node| node.on_error == OnError::Reject);
    let mut readers = Readers::new();
    let mut driven = Vec::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        let NodeKind::Source(config) = &node.kind else {
            continue;
        };
        let source = config
            .open(receive::OpenOptions {
                node: node.name.clone(),
                counters: counters.of(&node.name),
                coordinator: place.is_first() && takes_input,
                available_now: plan.epoch.trigger == Trigger::AvailableNow,
                provenance,
            })
            .map_err(|failure| failure.at_node(&node.name))?;
        if place.is_first() {
            driven.push(Driven {
                index,
                name: node.name.clone(),
                receiver: source.receiver.unwrap_or_else(|| Box::new(NoInput)),
                reader: source.reader.clone(),
            });
        }
        readers.insert(index, source.reader);
    }
    Ok((readers, driven))
}

/// The outlets of a process and their threads.
struct Sinks {
    outlets: BTreeMap<usize, Outlet>,
    rejected: Option<Outlet>,
    /// Process 0's.
    committers: BTreeMap<NodeName, Committer>,
    threads: Vec<JoinHandle<()>>,
}

impl Sinks {
    fn open(
        plan: &Plan,
        counters: &Counters,
        readers: &Readers,
        lineage: &Lineage,
        options: &Options,
        place: Place,
        abort: &Abort,
    ) -> Result<Self, Failure> {
        let mut sinks = Self {
            outlets: BTreeMap::new(),
            rejected: None,
            committers: BTreeMap::new(),
            threads: Vec::new(),
        };
        let mut start = |config: &SinkConfig, node: &Node, index| {
            let sink = config
                .open(
                    node.input().schema.clone(),
                    deliver::OpenOptions {
                        pipeline: plan.name.clone(),
                        node: node.name.clone(),
                        process: place.process,
                        processes: place.processes,
                        lineage: lineage.clone(),
                        output: options.output.clone(),
                    },
                )
                .map_err(|failure| failure.at_node(&node.name))?;
            let (outlet, committer, thread) = outlet::start(
                sink,
                outlet::Place {
                    node: node.clone(),
                    index,
                    workers: options.workers,
                    counters: counters.of(&node.name),
                    readers: readers.clone(),
                    traces: options.traces_of(place.process),
                    abort: abort.clone(),
                },
            );
            sinks.threads.push(thread);
            if place.is_first() {
                sinks.committers.insert(node.name.clone(), committer);
            }
            Ok::<_, Failure>(outlet)
        };
        for (index, node) in plan.nodes.iter().enumerate() {
            if let NodeKind::Sink(config) = &node.kind {
                sinks.outlets.insert(index, start(config, node, index)?);
            }
        }
        if let Some(config) = &plan.rejected {
            let node = Node {
                name: NodeName::from(REJECTED),
                inputs: vec![Input {
                    ports: Vec::new(),
                    schema: rejected_schema(),
                }],
                ports: Vec::new(),
                on_error: OnError::Fail,
                kind: NodeKind::Sink(config.clone()),
            };
            sinks.rejected = Some(start(config, &node, plan.nodes.len())?);
        }
        Ok(sinks)
    }
}

/// Starts the thread that writes down what steps remember, if any does and there is a checkpoint. What there is of each step goes to its operators.
fn keep_state(
    plan: &Plan,
    records: Option<Records>,
    lineage: Lineage,
    abort: &Abort,
    threads: &mut Vec<JoinHandle<()>>,
) -> BTreeMap<NodeName, Kept> {
    let states = plan.states();
    let Some(records) = records.filter(|_| !states.is_empty()) else {
        return BTreeMap::new();
    };
    let segments = records.store_of(lineage.generation);
    let (store, thread) = store::start(segments, lineage.state.clone(), abort.clone());
    threads.push(thread);
    let segments = Arc::new(records.store());
    let mut state = lineage.state;
    let kept = states.into_keys().map(|node| {
        let kept = Kept {
            store: store.clone(),
            segments: segments.clone(),
            state: state.remove(&node).unwrap_or_default(),
            time: lineage.time,
        };
        (node, kept)
    });
    kept.collect()
}

type Feed = (EpochFeed, Progress, Wiring, Commits);

/// The channels between the epoch driver and worker 0.
fn wire(
    plan: &Plan,
    options: &Options,
    live: &LiveBytes,
    abort: &Abort,
    sinks: BTreeMap<NodeName, Committer>,
) -> Feed {
    let every = plan
        .checkpoint
        .as_ref()
        .map_or(1, CheckpointConfig::commit_every);
    // Holds few: worker 0 takes them whenever it is scheduled.
    let (plans, feed) = crossbeam_channel::bounded(2 * plan.epoch.max_in_flight as usize);
    // One message per frontier seen, at most one per delivered epoch.
    let (tell_delivered, delivered) = crossbeam_channel::unbounded();
    // What each partition of a step changed in the epochs in flight.
    let (tell_stored, stored) = crossbeam_channel::unbounded();
    // What each partition of a sink holds of them.
    let (tell_prepared, prepared) = crossbeam_channel::unbounded();
    let waker = Arc::new(Waker::default());
    let wiring = Wiring {
        plans: Some(plans),
        waker: waker.clone(),
        delivered,
        traces: options.traces.clone(),
        live: live.clone(),
        status: options.status.clone(),
        pipeline: plan.name.clone(),
        intake: options.intake.clone(),
        state: options.state.clone(),
        stop: options.stop.clone(),
        abort: abort.clone(),
    };
    (
        EpochFeed { plans: feed, waker },
        Progress {
            delivered: tell_delivered,
            told: Told {
                stored: tell_stored,
                prepared: tell_prepared,
            },
        },
        wiring,
        Commits::new(every, stored, prepared, sinks),
    )
}

/// The control connection knows why a peer has gone, so it goes first.
fn give_way(abort: &Abort) {
    let deadline = Instant::now() + GRACE;
    while !abort.is_set() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Everything that must end before the process's part of the run has ended.
struct Threads {
    workers: WorkerGuards<()>,
    exits: Receiver<()>,
    /// Those that workers feed: sinks, state.
    outside: Vec<JoinHandle<()>>,
    driver: Option<JoinHandle<()>>,
}

impl Threads {
    /// Waits for the workers, then for what they fed. A failed run does not wait for ever: a worker may be inside a plugin call, and
    /// timely's network threads may be stuck on a lost peer. Those are left behind and go with the process.
    fn finish(self, workers: usize, abort: &Abort, is_cluster: bool) {
        let mut running = workers;
        let (tell, failed) = crossbeam_channel::bounded(1);
        abort.on_failure(move |_| {
            tell.send(()).ok();
        });
        while running > 0 && !abort.is_set() {
            crossbeam_channel::select! {
                recv(self.exits) -> left => running = left.map_or(0, |()| running - 1),
                recv(failed) -> _ => {}
            }
        }
        if abort.is_set() {
            let since = Instant::now();
            while running > 0 && self.exits.recv_deadline(since + LEAVE_BEHIND).is_ok() {
                running -= 1;
            }
            // Sinks may have something to undo.
            let outside = self.outside.iter().chain(&self.driver);
            while outside.clone().any(|thread| !thread.is_finished())
                && since.elapsed() < LEAVE_BEHIND
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            if running > 0 || is_cluster {
                // Its drop would wait for threads that may never come.
                std::mem::forget(self.workers);
            }
            return;
        }
        for thread in self.outside.into_iter().chain(self.driver) {
            // A panic in them was caught and reported by their guards.
            thread.join().ok();
        }
        drop(self.workers);
    }
}
