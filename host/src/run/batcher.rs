//! When an epoch is cut: a pure decision over plain data, without clock or I/O.

use std::time::Duration;

use super::rate::{Delivered, RateEstimator};
use crate::pipeline::plan::{EpochRules, Trigger};
use crate::receive::Budget;

/// What the epoch driver sees at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Time since the start of the run.
    pub now: Duration,
    /// Bytes waiting at the receivers, as far as they know; a receiver that only knows "something" says 1.
    pub waiting_bytes: u64,
    /// Whether a step is to be called though no rows may be there: a timer is due, or a window has come to its end.
    pub due: bool,
    /// For how long nothing of this changes, nothing waiting and nothing being due, unless the thread is unparked.
    pub quiet: Duration,
    /// Epochs cut and not yet committed.
    pub in_flight: u32,
    /// The process is over its limit of live bytes.
    pub overfull: bool,
    /// Rows that may be taken in now of those that it shares with other runs; nothing if there is no limit.
    pub allowed_rows: Option<u64>,
    /// A stop was asked for: take what was received at once, until the receivers have ended.
    pub draining: bool,
    /// No receiver will ever have anything again.
    pub ended: bool,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Cut an epoch of at most this.
    Cut(Budget),
    /// Nothing before this much time has passed, unless something changes.
    Wait(Duration),
    /// The same, because no more rows may be taken in for now.
    Hold(Duration),
    /// No further epoch: end of time.
    End,
}

/// How long to wait when only a change from outside can help.
const IDLE: Duration = Duration::from_millis(50);
/// The same when it is known that there will be none, but for a clock that is set anew.
const REST: Duration = Duration::from_secs(1);

/// Decides by the rules of one pipeline.
#[derive(Clone, Debug)]
pub struct Batcher {
    rules: EpochRules,
    /// The interval's tick at which the next epoch is due.
    due: Duration,
    /// Rows that `max_rate` allows by now and that were not used.
    allowance: f64,
    counted_to: Duration,
    /// Keeps epochs as small as it takes to be done within the interval.
    estimator: Option<RateEstimator>,
}

impl Batcher {
    /// Before the first epoch, at time zero.
    pub fn new(rules: EpochRules) -> Self {
        let (due, estimator) = match rules.trigger {
            Trigger::Interval(interval) => {
                let estimator = rules.adaptive.then(|| RateEstimator::new(interval));
                (interval, estimator)
            }
            Trigger::AvailableNow => (Duration::ZERO, None),
        };
        Self {
            rules,
            due,
            allowance: 0.0,
            counted_to: Duration::ZERO,
            estimator,
        }
    }

    /// The decision at `moment`. Moments come in order of time.
    pub fn decide(&mut self, moment: Moment) -> Decision {
        self.earn(moment.now);
        if moment.waiting_bytes == 0 && moment.ended {
            return Decision::End;
        }
        if moment.waiting_bytes == 0 && !moment.due {
            return Decision::Wait(match moment.in_flight {
                0 => moment.quiet.clamp(IDLE, REST),
                _ => IDLE,
            });
        }
        if moment.in_flight >= self.rules.max_in_flight || moment.overfull {
            return Decision::Wait(IDLE);
        }
        let most = self
            .estimator
            .as_ref()
            .map_or(u64::MAX, RateEstimator::bytes);
        // Before its time only if there is time for so much.
        let full = moment.waiting_bytes >= self.rules.max_bytes && most >= self.rules.max_bytes;
        if let Trigger::Interval(_) = self.rules.trigger
            && moment.now < self.due
            && !full
            && !moment.draining
            && !moment.ended
        {
            return Decision::Wait((self.due - moment.now).min(IDLE));
        }
        let rows = match self.rules.max_rate {
            Some(_) if moment.draining => self.rules.max_rows,
            Some(rate) if self.allowance < 1.0 => {
                let missing = (1.0 - self.allowance) / rate as f64;
                return Decision::Wait(
                    Duration::from_secs_f64(missing)
                        .max(Duration::from_millis(1))
                        .min(IDLE),
                );
            }
            Some(_) => self.rules.max_rows.min(self.allowance as u64),
            None => self.rules.max_rows,
        };
        let rows = match moment.allowed_rows {
            Some(0) if !moment.draining && !moment.due => return Decision::Hold(IDLE),
            Some(allowed) if !moment.draining => rows.min(allowed),
            _ => rows,
        };
        Decision::Cut(Budget {
            rows,
            bytes: self.rules.max_bytes.min(most),
        })
    }

