//! Which worker reads which range of an epoch.

use crate::ids::WorkerIndex;
use crate::receive::Range;

/// Who reads what: the worker that was given the fewest bytes so far, among those that can.
#[derive(Clone, Debug)]
pub struct Placement {
    given: Vec<u64>,
    /// Workers of process 0, the only ones that can read what it holds in memory.
    local: usize,
}

impl Placement {
    /// For `workers` over all processes, of which the first `local` are in process 0.
    pub fn new(workers: usize, local: usize) -> Self {
        Self {
            given: vec![0; workers],
            local,
        }
    }

    /// Chooses a worker for `range`.
    pub fn place(&mut self, range: &Range) -> WorkerIndex {
        let eligible = if range.block().is_some() {
            self.local
        } else {
            self.given.len()
        };
        let worker = (0..eligible)
            .min_by_key(|worker| self.given[*worker])
            .unwrap_or_default();
        self.given[worker] += range.bytes().max(1);
        WorkerIndex(worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_spread_evenly_and_held_ones_stay_in_process_0() {
        let mut placement = Placement::new(4, 2);
        let held = Range::Held {
            block: 0,
            rows: 1,
            bytes: 10,
        };
        let file = Range::File {
            path: "a".into(),
            start: 0,
            end: 10,
            size: 10,
        };
        assert_eq!(placement.place(&held), WorkerIndex(0));
        assert_eq!(placement.place(&held), WorkerIndex(1));
        assert_eq!(placement.place(&held), WorkerIndex(0));
        assert_eq!(placement.place(&file), WorkerIndex(2));
        assert_eq!(placement.place(&file), WorkerIndex(3));
        assert_eq!(placement.place(&file), WorkerIndex(1));
    }
}
