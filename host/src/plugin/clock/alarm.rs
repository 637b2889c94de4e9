//! A thread's own alarm: a thread that is in a call is interrupted again and again to look at the clock.
//!
//! The clock's thread sleeps between ticks. A processor that has nothing else to do halts then, and where it is a virtual one its machine may take
//! tens of milliseconds to go on with it. The timer of a thread that is in a call is kept by the processor that works on the call.
//!
//! The thread gives way then, too. The kernel lets a thread that computes go on until its own tick, 4 ms or 10, though another of more weight
//! waits for the processor and the next one has nothing to do.

use std::io;
use std::marker::PhantomData;
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence};
use std::time::Duration;

use libc::{c_int, c_void};

use super::{PATIENCE, State, TICK};

/// The kernel sends it to who asked to hear of a socket's urgent data, and nobody here does. Where nobody listens it is ignored.
const SIGNAL: c_int = libc::SIGURG;

/// While it lives, its thread is interrupted, as often as the first of several that follow each other asks.
pub(super) struct Alarm<'a> {
    before: *mut State,
    clock: PhantomData<&'a State>,
}

/// What a thread and its signal handler share. Nothing here is ever dropped, so it is there as long as the thread is.
struct Shared {
    /// The clock of the call that the thread is in.
    clock: AtomicPtr<State>,
    /// The timer, while it is set.
    timer: AtomicPtr<c_void>,
    is_set: AtomicBool,
    /// Interruptions since the last call.
    idle: AtomicU32,
    /// Nanoseconds that the thread had had of the processor when it last gave way.
    gave_way_at: AtomicU64,
}

impl Shared {
    /// Lets others go first, if the thread has computed for a tick, and says whether it has. Who has waited for the processor is interrupted as soon as it has it, and would give
    /// it back at once, again and again.
    #[expect(unsafe_code, reason = "as in `Timer::new`")]
    fn give_way(&self) -> bool {
        let mut had = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: what is pointed to outlives the call.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut had) };
        let had = had.tv_sec as u64 * 1_000_000_000 + had.tv_nsec as u64;
        let before = self.gave_way_at.load(Ordering::Relaxed);
        if u128::from(had.saturating_sub(before)) < TICK.as_nanos() {
            return false;
        }
        self.gave_way_at.store(had, Ordering::Relaxed);
        // SAFETY: it takes nothing and changes nothing here.
        unsafe { libc::sched_yield() };
        true
    }
}

thread_local! {
    static SHARED: Shared = const {
        Shared {
            clock: AtomicPtr::new(ptr::null_mut()),
            timer: AtomicPtr::new(ptr::null_mut()),
            is_set: AtomicBool::new(false),
            idle: AtomicU32::new(0),
            gave_way_at: AtomicU64::new(0),
        }
    };
    /// Empty where there can be no timer: the clock's thread is all there is then.
    static TIMER: Option<Timer> = Timer::new().ok();
}

