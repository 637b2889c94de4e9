//! How much processor time the plugins of an engine may take: a bucket that fills with time and is emptied by what they use.
//!
//! Who takes more than there is sleeps until the debt is paid, so a plugin at its quota is slow, and nobody else's is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bucket::Bucket;

/// What an idle bucket holds: a pipeline that comes to life after a pause works off its first epochs at full speed, and a neighbour does not
/// notice it.
const SAVED: Duration = Duration::from_millis(100);
/// The longest sleep at once: then the quota may be another.
const NAP: Duration = Duration::from_millis(100);

/// Seconds of processor time, of which so many come in a second: full at first.
fn seconds(cores: f64, now: Instant) -> Bucket {
    Bucket::full(cores, cores * SAVED.as_secs_f64(), now)
}

/// Takes what was used, and says how long it takes until the debt is paid.
fn charge(bucket: &mut Bucket, used: Duration, now: Instant) -> Duration {
    bucket.fill(now);
    bucket.take(used.as_secs_f64());
    bucket.debt()
}

/// The quota of an engine.
#[derive(Debug, Default)]
pub struct Quota {
    bucket: Mutex<Option<Bucket>>,
    /// Read at each call, without the lock.
    is_limited: AtomicBool,
    /// Nanoseconds that threads have slept for it.
    slept: AtomicU64,
}

impl Quota {
    /// Lets plugins have so many thousandths of a processor from now on, together; `None` is all there is.
    pub fn set(&self, millicores: Option<u32>) {
        let cores = millicores.map(|millicores| f64::from(millicores.max(1)) / 1000.0);
        *self.bucket() = cores.map(|cores| seconds(cores, Instant::now()));
        self.is_limited.store(cores.is_some(), Ordering::Release);
    }

    /// Whether there is one.
    pub fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Acquire)
    }

    /// How long calls have slept for it so far, all together.
    pub fn slept(&self) -> Duration {
        Duration::from_nanos(self.slept.load(Ordering::Relaxed))
    }

    /// Takes what was used, and sleeps until the debt of all threads is paid, but no longer than `patience`.
    pub fn pay(&self, mut used: Duration, patience: Duration) {
        let began = Instant::now();
        loop {
            let now = Instant::now();
            let debt = match &mut *self.bucket() {
                Some(bucket) => charge(bucket, used, now),
                None => return,
            };
            let nap = debt.min(NAP).min(patience.saturating_sub(now - began));
            if nap.is_zero() {
                return;
            }
            std::thread::sleep(nap);
            self.slept
                .fetch_add(nap.as_nanos() as u64, Ordering::Relaxed);
            used = Duration::ZERO;
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
        let mut bucket = seconds(cores, start);
        let mut free = vec![start; threads as usize];
        let end = start + Duration::from_secs(60);
        let mut worked = Duration::ZERO;
        while let Some(next) = free.iter_mut().min().filter(|next| **next < end) {
            *next += TICK;
            worked += TICK;
            *next += charge(&mut bucket, TICK, *next);
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
    fn threads_that_come_again_and_again_get_no_more_than_the_quota() {
        let quota = Quota::default();
        quota.set(Some(500));
        let began = Instant::now();
        let end = began + Duration::from_millis(400);
        let worked = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    while Instant::now() < end {
                        worked.fetch_add(1, Ordering::Relaxed);
                        quota.pay(TICK, Duration::from_secs(60));
                    }
                });
            }
        });
        // What it says that they have worked they have waited for, but for what was saved.
        let allowed = (began.elapsed() + SAVED).as_secs_f64() * 0.5;
        let worked = worked.into_inner() as f64 * TICK.as_secs_f64();
        assert!(
            worked <= allowed + TICK.as_secs_f64(),
            "{worked} of {allowed}"
        );
    }

    #[test]
    fn what_is_saved_passes_at_once_and_more_than_that_is_not_saved() {
        let now = Instant::now();
        let mut bucket = seconds(0.5, now);
        let saved = SAVED / 2;
        assert_eq!(charge(&mut bucket, saved, now), Duration::ZERO);
        assert_eq!(
            charge(&mut bucket, TICK, now),
            TICK * 2,
            "a debt takes its time"
        );
        let later = now + Duration::from_secs(3600);
        assert_eq!(charge(&mut bucket, saved, later), Duration::ZERO);
        assert!(charge(&mut bucket, TICK, later) > TICK);
    }
}
