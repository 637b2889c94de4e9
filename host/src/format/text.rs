//! The text format: a line is a row of one column, `line`.
//!
//! A line ends in `\n` or `\r\n`, or where the input ends; empty lines are rows too.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};

use super::decode::record;
use super::{PART_BYTES, PART_ROWS};

/// Rows of a part in the making.
pub struct TextRows {
    lines: StringBuilder,
    /// How many rows the part before had, so that the next one rarely grows its buffers.
    expected_rows: usize,
}

impl TextRows {
    pub fn new() -> Self {
        Self {
            lines: StringBuilder::with_capacity(0, 0),
            expected_rows: 1024,
        }
    }

    /// Makes room for a part, of which at most `bytes` of input are left to come.
    #[cold]
    pub fn begin(&mut self, bytes: usize) {
        let rows = self.expected_rows.min(bytes).min(PART_ROWS);
        self.lines = StringBuilder::with_capacity(rows, bytes.min(PART_BYTES));
    }

    #[inline]
    pub fn push(&mut self, line: &str) {
        self.lines.append_value(line);
    }

    /// Adds lines of `text`, of which the first starts at `start`, until one is longer than `max_record` or all together
    /// longer than `room`. Returns how many and their bytes.
    #[inline]
    pub fn run(
        &mut self,
        text: &str,
        mut start: usize,
        ends: &[u32],
        room: usize,
        max_record: usize,
    ) -> (usize, usize) {
        let mut bytes = 0;
        for (taken, end) in ends.iter().enumerate() {
            let (line, next) = record(text.as_bytes(), start, *end as usize);
            if line.len() > max_record || bytes + line.len() > room {
                return (taken, bytes);
            }
            bytes += line.len();
            self.lines.append_value(&text[line]);
            start = next;
        }
        (ends.len(), bytes)
    }

    pub fn finish(&mut self, rows: usize) -> Vec<ArrayRef> {
        self.expected_rows = rows + rows / 8;
        vec![Arc::new(self.lines.finish())]
    }
}
