//! What a pipeline says: its plugins' log lines, the host's about it, and what its `print` sinks print.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was said.
    pub time: Timestamp,
    /// What kind of line it is.
    pub level: LogLevel,
    /// Source, step or sink that it is about.
    pub node: Option<String>,
    /// Without a line end.
    pub message: String,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Printed by a `print` sink.
    Print,
    /// For who follows the run.
    Info,
    /// Something went on that should not go on for ever.
    Warn,
    /// Something failed.
    Error,
}

/// Lines of a job that are kept.
const LINES: usize = 500;
/// Bytes of them, so that thousands of jobs that say much fit into a server's memory.
const BYTES: usize = 256 << 10;

/// The last lines of a job.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl Ring {
    /// Adds a line, and forgets the oldest if there are too many.
    pub fn push(&mut self, line: LogLine) {
        self.bytes += size(&line);
        self.lines.push_back(line);
        while (self.lines.len() > LINES || self.bytes > BYTES) && self.lines.len() > 1 {
            let oldest = self.lines.pop_front().expect("there are several");
            self.bytes -= size(&oldest);
        }
    }

    /// All that are kept, the latest last.
    pub fn lines(&self) -> Vec<LogLine> {
        self.lines.iter().cloned().collect()
    }
}

fn size(line: &LogLine) -> usize {
    line.message.len() + line.node.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: String) -> LogLine {
        LogLine {
            time: Timestamp::UNIX_EPOCH,
            level: LogLevel::Info,
            node: None,
            message,
        }
    }

    #[test]
    fn the_latest_lines_are_kept() {
        let mut ring = Ring::default();
        for number in 0..LINES + 10 {
            ring.push(line(number.to_string()));
        }
        let lines = ring.lines();
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[0].message, "10");
        assert_eq!(lines[LINES - 1].message, (LINES + 9).to_string());
    }

    #[test]
    fn long_lines_are_kept_only_as_far_as_they_fit() {
        let mut ring = Ring::default();
        for _ in 0..LINES {
            ring.push(line("x".repeat(BYTES / 4)));
        }
        assert_eq!(ring.lines().len(), 4);
        ring.push(line("x".repeat(BYTES * 2)));
        assert_eq!(ring.lines().len(), 1, "the latest is always there");
    }
}
