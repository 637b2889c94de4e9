//! Threads of a run: named, and heard where the thread that started them is heard.
//!
//! Several pipelines run in one process, and each has a log of its own: the subscriber of its first thread. So whoever starts a thread
//! for a run hands the subscriber on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};

use tracing::Dispatch;
use tracing::dispatcher;

/// Threads that sleep until something happens to the run. Who waits for it says so first and looks then whether it has happened.
#[derive(Debug, Default)]
pub struct Parked(Mutex<Vec<Thread>>);

impl Parked {
    /// The calling thread is to be unparked; if it `has_happened`, at once.
    pub fn add_this(&self, has_happened: impl FnOnce() -> bool) {
        self.threads().push(std::thread::current());
        if has_happened() {
            std::thread::current().unpark();
        }
    }

    /// Unparks them.
    pub fn unpark(&self) {
        self.threads().iter().for_each(Thread::unpark);
    }

    fn threads(&self) -> MutexGuard<'_, Vec<Thread>> {
        // Nothing panics while holding the lock; if it did, the list is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where what a thread logs goes.
#[derive(Clone, Debug)]
pub struct Log(Dispatch);

impl Log {
    /// Of the calling thread.
    pub fn here() -> Self {
        Self(dispatcher::get_default(Dispatch::clone))
    }

    /// Runs `work`, on whatever thread; what it logs goes there.
    pub fn hear<T>(&self, work: impl FnOnce() -> T) -> T {
        dispatcher::with_default(&self.0, work)
    }
}

/// Starts a thread that logs where this one does.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let log = Log::here();
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || log.hear(work))
        .expect("the system can start a thread")
}
