//! The plugin host against real guests, written by hand in the text format so that each can break the contract in its own way.

mod binding;
mod capture;
mod echo;
pub mod guests;
mod hostile;
mod hostile_keyed;
mod hostile_reducer;
mod keyed_guest;
mod limits;
mod quota;
mod reducer_guest;
mod slots;
mod wasi;

use std::sync::{Arc, OnceLock};

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::{CallContext, CallError, Component, Engine, Grants, Limits, Produced, Transform};
use crate::batch::ColumnType;
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, PartitionId};

/// One engine for all tests, as a process has one.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<(tempfile::TempDir, Engine)> = OnceLock::new();
    let (_, engine) = ENGINE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let engine = Engine::new(folder.path()).expect("an empty folder is a cache");
        (folder, engine)
    });
    engine
}

/// The plugin that a module is.
pub fn load(module: &[u8]) -> Component {
    engine()
        .load_bytes("guest", module)
        .expect("the test's guest is a plugin")
}

fn schema(columns: &[(&str, ColumnType, bool)]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column_type, nullable)| column_type.field(*name, *nullable))
        .collect();
    Arc::new(Schema::new(fields))
}

fn bind_with(
    component: &Component,
    input: &SchemaRef,
    limits: Limits,
) -> Result<Transform, Failure> {
    let config = serde_json::json!({});
    Transform::new(
        component,
        &"step".into(),
        &config,
        input,
        &limits,
        &Grants::default(),
    )
}

fn bind(component: &Component, input: &SchemaRef) -> Result<Transform, Failure> {
    bind_with(component, input, Limits::default())
}

fn context() -> CallContext {
    CallContext {
        epoch: Epoch(7),
        time: BatchTime(1_000),
        partition: PartitionId(3),
        call: 0,
        seed: 42,
    }
}

fn process(transform: &Transform, batch: &RecordBatch) -> Result<Produced, CallError> {
    transform.open(&context())?.process(&context(), batch)
}

/// Two rows of one column of utf8 without nulls.
fn batch() -> RecordBatch {
    let words = StringArray::from(vec!["für", "b"]);
    RecordBatch::try_new(
        schema(&[("word", ColumnType::Utf8, false)]),
        vec![Arc::new(words)],
    )
    .unwrap()
}
