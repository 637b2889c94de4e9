//! A plugin of any world, called as the host calls it.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arrow::array::{RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use tokio::runtime::{Builder, Runtime};

use crate::cli::plugin::test::{Case, Described};
use crate::plugin::{
    CallContext, Component, Delivery, Grants, Keyed, KeyedBatch, KeyedInstance, Limits, Reduced,
    Reducer, ReducerInstance, SinkInstance, SinkPlugin, Transform, TransformInstance, status,
};

/// A call may take as long as it takes: that is what is measured.
const PATIENCE: Duration = Duration::from_secs(600);

/// A described plugin.
pub enum Subject {
    Transform(Transform),
    Reducer(Reducer),
    Keyed(Keyed),
    Sink(SinkPlugin, Arc<Runtime>),
}

/// An instance of it.
pub enum Instance<'a> {
    Transform(TransformInstance),
    Reducer(ReducerInstance),
    Keyed(&'a Keyed, KeyedInstance),
    Sink(&'a SinkPlugin, SinkInstance),
}

/// All rows of the first input of the fixture.
pub fn rows(case: &Case) -> anyhow::Result<RecordBatch> {
    let schema = case.schemas()?.remove(0);
    let mut batches = Vec::new();
    for file in case.batches()?.into_values().flatten() {
        let text = std::fs::read(&file)?;
        let reader = ReaderBuilder::new(schema.clone()).build(Cursor::new(text))?;
        for batch in reader {
            batches.push(batch.with_context(|| format!("{}", file.display()))?);
        }
    }
    Ok(arrow::compute::concat_batches(&schema, &batches)?)
}

impl Subject {
    /// Of a component and the columns and settings of a fixture.
    pub fn new(component: &Component, case: &Case, grants: &Grants) -> anyhow::Result<Self> {
        let limits = Limits {
            deadline: PATIENCE,
            ..Limits::default()
        };
        Ok(match Described::new(component, case, &limits, grants)? {
            Described::Transform(transform) => Self::Transform(transform),
            Described::Reducer(reducer) => Self::Reducer(reducer),
            Described::Keyed(keyed) => Self::Keyed(keyed),
            Described::Sink(sink) => {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                Self::Sink(sink, Arc::new(runtime))
            }
        })
    }

    /// A fresh instance.
    pub fn open(&self) -> anyhow::Result<Instance<'_>> {
        let context = &CallContext::NONE;
        Ok(match self {
            Self::Transform(transform) => Instance::Transform(transform.open(context)?),
            Self::Reducer(reducer) => Instance::Reducer(reducer.open(context)?),
            Self::Keyed(keyed) => Instance::Keyed(keyed, keyed.open(context)?),
            Self::Sink(sink, runtime) => Instance::Sink(sink, sink.open(runtime, context)?),
        })
    }
}

impl Instance<'_> {
    /// One call on these rows: each a key of its own, or all of them one group, or a partition of an epoch, of which nothing stays where a sink
    /// can take it back.
    pub fn call(&mut self, rows: &RecordBatch) -> anyhow::Result<()> {
        match self {
            Self::Transform(instance) => drop(instance.process(&CallContext::NONE, rows)?),
            Self::Reducer(instance) => {
                let ends = [rows.num_rows() as u32];
                drop(instance.reduce(&CallContext::NONE, &ends, rows, Reduced::Not)?);
            }
            Self::Keyed(keyed, instance) => {
                drop(instance.process(&CallContext::NONE, &keys_of(keyed, rows)?)?);
            }
            Self::Sink(sink, instance) => {
                let context = &CallContext::NONE;
                instance.begin(context, "bench")?;
                drop(instance.write(context, rows)?);
                let token = instance.prepare(context)?;
                if sink.delivery() == Delivery::TwoPhase {
                    instance.abort(context.epoch, &[&token])?;
                }
            }
        }
        Ok(())
    }

    /// Bytes of linear memory that it has.
    pub fn memory(&self) -> Option<u64> {
        match self {
            Self::Transform(instance) => instance.memory(),
            Self::Reducer(instance) => instance.memory(),
            Self::Keyed(_, instance) => instance.memory(),
            Self::Sink(_, instance) => instance.memory(),
        }
    }
}

/// Every row as the only one of a key that has no state.
fn keys_of(keyed: &Keyed, rows: &RecordBatch) -> anyhow::Result<KeyedBatch> {
    let count = rows.num_rows();
    let schema = rows.schema();
    let columns = keyed
        .keys()
        .fields()
        .iter()
        .map(|field| schema.index_of(field.name()));
    let columns: Vec<usize> = columns.collect::<Result<_, _>>()?;
    let state = &keyed.state().columns;
    let none = state
        .fields()
        .iter()
        .map(|field| new_empty_array(field.data_type()));
    let options = RecordBatchOptions::new().with_row_count(Some(0));
    Ok(KeyedBatch {
        keys: with_schema(rows.project(&columns)?, keyed.keys())?,
        status: vec![status::FIRST | status::LAST; count],
        state: RecordBatch::try_new_with_options(state.clone(), none.collect(), &options)?,
        inputs: vec![((1..=count as u32).collect(), rows.clone())],
    })
}

fn with_schema(batch: RecordBatch, schema: &SchemaRef) -> anyhow::Result<RecordBatch> {
    let schema: Arc<Schema> = schema.clone();
    Ok(RecordBatch::try_new(schema, batch.columns().to_vec())?)
}