    /// Whether the next epoch's time has come and there is none to be cut.
    pub fn is_idle(&self, moment: Moment) -> bool {
        moment.waiting_bytes == 0 && !moment.due && moment.now >= self.due
    }

    /// An epoch was delivered.
    pub fn deliver(&mut self, epoch: Delivered) {
        if let Some(estimator) = &mut self.estimator {
            estimator.deliver(epoch);
        }
    }

    /// An epoch was cut at `now` with so many rows (as far as its sources know).
    pub fn cut(&mut self, now: Duration, rows: u64) {
        self.allowance -= rows as f64;
        if let Trigger::Interval(interval) = self.rules.trigger {
            // Ticks missed are skipped: late epochs do not pile up.
            let ticks = now.as_nanos() / interval.as_nanos().max(1) + 1;
            self.due = interval.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX));
        }
    }

    /// Rows allowed grow with time, up to what one second (or interval, if longer) may use.
    fn earn(&mut self, now: Duration) {
        let Some(rate) = self.rules.max_rate else {
            return;
        };
        let span = match self.rules.trigger {
            Trigger::Interval(interval) => interval.as_secs_f64().max(1.0),
            Trigger::AvailableNow => 1.0,
        };
        let earned = now.saturating_sub(self.counted_to).as_secs_f64() * rate as f64;
        self.allowance = (self.allowance + earned).min(rate as f64 * span);
        self.counted_to = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(trigger: Trigger) -> EpochRules {
        EpochRules {
            trigger,
            max_rows: u64::MAX,
            max_bytes: 1000,
            max_rate: None,
            adaptive: true,
            max_in_flight: 3,
            max_live_bytes: 1 << 20,
        }
    }

    fn at(millis: u64, waiting_bytes: u64) -> Moment {
        Moment {
            now: Duration::from_millis(millis),
            waiting_bytes,
            due: false,
            quiet: Duration::ZERO,
            in_flight: 0,
            overfull: false,
            allowed_rows: None,
            draining: false,
            ended: false,
        }
    }

    const SECOND: Trigger = Trigger::Interval(Duration::from_secs(1));

    #[test]
    fn an_epoch_waits_for_its_tick_and_missed_ticks_do_not_pile_up() {
        let mut batcher = Batcher::new(rules(SECOND));
        assert!(matches!(batcher.decide(at(500, 10)), Decision::Wait(_)));
        assert!(matches!(batcher.decide(at(1000, 10)), Decision::Cut(_)));
        batcher.cut(Duration::from_millis(3500), 1);
        assert!(matches!(batcher.decide(at(3600, 10)), Decision::Wait(_)));
        assert!(matches!(batcher.decide(at(4000, 10)), Decision::Cut(_)));
    }

    #[test]
    fn a_step_that_is_due_has_an_epoch_at_its_tick_without_rows() {
        let mut batcher = Batcher::new(rules(SECOND));
        let due = |millis| Moment {
            due: true,
            ..at(millis, 0)
        };
        assert!(matches!(batcher.decide(at(1000, 0)), Decision::Wait(_)));
        assert!(matches!(batcher.decide(due(900)), Decision::Wait(_)));
        assert!(matches!(batcher.decide(due(1000)), Decision::Cut(_)));
        let ended = Moment {
            ended: true,
            ..due(1000)
        };
        assert_eq!(batcher.decide(ended), Decision::End);
    }

    #[test]
    fn who_has_nothing_to_do_waits_as_long_as_its_sources_are_quiet() {
        let mut batcher = Batcher::new(rules(SECOND));
        let mut wait = |quiet, in_flight| {
            let moment = Moment {
                quiet,
                in_flight,
                ..at(5000, 0)
            };
            batcher.decide(moment)
        };
        let known = Duration::from_millis(700);
        assert_eq!(wait(known, 0), Decision::Wait(known));
        assert_eq!(wait(known, 1), Decision::Wait(IDLE));
        assert_eq!(wait(Duration::ZERO, 0), Decision::Wait(IDLE));
        assert_eq!(wait(Duration::MAX, 0), Decision::Wait(REST));
    }

    #[test]
    fn an_epoch_closes_early_when_the_byte_limit_is_reached() {
        let mut batcher = Batcher::new(rules(SECOND));
        assert!(matches!(batcher.decide(at(1, 1000)), Decision::Cut(_)));
    }

    #[test]
    fn a_pipeline_is_idle_when_its_tick_has_come_and_there_is_nothing() {
        let mut batcher = Batcher::new(rules(SECOND));
        assert!(!batcher.is_idle(at(500, 0)));
        assert!(batcher.is_idle(at(1000, 0)) && !batcher.is_idle(at(1000, 1)));
        batcher.cut(Duration::from_millis(1000), 1);
        assert!(!batcher.is_idle(at(1900, 0)) && batcher.is_idle(at(2000, 0)));
        assert!(Batcher::new(rules(Trigger::AvailableNow)).is_idle(at(0, 0)));
    }

    #[test]
    fn nothing_is_cut_while_too_much_is_in_flight() {
        let mut batcher = Batcher::new(rules(Trigger::AvailableNow));
        assert!(matches!(
            batcher.decide(Moment {
                in_flight: 3,
                ..at(0, 10)
            }),
            Decision::Wait(_)
        ));
        assert!(matches!(
            batcher.decide(Moment {
                overfull: true,
                ..at(0, 10)
            }),
            Decision::Wait(_)
        ));
        assert!(matches!(batcher.decide(at(0, 10)), Decision::Cut(_)));
    }

    #[test]
    fn an_epoch_has_no_more_rows_than_are_allowed_and_one_without_rows_needs_none() {
        let mut batcher = Batcher::new(rules(Trigger::AvailableNow));
        let allowed = |rows| Moment {
            allowed_rows: Some(rows),
            ..at(0, 10)
        };
        let mut rows = |moment| match batcher.decide(moment) {
            Decision::Cut(budget) => Some(budget.rows),
            _ => None,
        };
        assert_eq!(rows(allowed(7)), Some(7));
        assert_eq!(rows(allowed(0)), None);
        let due = Moment {
            due: true,
            ..allowed(0)
        };
        assert_eq!(rows(due), Some(0), "a timer does not wait for rows");
        let draining = Moment {
            draining: true,
            ..allowed(0)
        };
        assert_eq!(
            rows(draining),
            Some(u64::MAX),
            "what was received is received"
        );
    }

    #[test]
    fn a_drain_takes_what_was_received_and_ends_with_the_last_receiver() {
        let mut batcher = Batcher::new(rules(SECOND));
        let draining = |waiting_bytes| Moment {
            draining: true,
            ..at(1, waiting_bytes)
        };
        assert!(matches!(batcher.decide(draining(10)), Decision::Cut(_)));
        assert!(matches!(batcher.decide(draining(0)), Decision::Wait(_)));
        let ended = Moment {
            ended: true,
            ..draining(0)
        };
        assert_eq!(batcher.decide(ended), Decision::End);
    }

    proptest! {
        #[test]
        fn the_rate_is_never_exceeded_by_more_than_its_allowance(
            rate in 1u64..10_000,
            steps in prop::collection::vec((1u64..400, 0u64..2000), 1..200),
        ) {
            let mut batcher = Batcher::new(EpochRules {
                max_rate: Some(rate),
                max_bytes: u64::MAX,
                ..rules(Trigger::AvailableNow)
            });
            let (mut now, mut taken) = (0, 0);
            for (wait, rows) in steps {
                now += wait;
                if let Decision::Cut(budget) = batcher.decide(at(now, 1)) {
                    let rows = rows.min(budget.rows);
                    taken += rows;
                    batcher.cut(Duration::from_millis(now), rows);
                }
                prop_assert!(taken as f64 <= rate as f64 * now as f64 / 1000.0 + 1.0);
            }
        }

        #[test]
        fn every_byte_is_cut_in_the_end(bytes in prop::collection::vec(1u64..5000, 1..50)) {
            // A slow twin would be a queue: whatever arrives is cut while time goes on.
            let mut batcher = Batcher::new(rules(SECOND));
            let (mut waiting, mut cut, mut now) = (0, 0, 0);
            for arriving in &bytes {
                waiting += arriving;
                now += 700;
                if let Decision::Cut(budget) = batcher.decide(at(now, waiting)) {
                    let taken = waiting.min(budget.bytes);
                    waiting -= taken;
                    cut += taken;
                    batcher.cut(Duration::from_millis(now), 0);
                }
            }
            loop {
                now += 1000;
                match batcher.decide(Moment { ended: true, ..at(now, waiting) }) {
                    Decision::Cut(budget) => {
                        let taken = waiting.min(budget.bytes);
                        waiting -= taken;
                        cut += taken;
                        batcher.cut(Duration::from_millis(now), 0);
                    }
                    Decision::End => break,
                    Decision::Wait(_) | Decision::Hold(_) => {}
                }
            }
            prop_assert_eq!(cut, bytes.iter().sum::<u64>());
        }
    }
}
