//! What the supervisor knows: jobs, their runs, and the runners that these are in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::account::Account;
use super::job::{Happened, Job};
use super::link::Link;
use super::log::Ring;
use super::protocol::{Order, RunId, Start};
use super::{Desired, Figures, Phase, Terms, Usage};
use crate::ids::{PipelineName, TenantId};

/// All of it.
#[derive(Default)]
pub struct Book {
    /// Everything that was ever wanted and is not removed.
    pub jobs: BTreeMap<Key, Entry>,
    /// Those that are not over.
    pub runs: BTreeMap<RunId, Key>,
    /// Those that are not gone.
    pub runners: BTreeMap<RunnerId, Runner>,
    /// What the pipelines of tenants are run with.
    pub terms: BTreeMap<TenantId, Terms>,
    /// What they have used and nobody has asked for yet.
    pub account: Account,
    /// What runners have used that are gone, by tenant.
    past: BTreeMap<TenantId, Usage>,
    /// Nothing is started any more.
    pub is_closed: bool,
    /// Of runs and runners, counted together.
    last_id: u64,
}

/// What a job is called.
pub type Key = (TenantId, PipelineName);

/// One start of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunnerId(u64);

/// A job, and what belongs to it.
pub struct Entry {
    /// What is wanted.
    pub desired: Desired,
    /// What is done about it.
    pub job: Job,
    /// What it says.
    pub log: Ring,
    /// To be forgotten when it has no run.
    pub is_removed: bool,
    run: Option<(RunId, RunnerId)>,
}

/// A runner of a tenant. A tenant has one that is open, and perhaps others that are on their way out.
pub struct Runner {
    /// Whose.
    pub tenant: TenantId,
    /// The way to it.
    pub link: Link,
    /// What it has used.
    pub usage: Usage,
    /// When it last said so.
    pub metered: Instant,
    /// When it last said something.
    pub heard: Instant,
    /// Since when it has had nothing to do.
    idle: Option<Instant>,
    /// Has been told that nothing more comes.
    pub is_closed: bool,
}

impl Runner {
    fn close(&mut self) {
        self.is_closed = true;
        self.link.close();
    }
}

impl Entry {
    fn new(desired: Desired) -> Self {
        let name = format!("{}/{}", desired.tenant, desired.pipeline);
        Self {
            desired,
            job: Job::new(xxh3_64(name.as_bytes()), Timestamp::now()),
            log: Ring::default(),
            is_removed: false,
            run: None,
        }
    }

    /// The order that begins a run of what is wanted now.
    pub fn start(&self, run: RunId) -> Start {
        Start {
            run,
            tenant: self.desired.tenant.clone(),
            pipeline: self.desired.pipeline.clone(),
            file: self.desired.file.clone(),
            checkpoint: self.desired.checkpoint.clone(),
            workers: self.desired.workers.max(1),
            accept_changes: self.desired.accept_changes,
        }
    }
}

impl Book {
    /// Notes what is wanted, and says what that means to its job.
    pub fn want(&mut self, desired: Desired) -> (Key, Happened) {
        let key = (desired.tenant.clone(), desired.pipeline.clone());
        let (state, version) = (desired.state, desired.version);
        let changed = match self.jobs.get_mut(&key) {
            Some(entry) => {
                entry.desired.state = state;
                let changed = entry.desired != desired;
                (entry.desired, entry.is_removed) = (desired, false);
                changed
            }
            None => {
                self.jobs.insert(key.clone(), Entry::new(desired));
                true
            }
        };
        let happened = Happened::Wanted {
            state,
            version,
            changed,
        };
        (key, happened)
    }

    /// A job that somebody still wants to know of.
    pub fn entry(&self, tenant: &TenantId, pipeline: &PipelineName) -> Option<&Entry> {
        let entry = self.jobs.get(&(tenant.clone(), pipeline.clone()));
        entry.filter(|entry| !entry.is_removed)
    }

    /// Notes that a runner was started, and tells it the terms.
    pub fn add_runner(&mut self, id: RunnerId, tenant: TenantId, link: Link) {
        if let Some(terms) = self.terms.get(&tenant) {
            link.order(Order::Terms(terms.clone()));
        }
        let runner = Runner {
            tenant,
            link,
            usage: Usage::default(),
            metered: Instant::now(),
            heard: Instant::now(),
            idle: None,
            is_closed: false,
        };
        self.runners.insert(id, runner);
    }

    /// An id that no runner has had.
    pub fn new_runner(&mut self) -> RunnerId {
        RunnerId(self.next_id())
    }

    /// The runner that a tenant's pipelines start in.
    pub fn runner_of(&self, tenant: &TenantId) -> Option<RunnerId> {
        let mut runners = self.runners.iter();
        let open = runners.find(|(_, runner)| runner.tenant == *tenant && !runner.is_closed);
        open.map(|(id, _)| *id)
    }

