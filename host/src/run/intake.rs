//! How many rows the sources of several runs may take in together: a bucket that fills with time and is emptied by what epochs take.
//!
//! Who takes more than there is leaves a debt, which is paid before the next row: two runs that ask at once may both be told of the same rows.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bucket::Bucket;

/// What an idle bucket holds: an epoch of the usual interval, which is a second.
const SAVED: Duration = Duration::from_secs(1);

/// Rows, of which so many come in a second.
fn rows(rate: f64, now: Instant) -> Bucket {
    Bucket::empty(rate, (rate * SAVED.as_secs_f64()).max(1.0), now)
}

/// Shared by the runs of a tenant; without a limit unless one is set.
#[derive(Debug, Default)]
pub struct Intake(Mutex<Option<Bucket>>);

impl Intake {
    /// Lets so many rows a second in from now on; `None` is all that come.
    pub fn set(&self, rows_per_second: Option<u32>) {
        let now = Instant::now();
        *self.bucket() = rows_per_second.map(|rate| rows(f64::from(rate.max(1)), now));
    }

    /// Rows that an epoch may have that is cut now; nothing if there is no limit.
    pub fn left(&self, now: Instant) -> Option<u64> {
        let mut bucket = self.bucket();
        let held = bucket.as_mut()?.fill(now);
        Some(held.max(0.0) as u64)
    }

    /// An epoch has so many.
    pub fn take(&self, rows: u64) {
        if let Some(bucket) = &mut *self.bucket() {
            bucket.take(rows as f64);
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Option<Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_time_no_more_is_let_in_than_the_limit_however_many_ask() {
        let intake = Intake::default();
        assert_eq!(intake.left(Instant::now()), None);
        intake.set(Some(100));
        let start = Instant::now();
        let mut taken = 0;
        for millis in (0..60_000).step_by(50) {
            let now = start + Duration::from_millis(millis);
            // Two runs ask before either of them takes.
            let seen = [intake.left(now), intake.left(now)].map(Option::unwrap);
            for rows in seen {
                intake.take(rows);
                taken += rows;
            }
        }
        assert!((5_800..=6_200).contains(&taken), "{taken} in a minute");
    }

    #[test]
    fn more_than_a_second_is_not_saved_and_a_debt_is_paid_first() {
        let intake = Intake::default();
        intake.set(Some(10));
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(intake.left(later), Some(10));
        intake.take(30);
        assert_eq!(intake.left(later + Duration::from_secs(2)), Some(0));
        assert_eq!(intake.left(later + Duration::from_secs(3)), Some(10));
        intake.set(None);
        assert_eq!(intake.left(later), None);
    }
}
