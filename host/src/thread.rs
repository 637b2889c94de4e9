//! Threads of a run: named, and heard where the thread that started them is heard.
//!
//! Several pipelines run in one process, and each has a log of its own: the subscriber of its first thread. So whoever starts a thread
//! for a run hands the subscriber on.

use std::collections::VecDeque;
use std::panic::resume_unwind;
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

/// Work that waits for a disk or a server, on threads of its own: at most so many at once, each for something by which it is known.
#[derive(Debug)]
pub struct SideBySide<K, T> {
    most: usize,
    running: VecDeque<(K, JoinHandle<T>)>,
}

impl<K, T: Send + 'static> SideBySide<K, T> {
    /// No work yet.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            running: VecDeque::new(),
        }
    }

    /// Starts further work. Where there is as much as may be it waits for the oldest before, and gives what came of that.
    pub fn start(
        &mut self,
        of: K,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let is_full = self.running.len() >= self.most;
        let oldest = is_full.then(|| self.running.pop_front()).flatten();
        let done = oldest.map(|(_, oldest)| joined(oldest));
        self.running.push_back((of, spawn(name, work)));
        done
    }

    /// Waits for all work for these, and gives what came of it.
    pub fn wait_for(&mut self, is_one: impl Fn(&K) -> bool) -> Vec<T> {
        let running = std::mem::take(&mut self.running).into_iter();
        let (these, others): (VecDeque<_>, _) = running.partition(|(of, _)| is_one(of));
        self.running = others;
        these.into_iter().map(|(_, one)| joined(one)).collect()
    }
}

fn joined<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, Sender, bounded};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn work_goes_on_side_by_side() {
        // Each waits for the other: one after the other, neither would end.
        let pair = |to: Sender<()>, from: Receiver<()>| {
            move || {
                to.send(()).unwrap();
                from.recv_timeout(LONG)
            }
        };
        let ((to_a, of_a), (to_b, of_b)) = (bounded(1), bounded(1));
        let mut work = SideBySide::new(2);
        assert_eq!(work.start("a", "a", pair(to_b, of_a)), None);
        assert_eq!(work.start("b", "b", pair(to_a, of_b)), None);
        assert_eq!(work.wait_for(|_| true), [Ok(()), Ok(())]);
    }

    #[test]
    fn no_more_goes_on_than_may_and_what_came_of_all_is_told() {
        let running = Arc::new(AtomicUsize::new(0));
        let mut work = SideBySide::new(3);
        let mut done = Vec::new();
        for number in 0..50 {
            let running = running.clone();
            done.extend(work.start(number, "number", move || {
                assert!(running.fetch_add(1, Ordering::SeqCst) < 3);
                std::thread::sleep(Duration::from_micros(200));
                running.fetch_sub(1, Ordering::SeqCst);
                number
            }));
        }
        done.extend(work.wait_for(|_| true));
        assert_eq!(done, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn who_waits_for_one_thing_does_not_wait_for_another() {
        let (release, released) = bounded::<()>(0);
        let mut work = SideBySide::new(4);
        work.start("slow", "slow", move || released.recv().is_ok());
        work.start("quick", "quick", || true);
        assert_eq!(work.wait_for(|of| *of == "quick"), [true]);
        release.send(()).unwrap();
        assert_eq!(work.wait_for(|_| true), [true]);
    }
}
