//! What peers have sent and no worker has taken yet: bounded in bytes, in the order in which it came.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::error::Failure;
use crate::receive::{Budget, Offer, Range, Waiting};

/// One range: small enough that the workers share a burst, large enough that a plugin's instance per range costs nothing.
const BLOCK_BYTES: u64 = 1 << 20;
const BLOCK_LINES: u64 = 16 << 10;
/// What a segment costs beside its bytes.
const SEGMENT_OVERHEAD: u64 = 96;
/// Names of connections kept to say where a record came from; rows of older ones have long been delivered.
const NAMES: usize = 4096;
/// Bits of a position that count lines; the others number the connection.
const LINE_BITS: u32 = 40;

/// Where a line of a connection stands: the connection's number and the line's, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Counts the connections of a run from 0.
    pub connection: u64,
    /// Counts its lines from 1.
    pub line: u64,
}

impl Position {
    /// As one number, which orders the lines of a connection.
    pub fn pack(self) -> u64 {
        (self.connection << LINE_BITS) | (self.line & ((1 << LINE_BITS) - 1))
    }

    /// The reverse.
    pub fn unpack(packed: u64) -> Self {
        Self {
            connection: packed >> LINE_BITS,
            line: packed & ((1 << LINE_BITS) - 1),
        }
    }
}

/// Lines of one connection.
#[derive(Debug, Serialize, Deserialize)]
pub enum Segment {
    /// Whole lines.
    Lines {
        /// Where the first stands.
        first: Position,
        /// How many.
        lines: u64,
        /// They themselves, with their ends; the last may lack it.
        bytes: Vec<u8>,
    },
    /// A line over the limit.
    TooLong {
        /// Where it stands.
        at: Position,
        /// Its first bytes.
        head: Vec<u8>,
    },
}

impl Segment {
    fn lines(&self) -> u64 {
        match self {
            Segment::Lines { lines, .. } => *lines,
            Segment::TooLong { .. } => 1,
        }
    }

    fn bytes(&self) -> u64 {
        let (Segment::Lines { bytes, .. } | Segment::TooLong { head: bytes, .. }) = self;
        bytes.len() as u64
    }

    /// Where it begins.
    fn position(&self) -> &Position {
        let (Segment::Lines { first: at, .. } | Segment::TooLong { at, .. }) = self;
        at
    }

    fn position_mut(&mut self) -> &mut Position {
        let (Segment::Lines { first: at, .. } | Segment::TooLong { at, .. }) = self;
        at
    }

    /// What it counts against the buffer's limit.
    fn weight(&self) -> u64 {
        self.bytes() + SEGMENT_OVERHEAD
    }

    /// Cuts off what is beyond `most` bytes and lines, but leaves at least one line.
    fn cut(&mut self, most: Budget) -> Option<Segment> {
        let Segment::Lines {
            first,
            lines,
            bytes,
        } = self
        else {
            return None;
        };
        if *lines <= most.rows.max(1) && bytes.len() as u64 <= most.bytes {
            return None;
        }
        let mut kept = 0;
        let mut end = 0;
        for line_end in memchr::memchr_iter(b'\n', bytes) {
            let over = kept >= most.rows || (line_end + 1) as u64 > most.bytes;
            if over && kept > 0 {
                break;
            }
            (kept, end) = (kept + 1, line_end + 1);
        }
        if end == bytes.len() || kept == 0 {
            return None;
        }
        let rest = Segment::Lines {
            first: Position {
                line: first.line + kept,
                ..*first
            },
            lines: *lines - kept,
            bytes: bytes.split_off(end),
        };
        *lines = kept;
        Some(rest)
    }
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Segment>,
    queued_bytes: u64,
    /// Offered, not yet taken by a reader.
    blocks: HashMap<u64, Vec<Segment>>,
    next_block: u64,
    /// Weight of all segments in `queue` and `blocks`.
    held: u64,
    names: VecDeque<String>,
    connections: u64,
    ended: bool,
    failure: Option<Failure>,
    /// Who has found nothing here, and is to be told.
    waits: Option<Thread>,
}

