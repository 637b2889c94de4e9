//! One call of a keyed plugin: what it is given, what it changes, and what becomes of keys at fault.
//!
//! A call that fails has changed nothing. Under `on_error = "fail"` it ends the run, and the message names the key where that can be found;
//! else its keys are halved on fresh instances until one stands alone, whose rows are turned away and whose state stays as it was.

use std::ops::Range;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::take;

use super::session::{Call, Session};
use super::{Emit, Keyed, Running};
use crate::error::Failure;
use crate::flow::caller::{self, ISOLATION_BUDGET};
use crate::flow::parcel::Parcel;
use crate::flow::rejects::{RejectedRow, Rejects, row_as_json};
use crate::ids::WorkerIndex;
use crate::pipeline::OnError;
use crate::plugin::{
    CallContext, CallError, KeyedBatch, KeyedChanges, Op, Origin, Output, Timer, status,
};
use crate::state::{Change, Found};
use crate::telemetry::count;

impl Keyed {
    /// Makes the next call of a partition. Answers the bytes made.
    pub(super) fn call(
        &mut self,
        running: &Running,
        session: &mut Session,
        emit: &mut Emit<'_>,
    ) -> Result<usize, Failure> {
        let call = session.next(&self.step)?;
        let mut rejects = Rejects::new(&self.node, self.index);
        let made = self.run(running, session, call, &mut rejects, emit)?;
        if !rejects.is_empty() {
            let output = self.node.ports.len();
            let (epoch, partition) = (running.epoch, session.partition);
            let parcel = rejects.parcel(epoch, running.time, partition, self.rejected);
            self.rejected += 1;
            emit(&running.capabilities[output], output, parcel);
        }
        Ok(made)
    }

    fn run(
        &mut self,
        running: &Running,
        session: &mut Session,
        call: Call,
        rejects: &mut Rejects,
        emit: &mut Emit<'_>,
    ) -> Result<usize, Failure> {
        let keys = session.key_columns(&call);
        let table = self.table(session.partition);
        let found = table.find(&session.selection, call.keys.clone(), running.time)?;
        let batch = self.batch(session, &call, &keys, &found)?;
        let began = Instant::now();
        match self.attempt(running, session, &batch) {
            Ok(changes) => {
                self.apply(session, call.keys, &batch, &changes)?;
                self.turn_away_rows(&batch, &changes, rejects)?;
                self.send(running, session, &keys, changes.outputs, emit)
            }
            Err(error) => {
                self.isolation += began.elapsed();
                self.recover(running, session, call, &batch, error, rejects, emit)
            }
        }
    }