    /// Notes that a job has a run, and says what is to be ordered.
    pub fn begin_run(&mut self, key: &Key, runner: RunnerId) -> Option<Start> {
        let run = RunId(self.next_id());
        let entry = self.jobs.get_mut(key)?;
        debug_assert!(entry.run.is_none(), "a job has one run");
        entry.run = Some((run, runner));
        self.runs.insert(run, key.clone());
        Some(entry.start(run))
    }

    /// The job of a run, unless the run is over.
    pub fn job_of(&self, run: RunId) -> Option<Key> {
        self.runs.get(&run).cloned()
    }

    /// Notes that a run is over.
    pub fn end_run(&mut self, run: RunId) {
        self.account.end(run);
        let entry = self.runs.remove(&run);
        if let Some(entry) = entry.and_then(|key| self.jobs.get_mut(&key)) {
            entry.run = None;
        }
    }

    /// Notes that a runner is gone, and says what was running in it.
    pub fn lose(&mut self, id: RunnerId) -> Vec<(RunId, Key)> {
        if let Some(gone) = self.runners.remove(&id) {
            let past = self.past.entry(gone.tenant).or_default();
            *past = past.plus(gone.usage.of_the_past());
        }
        let on_it = self.jobs.iter().filter_map(|(key, entry)| {
            let (run, runner) = entry.run?;
            (runner == id).then(|| (run, key.clone()))
        });
        on_it.collect()
    }

    /// Notes what a tenant's pipelines are run with, and tells its runners if that is something else than before.
    pub fn set_terms(&mut self, tenant: &TenantId, terms: Terms) {
        let before = self.terms.insert(tenant.clone(), terms.clone());
        if before.unwrap_or_default() == terms {
            return;
        }
        let runners = self.runners.values();
        for runner in runners.filter(|runner| runner.tenant == *tenant) {
            runner.link.order(Order::Terms(terms.clone()));
        }
    }

    /// Forgets a tenant that has no jobs any more.
    pub fn forget(&mut self, tenant: &TenantId) {
        self.terms.remove(tenant);
        self.past.remove(tenant);
        let runners = self.runners.values_mut();
        let its = runners.filter(|runner| runner.tenant == *tenant);
        its.for_each(Runner::close);
    }

    /// Notes what a runner has used by now.
    pub fn note_usage(&mut self, id: RunnerId, usage: Usage) {
        if let Some(runner) = self.runners.get_mut(&id) {
            let now = Instant::now();
            let passed = now - std::mem::replace(&mut runner.metered, now);
            let before = std::mem::replace(&mut runner.usage, usage);
            self.account
                .note_runner(&runner.tenant, before, usage, passed);
        }
    }

    /// Notes what a run has come to by now.
    pub fn note_figures(&mut self, run: RunId, figures: &Figures) {
        if let Some(key) = self.runs.get(&run)
            && let Some(entry) = self.jobs.get(key)
        {
            let version = entry.job.status().version;
            self.account.note(run, key, version, figures);
        }
    }

    /// What a tenant has used of the processor, and uses of memory.
    pub fn usage(&self, tenant: &TenantId) -> Usage {
        let past = self.past.get(tenant).copied().unwrap_or_default();
        let runners = self.runners.values();
        let its = runners.filter(|runner| runner.tenant == *tenant);
        its.fold(past, |sum, runner| sum.plus(runner.usage))
    }

    /// Gives an order to the runner of a job's run.
    pub fn order(&self, key: &Key, order: impl FnOnce(RunId) -> Order) {
        if let Some((run, runner)) = self.place(key) {
            runner.link.order(order(run));
        }
    }

    /// Ends the runner of a job's run.
    pub fn kill_runner(&self, key: &Key) {
        if let Some((_, runner)) = self.place(key) {
            runner.link.kill();
        }
    }

    /// Forgets jobs that are removed, and lets runners go that have had nothing to do for so long.
    pub fn tidy(&mut self, keep_idle: Duration) {
        let is_needed = |entry: &Entry| !entry.is_removed || entry.run.is_some();
        self.jobs.retain(|_, entry| is_needed(entry));
        for (id, runner) in &mut self.runners {
            let mut jobs = self.jobs.iter();
            let has_work = jobs.any(|((tenant, _), entry)| {
                let runs_here = entry.run.is_some_and(|(_, place)| place == *id);
                let comes_back = matches!(entry.job.status().phase, Phase::Waiting { .. });
                runs_here || (comes_back && *tenant == runner.tenant)
            });
            let idle = (!has_work).then(|| runner.idle.unwrap_or_else(Instant::now));
            runner.idle = idle;
            if idle.is_some_and(|since| self.is_closed || since.elapsed() >= keep_idle) {
                runner.close();
            }
        }
    }

    fn place(&self, key: &Key) -> Option<(RunId, &Runner)> {
        let (run, runner) = self.jobs.get(key)?.run?;
        Some((run, self.runners.get(&runner)?))
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}
