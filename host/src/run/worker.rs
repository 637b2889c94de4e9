//! One worker: builds its part of the graph, then steps it until time has ended or the run has failed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use timely::communication::allocator::Allocator;
use timely::worker::Worker;

use crate::abort::Abort;
use crate::error::Failure;
use crate::flow::build::{Ends, Told, build};
use crate::flow::context::{Context, LiveBytes};
use crate::flow::outlet::Outlet;
use crate::flow::plan::EpochFeed;
use crate::flow::store::Kept;
use crate::flow::tables::Tables;
use crate::ids::{NodeName, WorkerIndex};
use crate::pipeline::Plan;
use crate::receive::Readers;
use crate::state::StateMemory;
use crate::telemetry::Counters;
use crate::trace::Traces;

/// A worker parks until something happens; a failure unparks it. This is only how soon a lost wake-up would be noticed.
const PARK: Duration = Duration::from_secs(1);

/// What the workers of a process have in common.
pub struct Crew {
    pub plan: Arc<Plan>,
    pub abort: Abort,
    pub live: LiveBytes,
    pub counters: Counters,
    pub traces: Traces,
    pub readers: Readers,
    pub tables: Tables,
    pub state: Arc<StateMemory>,
    pub outlets: BTreeMap<usize, Outlet>,
    pub rejected: Option<Outlet>,
    /// Taken by worker 0.
    pub feed: Mutex<Option<EpochFeed>>,
    /// Worker 0's words to the epoch driver, in process 0.
    pub progress: Option<Progress>,
    /// Where steps that remember something keep it.
    pub kept: BTreeMap<NodeName, Kept>,
    /// Workers of this process.
    pub local: usize,
}

/// What worker 0 tells the epoch driver.
pub struct Progress {
    /// Every epoch below the number is delivered, and its state is durable.
    pub delivered: Sender<u64>,
    /// What belongs to an epoch; told before it is delivered.
    pub told: Told,
}

/// Runs one worker to its end.
pub fn work(allocator: Allocator, crew: &Crew) -> Result<(), Failure> {
    crew.abort.unpark_me();
    let mut worker = Worker::new(
        timely::WorkerConfig::default(),
        allocator,
        Some(Instant::now()),
    );
    let index = WorkerIndex(worker.index());
    let context = Rc::new(Context {
        plan: crew.plan.clone(),
        worker: index,
        peers: worker.peers(),
        abort: crew.abort.clone(),
        live: crew.live.clone(),
        counters: crew.counters.clone(),
        readers: crew.readers.clone(),
        tables: crew.tables.clone(),
        state: crew.state.clone(),
        traces: crew.traces.clone(),
        times: RefCell::default(),
    });
    let first = index.0 == 0;
    let feed = if first {
        crew.feed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    } else {
        None
    };
    let ends = Ends {
        feed,
        outlets: crew.outlets.clone(),
        rejected: crew.rejected.clone(),
        local: index.0 % crew.local,
        kept: crew.kept.clone(),
        told: crew
            .progress
            .as_ref()
            .filter(|_| first)
            .map(|progress| progress.told.clone()),
    };
    let probe = build(&mut worker, context.clone(), ends);
    let mut seen = 0;
    while worker.has_dataflows() && !crew.abort.is_set() {
        fail::fail_point!(&format!("worker-{index}"), |message| {
            Err(Failure::internal(message.unwrap_or_default()))
        });
        worker.step_or_park(Some(PARK));
        let before = probe
            .with_frontier(|frontier| frontier.first().copied())
            .unwrap_or(u64::MAX);
        if before > seen {
            seen = before;
            context
                .times
                .borrow_mut()
                .retain(|epoch, _| epoch.0 >= before);
            if first && let Some(progress) = &crew.progress {
                // The driver has left when time has ended; it need not hear of the last deliveries.
                progress.delivered.send(before).ok();
            }
        }
    }
    Ok(())
}