/// The buffer, shared by the socket thread, the receiver and the readers of process 0.
#[derive(Debug)]
pub struct Buffer {
    limit: u64,
    state: Mutex<State>,
    space: Notify,
}

impl Buffer {
    /// One that asks the sockets to wait while it holds `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            state: Mutex::default(),
            space: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing below panics with the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What counts against the limit.
    #[cfg(test)]
    pub fn held(&self) -> u64 {
        self.state().held
    }

    /// Numbers a new connection.
    pub fn connected(&self, name: String) -> u64 {
        let mut state = self.state();
        if state.names.len() == NAMES {
            state.names.pop_front();
        }
        state.names.push_back(name);
        state.connections += 1;
        state.connections - 1
    }

    /// How a person finds a line.
    pub fn origin(&self, position: u64) -> String {
        let Position { connection, line } = Position::unpack(position);
        let state = self.state();
        match state.name(connection) {
            Some(name) => format!("{name} line {line}"),
            None => format!("connection {connection} line {line}"),
        }
    }

    /// Returns when there is room.
    pub async fn wait_for_space(&self) {
        loop {
            let freed = self.space.notified();
            tokio::pin!(freed);
            // Registered before the look, so that a block taken in between is not missed.
            freed.as_mut().enable();
            if self.state().held < self.limit {
                return;
            }
            freed.await;
        }
    }

    /// Adds whole lines of a connection.
    pub fn push_lines(&self, first: Position, lines: u64, new: &[u8]) {
        let mut state = self.state();
        state.tell();
        state.queued_bytes += new.len() as u64;
        state.held += new.len() as u64;
        let back = state.queue.back_mut();
        if let Some(Segment::Lines {
            first: begun,
            lines: there,
            bytes,
        }) = back
        {
            let next = Position {
                line: begun.line + *there,
                ..*begun
            };
            if next == first && (bytes.len() + new.len()) as u64 <= BLOCK_BYTES {
                bytes.extend_from_slice(new);
                *there += lines;
                return;
            }
        }
        state.held += SEGMENT_OVERHEAD;
        state.queue.push_back(Segment::Lines {
            first,
            lines,
            bytes: new.to_vec(),
        });
    }

    /// Adds the beginning of a line that is too long.
    pub fn push_too_long(&self, at: Position, head: &[u8]) {
        let mut state = self.state();
        state.tell();
        let segment = Segment::TooLong {
            at,
            head: head.to_vec(),
        };
        state.queued_bytes += segment.bytes();
        state.held += segment.weight();
        state.queue.push_back(segment);
    }

    /// Nothing more will be pushed.
    pub fn end(&self, failure: Option<Failure>) {
        let mut state = self.state();
        state.tell();
        state.ended = true;
        state.failure = failure;
    }

    /// What is queued; an error once all that came before the failure has been offered.
    pub fn waiting(&self) -> Result<Waiting, Failure> {
        let mut state = self.state();
        if state.queue.is_empty() && !state.ended {
            state.waits = Some(std::thread::current());
        }
        match &state.failure {
            Some(failure) if state.queue.is_empty() => Err(failure.clone()),
            _ => Ok(Waiting {
                bytes: state.queued_bytes.max(u64::from(!state.queue.is_empty())),
                ended: state.ended,
                time: None,
                quiet: Duration::MAX,
            }),
        }
    }

    /// Moves up to `budget` of the queue into blocks.
    pub fn offer(&self, budget: Budget) -> Offer {
        let mut state = self.state();
        let mut left = budget;
        let mut offer = Offer::default();
        while left.rows > 0 && left.bytes > 0 {
            // Without this an epoch that is smaller than a record would wait for ever.
            let at_any_size = offer.ranges.is_empty();
            let Some(Block {
                number: block,
                rows,
                bytes,
            }) = state.block(left, at_any_size)
            else {
                break;
            };
            left.rows = left.rows.saturating_sub(rows);
            left.bytes = left.bytes.saturating_sub(bytes);
            offer.rows += rows;
            offer.ranges.push(Range::Held { block, rows, bytes });
        }
        offer
    }

