//! A call that failed, kept in a file: all that it takes to make the same call again on another machine.
//!
//! `keep` decides which calls of a run are worth a file, `file` writes and reads one, `again` makes the call.

mod again;
mod file;
mod keep;

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
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
    /// The rows that the call was given: of a keyed plugin the keys, their state, and those of each input; of a sink's `prepare` those
    /// written before it.
    pub fn batches(&self) -> &[RecordBatch] {
        let batches = &self.called.batches;
        match self.called.function {
            Function::Write { .. } => &batches[..batches.len().min(1)],
            _ => batches,
        }
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
        let rows = self.header.rows;
        let of_part = |function| format!("{function} of epoch {epoch}, partition {partition}");
        let what = match &self.called.function {
            Function::Describe => "`describe`".to_owned(),
            Function::Open => format!("`open` for epoch {epoch}, partition {partition}"),
            Function::Process
            | Function::Reduce { .. }
            | Function::Keys { .. }
            | Function::Migrate { .. }
            | Function::Write { .. } => format!(
                "epoch {epoch}, partition {partition}, call {call} of its instance, {rows} rows"
            ),
            Function::Begin { .. } => of_part("`begin`"),
            Function::Prepare { .. } => format!("{}, {rows} rows", of_part("`prepare`")),
            Function::Commit => format!("`commit` of epoch {epoch}"),
            Function::Abort => format!("`abort` of epoch {epoch}"),
            Function::LastEpoch => format!("`last-epoch` of partition {partition}"),
        };
        format!("`{node}`, {what}")
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

/// The column of a batch of a sink's tokens.
const TOKEN: &str = "token";

/// What a failed call was given.
#[derive(Debug)]
pub(super) struct Called {
    pub function: Function,
    /// What the plugin was bound to: its inputs, of a keyed plugin the key before them.
    pub bound: Vec<SchemaRef>,
    pub batches: Vec<RecordBatch>,
}

/// A sink's tokens as a batch.
pub(super) fn tokens(tokens: &[&[u8]]) -> RecordBatch {
    let tokens: ArrayRef = Arc::new(BinaryArray::from_iter_values(tokens));
    RecordBatch::try_from_iter([(TOKEN, tokens)]).expect("one column is as long as itself")
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
    /// `sink.last-epoch` of the context's partition.
    LastEpoch,
    /// `sink.begin`.
    Begin { idempotency_key: String },
    /// `sink.write` of the first batch, after `begin` with this key and the other batches.
    Write { idempotency_key: String },
    /// `sink.prepare`, after `begin` with this key and all batches.
    Prepare { idempotency_key: String },
    /// `sink.commit` of the context's epoch, with a batch of its tokens.
    Commit,
    /// `sink.abort`, likewise.
    Abort,
}

impl Function {
    /// Which calls stand for one another: of these one is kept. Also a part of the file's name.
    pub(super) fn place(&self, context: &CallContext) -> String {
        let CallContext {
            epoch, partition, ..
        } = context;
        match self {
            Self::Describe => "describe".to_owned(),
            Self::LastEpoch => format!("last-epoch-partition-{partition}"),
            Self::Commit => format!("commit-epoch-{epoch}"),
            Self::Abort => format!("abort-epoch-{epoch}"),
            _ => format!("epoch-{epoch}-partition-{partition}"),
        }
    }
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
