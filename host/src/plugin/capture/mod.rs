//! A call that failed, kept in a file: all that it takes to make the same call again on another machine.
//!
//! `keep` decides which calls of a run are worth a file, `file` writes and reads one, `again` makes the call.

mod again;
mod file;
mod keep;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::{CallContext, CallError, ErrorKind};
use super::limits::Limits;
use super::{Reduced, World};
use crate::ids::{Digest, NodeName};

pub use again::Answer;
pub(super) use keep::Captures;

/// A failed call with its plugin.
#[derive(Debug)]
pub struct Capture {
    /// What was called, and how it failed.
    pub header: Header,
    /// What the call was about.
    pub(super) called: Called,
    /// The component.
    pub component: Vec<u8>,
}

impl Capture {
    /// The rows that the call was given: of a keyed plugin the keys, their state, and those of each input.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.called.batches
    }

    /// What was called where, as messages say it.
    pub fn call(&self) -> String {
        let node = &self.header.node;
        let CallContext {
            epoch,
            partition,
            call,
            ..
        } = &self.header.context;
        match &self.called.function {
            Function::Describe => format!("`{node}`, `describe`"),
            Function::Open => format!("`{node}`, `open` for epoch {epoch}, partition {partition}"),
            _ => format!(
                "`{node}`, epoch {epoch}, partition {partition}, call {call} of its instance, {} rows",
                self.header.rows
            ),
        }
    }
}

/// What a person may want to know of a capture; `call.json` in its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of Wasmill that made it.
    pub wasmill: String,
    /// The plugin's name.
    pub plugin: String,
    /// Of the file that the plugin was loaded from.
    pub digest: Digest,
    /// Its world.
    pub world: World,
    /// The step or sink.
    pub node: NodeName,
    /// Its configuration.
    pub config: Value,
    /// Its limits.
    pub limits: Limits,
    /// Epoch, partition, time and seed.
    pub context: CallContext,
    /// Rows of the call, of a keyed plugin keys.
    pub rows: usize,
    /// How it failed.
    pub error: String,
}

/// What a failed call was given.
#[derive(Debug)]
pub(super) struct Called {
    pub function: Function,
    /// What the plugin was bound to: its inputs, of a keyed plugin the key before them.
    pub bound: Vec<SchemaRef>,
    pub batches: Vec<RecordBatch>,
}

/// The function called, with what is no batch of its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "function", rename_all = "snake_case")]
pub(super) enum Function {
    /// `describe` of any world.
    Describe,
    /// `open` of any world, for a call that was to follow.
    Open,
    /// `transform.process` of one batch.
    Process,
    /// `reducer.reduce` of one batch.
    Reduce { ends: Vec<u32>, reduced: Reduced },
    /// `keyed.process` of the keys, their state, and the rows of each input.
    Keys {
        status: Vec<u8>,
        ends: Vec<Vec<u32>>,
    },
    /// `keyed.migrate` of one batch.
    Migrate { version: u32 },
    /// `sink.write` of one batch, after `begin` with this key.
    Write { idempotency_key: String },
}

/// Whether a call that failed like this will fail again; what is asked to be tried again may not, nor what others left no room for.
fn is_lasting(error: &CallError) -> bool {
    !matches!(
        error,
        CallError::Quota(_)
            | CallError::Refused {
                kind: ErrorKind::Retryable,
                ..
            }
    )
}
