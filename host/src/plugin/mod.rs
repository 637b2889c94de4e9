//! User code: WASM components behind typed calls.
//!
//! Load a [`Component`], bind it to a configuration and an input schema as a [`Transform`], open a
//! [`TransformInstance`] and call it with Arrow batches. What comes back has been checked while it was copied.

pub mod component;

use std::path::Path;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;

use crate::error::Failure;
use crate::ids::{BatchTime, Digest, Epoch, PartitionId};

/// What a call is about, as the plugin sees it.
#[derive(Clone, Copy, Debug)]
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
    /// Row of the batch given to `process`.
    pub row: u32,
    /// Why.
    pub reason: String,
}

/// Rows for one port.
#[derive(Debug)]
pub struct Output {
    /// Index into [`Transform::ports`].
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

/// An output of a transform.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name; a reader says `input = "step.name"`, the first port also goes by the step's name.
    pub name: String,
    /// What the plugin makes.
    pub columns: SchemaRef,
    /// Whether the input's other columns go along.
    pub carry: bool,
}

/// Why a call failed. After any of these but `Refused` the instance must be dropped.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The guest trapped (a panic, an out-of-bounds access); `stack` holds its frames, innermost first.
    #[error("the plugin trapped: {message}")]
    Trap {
        /// What.
        message: String,
        /// `function (file:line)` as far as known.
        stack: Vec<String>,
    },
    /// The guest did not return within its deadline.
    #[error("the plugin did not return within {0:?}")]
    Deadline(Duration),
    /// A limit of memory, tables, instances or stack.
    #[error("the plugin went over its limit of {0}")]
    Limit(String),
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
        /// Rows it blames.
        rows: Vec<u32>,
        /// When to try again.
        after: Option<Duration>,
    },
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

/// Which of our worlds a component implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// `transform-plugin`.
    Transform,
    /// `sink-plugin`.
    Sink,
}

/// One wasmtime engine and its compile cache; cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine;

/// A loaded and compiled component; cheap to clone.
#[derive(Clone, Debug)]
pub struct Component;

/// A component bound to configuration, schema, limits and grants.
#[derive(Debug)]
pub struct Transform;

/// A live instance. Not `Send`-bound to a worker by anything but habit.
pub struct TransformInstance;

impl Engine {
    /// An engine whose compiled code is cached below `cache`.
    pub fn new(_cache: &Path) -> Result<Self, Failure> {
        unimplemented!()
    }
    /// Loads a component or a core module with wit-bindgen metadata.
    pub fn load(&self, _path: &Path) -> Result<Component, Failure> {
        unimplemented!()
    }
}

impl Component {
    /// SHA-256 of the file's bytes.
    pub fn digest(&self) -> Digest {
        unimplemented!()
    }
}

impl Transform {
    /// The input columns it reads, as indices into the schema it was bound to.
    pub fn columns(&self) -> &[usize] {
        unimplemented!()
    }
    /// Its outputs.
    pub fn ports(&self) -> &[Port] {
        unimplemented!()
    }
    /// Of the component.
    pub fn digest(&self) -> Digest {
        unimplemented!()
    }
    /// A fresh instance, `open` called.
    pub fn open(&self) -> Result<TransformInstance, CallError> {
        unimplemented!()
    }
}

impl TransformInstance {
    /// Calls the guest with the planned columns of `input`, whose schema is the one bound. At most 64 Ki rows.
    pub fn process(
        &mut self,
        _context: &CallContext,
        _input: &RecordBatch,
    ) -> Result<Produced, CallError> {
        unimplemented!()
    }
}
