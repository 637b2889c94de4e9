//! Threads of a run: named, and heard where the thread that started them is heard.
//!
//! Several pipelines run in one process, and each has a log of its own: the subscriber of its first thread. So whoever starts a thread
//! for a run hands the subscriber on.

use std::thread::JoinHandle;

use tracing::Dispatch;
use tracing::dispatcher;

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
