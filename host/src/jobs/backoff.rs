//! How long a job that has failed waits before it is started again.

use std::time::Duration;

/// Before the second start: long enough that a job that fails at once costs next to nothing.
const FIRST: Duration = Duration::from_secs(1);
/// However often it has failed: what was wrong outside may be right again.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits that double, each shortened at random by up to half: jobs that failed together do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    /// Marsaglia's xorshift, never zero.
    random: u64,
}

impl Backoff {
    /// Before any failure. Jobs with other seeds wait other times.
    pub fn new(seed: u64) -> Self {
        Self {
            next: FIRST,
            random: seed | 1,
        }
    }

    /// How long to wait now; longer the next time.
    pub fn wait(&mut self) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let share = (self.random % 1000) as u32;
        let half = self.next / 2;
        self.next = (self.next * 2).min(LONGEST);
        half + half * share / 1000
    }

    /// It has been well: the next wait is a short one.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_a_reset() {
        let mut backoff = Backoff::new(7);
        for whole in [1, 2, 4, 8, 16, 32, 60, 60].map(Duration::from_secs) {
            let wait = backoff.wait();
            assert!(whole / 2 <= wait && wait < whole, "{wait:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.wait() < FIRST);
    }

    #[test]
    fn jobs_do_not_wait_alike() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            [(); 5].map(|()| backoff.wait())
        };
        assert_ne!(waits(1), waits(99));
        assert_eq!(waits(1), waits(1));
    }
}
