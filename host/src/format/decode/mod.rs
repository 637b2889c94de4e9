//! Turns whole lines into parts of rows.
//!
//! Where a part ends depends on its records alone, never on the chunks in which they came.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::SchemaRef;

use super::json::JsonRows;
use super::line_ends::line_ends;
use super::text::TextRows;
use super::{BEGINNING_BYTES, BadRecord, Format, Kept, PART_BYTES, PART_ROWS, Read, RecordFormat};

/// How a record's position is counted.
#[derive(Clone, Copy, Debug)]
pub enum Numbering {
    /// In bytes; the first record begins at this one.
    Bytes(u64),
    /// In records; the first has this number.
    Lines(u64),
}

impl Numbering {
    fn position(self, record: u64, byte: u64) -> u64 {
        match self {
            Numbering::Bytes(first) => first + byte,
            Numbering::Lines(first) => first + record,
        }
    }
}

enum Rows {
    Text(TextRows),
    Json(Box<JsonRows>),
}

impl Rows {
    fn begin(&mut self, bytes: usize) {
        match self {
            Rows::Text(rows) => rows.begin(bytes),
            Rows::Json(_) => {}
        }
    }

    /// Adds a record; says whether it is a row, or what is wrong with it.
    #[inline]
    fn push(&mut self, record: &str) -> Result<bool, String> {
        match self {
            Rows::Text(rows) => {
                rows.push(record);
                Ok(true)
            }
            Rows::Json(rows) => rows.push(record),
        }
    }

    fn finish(&mut self, rows: usize) -> Vec<ArrayRef> {
        match self {
            Rows::Text(text) => text.finish(rows),
            Rows::Json(json) => json.finish(),
        }
    }
}

/// Names the place of a position.
pub type Origin = Box<dyn Fn(u64) -> String>;

/// Decodes the records of one range into [`Read`]s of at most [`PART_BYTES`] and [`PART_ROWS`]: lines go in, [`Self::part`] gives
/// what is whole of them.
pub struct Decoder {
    schema: SchemaRef,
    rows: Rows,
    row_count: usize,
    row_bytes: usize,
    /// Bytes that a row takes beside those of its record: fixed-width columns are wider than what JSON leaves out.
    row_overhead: usize,
    positions: Option<Vec<u64>>,
    bad: Vec<BadRecord>,
    consumed: u64,
    max_record: usize,
    left: u64,
    /// Line ends of the bytes at hand; kept for its memory.
    ends: Vec<u32>,
    origin: Origin,
    /// Whole parts that nobody has taken yet.
    parts: VecDeque<Read>,
}

impl Decoder {
    /// For a range of about `bytes` of input; parts come with the positions of their rows if `provenance` is set.
    pub fn new(format: &RecordFormat, bytes: u64, provenance: bool, origin: Origin) -> Self {
        let (rows, row_overhead) = match &format.format {
            Format::Text => (Rows::Text(TextRows::new()), 0),
            Format::Json(schema) => {
                let rows = JsonRows::new(schema);
                (Rows::Json(Box::new(rows)), 8 * schema.fields().len())
            }
        };
        Self {
            schema: format.schema(),
            rows,
            row_count: 0,
            row_bytes: 0,
            row_overhead,
            positions: provenance.then(Vec::new),
            bad: Vec::new(),
            consumed: 0,
            max_record: format.max_record,
            left: bytes,
            ends: Vec::new(),
            origin,
            parts: VecDeque::new(),
        }
    }

    /// Decodes whole lines; the last may lack its end.
    pub fn lines(&mut self, bytes: &[u8], numbering: Numbering) {
        // One check over all lines; only where it fails is every line checked alone.
        let valid = simdutf8::basic::from_utf8(bytes).ok();
        let mut ends = std::mem::take(&mut self.ends);
        line_ends(bytes, &mut ends);
        if !bytes.ends_with(b"\n") && !bytes.is_empty() {
            ends.push(bytes.len() as u32);
        }
        self.records(bytes, valid, &ends, numbering);
        self.ends = ends;
    }

    fn records(&mut self, bytes: &[u8], valid: Option<&str>, ends: &[u32], numbering: Numbering) {
        let (mut done, mut start) = (0, 0);
        while done < ends.len() {
            let lines = Lines {
                bytes,
                valid,
                start,
                ends: &ends[done..],
            };
            let run = self.run(&lines, numbering, done as u64);
            if run == 0 {
                self.one(&lines, numbering, done as u64);
            }
            done += run.max(1);
            let next = (ends[done - 1] as usize + 1).min(bytes.len());
            self.consumed += (next - start) as u64;
            start = next;
        }
    }

