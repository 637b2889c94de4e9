//! What a pipeline says: its plugins' log lines, the host's about it, and what its `print` sinks print.

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
