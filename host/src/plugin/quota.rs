//! How much processor time the plugins of an engine may take: a bucket that fills with time and is emptied by what they use.
//!
//! Who takes more than there is sleeps until the debt is paid, so a plugin at its quota is slow, and nobody else's is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What an idle bucket holds: a pipeline that comes to life after a pause works off its first epochs at full speed, and a neighbour does not
/// notice it.
const SAVED: Duration = Duration::from_millis(100);
/// The longest sleep at once: then the deadline is looked at, and the quota may be another.
const NAP: Duration = Duration::from_millis(100);

/// The processor time that there is.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Seconds of processor time for a second of time.
    cores: f64,
    /// Seconds of processor time; less than none is a debt.
    holds: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(cores: f64, now: Instant) -> Self {
        Self {
            cores,
            holds: cores * SAVED.as_secs_f64(),
            filled: now,
        }
    }

    /// Takes what was used, and says how long it takes until the debt is paid.
    pub fn charge(&mut self, used: Duration, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        let most = self.cores * SAVED.as_secs_f64();
        self.holds = (self.holds + passed * self.cores).min(most) - used.as_secs_f64();
        self.filled = now;
        Duration::from_secs_f64((-self.holds / self.cores).max(0.0))
    }
}

/// The quota of an engine.
#[derive(Debug, Default)]
pub struct Quota {
    bucket: Mutex<Option<Bucket>>,
    /// Read at each call, without the lock.
    is_limited: AtomicBool,
}

impl Quota {
    /// Lets plugins have so many thousandths of a processor from now on, together; `None` is all there is.
    pub fn set(&self, millicores: Option<u32>) {
        let cores = millicores.map(|millicores| f64::from(millicores.max(1)) / 1000.0);
        *self.bucket() = cores.map(|cores| Bucket::new(cores, Instant::now()));
        self.is_limited.store(cores.is_some(), Ordering::Release);
    }

    /// Whether there is one.
    pub fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Acquire)
    }

    /// Takes what was used, and sleeps until the debt is paid, but no longer than a nap.
    pub fn pay(&self, used: Duration) {
        let debt = match &mut *self.bucket() {
            Some(bucket) => bucket.charge(used, Instant::now()),
            None => Duration::ZERO,
        };
        if !debt.is_zero() {
            std::thread::sleep(debt.min(NAP));
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Option<Bucket>> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(5);

    /// What share of the time `threads` endless loops get, each on a processor of its own.
    fn share(cores: f64, threads: u32) -> f64 {
        let start = Instant::now();
        let mut bucket = Bucket::new(cores, start);
        let mut free = vec![start; threads as usize];
        let end = start + Duration::from_secs(60);
        let mut worked = Duration::ZERO;
        while let Some(next) = free.iter_mut().min().filter(|next| **next < end) {
            *next += TICK;
            worked += TICK;
            *next += bucket.charge(TICK, *next);
        }
        worked.as_secs_f64() / 60.0
    }

    #[test]
    fn an_endless_loop_gets_its_share_however_many_threads_it_has() {
        for cores in [0.05, 0.25, 0.9, 1.5] {
            for threads in [1, 2, 8] {
                let got = share(cores, threads);
                let wanted = cores.min(threads.into());
                let is_near = (got - wanted).abs() <= 0.01 + wanted * 0.01;
                assert!(is_near, "{got} of {wanted} on {threads} threads");
            }
        }
    }

    #[test]
    fn what_is_saved_passes_at_once_and_more_than_that_is_not_saved() {
        let now = Instant::now();
        let mut bucket = Bucket::new(0.5, now);
        let saved = SAVED / 2;
        assert_eq!(bucket.charge(saved, now), Duration::ZERO);
        assert_eq!(bucket.charge(TICK, now), TICK * 2, "a debt takes its time");
        let later = now + Duration::from_secs(3600);
        assert_eq!(bucket.charge(saved, later), Duration::ZERO);
        assert!(bucket.charge(TICK, later) > TICK);
    }
}
