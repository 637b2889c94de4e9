//! What a plugin remembers before the first epoch of a fixture: an epoch without input that is over.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::json::ReaderBuilder;

use super::case::NODE;
use crate::aggregate::key_group::by_partition;
use crate::checkpoint::{
    Checkpoint, CommitRecord, EpochRecord, PartitionState, Pending, Unwritten,
};
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, NodeName};
use crate::pipeline::plan::KeyedStep;
use crate::pipeline::{NodeKind, Plan};
use crate::state::{Change, StateMemory, Table};

/// Before `timer`, the key's columns, and those of the state.
const TIMER: &str = "timer";

/// Puts states, a JSON object a key, into the new checkpoint of a plan: the key's columns, the state's, and perhaps `timer`, in
/// milliseconds since 1970.
pub fn put(plan: &Plan, states: &str) -> anyhow::Result<()> {
    let step = plan.nodes.iter().find_map(|node| match &node.kind {
        NodeKind::Keyed(step) => Some(step),
        _ => None,
    });
    let Some(step) = step else {
        bail!("there is a `state.jsonl`, and the plugin remembers nothing");
    };
    let rows = read(step, states).context("`state.jsonl` is wrong")?;
    let records = plan
        .checkpoint
        .as_ref()
        .context("no checkpoint")?
        .records()?;
    let (mut checkpoint, resume) = Checkpoint::open(records.clone(), 1, plan.definition(), false)?;
    let (epoch, time) = (Epoch(0), BatchTime::default());
    checkpoint.plan_epoch(&EpochRecord {
        epoch,
        generation: checkpoint.generation(),
        time,
        pipeline: checkpoint.code(),
        reads: Vec::new(),
        positions: BTreeMap::new(),
        state: None,
    })?;
    let store = records.store_of(checkpoint.generation());
    let node = NodeName::from(NODE);
    let keys = 1..1 + step.key_schema.fields().len();
    let mut state = resume.state;
    let kept = state.entry(node.clone()).or_default();
    let by_key = by_partition(&rows, &rows.columns()[keys.clone()], plan.partitions);
    let mut unwritten = Unwritten::new(&node, epoch);
    for (partition, rows) in by_key.map_err(unusable)? {
        let (delta, next_timer) = changes(plan, step, &rows)?;
        let mut segments = Vec::new();
        let version = step.keyed.state().version;
        store.add(
            &mut unwritten,
            partition,
            &mut segments,
            &delta,
            version,
            keys.len(),
        )?;
        let state = PartitionState {
            segments,
            next_timer,
        };
        kept.partitions.insert(partition, state);
    }
    store.write_all(unwritten)?;
    checkpoint.commit(CommitRecord {
        first: epoch,
        epoch,
        generation: checkpoint.generation(),
        time,
        state,
        pending: Pending::new(),
    })?;
    Ok(())
}

/// What a table of these rows gives to be kept, and its first timer.
fn changes(
    plan: &Plan,
    step: &KeyedStep,
    rows: &RecordBatch,
) -> Result<(RecordBatch, Option<i64>), Failure> {
    let memory = Arc::new(StateMemory::new(plan.state.clone()));
    let mut table = Table::new(&step.key_schema, &step.keyed.state().columns, memory)?;
    let timers = rows.column(0).as_primitive::<Int64Type>();
    let changes = (0..rows.num_rows()).map(|row| Change {
        state: Some(true),
        timer: Some(timers.is_valid(row).then(|| timers.value(row))),
    });
    let changes: Vec<Change> = changes.collect();
    let (keys, states) = rows.columns()[1..].split_at(step.key_schema.fields().len());
    let mut selection = table.select(keys)?;
    table.apply(&mut selection, 0..changes.len(), &changes, states)?;
    Ok((table.delta(&selection)?, table.next_timer()?))
}

/// The timer, the key, the state, in the order of the keys: so a table's changes are kept.
fn read(step: &KeyedStep, states: &str) -> anyhow::Result<RecordBatch> {
    let keys = step.key_schema.fields().iter();
    let timer = Arc::new(Field::new(TIMER, DataType::Int64, true));
    let states_of = step.keyed.state().columns.fields().iter();
    let fields: Vec<_> = std::iter::once(&timer)
        .chain(keys)
        .chain(states_of)
        .cloned()
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let reader = ReaderBuilder::new(schema.clone()).with_strict_mode(true);
    let batches = reader.build(Cursor::new(states))?;
    let batches: Vec<RecordBatch> = batches.collect::<Result<_, _>>()?;
    let all = arrow::compute::concat_batches(&schema, &batches)?;
    let of_key = &all.columns()[1..1 + step.key_schema.fields().len()];
    let order: Vec<_> = of_key
        .iter()
        .map(|values| arrow::compute::SortColumn {
            values: values.clone(),
            options: None,
        })
        .collect();
    let order = arrow::compute::lexsort_to_indices(&order, None)?;
    Ok(arrow::compute::take_record_batch(&all, &order)?)
}

fn unusable(error: arrow::error::ArrowError) -> Failure {
    Failure::internal(format!("states could not be put by key: {error}"))
}
