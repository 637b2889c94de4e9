//! The supervisor: acts on what [`super::job::Job`] decides, and hears of what comes of it.
//!
//! All of it is behind one lock, which is never held over anything that waits: orders go into a queue, reports come on threads of their own.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::broadcast;

use super::book::{Book, Entry, Key, RunnerId};
use super::job::{Action, Happened};
use super::link::{Heard, Link};
use super::protocol::{Order, PROTOCOL, Report};
use super::{
    Desired, Event, JobStatus, JobsOptions, LogLevel, LogLine, Spent, Terms, Usage, Wanted,
};
use crate::error::Failure;
use crate::ids::{PipelineName, TenantId};
use crate::thread;

/// How exact waits are, whose shortest is half a second.
const TICK: Duration = Duration::from_millis(100);
/// A runner says something every second. One that has said nothing for so long will not any more, or helps nobody.
const SILENCE: Duration = Duration::from_secs(15);
/// Events that a listener may be behind.
const EVENTS: usize = 4096;

/// What keeps pipelines running; cheap to clone. When the last clone is dropped, everything drains.
#[derive(Clone)]
pub struct Jobs(Arc<Shared>);

struct Shared {
    options: JobsOptions,
    book: Mutex<Book>,
    /// A runner is gone.
    gone: Condvar,
    events: broadcast::Sender<Event>,
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Jobs").field(&self.0.options).finish()
    }
}

impl Jobs {
    /// Gets ready to run pipelines.
    ///
    /// # Errors
    /// When the folder for what runners leave cannot be made.
    pub fn start(options: JobsOptions) -> Result<Self, Failure> {
        std::fs::create_dir_all(&options.data).map_err(|error| {
            let folder = options.data.display();
            Failure::external(format!("the folder `{folder}` cannot be made: {error}"))
        })?;
        let (events, _) = broadcast::channel(EVENTS);
        let shared = Arc::new(Shared {
            options,
            book: Mutex::default(),
            gone: Condvar::new(),
            events,
        });
        let weak = Arc::downgrade(&shared);
        thread::spawn("jobs", move || {
            while let Some(shared) = weak.upgrade() {
                shared.tick();
                drop(shared);
                std::thread::sleep(TICK);
            }
        });
        Ok(Self(shared))
    }

    /// Says what should run from now on. The same again changes nothing. A pipeline that is [`super::Phase::Failed`] is tried again when anything of it
    /// has changed, or when it has been paused in between.
    pub fn set(&self, desired: Desired) {
        let mut book = self.0.book();
        if book.is_closed {
            return;
        }
        let (key, happened) = book.want(desired);
        self.0.happen(&mut book, &key, happened);
        self.0.tidy(&mut book);
    }

    /// Says on what terms the pipelines of a tenant are run from now on.
    pub fn set_terms(&self, tenant: &TenantId, terms: Terms) {
        self.0.book().set_terms(tenant, terms);
    }

    /// Forgets a tenant that has no jobs any more.
    pub fn forget(&self, tenant: &TenantId) {
        self.0.book().forget(tenant);
    }

    /// What was used since this was last asked, for whoever keeps an account.
    pub fn take_spent(&self) -> Spent {
        self.0.book().account.take()
    }

    /// What the runners of a tenant have used since the start of this supervisor.
    pub fn usage(&self, tenant: &TenantId) -> Usage {
        self.0.book().usage(tenant)
    }

    /// Stops a job and forgets it.
    pub fn remove(&self, tenant: &TenantId, pipeline: &PipelineName) {
        let mut book = self.0.book();
        let key = (tenant.clone(), pipeline.clone());
        if let Some(entry) = book.jobs.get_mut(&key) {
            entry.is_removed = true;
            self.0.stop(&mut book, &key);
            self.0.tidy(&mut book);
        }
    }

    /// How a job stands, if there is one of this name.
    pub fn status(&self, tenant: &TenantId, pipeline: &PipelineName) -> Option<JobStatus> {
        let book = self.0.book();
        let entry = book.entry(tenant, pipeline)?;
        Some(entry.job.status().clone())
    }

