//! A runner: one process that runs all pipelines of a tenant, each on threads of its own, as its supervisor orders.
//!
//! A pipeline that fails or panics ends alone. The runner's life is its input's: when the supervisor is gone, however it went, every run
//! is drained, and the runner ends. So no pipeline outlives its server.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use tracing::Dispatch;

use super::protocol::{Order, PROTOCOL, Report, RunId, Start, hear, say};
use super::quotas::Allowance;
use super::voice::Voice;
use super::{Figures, LogLevel, Terms, Usage};
use crate::abort::Abort;
use crate::checkpoint::CheckpointConfig;
use crate::config::Level;
use crate::deliver::Output;
use crate::error::{Failure, Fault};
use crate::pipeline::{PipelineFile, Plan};
use crate::plugin::Engine;
use crate::run::{self, Status, Stop};
use crate::thread;
use crate::trace::{Collector, Traces};

/// How often a runner shows that it lives.
const PULSE: Duration = Duration::from_secs(1);
/// How long runs may take to drain when nobody is left to wait for them: their next start, by another server, waits for it.
const ORPHAN_LIMIT: Duration = Duration::from_secs(10);
/// How long runs that are ended at once may take to say so.
const ABORT_LIMIT: Duration = Duration::from_secs(3);
/// Reports that wait for the supervisor; lines beyond are lost, all else waits.
const REPORTS: usize = 1024;

/// Holds a process to about so much memory of its plugins, or to all there is: what is left when everything inside it has failed to.
pub type Wall = Box<dyn Fn(Option<u64>) + Send + Sync>;

/// Does what `orders` say until they end, with plugins in `engine` if there is one, and reports; traces go to the collector. Each time that
/// its plugins may have another amount of memory, `wall` is told.
///
/// # Errors
/// When what comes is no order, or the other side speaks another language. All runs have been drained then as well.
pub fn serve(
    mut orders: impl BufRead,
    reports: impl Write + Send + 'static,
    engine: Result<Engine, Failure>,
    collector: Option<Collector>,
    wall: Wall,
) -> Result<(), Failure> {
    let (tell, told) = crossbeam_channel::bounded(REPORTS);
    let writer = thread::spawn("reports", move || write(reports, &told));
    let allowance = Allowance::default();
    // Until they come: no secrets, and nothing private.
    allowance.set(Terms::default(), engine.as_ref().ok());
    let runner = Arc::new(Runner {
        engine,
        collector,
        wall,
        allowance,
        tell,
        runs: Mutex::default(),
        over: Condvar::new(),
    });
    runner.tell(Report::Hello { protocol: PROTOCOL });
    let (alive, ended) = crossbeam_channel::bounded(0);
    let pulse = thread::spawn("pulse", {
        let runner = runner.clone();
        move || runner.beat(&ended)
    });
    let obeyed = runner.obey(&mut orders);
    runner.finish();
    drop(alive);
    pulse.join().ok();
    // Threads that were left behind may still hold a sender.
    runner.tell.send(None).ok();
    writer.join().ok();
    obeyed
}

/// Writes reports until there are no more. If nobody reads them any more, they go nowhere: the runs are being drained.
fn write(mut writer: impl Write, reports: &Receiver<Option<Report>>) {
    let mut is_heard = true;
    for report in reports.iter().map_while(|report| report) {
        is_heard = is_heard && say(&mut writer, &report).is_ok();
    }
}

struct Runner {
    engine: Result<Engine, Failure>,
    collector: Option<Collector>,
    wall: Wall,
    allowance: Allowance,
    tell: Sender<Option<Report>>,
    runs: Mutex<BTreeMap<RunId, Live>>,
    /// A run has ended.
    over: Condvar,
}

/// The handles of a run.
#[derive(Clone)]
struct Live {
    voice: Voice,
    status: Arc<Status>,
    stop: Stop,
    abort: Abort,
}

impl Live {
    fn new(voice: Voice) -> Self {
        Self {
            voice,
            status: Arc::default(),
            stop: Stop::default(),
            abort: Abort::default(),
        }
    }

    fn figures(&self) -> Figures {
        Figures::of(&self.status, self.voice.dropped())
    }

    fn kill(&self) {
        self.abort.fail(Failure::external("it was ended at once"));
    }
}

impl Runner {
    fn obey(self: &Arc<Self>, orders: &mut impl BufRead) -> Result<(), Failure> {
        let mistaken = |error| Failure::internal(format!("what came is no order: {error}"));
        while let Some(order) = hear(orders).map_err(mistaken)? {
            match order {
                Order::Hello { protocol: PROTOCOL } => {}
                Order::Hello { protocol } => {
                    return Err(Failure::external(format!(
                        "the server speaks version {protocol} to its runners, and this program version {PROTOCOL}"
                    ))
                    .help("restart the server: the program on disk has been replaced"));
                }
                Order::Terms(terms) => {
                    (self.wall)(terms.quotas.memory);
                    self.allowance.set(terms, self.engine.as_ref().ok());
                }
                Order::Start(start) => self.start(start),
                Order::Drain { run } => self.with(run, |live| live.stop.request()),
                Order::Kill { run } => self.with(run, Live::kill),
            }
        }
        Ok(())
    }

