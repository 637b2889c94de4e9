//! Which worker reads which range of an epoch.

use std::cmp::Reverse;
use std::collections::VecDeque;

use crate::flow::plan::{EpochPlan, PlannedRead};
use crate::ids::{BatchTime, Epoch, WorkerIndex};
use crate::receive::Range;

/// Who reads what: the largest range of an epoch first, each by the worker with the fewest bytes to read, among those that can.
#[derive(Clone, Debug)]
pub struct Placement {
    workers: usize,
    /// Workers of process 0, the only ones that can read what it holds in memory.
    local: usize,
    /// The bytes that each worker was given of the epochs in flight.
    given: VecDeque<(Epoch, Vec<u64>)>,
}

impl Placement {
    /// For `workers` over all processes, of which the first `local` are in process 0.
    pub fn new(workers: usize, local: usize) -> Self {
        Self {
            workers,
            local,
            given: VecDeque::new(),
        }
    }

    /// Plans the next epoch, which is to read these ranges of sources in this order.
    pub fn plan(
        &mut self,
        epoch: Epoch,
        time: BatchTime,
        ranges: impl IntoIterator<Item = (usize, Range)>,
    ) -> EpochPlan {
        let mut reads: Vec<PlannedRead> = ranges
            .into_iter()
            .map(|(source, range)| PlannedRead {
                source,
                range,
                worker: WorkerIndex(0),
            })
            .collect();
        let mut given = vec![0; self.workers];
        let mut waiting = given.clone();
        for (_, before) in &self.given {
            waiting
                .iter_mut()
                .zip(before)
                .for_each(|(all, one)| *all += one);
        }
        // What fits last should be small.
        let mut order: Vec<&mut PlannedRead> = reads.iter_mut().collect();
        order.sort_by_key(|read| Reverse(read.range.bytes()));
        // Epochs of one range each are read in turns.
        let first = (epoch.0 % self.workers as u64) as usize;
        for read in order {
            let eligible = match read.range.block() {
                Some(_) => self.local,
                None => self.workers,
            };
            let worker = (0..eligible)
                .map(|turn| (first + turn) % eligible)
                .min_by_key(|worker| waiting[*worker])
                .unwrap_or_default();
            let bytes = read.range.bytes().max(1);
            waiting[worker] += bytes;
            given[worker] += bytes;
            read.worker = WorkerIndex(worker);
        }
        self.given.push_back((epoch, given));
        EpochPlan { epoch, time, reads }
    }

    /// An epoch and all before it have been read and delivered.
    pub fn delivered(&mut self, epoch: Epoch) {
        while self.given.front().is_some_and(|(first, _)| *first <= epoch) {
            self.given.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: u64) -> Range {
        Range::File {
            path: "a".into(),
            start: 0,
            end: bytes,
            size: bytes,
        }
    }

    fn held(bytes: u64) -> Range {
        Range::Held {
            block: 0,
            rows: 1,
            bytes,
        }
    }

    fn workers<const N: usize>(
        placement: &mut Placement,
        epoch: u64,
        ranges: [Range; N],
    ) -> [usize; N] {
        let ranges = ranges.map(|range| (0, range));
        let plan = placement.plan(Epoch(epoch), BatchTime(1), ranges.clone());
        for (read, (_, range)) in plan.reads.iter().zip(ranges) {
            assert_eq!(read.range, range, "partitions keep their order");
        }
        std::array::from_fn(|partition| plan.reads[partition].worker.0)
    }

    #[test]
    fn ranges_are_spread_evenly_and_held_ones_stay_in_process_0() {
        let mut placement = Placement::new(4, 2);
        let ranges = [held(10), held(10), held(10), file(10), file(10), file(10)];
        assert_eq!(workers(&mut placement, 0, ranges), [0, 1, 0, 2, 3, 1]);
    }

    #[test]
    fn a_small_range_fills_what_large_ones_leave() {
        let mut placement = Placement::new(2, 2);
        let first = [15, 15, 15, 15, 7].map(file);
        assert_eq!(workers(&mut placement, 0, first), [0, 1, 0, 1, 0]);
        // The rest of a file that was begun: 37 to 30 before, 60 to 60 after.
        let second = [8, 15, 15, 15].map(file);
        assert_eq!(workers(&mut placement, 1, second), [0, 1, 0, 1]);
    }

    #[test]
    fn what_was_read_long_ago_does_not_count() {
        let mut placement = Placement::new(3, 1);
        for epoch in 0..10 {
            workers(&mut placement, epoch, [held(1000)]);
        }
        assert_eq!(
            workers(&mut placement, 10, [file(5), file(5), file(5)]),
            [1, 2, 1]
        );
        placement.delivered(Epoch(10));
        assert_eq!(
            workers(&mut placement, 12, [file(5), file(5), file(5)]),
            [0, 1, 2]
        );
    }

    #[test]
    fn epochs_of_one_range_are_read_in_turns() {
        let mut placement = Placement::new(3, 3);
        let of = |epoch: u64| {
            let [worker] = workers(&mut placement, epoch, [file(1)]);
            placement.delivered(Epoch(epoch));
            worker
        };
        assert_eq!((0..4).map(of).collect::<Vec<_>>(), [0, 1, 2, 0]);
    }
}