impl<'a> Alarm<'a> {
    /// Looks at this clock, that often.
    pub fn of(clock: &'a State, every: Duration) -> Self {
        SHARED.with(|shared| {
            let before = shared
                .clock
                .swap(ptr::from_ref(clock).cast_mut(), Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
            if !shared.is_set.load(Ordering::Relaxed) {
                // A thread that ends has none any more.
                TIMER
                    .try_with(|timer| timer.as_ref().map(|timer| timer.start(shared, every)))
                    .ok();
            }
            Self {
                before,
                clock: PhantomData,
            }
        })
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        SHARED.with(|shared| shared.clock.store(self.before, Ordering::Relaxed));
        compiler_fence(Ordering::SeqCst);
    }
}

/// Interrupts the thread that has made it.
struct Timer(*mut c_void);

impl Timer {
    #[expect(unsafe_code, reason = "nobody offers timers of threads without it")]
    fn new() -> io::Result<Self> {
        static LISTENS: OnceLock<bool> = OnceLock::new();
        if !LISTENS.get_or_init(listen) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut id = ptr::null_mut();
        // SAFETY: zeros are valid in all fields, and all that is pointed to outlives the call.
        let made = unsafe {
            let mut event: libc::sigevent = mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = SIGNAL;
            event.sigev_notify_thread_id = libc::gettid();
            libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut id)
        };
        match made {
            0 => Ok(Self(id)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn start(&self, shared: &Shared, every: Duration) {
        shared.idle.store(0, Ordering::Relaxed);
        shared.timer.store(self.0, Ordering::Relaxed);
        shared.is_set.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        set(self.0, every);
    }
}

impl Drop for Timer {
    #[expect(unsafe_code, reason = "as in `new`")]
    fn drop(&mut self) {
        SHARED.with(|shared| shared.is_set.store(false, Ordering::Relaxed));
        compiler_fence(Ordering::SeqCst);
        // SAFETY: this thread has made it, and sets it no more.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// Lets a timer ring again and again, or never for no time. May be called from a signal handler.
#[expect(unsafe_code, reason = "as in `Timer::new`")]
fn set(timer: *mut c_void, every: Duration) {
    let every = libc::timespec {
        tv_sec: 0,
        tv_nsec: every.subsec_nanos().into(),
    };
    let times = libc::itimerspec {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: the timer is there as long as it counts as set, and the times outlive the call.
    unsafe { libc::timer_settime(timer, 0, &raw const times, ptr::null_mut()) };
}

/// Has this process handle the signal.
#[expect(unsafe_code, reason = "as in `Timer::new`")]
fn listen() -> bool {
    // SAFETY: zeros are valid in all fields, and the handler does nothing but what a handler may.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = ring as extern "C" fn(c_int) as usize;
        // A guest may have used up its own stack.
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(SIGNAL, &raw const action, ptr::null_mut()) == 0
    }
}

/// The handler: atomic operations, times, a timer and to give way are what it may use. The timer goes on while its thread makes calls.
#[expect(
    unsafe_code,
    reason = "what a thread shares with its handler is a pointer"
)]
extern "C" fn ring(_signal: c_int) {
    // SAFETY: of this thread, and always there.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    SHARED.with(|shared| {
        // SAFETY: a clock is there as long as its alarm, on this thread, which is where this runs.
        if let Some(clock) = unsafe { shared.clock.load(Ordering::Relaxed).as_ref() } {
            shared.idle.store(0, Ordering::Relaxed);
            clock.catch_up();
            shared.give_way();
        } else if shared.is_set.load(Ordering::Relaxed)
            && shared.idle.fetch_add(1, Ordering::Relaxed) >= PATIENCE
        {
            shared.is_set.store(false, Ordering::Relaxed);
            set(shared.timer.load(Ordering::Relaxed), Duration::ZERO);
        }
    });
    // SAFETY: as above.
    unsafe { *errno = before };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    /// A clock that has no thread.
    fn clock() -> (State, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let clock = State::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        (clock, count)
    }

    fn is_set() -> bool {
        SHARED.with(|shared| shared.is_set.load(Ordering::Relaxed))
    }

    #[test]
    fn a_thread_that_never_rests_is_interrupted_by_its_own_alarm() {
        let (clock, count) = clock();
        let alarm = Alarm::of(&clock, TICK);
        while count.load(Ordering::SeqCst) < 10 {
            std::hint::spin_loop();
        }
        drop(alarm);
        while is_set() {
            std::hint::spin_loop();
        }
        let after = count.load(Ordering::SeqCst);
        thread::sleep(TICK * 4);
        assert_eq!(count.load(Ordering::SeqCst), after, "it rings for nobody");
        let _again = Alarm::of(&clock, TICK);
        while count.load(Ordering::SeqCst) < after + 10 {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn threads_have_alarms_of_their_own_and_take_them_along() {
        let alarms = |_| {
            let (clock, count) = clock();
            let _alarm = Alarm::of(&clock, TICK);
            while count.load(Ordering::SeqCst) < 3 {
                std::hint::spin_loop();
            }
        };
        for _ in 0..20 {
            thread::scope(|scope| {
                (0..4).for_each(|number| {
                    scope.spawn(move || alarms(number));
                });
            });
        }
        assert!(!is_set());
    }

    /// A compiler that gave way whenever it was interrupted took twenty times as long on a busy machine.
    #[test]
    fn who_has_computed_for_a_tick_gives_way_and_who_has_waited_for_one_does_not() {
        SHARED.with(|shared| {
            while !shared.give_way() {
                std::hint::spin_loop();
            }
            assert!(!shared.give_way());
            thread::sleep(TICK * 10);
            assert!(!shared.give_way());
            while !shared.give_way() {
                std::hint::spin_loop();
            }
        });
    }

    #[test]
    fn a_call_within_a_call_leaves_the_outer_ones_alarm() {
        let ((outer, rung), (inner, _)) = (clock(), clock());
        let _outer = Alarm::of(&outer, TICK);
        drop(Alarm::of(&inner, TICK));
        let before = rung.load(Ordering::SeqCst);
        while rung.load(Ordering::SeqCst) < before + 3 {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn what_waits_is_not_told_of_the_alarm() {
        let (clock, count) = clock();
        let _alarm = Alarm::of(&clock, TICK);
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::spawn(move || {
            thread::sleep(TICK * 10);
            sender.send(()).ok();
        });
        receiver.recv().expect("it waits until there is something");
        let (mut read, write) = io::pipe().expect("a pipe");
        thread::spawn(move || {
            thread::sleep(TICK * 10);
            drop(write);
        });
        let end = io::Read::read(&mut read, &mut [0]).expect("it waits for the end");
        assert_eq!(end, 0);
        assert!(count.load(Ordering::SeqCst) > 5, "the alarm rang meanwhile");
    }
}
