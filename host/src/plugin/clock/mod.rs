//! The clock of an engine. It ticks while there are calls, which it keeps from going on for ever, and rests when there have been none for
//! some ticks: a server has hundreds of pipelines with nothing to do.
//!
//! A thread of its own moves it on, and each thread in a call has an [`alarm`] for when that one comes late. Threads that compute for a tenant
//! outside of a call have one as well, to [give way](give_way).

#[cfg(target_os = "linux")]
mod alarm;

use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// What time is counted in. A call that is held to a quota is interrupted at every tick to pay for it: it takes the processor in small pieces.
const TICK: Duration = Duration::from_millis(1);
/// How often the clock's thread looks, and other calls are interrupted: fine enough for a deadline of 10 ms.
const LOOK: Duration = Duration::from_millis(5);
/// So often without a call before it rests: calls that follow each other quickly do not have to wake it each time.
const PATIENCE: u32 = 4;

/// Ticks that are made up for at most. A process that was stopped for longer goes on as if it had not been: its calls are not to blame.
const MADE_UP: u64 = 100;

/// Shared by the instances of an engine.
#[derive(Debug)]
pub(super) struct Clock {
    state: Arc<State>,
    thread: Thread,
}

/// While it lives, there is a call on this thread, and the clock ticks.
#[must_use]
pub(super) struct InCall<'a> {
    state: &'a State,
    #[cfg(target_os = "linux")]
    _alarm: alarm::Alarm<'a>,
}

struct State {
    /// Moves the engine on. It is called from signal handlers too.
    tick: Box<dyn Fn() + Send + Sync>,
    began: Instant,
    /// Since it began, with those that it rested through.
    ticks: AtomicU64,
    /// Calls that go on now.
    calls: AtomicUsize,
    /// Whether the thread has to be woken.
    rests: AtomicBool,
    is_over: AtomicBool,
}

impl Clock {
    /// Starts the clock of an engine; `tick` moves it on, by nothing but atomic operations.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(tick: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        let state = Arc::new(State::new(tick));
        let of_thread = state.clone();
        let ticker = thread::Builder::new().name("wasm-ticker".into());
        let ticker = ticker.spawn(move || of_thread.run())?;
        Ok(Self {
            state,
            thread: ticker.thread().clone(),
        })
    }

    /// A call begins, which is interrupted at every tick or only as often as needs be: from now on it ticks.
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
    pub fn call(&self, at_every_tick: bool) -> InCall<'_> {
        // The thread says that it rests and looks for calls then; this counts the call and looks then whether it rests. One of them sees the other.
        self.state.calls.fetch_add(1, Ordering::SeqCst);
        if self.state.rests.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        // Time that passed before it is not its own.
        self.state.catch_up();
        InCall {
            state: &self.state,
            #[cfg(target_os = "linux")]
            _alarm: alarm::Alarm::of(&self.state, if at_every_tick { TICK } else { LOOK }),
        }
    }
}

/// While it lives, its thread gives way to others at every tick, as one in a call does.
#[must_use]
pub(super) struct GivesWay {
    #[cfg(target_os = "linux")]
    _alarm: alarm::Alarm<'static>,
}

/// Has the calling thread give way: it does what takes long and has no clock.
pub(super) fn give_way() -> GivesWay {
    #[cfg(target_os = "linux")]
    static NO_CLOCK: LazyLock<State> = LazyLock::new(|| State::new(|| ()));
    GivesWay {
        #[cfg(target_os = "linux")]
        _alarm: alarm::Alarm::of(&NO_CLOCK, TICK),
    }
}

/// Has the compiler's own threads give way, for good: for a process that does nothing else, before they are started.
pub fn compilers_give_way() {
    let threads = rayon::ThreadPoolBuilder::new().start_handler(|_| mem::forget(give_way()));
    // Started already, they compile as fast as they can.
    threads.build_global().ok();
}

