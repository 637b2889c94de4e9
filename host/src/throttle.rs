//! How many lines may be said in a second: one that floods its log costs little, and what it loses is counted.

use std::time::{Duration, Instant};

/// Long enough that a burst passes, short enough that what was lost is soon told.
pub const WINDOW: Duration = Duration::from_secs(1);

/// Lets a number of lines through in each window of a second.
#[derive(Clone, Debug)]
pub struct Throttle {
    most: u32,
    began: Instant,
    passed: u32,
    lost: u64,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it passes.
    pub passes: bool,
    /// How many did not in a window that is over now: to be told, once.
    pub lost: u64,
}

impl Throttle {
    /// For `most` lines a window, the first of which begins now.
    pub fn new(most: u32, now: Instant) -> Self {
        Self {
            most,
            began: now,
            passed: 0,
            lost: 0,
        }
    }

    /// One more line.
    pub fn admit(&mut self, now: Instant) -> Verdict {
        let mut lost = 0;
        if now.duration_since(self.began) >= WINDOW {
            lost = self.take_lost();
            (self.began, self.passed) = (now, 0);
        }
        let passes = self.passed < self.most;
        match passes {
            true => self.passed += 1,
            false => self.lost += 1,
        }
        Verdict { passes, lost }
    }

    /// How many did not pass and have not been told, at the end.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted_and_the_next_window_lets_lines_through_again() {
        let now = Instant::now();
        let mut throttle = Throttle::new(50, now);
        let passed = (0..1000)
            .filter(|_| throttle.admit(now + WINDOW / 2).passes)
            .count();
        assert_eq!(passed, 50);
        let next = throttle.admit(now + WINDOW);
        assert_eq!(
            next,
            Verdict {
                passes: true,
                lost: 950
            }
        );
        assert_eq!(
            throttle.admit(now + WINDOW).lost,
            0,
            "what was lost is told once"
        );
        assert_eq!(throttle.take_lost(), 0);
    }
}
