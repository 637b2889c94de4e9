//! A bucket that fills with time and is emptied by use: how fast something may go on average, and how much of it at once after a pause.

use std::time::{Duration, Instant};

/// So much of something as there may be by now.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// What comes in a second.
    rate: f64,
    /// What it holds when it is full.
    most: f64,
    /// Less than nothing is a debt.
    holds: f64,
    filled: Instant,
}

impl Bucket {
    /// An empty one: who sets a limit again and again does not lift it.
    pub fn empty(rate: f64, most: f64, now: Instant) -> Self {
        Self {
            rate,
            most,
            holds: 0.0,
            filled: now,
        }
    }

    /// One that has all it can hold.
    pub fn full(rate: f64, most: f64, now: Instant) -> Self {
        Self {
            holds: most,
            ..Self::empty(rate, most, now)
        }
    }

    /// What it holds now.
    pub fn fill(&mut self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.holds = (self.holds + passed * self.rate).min(self.most);
        self.filled = now;
        self.holds
    }

    /// Takes some, whether it is there or not.
    pub fn take(&mut self, amount: f64) {
        self.holds -= amount;
    }

    /// How long it takes until there is no debt.
    pub fn debt(&self) -> Duration {
        Duration::from_secs_f64((-self.holds / self.rate).max(0.0))
    }
}
