//! What one input of a step over windows has in them, in one partition: where it lies, and how much of it is written down.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::Over;
use crate::checkpoint::Segment;
use crate::error::Failure;
use crate::flow::store::Change;
use crate::ids::{BatchTime, Epoch, Generation, PartitionId};
use crate::state::{Batch, Batches, StateMemory};
use crate::window::{Combine, Ended, Part, Spans, Windows};

/// The panes of a partition.
pub struct Panes {
    windows: Windows<Batch>,
    batches: Batches,
    /// What is written down or on its way.
    written: BTreeSet<(Epoch, Epoch)>,
    next_end: Option<i64>,
}

impl Panes {
    /// As they are kept; they are counted in `memory`.
    pub fn load(
        over: &Over,
        spans: Spans,
        partition: PartitionId,
        memory: Arc<StateMemory>,
    ) -> Result<Self, Failure> {
        let kept = over.kept.as_ref();
        let place = (&over.name, partition);
        let mut parts = Vec::new();
        for segment in kept.into_iter().flat_map(|kept| kept.read(place)) {
            let (segment, content) = segment?;
            let part = Part {
                first: segment.first,
                last: segment.last,
                content: Batch::new(content),
            };
            parts.push((segment.pane.unwrap_or_default(), part));
        }
        let written = parts
            .iter()
            .map(|(_, part)| (part.first, part.last))
            .collect();
        let windows = match kept.filter(|kept| kept.time > BatchTime::default()) {
            Some(kept) => Windows::restored(over.windows, spans, kept.time, parts),
            None => Windows::new(over.windows, spans),
        };
        let next_end = windows.next_end();
        let mut panes = Self {
            windows,
            batches: Batches::new(memory),
            written,
            next_end,
        };
        panes.settle()?;
        Ok(panes)
    }

    /// An epoch, with what is to be kept of its rows if it has any: the windows that end.
    pub fn advance(
        &mut self,
        epoch: Epoch,
        time: BatchTime,
        rows: Option<RecordBatch>,
        combine: &mut Combine<'_, RecordBatch, Failure>,
    ) -> Result<Vec<Ended<Batch>>, Failure> {
        let mut combine = |parts: &[&Batch]| {
            let rows: Result<Vec<_>, _> = parts.iter().map(|part| part.rows()).collect();
            combine(&rows?.iter().collect::<Vec<_>>()).map(Batch::new)
        };
        let rows = rows.map(Batch::new);
        self.windows.advance(epoch, time, rows, &mut combine)
    }

    /// Counts what is in memory; it goes to disk if it is too much.
    pub fn settle(&mut self) -> Result<(), Failure> {
        self.batches.settle(self.windows.held_mut())
    }

    /// What is to be written down since the last time, and when the next window ends.
    ///
    /// # Errors
    /// When something of it cannot be read.
    pub fn change(&mut self) -> Result<Option<(Change, Option<i64>)>, Failure> {
        let (mut new, mut all) = (Vec::new(), Vec::new());
        for (pane, part) in self.windows.kept() {
            let segment = Segment {
                first: part.first,
                last: part.last,
                generation: Generation::default(),
                version: 0,
                pane: Some(pane),
                rows: 0,
                bytes: 0,
                pack: None,
            };
            if !self.written.contains(&(part.first, part.last)) {
                new.push((segment.clone(), part.content.rows()?));
            }
            all.push(segment);
        }
        let next_end = self.windows.next_end();
        let names: BTreeSet<_> = all
            .iter()
            .map(|segment| (segment.first, segment.last))
            .collect();
        if names == self.written && next_end == self.next_end {
            return Ok(None);
        }
        (self.written, self.next_end) = (names, next_end);
        Ok(Some((Change::Parts(new, all), next_end)))
    }
}

#[cfg(test)]
impl Panes {
    /// How many rows are held.
    pub fn rows(&self) -> usize {
        let parts = self.windows.kept();
        parts.map(|(_, part)| part.content.num_rows()).sum()
    }
}