    /// The short way: takes text lines as long as they are good and the part has room. Returns how many.
    fn run(&mut self, lines: &Lines<'_>, numbering: Numbering, number: u64) -> usize {
        let (Rows::Text(rows), Some(text), false) =
            (&mut self.rows, lines.valid, self.row_count == 0)
        else {
            return 0;
        };
        let most = PART_ROWS
            .saturating_sub(self.row_count + self.bad.len())
            .min(lines.ends.len());
        let room = PART_BYTES.saturating_sub(self.row_bytes);
        let (run, bytes) = rows.run(
            text,
            lines.start,
            &lines.ends[..most],
            room,
            self.max_record,
        );
        self.row_count += run;
        self.row_bytes += bytes;
        if let Some(positions) = &mut self.positions {
            let starts = lines.ends[..run].iter().map(|end| u64::from(*end) + 1);
            let starts = std::iter::once(lines.start as u64).chain(starts);
            positions.extend(
                (number..)
                    .zip(starts)
                    .take(run)
                    .map(|(n, at)| numbering.position(n, at)),
            );
        }
        run
    }

    /// The long way: takes one line, whatever it is.
    fn one(&mut self, lines: &Lines<'_>, numbering: Numbering, number: u64) {
        let bytes = lines.bytes;
        let (record, _) = record(bytes, lines.start, lines.ends[0] as usize);
        let position = numbering.position(number, lines.start as u64);
        if record.len() > self.max_record {
            return self.too_long(&bytes[record], position);
        }
        self.make_room(record.len() + self.row_overhead);
        let text = match lines.valid {
            Some(text) => Ok(&text[record.clone()]),
            None => check(&bytes[record.clone()]),
        };
        match text {
            Ok(text) => self.record(text, position),
            Err(reason) => self.reject(Kept::record(&bytes[record]), position, reason),
        }
    }

    /// Reports a record that is longer than the limit, of which `head` is the beginning.
    pub fn too_long(&mut self, head: &[u8], position: u64) {
        self.make_room(head.len().min(BEGINNING_BYTES));
        let reason = format!(
            "the record is longer than `max_record`, {} bytes",
            self.max_record
        );
        self.reject(Kept::beginning(head), position, reason);
    }

    /// Reports input that could not be read as records at all.
    pub fn unreadable(&mut self, bad: BadRecord) {
        self.bad.push(bad);
    }

    /// Counts input that was read over and belongs to no record.
    pub fn skip(&mut self, bytes: u64) {
        self.consumed += bytes;
    }

    /// The next part that is whole.
    pub fn part(&mut self) -> Option<Read> {
        self.parts.pop_front()
    }

    /// There is no more input: what is left is the last part.
    pub fn finish(&mut self) {
        if self.row_count > 0 || !self.bad.is_empty() || self.consumed > 0 {
            self.end_part();
        }
    }

    #[inline]
    fn record(&mut self, text: &str, position: u64) {
        if self.row_count == 0 {
            let left = self.left.saturating_sub(self.consumed) as usize + text.len();
            self.rows.begin(left);
        }
        match self.rows.push(text) {
            Ok(true) => {
                self.row_count += 1;
                self.row_bytes += text.len() + self.row_overhead;
                if let Some(positions) = &mut self.positions {
                    positions.push(position);
                }
            }
            Ok(false) => {}
            Err(reason) => self.reject(Kept::record(text.as_bytes()), position, reason),
        }
    }

    #[cold]
    fn reject(&mut self, kept: Kept, position: u64, reason: String) {
        let origin = (self.origin)(position);
        self.row_bytes += kept.size() + reason.len() + origin.len();
        self.bad.push(BadRecord {
            origin,
            reason,
            kept: Some(kept),
        });
    }

    /// Ends the part if a record of `bytes` does not fit it any more.
    #[inline]
    fn make_room(&mut self, bytes: usize) {
        let records = self.row_count + self.bad.len();
        if records > 0 && (records >= PART_ROWS || self.row_bytes + bytes > PART_BYTES) {
            self.end_part();
        }
    }

    fn end_part(&mut self) {
        let rows = if self.row_count == 0 {
            RecordBatch::new_empty(self.schema.clone())
        } else {
            let options = RecordBatchOptions::new().with_row_count(Some(self.row_count));
            let columns = self.rows.finish(self.row_count);
            RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
                .expect("the rows' columns are those of the format's schema")
        };
        self.left = self.left.saturating_sub(self.consumed);
        self.row_count = 0;
        self.row_bytes = 0;
        self.parts.push_back(Read {
            rows,
            positions: self.positions.as_mut().map(|positions| {
                Arc::new(UInt64Array::from(std::mem::take(positions))) as ArrayRef
            }),
            bad: std::mem::take(&mut self.bad),
            bytes: std::mem::take(&mut self.consumed),
        });
    }
}

/// Some lines of a buffer.
struct Lines<'a> {
    bytes: &'a [u8],
    /// The same as text, if all of it is.
    valid: Option<&'a str>,
    /// Where the first of them starts.
    start: usize,
    /// Where each of them ends.
    ends: &'a [u32],
}

/// Where a line that starts and ends there has its record, and where the next line starts.
#[inline]
pub fn record(bytes: &[u8], start: usize, end: usize) -> (Range<usize>, usize) {
    let has_return = end < bytes.len() && end > start && bytes[end - 1] == b'\r';
    (
        start..end - usize::from(has_return),
        (end + 1).min(bytes.len()),
    )
}

fn check(record: &[u8]) -> Result<&str, String> {
    simdutf8::compat::from_utf8(record)
        .map_err(|error| format!("byte {} of the record is not UTF-8", error.valid_up_to()))
}
