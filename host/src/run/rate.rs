//! How much an epoch may take in so that it is done within its interval: Spark's PID rate estimator, on bytes.
//!
//! See `PIDRateEstimator` of Spark Streaming, whose gains these are. A pure function of what was delivered.

use std::time::Duration;

/// Weight of the difference between the rate allowed and the rate seen.
const PROPORTIONAL: f64 = 1.0;
/// Weight of what has piled up: the delay as bytes that could have been worked on meanwhile.
const INTEGRAL: f64 = 0.2;
/// Bytes a second that are always allowed: below this an epoch's fixed cost says nothing about its bytes.
const LEAST: f64 = (256 << 10) as f64;
/// The first epoch is cut before anything is known.
const FIRST: u64 = 16 << 20;

/// A delivered epoch.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// Its input.
    pub bytes: u64,
    /// From when the one before it was done, or from its cut if that was later, to its end.
    pub processing: Duration,
    /// From its cut to when the one before it was done.
    pub delay: Duration,
}

/// Follows the epochs of one run.
#[derive(Clone, Debug)]
pub struct RateEstimator {
    interval: f64,
    /// Bytes a second; none before the first delivery.
    rate: Option<f64>,
}

impl RateEstimator {
    /// For epochs cut at this interval.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval: interval.as_secs_f64(),
            rate: None,
        }
    }

    /// Takes a delivered epoch into account.
    pub fn deliver(&mut self, epoch: Delivered) {
        let processing = epoch.processing.as_secs_f64();
        if epoch.bytes == 0 || processing <= 0.0 {
            return;
        }
        let seen = epoch.bytes as f64 / processing;
        let Some(rate) = self.rate else {
            self.rate = Some(seen.max(LEAST));
            return;
        };
        let error = rate - seen;
        let piled_up = epoch.delay.as_secs_f64() * seen / self.interval;
        let next = rate - PROPORTIONAL * error - INTEGRAL * piled_up;
        self.rate = Some(next.max(LEAST));
    }

    /// Bytes that the next epoch may have.
    pub fn bytes(&self) -> u64 {
        self.rate
            .map_or(FIRST, |rate| (rate * self.interval) as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A pipeline that works through so many bytes a second, with a fixed cost an epoch, behind a source that is faster.
        #[test]
        fn epochs_of_a_pipeline_that_cannot_keep_up_come_to_last_an_interval(
            capacity in 1e6f64..1e9, fixed in 0.0f64..0.05, interval in 0.2f64..5.0,
        ) {
            let mut estimator = RateEstimator::new(Duration::from_secs_f64(interval));
            let (mut cut, mut done) = (0.0f64, 0.0f64);
            let mut lasted = Vec::new();
            let mut delays = Vec::new();
            for _ in 0..200 {
                let bytes = estimator.bytes();
                let begun = cut.max(done);
                let processing = fixed + bytes as f64 / capacity;
                done = begun + processing;
                estimator.deliver(Delivered {
                    bytes,
                    processing: Duration::from_secs_f64(processing),
                    delay: Duration::from_secs_f64(begun - cut),
                });
                lasted.push(processing);
                delays.push(begun - cut);
                // One epoch in flight: the next is cut at its tick, or when this one is done.
                cut = (cut + interval).max(done - interval);
            }
            let late = &lasted[150..];
            let mean = late.iter().sum::<f64>() / late.len() as f64;
            prop_assert!(mean <= 1.1 * interval + fixed, "{mean} of {interval}");
            prop_assert!(mean >= 0.4 * interval, "{mean} of {interval}: not slowed more than needed");
            prop_assert!(delays[199] <= interval * 1.5, "{:?}", &delays[190..]);
        }
    }

    #[test]
    fn an_idle_stream_does_not_hold_back_the_burst_after_it_for_long() {
        let mut estimator = RateEstimator::new(Duration::from_secs(1));
        let (fixed, capacity) = (0.005, 100e6);
        let mut run = |offered: u64| {
            let bytes = offered.min(estimator.bytes());
            estimator.deliver(Delivered {
                bytes,
                processing: Duration::from_secs_f64(fixed + bytes as f64 / capacity),
                delay: Duration::ZERO,
            });
            bytes
        };
        for _ in 0..10 {
            run(100);
        }
        let ramp: Vec<u64> = (0..6).map(|_| run(u64::MAX)).collect();
        assert!(ramp[5] > 90_000_000, "{ramp:?}");
    }
}
