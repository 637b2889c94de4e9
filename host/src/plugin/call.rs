//! What goes into a call and what comes out of it, in the host's words.

use std::time::Duration;

use arrow::array::{Array, ArrayRef, UInt32Array};
use serde::{Deserialize, Serialize};

use super::bindings::wasmill::plugin::types::Rejects;
use super::columns::reasons;
use super::host::shown_error;

use crate::ids::{BatchTime, Epoch, PartitionId};

/// What a call is about, as the plugin sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallContext {
    /// Micro-batch.
    pub epoch: Epoch,
    /// Its time.
    pub time: BatchTime,
    /// Partition.
    pub partition: PartitionId,
    /// Counts the calls of this (step, epoch, partition).
    pub call: u32,
    /// A function of (pipeline, epoch, partition).
    pub seed: u64,
}

impl CallContext {
    /// Of a call that belongs to no epoch.
    pub const NONE: Self = Self {
        epoch: Epoch(0),
        time: BatchTime(0),
        partition: PartitionId(0),
        call: 0,
        seed: 0,
    };
}

/// Rows from one call, checked.
#[derive(Debug)]
pub struct Produced {
    /// In the plugin's order; a port may occur several times.
    pub outputs: Vec<Output>,
    /// Input rows turned away, ascending.
    pub rejected: Vec<Rejected>,
}

/// An input row that the plugin turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Row of the batch given to the call.
    pub row: u32,
    /// Why.
    pub reason: String,
}

/// Rows for one port.
#[derive(Debug)]
pub struct Output {
    /// Index into [`super::Transform::ports`].
    pub port: usize,
    /// How many.
    pub rows: usize,
    /// Where each comes from.
    pub origin: Origin,
    /// The columns the plugin made, as its plan declares them.
    pub columns: Vec<ArrayRef>,
}

/// Which input row each output row comes from.
#[derive(Debug)]
pub enum Origin {
    /// Row for row the same.
    Same,
    /// These rows of the batch given.
    Parents(UInt32Array),
    /// No row.
    None,
}

/// Why a call failed. After any of these but `Refused` the instance must be dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The guest trapped (a panic, an out-of-bounds access); `stack` holds its functions, innermost first.
    #[error("the plugin trapped: {message}")]
    Trap {
        /// What, preceded by the last error that the plugin logged in this call.
        message: String,
        /// Names of functions as far as known.
        stack: Vec<String>,
    },
    /// The guest did not return within its deadline.
    #[error("the plugin did not return within {0:?}")]
    Deadline(Duration),
    /// A limit of memory, tables, instances or stack.
    #[error("the plugin went over its limit of {0}")]
    Limit(String),
    /// More than all plugins of the engine may have together: no fault of this one, nor of its rows.
    #[error("the plugin asked for more than all plugins of its tenant may have together, {0}")]
    Quota(String),
    /// More output than `limits.output`; smaller input may do.
    #[error("the plugin made more output than its limit of {limit} bytes a call")]
    OutputTooLarge {
        /// The limit.
        limit: u64,
    },
    /// What came back breaks the contract.
    #[error("the plugin broke the contract: {0}")]
    Contract(String),
    /// The plugin itself answered with an error.
    #[error("{message}")]
    Refused {
        /// Its kind.
        kind: ErrorKind,
        /// Its words.
        message: String,
        /// Rows of the batch given that it blames; none where it cannot tell.
        rows: Vec<u32>,
        /// When to try again.
        after: Option<Duration>,
    },
}

impl CallError {
    /// What to do about [`Self::Quota`].
    pub const QUOTA_HELP: &str = "it is tried again by itself; pause another pipeline, or ask who runs the server for a larger quota";

    /// What went wrong, and where in the guest, a line for each of its functions.
    pub fn with_stack(&self) -> String {
        match self {
            Self::Trap { stack, .. } if !stack.is_empty() => {
                format!("{self}\n  in {}", stack.join("\n  in "))
            }
            _ => self.to_string(),
        }
    }
}

/// The WIT `error-kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The same call may succeed later.
    Retryable,
    /// The rows named are at fault.
    Rejected,
    /// No use going on.
    Fatal,
}

/// The rows that a call turned away, ascending.
pub(super) fn rejected(input_rows: usize, wire: Rejects) -> Result<Vec<Rejected>, String> {
    if wire.rows.is_empty() && wire.reasons.data.is_empty() {
        return Ok(Vec::new());
    }
    let reasons = reasons(wire.rows.len(), wire.reasons)?;
    let reasons = (0..reasons.len()).map(|row| shown_error(reasons.value(row)));
    let mut rejected: Vec<_> = wire
        .rows
        .into_iter()
        .zip(reasons)
        .map(|(row, reason)| Rejected { row, reason })
        .collect();
    rejected.sort_by_key(|rejected| rejected.row);
    if let Some(last) = rejected.last()
        && last.row as usize >= input_rows
    {
        return Err(format!("it rejected row {} of {input_rows}", last.row));
    }
    match rejected.windows(2).find(|pair| pair[0].row == pair[1].row) {
        Some(twice) => Err(format!("it rejected row {} twice", twice[0].row)),
        None => Ok(rejected),
    }
}