    /// All jobs, or those of a tenant.
    pub fn list(&self, tenant: Option<&TenantId>) -> Vec<(TenantId, PipelineName, JobStatus)> {
        let book = self.0.book();
        let asked = book.jobs.iter().filter(|((owner, _), entry)| {
            !entry.is_removed && tenant.is_none_or(|tenant| tenant == owner)
        });
        asked
            .map(|((tenant, pipeline), entry)| {
                let status = entry.job.status().clone();
                (tenant.clone(), pipeline.clone(), status)
            })
            .collect()
    }

    /// The last lines that a job has said, the latest last.
    pub fn logs(&self, tenant: &TenantId, pipeline: &PipelineName) -> Vec<LogLine> {
        let book = self.0.book();
        let entry = book.entry(tenant, pipeline);
        entry.map(|entry| entry.log.lines()).unwrap_or_default()
    }

    /// Everything that happens from now on. Who is too slow misses some.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// Drains everything and waits until it has ended. Nothing starts any more.
    pub fn shutdown(&self) {
        let mut book = self.0.book();
        book.is_closed = true;
        let keys: Vec<Key> = book.jobs.keys().cloned().collect();
        for key in keys {
            self.0.stop(&mut book, &key);
        }
        self.0.tidy(&mut book);
        let all_gone = self
            .0
            .gone
            .wait_while(book, |book| !book.runners.is_empty());
        drop(all_gone);
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a job what has happened, and does what it says.
    fn happen(self: &Arc<Self>, book: &mut Book, key: &Key, happened: Happened) {
        let mut next = Some(happened);
        while let Some(happened) = next.take() {
            let Some(entry) = book.jobs.get_mut(key) else {
                return;
            };
            let (before, is_tick) = (entry.job.status().phase, matches!(happened, Happened::Tick));
            let action = entry.job.on(happened, Timestamp::now());
            if !is_tick || before != entry.job.status().phase {
                self.publish(key, entry);
            }
            if let Some(action) = action
                && let Err(error) = self.act(book, key, action)
            {
                let why = format!("its runner cannot be started: {error}");
                next = Some(Happened::Lost(why));
            }
        }
    }

    fn act(
        self: &Arc<Self>,
        book: &mut Book,
        key: &Key,
        action: Action,
    ) -> Result<(), std::io::Error> {
        match action {
            Action::Start => {
                let runner = match book.runner_of(&key.0) {
                    Some(runner) => runner,
                    None => self.start_runner(book, &key.0)?,
                };
                if let Some(start) = book.begin_run(key, runner) {
                    book.order(key, |_| Order::Start(start));
                }
            }
            Action::Drain => book.order(key, |run| Order::Drain { run }),
            Action::Kill => book.order(key, |run| Order::Kill { run }),
            Action::KillRunner => book.kill_runner(key),
        }
        Ok(())
    }

    fn start_runner(
        self: &Arc<Self>,
        book: &mut Book,
        tenant: &TenantId,
    ) -> Result<RunnerId, std::io::Error> {
        let id = book.new_runner();
        let weak: Weak<Self> = Arc::downgrade(self);
        let link = Link::start(&self.options, tenant, move |heard| {
            // Else nobody asks any more.
            if let Some(shared) = weak.upgrade() {
                shared.hear(id, heard);
            }
        })?;
        book.add_runner(id, tenant.clone(), link);
        Ok(id)
    }

    fn hear(self: &Arc<Self>, id: RunnerId, heard: Heard) {
        let mut book = self.book();
        match heard {
            Heard::Report(report) => {
                let ends = matches!(*report, Report::Ended { .. } | Report::Failed { .. });
                if let Some(runner) = book.runners.get_mut(&id) {
                    runner.heard = Instant::now();
                }
                self.take(&mut book, id, *report);
                // What else is said leaves runners as they are, and is said often.
                if ends {
                    self.tidy(&mut book);
                }
            }
            Heard::Gone(how) => {
                self.lose(&mut book, id, &how);
                self.tidy(&mut book);
            }
        }
    }

    fn take(self: &Arc<Self>, book: &mut Book, id: RunnerId, report: Report) {
        let (run, happened) = match report {
            Report::Hello { protocol: PROTOCOL } => return,
            Report::Hello { protocol } => {
                tracing::error!(
                    "a runner speaks version {protocol}, and this server version {PROTOCOL}: the program on disk has been replaced, restart the server"
                );
                if let Some(runner) = book.runners.get(&id) {
                    runner.link.kill();
                }
                return;
            }
            Report::Figures { runs, usage } => {
                book.note_usage(id, usage);
                for (run, figures) in runs {
                    book.note_figures(run, &figures);
                    if let Some(key) = book.job_of(run) {
                        self.happen(book, &key, Happened::Figures(figures));
                    }
                }
                return;
            }
            Report::Log { run, line } => {
                if let Some(key) = book.job_of(run) {
                    self.log(book, &key, line);
                }
                return;
            }
            Report::Started { run } => (run, Happened::Started),
            Report::Ended {
                run,
                drained,
                figures,
            } => (run, Happened::Ended { drained, figures }),
            Report::Failed {
                run,
                failure,
                figures,
            } => {
                // A runner's word is not trusted to be short.
                let failure = failure.cut();
                (run, Happened::Failed { failure, figures })
            }
        };
        let Some(key) = book.job_of(run) else {
            return;
        };
        if let Happened::Ended { figures, .. } | Happened::Failed { figures, .. } = &happened {
            book.note_figures(run, figures);
        }
        if let Happened::Failed { failure, .. } = &happened {
            let node = failure.place.node.as_ref().map(ToString::to_string);
            self.say_failed(book, &key, node, failure.to_string());
        }
        if !matches!(happened, Happened::Started) {
            book.end_run(run);
        }
        self.happen(book, &key, happened);
    }

    /// A runner is gone, and all of its runs.
    fn lose(self: &Arc<Self>, book: &mut Book, id: RunnerId, how: &str) {
        let why = format!("its runner is gone: {how}");
        for (run, key) in book.lose(id) {
            self.say_failed(book, &key, None, why.clone());
            book.end_run(run);
            self.happen(book, &key, Happened::Lost(why.clone()));
        }
        self.gone.notify_all();
    }

    fn stop(self: &Arc<Self>, book: &mut Book, key: &Key) {
        let Some(entry) = book.jobs.get_mut(key) else {
            return;
        };
        entry.desired.state = Wanted::Stopped;
        let happened = Happened::Wanted {
            state: Wanted::Stopped,
            version: entry.desired.version,
            changed: false,
        };
        self.happen(book, key, happened);
    }

    fn tick(self: &Arc<Self>) {
        let mut book = self.book();
        let keys: Vec<Key> = book.jobs.keys().cloned().collect();
        for key in keys {
            self.happen(&mut book, &key, Happened::Tick);
        }
        for runner in book.runners.values() {
            if runner.heard.elapsed() > SILENCE {
                runner.link.kill();
            }
        }
        self.tidy(&mut book);
    }

    fn tidy(&self, book: &mut Book) {
        book.tidy(self.options.keep_idle);
    }

    fn say_failed(&self, book: &mut Book, key: &Key, node: Option<String>, message: String) {
        let line = LogLine {
            time: Timestamp::now(),
            level: LogLevel::Error,
            node,
            message,
        };
        self.log(book, key, line);
    }

    fn log(&self, book: &mut Book, key: &Key, line: LogLine) {
        let Some(entry) = book.jobs.get_mut(key) else {
            return;
        };
        if self.is_heard(entry) {
            let (tenant, pipeline) = key.clone();
            let line = line.clone();
            // Whoever listened may just have gone.
            let event = Event::Log {
                tenant,
                pipeline,
                line,
            };
            self.events.send(event).ok();
        }
        entry.log.push(line);
    }

    fn publish(&self, key: &Key, entry: &Entry) {
        if self.is_heard(entry) {
            let (tenant, pipeline) = key.clone();
            let status = entry.job.status().clone();
            let event = Event::Status {
                tenant,
                pipeline,
                status,
            };
            self.events.send(event).ok();
        }
    }

    fn is_heard(&self, entry: &Entry) -> bool {
        !entry.is_removed && self.events.receiver_count() > 0
    }
}
