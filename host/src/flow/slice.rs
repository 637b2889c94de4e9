//! How much an operator does before those behind it run: a slice per activation, of some time or some bytes.

use std::time::{Duration, Instant};

use timely::scheduling::Activator;

/// Time per activation: short against an epoch, long against a scheduling round.
const SLICE: Duration = Duration::from_millis(10);
/// Bytes made per activation.
const SLICE_BYTES: usize = 4 << 20;
/// How long to wait before looking at the gauge of live bytes again.
const PAUSE: Duration = Duration::from_millis(1);

/// What an activation has done so far.
pub struct Slice {
    began: Instant,
    made: usize,
}

impl Slice {
    /// Nothing yet.
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            made: 0,
        }
    }

    /// These bytes were made as well.
    pub fn add(&mut self, bytes: usize) {
        self.made += bytes;
    }

    /// Whether it is enough.
    pub fn is_used_up(&self) -> bool {
        self.made >= SLICE_BYTES || self.began.elapsed() >= SLICE
    }
}

/// Why an activation ended.
pub enum Pause {
    /// Nothing left to do, or the run is over.
    Idle,
    /// The slice is used up.
    Slice,
    /// Too much of what was made is still alive.
    Full,
}

impl Pause {
    /// Has the operator activated again when it can go on.
    pub fn schedule(self, activator: &Activator) {
        match self {
            Self::Idle => {}
            Self::Slice => activator.activate(),
            Self::Full => activator.activate_after(PAUSE),
        }
    }
}
