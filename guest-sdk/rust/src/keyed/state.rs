//! What is remembered of a key, and when it is called without rows.

use std::fmt;
use std::time::Duration;

use crate::builder::Size;
use crate::record::{Builders, Readable, Record, Row};
use crate::wit::Buffers;
use crate::{Batch, Error, context};

/// Bits of a key's status.
mod status {
    pub(super) const HAS_STATE: u8 = 1;
    pub(super) const TIMED_OUT: u8 = 1 << 1;
    pub(super) const FIRST_PART: u8 = 1 << 2;
    pub(super) const LAST_PART: u8 = 1 << 3;
}

/// What becomes of a key's state.
mod op {
    pub(super) const KEEP: u8 = 0;
    pub(super) const PUT: u8 = 1;
    pub(super) const REMOVE: u8 = 2;
}

/// Leaves the timer as it is.
const SAME_TIMER: i64 = i64::MIN;
/// No timer.
const NO_TIMER: i64 = i64::MAX;

pub(super) fn has_state(status: u8) -> bool {
    status & status::HAS_STATE != 0
}

/// What is remembered of the key that the function is called for, and its timer.
pub struct State<'a, T: Readable> {
    readers: <T::In<'a> as Row<'a>>::Readers,
    /// The states put, of all keys of the call so far.
    put: T::Builders,
    /// How many they are, without that of the key at hand.
    puts: usize,
    /// Whether states have no columns, so that no key has one.
    stateless: bool,
    ops: Vec<u8>,
    /// Of the keys so far; none at all before the first that is not the same.
    timers: Vec<[u8; 8]>,
    /// The state of the key at hand, if it has one; else of the next that has.
    row: usize,
    status: u8,
    op: u8,
    timer: i64,
}

impl<'a, T: Readable> State<'a, T> {
    /// What was remembered before the function was called, read in place; what it puts is there in the next call.
    pub fn get(&self) -> Option<T::In<'a>> {
        self.exists().then(|| {
            <T::In<'a>>::read(&self.readers, self.row).expect(
                "the state's columns are those of the record, and allow nulls where it does",
            )
        })
    }

    /// Whether something was remembered before the function was called.
    pub fn exists(&self) -> bool {
        has_state(self.status)
    }

    /// Remembers this from now on.
    pub fn put<R: Record<Builders = T::Builders>>(&mut self, state: R) {
        self.take_back();
        state.write(&mut self.put);
        self.op = op::PUT;
    }

    /// Forgets the key: its state and its timer.
    pub fn remove(&mut self) {
        self.take_back();
        self.op = op::REMOVE;
        self.timer = NO_TIMER;
    }

    /// Has the function called for this key even without rows, in the first epoch whose batch time, in milliseconds since
    /// 1970, is not before this. A key has one timer: this replaces an earlier one. Only a key with state has one.
    pub fn set_timer(&mut self, batch_time: i64) {
        self.timer = batch_time.clamp(SAME_TIMER + 1, NO_TIMER - 1);
    }

    /// [`set_timer`](Self::set_timer) so long after the batch time of this epoch.
    pub fn timeout_after(&mut self, pause: Duration) {
        let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        self.set_timer(context().batch_time.saturating_add(pause));
    }

    /// Takes the timer back.
    pub fn clear_timer(&mut self) {
        self.timer = NO_TIMER;
    }

    /// Whether the function is called because the timer is due. There may be rows too. The timer is spent: the key has
    /// none after the call unless the function sets one.
    pub fn timed_out(&self) -> bool {
        self.status & status::TIMED_OUT != 0
    }

    /// Whether these are the first rows of the key in this epoch.
    pub fn is_first_part(&self) -> bool {
        self.status & status::FIRST_PART != 0
    }

    /// Whether these are the last rows of the key in this epoch.
    pub fn is_last_part(&self) -> bool {
        self.status & status::LAST_PART != 0
    }

    pub(super) fn new(states: &'a Batch, size: Size) -> Self {
        Self {
            readers: <T::In<'a>>::readers(states),
            put: T::Builders::new(&[], size),
            puts: 0,
            stateless: states.columns().is_empty(),
            ops: Vec::with_capacity(size.rows),
            timers: Vec::new(),
            row: 0,
            status: 0,
            op: op::KEEP,
            timer: SAME_TIMER,
        }
    }

    /// The next key.
    pub(super) fn begin(&mut self, status: u8) {
        self.status = status;
        (self.op, self.timer) = (op::KEEP, SAME_TIMER);
    }

    /// As if the function had not been called.
    pub(super) fn undo(&mut self) {
        self.take_back();
        (self.op, self.timer) = (op::KEEP, SAME_TIMER);
    }

    fn take_back(&mut self) {
        if self.op == op::PUT {
            self.put.truncate(self.puts);
        }
    }

    /// The key is done.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        let remembered = match self.op {
            op::KEEP => self.exists(),
            op => op == op::PUT,
        };
        if self.op == op::PUT && self.stateless {
            return Err(Error::fatal(
                "the plugin put a state, and its states have no columns",
            ));
        }
        if !remembered && !matches!(self.timer, SAME_TIMER | NO_TIMER) {
            return Err(Error::fatal(
                "the plugin set a timer for a key of which nothing is remembered",
            ));
        }
        self.puts += usize::from(self.op == op::PUT);
        self.row += usize::from(self.exists());
        if self.timer != SAME_TIMER || !self.timers.is_empty() {
            self.timers
                .reserve_exact(self.ops.capacity() - self.timers.len());
            self.timers.resize(self.ops.len(), SAME_TIMER.to_le_bytes());
            self.timers.push(self.timer.to_le_bytes());
        }
        self.ops.push(self.op);
        Ok(())
    }

    /// What became of the keys: ops, states, timers, each empty if it says nothing.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<Buffers>, Vec<u8>) {
        if self.ops.iter().all(|op| *op == op::KEEP) {
            self.ops.clear();
        }
        (self.ops, self.put.finish(), self.timers.into_flattened())
    }
}

impl<T: Readable> fmt::Debug for State<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("status", &self.status)
            .field("op", &self.op)
            .field("timer", &self.timer)
            .finish_non_exhaustive()
    }
}