    /// A run that is over has said so, and the order has come too late.
    fn with(&self, run: RunId, work: impl FnOnce(&Live)) {
        if let Some(live) = self.runs().get(&run) {
            work(live);
        }
    }

    fn start(self: &Arc<Self>, start: Start) {
        let voice = Voice::new(start.run, self.tell.clone(), self.allowance.clone());
        let live = Live::new(voice.clone());
        self.runs().insert(start.run, live.clone());
        let runner = self.clone();
        tracing::dispatcher::with_default(&Dispatch::new(voice), || {
            thread::spawn(format!("run:{}", start.pipeline), move || {
                let ended = live.abort.guard(|| runner.run(&start, &live));
                runner.report(start.run, &live, ended);
            })
        });
    }

    /// Runs a pipeline to its end.
    fn run(&self, start: &Start, live: &Live) -> Result<(), Failure> {
        let mut plan = self.plan(start, &live.voice)?;
        let checkpoint = CheckpointConfig::moved_to(plan.checkpoint, start.checkpoint.clone());
        plan.checkpoint = Some(checkpoint);
        self.tell(Report::Started { run: start.run });
        let options = run::Options {
            output: Output::new(live.voice.printer()),
            status: live.status.clone(),
            intake: self.allowance.intake.clone(),
            state: self.allowance.state.clone(),
            stop: live.stop.clone(),
            traces: self.traces(start),
            abort: live.abort.clone(),
            accept_changes: start.accept_changes,
            ..run::Options::unseen(start.workers)
        };
        run::run(plan, options).map(drop)
    }

    fn traces(&self, start: &Start) -> Traces {
        let attributes = [
            ("wasmill.tenant", start.tenant.as_str()),
            ("wasmill.pipeline", start.pipeline.as_str()),
        ];
        let collector = self.collector.clone();
        collector.map_or_else(Traces::default, |collector| {
            Traces::to(collector, &attributes)
        })
    }

    fn plan(&self, start: &Start, voice: &Voice) -> Result<Plan, Failure> {
        let engine = self.engine.as_ref().map_err(Clone::clone)?;
        let file = PipelineFile::read(&start.file)?;
        let checked = file.check(engine);
        for problem in &checked.problems {
            let level = match problem.level {
                Level::Error => LogLevel::Error,
                Level::Warning => LogLevel::Warn,
            };
            for line in file.draw(std::slice::from_ref(problem), false).lines() {
                voice.say(level, None, line.to_owned());
            }
        }
        let errors = checked.problems.into_iter();
        let errors = errors.filter(|problem| problem.level == Level::Error);
        // What is not the file's fault may be over at the next try.
        let worst = errors.max_by_key(|problem| problem.fault != Fault::User);
        checked.plan.ok_or_else(|| {
            let (fault, why) = worst.map_or((Fault::Internal, String::new()), |problem| {
                (problem.fault, format!(": {}", problem.message))
            });
            Failure {
                fault,
                ..Failure::user(format!("the pipeline cannot run{why}"))
            }
            .help("its log has every problem with its place")
        })
    }

    fn without_secrets(&self, failure: Failure) -> Failure {
        let hide = |text: &str| self.allowance.hide(text).into_owned();
        let mut failure = failure;
        failure.message = hide(&failure.message);
        failure.help = failure.help.as_deref().map(hide);
        failure.place.origin = failure.place.origin.as_deref().map(hide);
        failure
    }

    /// The last that is heard of a run.
    fn report(&self, run: RunId, live: &Live, ended: Result<(), Failure>) {
        let figures = live.figures();
        self.tell(match ended {
            Ok(()) => Report::Ended {
                run,
                drained: live.stop.is_requested(),
                figures,
            },
            Err(failure) => Report::Failed {
                run,
                failure: self.without_secrets(failure).cut(),
                figures,
            },
        });
        self.runs().remove(&run);
        self.over.notify_all();
    }

    fn beat(&self, ended: &Receiver<()>) {
        while ended.recv_timeout(PULSE) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            self.tell_figures();
        }
        // What has been used to the end.
        self.tell_figures();
    }

    fn tell_figures(&self) {
        self.tell(Report::Figures {
            runs: self.figures(),
            usage: Usage::of_this_process(self.engine.as_ref().ok()),
        });
    }

    fn figures(&self) -> Vec<(RunId, Figures)> {
        let runs = self.runs();
        let figures = |(run, live): (&RunId, &Live)| (*run, live.figures());
        runs.iter().map(figures).collect()
    }

    /// Drains what still runs, and ends at once what takes too long.
    fn finish(&self) {
        self.each(|live| live.stop.request());
        if !self.have_ended_within(ORPHAN_LIMIT) {
            self.each(Live::kill);
            self.have_ended_within(ABORT_LIMIT);
        }
    }

    fn each(&self, work: impl Fn(&Live)) {
        // Outside the lock: an abort calls listeners.
        let runs: Vec<Live> = self.runs().values().cloned().collect();
        runs.iter().for_each(work);
    }

    fn have_ended_within(&self, limit: Duration) -> bool {
        let (runs, _) = self
            .over
            .wait_timeout_while(self.runs(), limit, |runs| !runs.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        runs.is_empty()
    }

    fn tell(&self, report: Report) {
        // The writer reads to the end.
        self.tell.send(Some(report)).ok();
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<RunId, Live>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
