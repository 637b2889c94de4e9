//! Groups reduced by user code: what a native aggregate does with accumulators, a reducer plugin does in calls.
//!
//! A partial result has the key's columns and the plugin's, a row a key, in the order of the keys. Rows are brought together by key
//! and handed to the plugin as they lie; a call holds as many as one may, so a key with very many rows is reduced in parts, and the parts again.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat, concat_batches, take};
use arrow::error::ArrowError;

use super::caller::{self, with_retries};
use crate::aggregate::grouping::group;
use crate::error::Failure;
use crate::pipeline::plan::ReduceStep;
use crate::plugin::{CallContext, CallError, Reduced, ReducerInstance, chunks};
use crate::telemetry::{NodeCounters, count};

/// The plugin of one step on one worker.
pub struct Reducing {
    step: ReduceStep,
    counters: Arc<NodeCounters>,
    /// A reducer has nothing to remember from call to call; a fresh one is made after a trap.
    instance: Option<ReducerInstance>,
}

impl Reducing {
    /// Before the first call.
    pub fn new(step: ReduceStep, counters: Arc<NodeCounters>) -> Self {
        Self {
            step,
            counters,
            instance: None,
        }
    }

    /// The partial result of rows of the input.
    pub fn rows(
        &mut self,
        context: CallContext,
        rows: &RecordBatch,
    ) -> Result<RecordBatch, Failure> {
        let step = &self.step;
        let columns = step.group_by.iter().chain(&step.values);
        let columns: Vec<usize> = columns.copied().collect();
        let rows = rows.project(&columns).map_err(bug)?;
        self.reduce(context, &rows, Reduced::Not)
    }

    /// Partial results as one, in their order.
    pub fn partials(
        &mut self,
        context: CallContext,
        partials: &[&RecordBatch],
    ) -> Result<RecordBatch, Failure> {
        let all = concat_batches(&self.step.partial, partials.iter().copied()).map_err(bug)?;
        self.reduce(context, &all, Reduced::Already)
    }

    /// One row a key, of rows that have the key's columns first.
    fn reduce(
        &mut self,
        context: CallContext,
        rows: &RecordBatch,
        reduced: Reduced,
    ) -> Result<RecordBatch, Failure> {
        let key_count = self.step.group_by.len();
        let (keys, values) = rows.columns().split_at(key_count);
        let (keys, order, ends) = match keys {
            [] => (Vec::new(), None, vec![rows.num_rows() as u32]),
            keys => {
                let mut grouping =
                    group(&self.step.key_schema, &[keys.to_vec()], &keys_of_none(keys))?;
                let by_key = grouping.inputs.remove(0);
                (grouping.keys, Some(by_key.rows), by_key.ends)
            }
        };
        if rows.num_rows() == 0 || (reduced == Reduced::Already && ends.len() == rows.num_rows()) {
            return self.partial(keys, order.as_ref(), values);
        }
        let values = match &order {
            Some(order) => values
                .iter()
                .map(|column| take(column, order, None))
                .collect(),
            None => Ok(values.to_vec()),
        };
        let values = self.values(values.map_err(bug)?, reduced)?;
        let (results, starts) = self.calls(context, &values, &ends, reduced)?;
        if starts.len() == ends.len() {
            return self.partial(keys, None, &results);
        }
        // Some keys were reduced in parts: their partial rows lie side by side.
        let places = arrow::array::UInt32Array::from(starts);
        let keys: Result<Vec<_>, _> = keys.iter().map(|key| take(key, &places, None)).collect();
        let parts = self.partial(keys.map_err(bug)?, None, &results)?;
        self.reduce(context, &parts, Reduced::Already)
    }

    /// The values as a batch that the plugin was bound to.
    fn values(&self, columns: Vec<ArrayRef>, reduced: Reduced) -> Result<RecordBatch, Failure> {
        let schema = match reduced {
            Reduced::Not => &self.step.value_schema,
            Reduced::Already => self.step.reducer.result(),
        };
        RecordBatch::try_new(schema.clone(), columns).map_err(bug)
    }

    /// Calls the plugin with all of the values; answers its rows, and the number of the group that each belongs to.
    fn calls(
        &mut self,
        context: CallContext,
        values: &RecordBatch,
        ends: &[u32],
        reduced: Reduced,
    ) -> Result<(Vec<ArrayRef>, Vec<u32>), Failure> {
        let columns: Vec<usize> = (0..values.num_columns()).collect();
        let (mut results, mut groups) = (Vec::new(), Vec::new());
        for (call, rows) in (0..).zip(chunks(values, &columns)) {
            let first = ends.partition_point(|end| *end as usize <= rows.start);
            let last = ends.partition_point(|end| (*end as usize) < rows.end);
            let end = |group: &u32| group.min(&(rows.end as u32)) - rows.start as u32;
            let of_call: Vec<u32> = ends[first..=last].iter().map(end).collect();
            groups.extend((first..=last).map(|group| group as u32));
            let batch = values.slice(rows.start, rows.len());
            let context = CallContext { call, ..context };
            results.push(self.call(context, &of_call, &batch, reduced)?);
        }
        let columns = columns.iter().map(|column| {
            let parts: Vec<_> = results
                .iter()
                .map(|result| result[*column].as_ref())
                .collect();
            concat(&parts)
        });
        let columns: Result<Vec<_>, _> = columns.collect();
        Ok((columns.map_err(bug)?, groups))
    }

    fn call(
        &mut self,
        context: CallContext,
        ends: &[u32],
        values: &RecordBatch,
        reduced: Reduced,
    ) -> Result<Vec<ArrayRef>, Failure> {
        let began = Instant::now();
        count(&self.counters.calls, 1);
        let result = with_retries(|| {
            let mut instance = match self.instance.take() {
                Some(instance) => instance,
                None => self.step.reducer.open(&context)?,
            };
            let result = instance.reduce(&context, ends, values, reduced);
            if matches!(result, Ok(_) | Err(CallError::Refused { .. })) {
                self.instance = Some(instance);
            }
            result
        });
        count(&self.counters.busy_nanos, began.elapsed().as_nanos() as u64);
        result.map_err(|error| {
            caller::failure(&error).help("a reducer takes all rows or none: leave out before it what it cannot take, with `filter`")
        })
    }

    fn partial(
        &self,
        mut keys: Vec<ArrayRef>,
        order: Option<&arrow::array::UInt32Array>,
        values: &[ArrayRef],
    ) -> Result<RecordBatch, Failure> {
        for column in values {
            keys.push(match order {
                Some(order) => take(column, order, None).map_err(bug)?,
                None => column.clone(),
            });
        }
        RecordBatch::try_new(self.step.partial.clone(), keys).map_err(bug)
    }
}

/// No key beyond those of the rows.
fn keys_of_none(keys: &[ArrayRef]) -> Vec<ArrayRef> {
    keys.iter().map(|key| key.slice(0, 0)).collect()
}

fn bug(error: ArrowError) -> Failure {
    Failure::internal(format!("rows could not be reduced: {error}"))
}
