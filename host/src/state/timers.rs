//! When keys are to be called without rows, in the order of the times.

use std::collections::BTreeMap;
use std::iter::Peekable;

use crate::error::Failure;

/// What a timer takes beside its key.
const TIMER: usize = 64;

/// A time in milliseconds since 1970, and a key.
pub type Timer = (i64, Box<[u8]>);

/// The timers that are in memory: all of a table's, or what has changed since the others went to disk.
#[derive(Debug, Default)]
pub struct Timers {
    /// Of each, whether it is set; one that is on disk may be set no more.
    changes: BTreeMap<Timer, bool>,
    bytes: usize,
}

impl Timers {
    /// A key's timer changes. `is_on_disk` says whether the one before may be.
    pub fn change(
        &mut self,
        key: &[u8],
        before: Option<i64>,
        after: Option<i64>,
        is_on_disk: bool,
    ) {
        if before == after {
            return;
        }
        if let Some(time) = before {
            match is_on_disk {
                true => self.note((time, key.into()), false),
                false => {
                    self.changes.remove(&(time, key.into()));
                    self.bytes -= TIMER + key.len();
                }
            }
        }
        if let Some(time) = after {
            self.note((time, key.into()), true);
        }
    }

    fn note(&mut self, timer: Timer, is_set: bool) {
        let bytes = TIMER + timer.1.len();
        if self.changes.insert(timer, is_set).is_none() {
            self.bytes += bytes;
        }
    }

    /// What they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What has changed, in the order of the times.
    pub fn changes(&self) -> impl Iterator<Item = (&Timer, bool)> {
        self.changes.iter().map(|(timer, is_set)| (timer, *is_set))
    }

    /// All timers that are set, in their order, with those that are on disk.
    pub fn with<'a, D>(&'a self, disk: D) -> impl Iterator<Item = Result<Timer, Failure>> + 'a
    where
        D: Iterator<Item = Result<Timer, Failure>> + 'a,
    {
        Merged {
            memory: self.changes().peekable(),
            disk: disk.peekable(),
        }
    }
}

/// Two orders as one; what is in memory is newer.
struct Merged<M: Iterator, D: Iterator> {
    memory: Peekable<M>,
    disk: Peekable<D>,
}

impl<'a, M, D> Iterator for Merged<M, D>
where
    M: Iterator<Item = (&'a Timer, bool)>,
    D: Iterator<Item = Result<Timer, Failure>>,
{
    type Item = Result<Timer, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let in_memory = self.memory.peek().map(|(timer, _)| *timer);
            match (in_memory, self.disk.peek()) {
                (_, Some(Err(_))) | (None, Some(_)) => return self.disk.next(),
                (Some(newer), Some(Ok(older))) if older < newer => return self.disk.next(),
                (Some(newer), Some(Ok(older))) if older == newer => drop(self.disk.next()),
                _ => {}
            }
            let (timer, is_set) = self.memory.next()?;
            if is_set {
                return Some(Ok(timer.clone()));
            }
        }
    }
}
