//! Where rows enter.
//!
//! A source has two halves. Its [`Receiver`] lives at process 0 and says which input there is, as plain
//! [`Range`]s; the plan of an epoch is a list of them. Its [`Reader`] lives in every process and turns one range
//! into Arrow batches, on a reader thread of the worker that the range was given to. So data moves only
//! where it is worked on, and an epoch can be read again.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// A piece of a source's input that one worker reads; serialised into the epoch's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Range {
    /// The records of a file that *start* in `start..end` (bytes).
    File {
        /// Path as the source spelled it.
        path: String,
        /// First byte.
        start: u64,
        /// One past the last byte at which a record may start.
        end: u64,
    },
    /// Generated rows `first..first + count`.
    Rows {
        /// Number of the first row.
        first: u64,
        /// How many.
        count: u64,
    },
    /// Rows that a push source of process 0 holds in memory; must be read in process 0, once.
    Held {
        /// Number of the block, counted by its receiver.
        block: u64,
        /// Rows in it.
        rows: u64,
        /// Bytes in it.
        bytes: u64,
    },
}

impl Range {
    /// Bytes to read as far as known, for balancing work and for limits.
    pub fn bytes(&self) -> u64 {
        match self {
            Range::File { start, end, .. } => end - start,
            Range::Rows { count, .. } => count * 64,
            Range::Held { bytes, .. } => *bytes,
        }
    }

    /// Whether only process 0 can read it.
    pub fn is_held(&self) -> bool {
        matches!(self, Range::Held { .. })
    }
}

/// How much an epoch may still take in.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What a receiver has to offer when an epoch is cut.
#[derive(Debug, Default)]
pub struct Offer {
    /// Input for this epoch, within the budget, in the source's order. Taken: not offered again.
    pub ranges: Vec<Range>,
    /// Rows in them, where the receiver knows (0 where it does not, as for files without `max_rows`).
    pub rows: u64,
    /// Bytes known to be waiting beyond them.
    pub backlog_bytes: u64,
    /// Nothing will ever come again (or, under `trigger = "available-now"`, nothing more was there at the start).
    pub ended: bool,
}

/// The half of a source that knows what input there is. One per source, on the epoch driver's thread of process 0;
/// a push source runs its own I/O thread behind it.
pub trait Receiver: Send {
    /// Takes up to `budget` of what is there now. Never blocks longer than a directory listing or a peek at a file.
    fn poll(&mut self, budget: Budget) -> Result<Offer, Failure>;

    /// Whether [`Self::poll`] would offer something; cheap, called often so that an epoch opens as soon as there is input.
    fn ready(&mut self) -> Result<bool, Failure>;

    /// Stop taking input from outside; what was received stays available to `poll`. Called once, at drain.
    fn stop(&mut self) {}
}

/// A part of a range, decoded.
#[derive(Debug)]
pub struct Read {
    /// The rows.
    pub rows: RecordBatch,
    /// Where each row begins in the source's own count (byte offset, row number, line number), only when the
    /// reader was built with `provenance`; one entry a row.
    pub positions: Option<ArrayRef>,
    /// Records that could not be decoded; the source's `on_error` decides about them.
    pub bad: Vec<BadRecord>,
    /// Input bytes consumed for this part.
    pub bytes: u64,
}

/// A record that is not what the format says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRecord {
    /// Where it came from, as a person finds it (`logs/a.txt at byte 1024`, `127.0.0.1:9999 line 12`).
    pub origin: String,
    /// What is wrong with it.
    pub reason: String,
    /// The record's bytes, lossily as text, at most 4 KiB of it.
    pub raw: String,
}

/// The half of a source that decodes a range; shared by the reader threads of a process.
pub trait Reader: Send + Sync {
    /// Columns of every batch.
    fn schema(&self) -> SchemaRef;

    /// Reads `range`, calling `emit` with parts in order, each at most [`PART_BYTES`] of data and [`PART_ROWS`]
    /// rows (a single larger record excepted). Part bounds are a pure function of the range's content.
    /// `emit` breaks when the run is ending.
    fn read(
        &self,
        range: &Range,
        emit: &mut dyn FnMut(Read) -> ControlFlow<()>,
    ) -> Result<(), Failure>;

    /// A person's name of a row's place, for errors and rejected rows: the range and the row's `position`.
    fn origin(&self, range: &Range, position: u64) -> String;
}

/// A source ready to run in this process.
pub struct Source {
    /// Present in process 0 only.
    pub receiver: Option<Box<dyn Receiver>>,
    /// Present everywhere.
    pub reader: Arc<dyn Reader>,
}

/// Data bytes of one part: big enough to hide the cost of a plugin call (1 us), small enough to stay in a core's cache
/// between decoder, guest and aggregate.
pub const PART_BYTES: usize = 256 << 10;
/// Rows of one part.
pub const PART_ROWS: usize = 32 << 10;

/// A checked `[sources.NAME]` table. Adding a kind of source is one file, one variant, and one line in [`SourceConfig::from_table`].
#[derive(Clone, Debug)]
pub enum SourceConfig {}
