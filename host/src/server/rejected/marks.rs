//! What was done about the rows of each file, and which files go when there are too many. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::row::{FileId, RowId, RowState};
use crate::server::catalog::rejected::{Mark, ReplayId};

/// The marks of a pipeline, by file.
#[derive(Debug, Default)]
pub struct Marks(BTreeMap<FileId, FileMarks>);

/// Rows from a first to a last, those of a kind without overlap.
#[derive(Debug, Default)]
struct FileMarks {
    gone: BTreeMap<u64, u64>,
    given_back: BTreeMap<u64, (u64, ReplayId)>,
}

impl Marks {
    /// As the catalog has them.
    pub fn of(marks: Vec<Mark>) -> Self {
        let mut all = Self::default();
        for mark in marks {
            let file = all.0.entry(mark.file).or_default();
            match mark.replay {
                None => drop(file.gone.insert(mark.first, mark.last)),
                Some(replay) => drop(file.given_back.insert(mark.first, (mark.last, replay))),
            }
        }
        all
    }

    /// What became of a row; nothing if it is gone.
    pub fn state(&self, id: RowId) -> Option<RowState> {
        let Some(file) = self.0.get(&id.file) else {
            return Some(RowState::Open);
        };
        let gone = file.gone.range(..=id.line).next_back();
        if gone.is_some_and(|(_, last)| *last >= id.line) {
            return None;
        }
        match self.replay_of(id) {
            Some(_) => Some(RowState::GivenBack),
            None => Some(RowState::Open),
        }
    }

    /// How many rows of a file that has so many are open.
    pub fn open(&self, file: FileId, rows: u64) -> u64 {
        let state = |line| self.state(RowId { file, line });
        let open = (0..rows).filter(|line| state(*line) == Some(RowState::Open));
        open.count() as u64
    }

    /// Whether no row is left of a file that has so many.
    pub fn is_gone(&self, file: FileId, rows: u64) -> bool {
        let gone = self.0.get(&file).map(|marks| marks.gone.iter());
        let gone = gone.into_iter().flatten();
        gone.map(|(first, last)| last - first + 1).sum::<u64>() >= rows
    }

    /// The replay by which a row was given back.
    pub fn replay_of(&self, id: RowId) -> Option<ReplayId> {
        let given_back = &self.0.get(&id.file)?.given_back;
        let (_, (last, replay)) = given_back.range(..=id.line).next_back()?;
        (*last >= id.line).then_some(*replay)
    }

    /// The files that have rows of a replay.
    pub fn files_of(&self, replay: ReplayId) -> BTreeSet<FileId> {
        let has = |marks: &FileMarks| marks.given_back.values().any(|(_, of)| *of == replay);
        let files = self.0.iter().filter(|(_, marks)| has(marks));
        files.map(|(file, _)| *file).collect()
    }
}

/// Marks for rows in ascending order: those that follow each other as one.
pub fn ranges(rows: &[RowId], replay: Option<ReplayId>) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for row in rows {
        match marks.last_mut() {
            Some(mark) if mark.file == row.file && mark.last + 1 == row.line => {
                mark.last = row.line;
            }
            _ => marks.push(Mark {
                file: row.file,
                first: row.line,
                last: row.line,
                replay,
            }),
        }
    }
    marks
}

/// A file as it counts against the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub file: FileId,
    /// The room that it takes.
    pub bytes: u64,
    /// Whether someone may still want a row of it.
    pub has_open: bool,
}

/// The files that go so that the others keep within `limit`: first those with nothing open, then the oldest.
pub fn surplus(mut files: Vec<Kept>, limit: u64) -> Vec<FileId> {
    let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
    files.sort_by_key(|file| (file.has_open, file.file));
    let over = files.iter().take_while(|file| {
        let is_over = bytes > limit;
        bytes -= file.bytes;
        is_over
    });
    over.map(|file| file.file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, PartitionId};

    const FILE: FileId = (Epoch(1), PartitionId(0));

    fn row(line: u64) -> RowId {
        RowId { file: FILE, line }
    }

    #[test]
    fn rows_are_open_until_they_are_marked_and_gone_for_good() {
        let mut all = ranges(&[1, 2, 3, 7].map(row), Some(ReplayId(4)));
        assert_eq!(all.len(), 2);
        all.extend(ranges(&[2, 3, 4].map(row), None));
        let marks = Marks::of(all);
        let states = (0..9).map(|line| match marks.state(row(line)) {
            Some(RowState::Open) => 'o',
            Some(RowState::GivenBack) => 'b',
            None => '-',
        });
        assert_eq!(states.collect::<String>(), "ob---oobo");
        assert_eq!(marks.open(FILE, 9), 4);
        let given_back = (0..9).filter(|line| marks.replay_of(row(*line)) == Some(ReplayId(4)));
        assert_eq!(given_back.collect::<Vec<_>>(), [1, 2, 3, 7]);
        assert_eq!(marks.files_of(ReplayId(4)), BTreeSet::from([FILE]));
        assert_eq!(marks.files_of(ReplayId(5)), BTreeSet::new());
        assert!(!marks.is_gone(FILE, 9));
        assert!(Marks::of(ranges(&[0, 1].map(row), None)).is_gone(FILE, 2));
    }

    #[test]
    fn what_nobody_waits_for_goes_first_and_then_the_oldest() {
        let kept = |epoch, has_open| Kept {
            file: (Epoch(epoch), PartitionId(0)),
            bytes: 10,
            has_open,
        };
        let files = vec![kept(1, true), kept(2, false), kept(3, true), kept(4, true)];
        let gone = |limit| -> Vec<u64> {
            let gone = surplus(files.clone(), limit);
            gone.into_iter().map(|(epoch, _)| epoch.0).collect()
        };
        assert_eq!(gone(40), [0; 0]);
        assert_eq!(gone(39), [2]);
        assert_eq!(gone(25), [2, 1]);
        assert_eq!(gone(0), [2, 1, 3, 4]);
    }
}