impl Drop for InCall<'_> {
    fn drop(&mut self) {
        self.state.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl State {
    fn new(tick: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            tick: Box::new(tick),
            began: Instant::now(),
            ticks: AtomicU64::new(0),
            calls: AtomicUsize::new(0),
            rests: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        }
    }

    fn due(&self) -> u64 {
        (self.began.elapsed().as_nanos() / TICK.as_nanos()) as u64
    }

    /// Ticks as often as it is time to. Whoever comes late makes up for it: deadlines are counted in ticks, and would all be later by as much.
    fn catch_up(&self) {
        let due = self.due();
        self.ticks
            .fetch_max(due.saturating_sub(MADE_UP), Ordering::Relaxed);
        let next = |told| (told < due).then_some(told + 1);
        // One after the other: a thread that is held up here holds up one tick.
        while (self
            .ticks
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next))
        .is_ok()
        {
            (self.tick)();
        }
    }

    fn run(&self) {
        let mut idle = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            self.catch_up();
            idle = match self.calls.load(Ordering::SeqCst) {
                0 => idle + 1,
                _ => 0,
            };
            if idle < PATIENCE {
                let since = self.began.elapsed().as_nanos() % LOOK.as_nanos();
                thread::sleep(LOOK - Duration::from_nanos(since as u64));
            } else {
                self.rest();
                idle = 0;
            }
        }
    }

    fn rest(&self) {
        self.rests.store(true, Ordering::SeqCst);
        while self.calls.load(Ordering::SeqCst) == 0 && !self.is_over.load(Ordering::SeqCst) {
            thread::park();
        }
        self.rests.store(false, Ordering::SeqCst);
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("calls", &self.calls)
            .field("rests", &self.rests)
            .finish_non_exhaustive()
    }
}

/// A deadline in ticks. The first tick may come at once, so one is added.
pub(super) fn ticks(deadline: Duration) -> u64 {
    (deadline.as_nanos().div_ceil(TICK.as_nanos()) as u64).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn clock() -> (Clock, Arc<AtomicU64>) {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let tick = move || {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        (Clock::start(tick).expect("a thread"), count)
    }

    fn wait_until(is_so: impl Fn() -> bool) {
        while !is_so() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn it_ticks_during_a_call_and_rests_when_there_is_none() {
        let (clock, count) = clock();
        for _ in 0..3 {
            wait_until(|| clock.state.rests.load(Ordering::SeqCst));
            let before = count.load(Ordering::SeqCst);
            thread::sleep(LOOK * 4);
            assert_eq!(count.load(Ordering::SeqCst), before);
            let call = clock.call(true);
            wait_until(|| count.load(Ordering::SeqCst) > before + 10);
            // Its thread may come later than the alarm of this one.
            wait_until(|| !clock.state.rests.load(Ordering::SeqCst));
            drop(call);
        }
    }

    #[test]
    fn ticks_that_came_late_are_made_up_for() {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let began = Instant::now();
        let clock = Clock::start(move || {
            if counted.fetch_add(1, Ordering::SeqCst) == 2 {
                thread::sleep(TICK * (MADE_UP as u32 - 2));
            }
        });
        let clock = clock.expect("a thread");
        let _call = clock.call(true);
        let makes_up = || {
            thread::sleep(TICK);
            let ticks = began.elapsed().as_nanos() / TICK.as_nanos();
            count.load(Ordering::SeqCst) > 30
                && u128::from(count.load(Ordering::SeqCst)) + 3 > ticks
        };
        assert!((0..200).any(|_| makes_up()), "they are lost for good");
    }

    #[test]
    fn a_call_has_all_its_time_however_late_the_clock_is_when_it_begins() {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let (stands, stand) = std::sync::mpsc::channel();
        let clock = Clock::start(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            if thread::current().name() == Some("wasm-ticker") {
                stands.send(()).ok();
                thread::sleep(TICK * 100);
            }
        });
        let clock = clock.expect("a thread");
        stand.recv().expect("it ticks until it rests");
        thread::sleep(TICK * 10);
        let _call = clock.call(true);
        let (began, before) = (Instant::now(), count.load(Ordering::SeqCst));
        while began.elapsed() < TICK * 4 {
            std::hint::spin_loop();
        }
        let ticks = count.load(Ordering::SeqCst) - before;
        let passed = (began.elapsed().as_nanos() / TICK.as_nanos()) as u64;
        assert!(ticks <= passed + 1, "{ticks} ticks in the time of {passed}");
    }

    #[test]
    fn no_call_is_forgotten_however_short_the_rests_are() {
        let (clock, count) = clock();
        thread::scope(|scope| {
            for worker in 0..4 {
                let (clock, count) = (&clock, &count);
                scope.spawn(move || {
                    for pause in 0..20 {
                        thread::sleep(
                            LOOK * PATIENCE + Duration::from_micros(worker * 97 + pause * 331),
                        );
                        let _call = clock.call(true);
                        let before = count.load(Ordering::SeqCst);
                        wait_until(|| count.load(Ordering::SeqCst) > before + 1);
                    }
                });
            }
        });
    }

    #[test]
    fn its_thread_ends_with_it() {
        let (clock, count) = clock();
        wait_until(|| clock.state.rests.load(Ordering::SeqCst));
        drop(clock);
        wait_until(|| Arc::strong_count(&count) == 1);
    }
}