    /// A block that was offered and not yet taken, for another process to load.
    pub fn save(&self, block: u64) -> Option<Vec<u8>> {
        let state = self.state();
        let segments = state.blocks.get(&block)?;
        let named = segments.iter().map(|segment| {
            let connection = segment.position().connection;
            (state.name(connection).unwrap_or_default(), segment)
        });
        let named: Vec<_> = named.collect();
        Some(postcard::to_stdvec(&named).expect("segments have nothing that postcard cannot say"))
    }

    /// Puts a block back that another process has saved.
    pub fn load(&self, block: u64, saved: &[u8]) -> Result<(), Failure> {
        let named: Vec<(String, Segment)> = postcard::from_bytes(saved).map_err(|error| {
            Failure::external(format!(
                "the checkpoint holds input of another version: {error}"
            ))
        })?;
        let mut segments = Vec::with_capacity(named.len());
        let mut last: Option<(u64, u64)> = None;
        for (name, mut segment) in named {
            // Connections are counted anew; lines of one connection follow each other.
            let position = segment.position_mut();
            position.connection = match last {
                Some((before, now)) if before == position.connection => now,
                _ => {
                    let now = self.connected(name);
                    last = Some((position.connection, now));
                    now
                }
            };
            segments.push(segment);
        }
        let mut state = self.state();
        state.held += segments.iter().map(Segment::weight).sum::<u64>();
        state.next_block = state.next_block.max(block + 1);
        state.blocks.insert(block, segments);
        Ok(())
    }

    /// Takes a block out, for good.
    pub fn take(&self, block: u64) -> Option<Vec<Segment>> {
        let mut state = self.state();
        let segments = state.blocks.remove(&block)?;
        state.held -= segments.iter().map(Segment::weight).sum::<u64>();
        drop(state);
        self.space.notify_waiters();
        Some(segments)
    }
}

/// A block just made.
struct Block {
    number: u64,
    rows: u64,
    bytes: u64,
}

impl State {
    fn tell(&mut self) {
        if let Some(thread) = self.waits.take() {
            thread.unpark();
        }
    }

    /// What a connection is called, if it is not too long ago.
    fn name(&self, connection: u64) -> Option<&str> {
        let oldest = self.connections - self.names.len() as u64;
        let index = connection.checked_sub(oldest)?;
        self.names.get(index as usize).map(String::as_str)
    }

    /// Makes a block of the queue's front within `budget`; its first line may be larger if `at_any_size`.
    fn block(&mut self, budget: Budget, at_any_size: bool) -> Option<Block> {
        let most = Budget {
            rows: budget.rows.min(BLOCK_LINES),
            bytes: budget.bytes.min(BLOCK_BYTES),
        };
        let mut segments = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        while rows < most.rows && bytes < most.bytes {
            let Some(mut segment) = self.queue.pop_front() else {
                break;
            };
            let left = Budget {
                rows: most.rows - rows,
                bytes: most.bytes - bytes,
            };
            if let Some(rest) = segment.cut(left) {
                self.held += SEGMENT_OVERHEAD;
                self.queue.push_front(rest);
            }
            let alone = segments.is_empty() && (at_any_size || segment.bytes() <= budget.bytes);
            if segment.bytes() > left.bytes && !alone {
                self.queue.push_front(segment);
                break;
            }
            rows += segment.lines();
            bytes += segment.bytes();
            segments.push(segment);
        }
        if segments.is_empty() {
            return None;
        }
        self.queued_bytes -= bytes;
        let number = self.next_block;
        self.next_block += 1;
        self.blocks.insert(number, segments);
        Some(Block {
            number,
            rows,
            bytes,
        })
    }
}