    /// What the plugin is given.
    fn batch(
        &self,
        session: &Session,
        call: &Call,
        keys: &[ArrayRef],
        found: &Found,
    ) -> Result<KeyedBatch, Failure> {
        let part = [(call.first, status::FIRST), (call.last, status::LAST)];
        let part = part
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, bit)| bit)
            .sum::<u8>();
        let status = found.present.iter().zip(&found.due).map(|(present, due)| {
            let state = if *present { status::HAS_STATE } else { 0 };
            let timer = if *due && call.last {
                status::TIMED_OUT
            } else {
                0
            };
            part | state | timer
        });
        let inputs = session.inputs.iter().zip(&call.rows).map(|(input, rows)| {
            let end = |end: &u32| (*end as usize).clamp(rows.start, rows.end) - rows.start;
            let ends = input.ends[call.keys.clone()].iter();
            let ends = ends.map(|key| end(key) as u32).collect();
            (ends, input.rows.slice(rows.start, rows.len()))
        });
        let states = found.present.iter().filter(|present| **present).count();
        Ok(KeyedBatch {
            keys: batch_of(&self.step.key_schema, keys.to_vec(), call.keys.len())?,
            status: status.collect(),
            state: batch_of(
                &self.step.keyed.state().columns,
                found.states.clone(),
                states,
            )?,
            inputs: inputs.collect(),
        })
    }

    fn attempt(
        &self,
        running: &Running,
        session: &mut Session,
        batch: &KeyedBatch,
    ) -> Result<KeyedChanges, CallError> {
        caller::with_retries(|| {
            let (epoch, partition) = (running.epoch, session.partition);
            let context = CallContext {
                call: session.calls,
                ..self.context.call(epoch, running.time, partition)
            };
            let mut instance = match session.instance.take() {
                Some(instance) => instance,
                None => self.step.keyed.open(&context)?,
            };
            session.calls += 1;
            count(&self.counters.calls, 1);
            let began = Instant::now();
            let result = instance.process(&context, batch);
            count(&self.counters.busy_nanos, began.elapsed().as_nanos() as u64);
            match &result {
                // An answer, even a refusal, leaves the instance whole.
                Ok(_) | Err(CallError::Refused { .. }) => session.instance = Some(instance),
                Err(_) => count(&self.counters.traps, 1),
            }
            result
        })
    }

    fn apply(
        &mut self,
        session: &mut Session,
        keys: Range<usize>,
        batch: &KeyedBatch,
        changes: &KeyedChanges,
    ) -> Result<(), Failure> {
        let change = |(index, op): (usize, &Op)| Change {
            state: match op {
                Op::Keep => None,
                Op::Put => Some(true),
                Op::Remove => Some(false),
            },
            timer: match changes.timers.get(index) {
                Some(Timer::At(time)) => Some(Some(*time)),
                Some(Timer::Clear) => Some(None),
                // One that was due is spent.
                Some(Timer::Keep) | None => {
                    (batch.status[index] & status::TIMED_OUT != 0).then_some(None)
                }
            },
        };
        let each: Vec<Change> = changes.ops.iter().enumerate().map(change).collect();
        let table = self.table_mut(session.partition);
        table.apply(&mut session.selection, keys, &each, &changes.state)
    }

    fn turn_away_rows(
        &self,
        batch: &KeyedBatch,
        changes: &KeyedChanges,
        rejects: &mut Rejects,
    ) -> Result<(), Failure> {
        for (input, ((_, rows), rejected)) in batch.inputs.iter().zip(&changes.rejected).enumerate()
        {
            for row in rejected {
                self.turn_away(input, rows, row.row as usize, &row.reason, rejects)?;
            }
        }
        Ok(())
    }

    /// One row that the plugin would not take or could not bear. Its origin was lost when it went to the owner of its key.
    fn turn_away(
        &self,
        input: usize,
        rows: &RecordBatch,
        row: usize,
        reason: &str,
        rejects: &mut Rejects,
    ) -> Result<(), Failure> {
        match self.node.on_error {
            OnError::Fail => Err(Failure::user(format!(
                "the plugin rejected the row {}: {reason}",
                row_as_json(rows, row).unwrap_or_default()
            ))
            .help(
                "set `on_error = \"skip\"` or `\"reject\"` on the step to go on without such rows",
            )),
            OnError::Skip => {
                count(&self.counters.skipped, 1);
                Ok(())
            }
            OnError::Reject => {
                count(&self.counters.rejected, 1);
                rejects.add(RejectedRow {
                    input: (self.node.inputs.len() > 1).then_some(input),
                    origin: None,
                    reason: reason.to_owned(),
                    row: row_as_json(rows, row),
                    bytes: None,
                    cut: false,
                });
                Ok(())
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a call and everything that can come of it"
    )]
    fn recover(
        &mut self,
        running: &Running,
        session: &mut Session,
        call: Call,
        batch: &KeyedBatch,
        error: CallError,
        rejects: &mut Rejects,
        emit: &mut Emit<'_>,
    ) -> Result<usize, Failure> {
        let several = call.keys.len() > 1;
        let too_large = matches!(error, CallError::OutputTooLarge { .. });
        let may_split = self.node.on_error != OnError::Fail && self.isolation < ISOLATION_BUDGET;
        if several && !caller::is_fatal(&error) && (too_large || may_split) {
            let middle = call.keys.start + call.keys.len() / 2;
            let (first, second) = (call.keys.start..middle, middle..call.keys.end);
            let first = session.whole(first);
            let made = self.run(running, session, first, rejects, emit)?;
            let second = session.whole(second);
            return Ok(made + self.run(running, session, second, rejects, emit)?);
        }
        if self.node.on_error == OnError::Fail || caller::is_fatal(&error) {
            let mut failure = caller::failure(&error);
            if !several {
                let key = row_as_json(&batch.keys, 0).unwrap_or_default();
                failure.message = format!("at the key {key}: {}", failure.message);
            }
            return Err(failure);
        }
        let reason = error.to_string();
        for (input, (_, rows)) in batch.inputs.iter().enumerate() {
            for row in 0..rows.num_rows() {
                self.turn_away(input, rows, row, &reason, rejects)?;
            }
        }
        Ok(0)
    }

    fn send(
        &mut self,
        running: &Running,
        session: &mut Session,
        keys: &[ArrayRef],
        outputs: Vec<Output>,
        emit: &mut Emit<'_>,
    ) -> Result<usize, Failure> {
        let mut bytes = 0;
        for output in outputs {
            if output.rows == 0 {
                continue;
            }
            let port = output.port;
            let batch = self.assemble(keys, &output)?;
            bytes += batch.get_array_memory_size();
            count(&self.counters.rows_out, batch.num_rows() as u64);
            let parcel = Parcel {
                target: WorkerIndex(0),
                partition: session.partition,
                from: session.partition,
                sequence: session.sequences[port],
                last: false,
                time: running.time,
                provenance: None,
                charge: Some(
                    self.context
                        .live
                        .charge(batch.get_array_memory_size(), &self.emitted),
                ),
                batch,
            };
            session.sequences[port] += 1;
            emit(&running.capabilities[port], port, parcel);
        }
        Ok(bytes)
    }

    /// What the plugin made for a port, behind the key columns that it carries.
    fn assemble(&self, keys: &[ArrayRef], output: &Output) -> Result<RecordBatch, Failure> {
        let mut columns = Vec::new();
        for key in &self.step.carried[output.port] {
            let key = &keys[*key];
            columns.push(match &output.origin {
                Origin::Parents(parents) => take(key, parents, None).map_err(|error| {
                    Failure::internal(format!("a key could not be carried: {error}"))
                })?,
                Origin::Same | Origin::None => key.clone(),
            });
        }
        let made = self.step.kept[output.port].iter();
        columns.extend(made.map(|column| output.columns[*column].clone()));
        batch_of(&self.node.ports[output.port], columns, output.rows)
    }
}

fn batch_of(
    schema: &arrow::datatypes::SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, Failure> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| Failure::internal(format!("the plan's columns do not fit: {error}")))
}
