//! State of an earlier version, as the plugin of today has it.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, filter_record_batch, take};

use crate::checkpoint::MARKS;
use crate::error::Failure;
use crate::flow::caller;
use crate::pipeline::plan::KeyedStep;
use crate::plugin::{CallContext, chunks};

/// The rows of a segment with the states that the plugin makes of them. Keys that are not live stay so.
pub fn migrated(
    step: &KeyedStep,
    version: u32,
    delta: &RecordBatch,
) -> Result<RecordBatch, Failure> {
    let states = MARKS + step.key_schema.fields().len();
    let columns: Vec<usize> = (states..delta.num_columns()).collect();
    let live = delta.column(0).as_boolean();
    let old = delta.project(&columns).map_err(bug)?;
    let old = filter_record_batch(&old, live).map_err(bug)?;
    let columns: Vec<usize> = (0..old.num_columns()).collect();
    let opened = step.keyed.open(&CallContext::NONE);
    let mut instance = opened.map_err(|error| caller::failure(&error))?;
    let new = &step.keyed.state().columns;
    let mut made: Vec<Vec<ArrayRef>> = vec![Vec::new(); new.fields().len()];
    for rows in chunks(&old, &columns) {
        let batch = old.slice(rows.start, rows.len());
        let answer = instance.migrate(&CallContext::NONE, version, &batch);
        let states = answer.map_err(|error| {
            let mut failure = caller::failure(&error);
            failure.message = format!(
                "state of version {version} could not be migrated: {}",
                failure.message
            );
            failure
        })?;
        for (made, state) in made.iter_mut().zip(states) {
            made.push(state);
        }
    }
    let mut next = 0..;
    let places: UInt32Array = (0..live.len())
        .map(|row| live.value(row).then(|| next.next()).flatten())
        .collect();
    let mut all = delta.columns()[..states].to_vec();
    for (made, field) in made.iter().zip(new.fields()) {
        let made: Vec<&dyn Array> = made.iter().map(AsRef::as_ref).collect();
        let column = match made.is_empty() {
            true => arrow::array::new_empty_array(field.data_type()),
            false => concat(&made).map_err(bug)?,
        };
        all.push(take(&column, &places, None).map_err(bug)?);
    }
    let kept = delta.schema_ref().fields()[..states].iter().cloned();
    let new = new.fields().iter();
    let new = new.map(|field| std::sync::Arc::new(field.as_ref().clone().with_nullable(true)));
    let fields: Vec<_> = kept.chain(new).collect();
    RecordBatch::try_new(
        std::sync::Arc::new(arrow::datatypes::Schema::new(fields)),
        all,
    )
    .map_err(bug)
}

fn bug(error: arrow::error::ArrowError) -> Failure {
    Failure::internal(format!("state could not be migrated: {error}"))
}
