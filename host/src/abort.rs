//! The run-wide abort cell: the first failure of a run, whoever met it, ends all of it.
//!
//! timely hangs when one of its workers leaves; so every thread of a run works under [`Abort::guard`], looks at
//! [`Abort::is_set`] between steps, and is woken by the first [`Abort::fail`].

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};

use crate::error::Failure;
use crate::thread::Parked;

/// Shared by all threads of a run in one process; cheap to clone.
#[derive(Clone, Default)]
pub struct Abort(Arc<Shared>);

type Listener = Box<dyn FnOnce(&Failure) + Send>;

#[derive(Default)]
struct Shared {
    set: AtomicBool,
    failure: OnceLock<Failure>,
    parked: Parked,
    listeners: Mutex<Vec<Listener>>,
}

impl Abort {
    /// Ends the run for this reason, unless it has ended for another.
    pub fn fail(&self, failure: Failure) {
        if self.0.failure.set(failure).is_err() {
            return;
        }
        self.0.set.store(true, Ordering::Release);
        self.0.parked.unpark();
        let listeners = std::mem::take(&mut *lock(&self.0.listeners));
        let failure = self.0.failure.get().expect("set above");
        for listener in listeners {
            listener(failure);
        }
    }

    /// Whether the run has failed.
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Why.
    pub fn failure(&self) -> Option<&Failure> {
        self.0.failure.get()
    }

    /// Has the calling thread unparked on failure.
    pub fn unpark_me(&self) {
        self.0.parked.add_this(|| self.is_set());
    }

    /// Calls `listener` on failure, at once if there is one already.
    pub fn on_failure(&self, listener: impl FnOnce(&Failure) + Send + 'static) {
        lock(&self.0.listeners).push(Box::new(listener));
        if let Some(failure) = self.0.failure.get() {
            let late = std::mem::take(&mut *lock(&self.0.listeners));
            for listener in late {
                listener(failure);
            }
        }
    }

    /// Runs `work`, turning a panic into a failure that says where it panicked.
    pub fn guard<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        install_hook();
        let outer = GUARDED.replace(true);
        let result = std::panic::catch_unwind(AssertUnwindSafe(work));
        GUARDED.set(outer);
        result.unwrap_or_else(|_| {
            let message = PANIC
                .take()
                .unwrap_or_else(|| "a thread panicked".to_owned());
            Err(Failure::internal(message).help("this is a bug in Wasmill, please report it"))
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding these locks; if it did, the lists are still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Told of a panic on a thread that nobody guards: `(thread name, message)`. `true` means it has been dealt with.
type Stray = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

static STRAY: OnceLock<Stray> = OnceLock::new();

/// Sets who hears of panics on threads that are not ours (timely's network threads). The first caller wins.
pub fn on_stray_panic(listener: impl Fn(&str, &str) -> bool + Send + Sync + 'static) {
    install_hook();
    STRAY.set(Box::new(listener)).ok();
}

/// Under a guard a panic becomes the one message of the run instead of a second one on stderr.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let what = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned());
            let place = info
                .location()
                .map(|at| format!(" at {}:{}", at.file(), at.line()));
            let thread = std::thread::current();
            if GUARDED.get() {
                let place = place.unwrap_or_default();
                PANIC.set(Some(format!("a thread panicked{place}: {what}")));
            } else if !STRAY
                .get()
                .is_some_and(|listener| listener(thread.name().unwrap_or(""), &what))
            {
                before(info);
            }
        }));
    });
}

/// Ends the process on the spot, as SIGKILL would, where a crash test asks for it.
macro_rules! crash_point {
    ($name:expr) => {
        fail::fail_point!($name, |_| std::process::abort())
    };
}
pub(crate) use crash_point;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_wins_and_late_listeners_hear_it() {
        let abort = Abort::default();
        assert!(!abort.is_set());
        abort.fail(Failure::user("first"));
        abort.fail(Failure::user("second"));
        assert_eq!(abort.failure().unwrap().message, "first");
        let (told, hears) = crossbeam_channel::bounded(1);
        abort.on_failure(move |failure| told.send(failure.message.clone()).unwrap());
        assert_eq!(hears.recv().unwrap(), "first");
    }

    #[test]
    fn a_panic_becomes_a_failure_that_says_where() {
        let abort = Abort::default();
        let failure = abort.guard::<()>(|| panic!("told {}", "you")).unwrap_err();
        assert!(failure.message.contains("abort.rs"), "{}", failure.message);
        assert!(failure.message.ends_with("told you"), "{}", failure.message);
    }
}
