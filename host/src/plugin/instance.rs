//! A live transform, and one call into it.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use wasmtime::Store;

use super::bindings::exports::wasmill::plugin::transform::Guest;
use super::bindings::wasmill::plugin::types::{
    Context, Origin as WireOrigin, Output as WireOutput, Rejects,
};
use super::bound::refused;
use super::call::{CallContext, CallError, Origin, Output, Produced, Rejected};
use super::columns::{Views, lift, reasons};
use super::engine::ticks;
use super::host::State;
use super::transform::Described;

/// A live instance. What it keeps between calls is gone with it.
pub struct TransformInstance {
    transform: Arc<Described>,
    /// `None` after a trap: what is left of a guest then is in no state that its code foresaw.
    live: Option<(Store<State>, Guest)>,
}

impl TransformInstance {
    pub(super) fn open(transform: &Arc<Described>) -> Result<Self, CallError> {
        let bound = &transform.bound;
        let mut store = bound.store();
        let opened = bound
            .pre
            .instantiate(&mut store)
            .and_then(|instance| transform.indices.load(&mut store, &instance))
            .and_then(|guest| {
                let answer = guest.call_open(
                    &mut store,
                    &bound.config,
                    &transform.planned.schema.fields(),
                )?;
                Ok((guest, answer))
            });
        match opened {
            Ok((guest, Ok(()))) => Ok(Self {
                transform: transform.clone(),
                live: Some((store, guest)),
            }),
            Ok((_, Err(error))) => Err(refused(error, 0)),
            Err(error) => Err(bound.classify(&mut store, &error, &bound.limits)),
        }
    }

    /// Calls the guest with the planned columns of `input`, whose schema is the one bound. At most 64 Ki rows.
    ///
    /// # Errors
    /// Why the call failed. After any error but [`CallError::Refused`] the instance is gone, and every further call fails.
    pub fn process(
        &mut self,
        context: &CallContext,
        input: &RecordBatch,
    ) -> Result<Produced, CallError> {
        let Some((mut store, guest)) = self.live.take() else {
            return Err(CallError::Contract(
                "it was called again after it had trapped".into(),
            ));
        };
        let result = call(&self.transform, &mut store, &guest, context, input);
        if matches!(result, Ok(_) | Err(CallError::Refused { .. })) {
            self.live = Some((store, guest));
        }
        result
    }
}

fn call(
    transform: &Described,
    store: &mut Store<State>,
    guest: &Guest,
    context: &CallContext,
    input: &RecordBatch,
) -> Result<Produced, CallError> {
    let views = Views::new(&transform.planned.asked, input)?;
    let rows = input.num_rows();
    let wire_rows = u32::try_from(rows).expect("a call has at most 64 Ki rows");
    let limits = &transform.bound.limits;
    store.set_epoch_deadline(ticks(limits.deadline));
    let log = &mut store.data_mut().log;
    log.place = Some((context.epoch, context.partition));
    log.last_error = None;
    let answer = views
        .with(|buffers| guest.call_process(&mut *store, wire_context(context), wire_rows, buffers));
    match answer {
        Ok(Ok(produced)) => {
            let outputs = produced
                .outputs
                .into_iter()
                .map(|wire| output(transform, rows, wire));
            let outputs = outputs
                .collect::<Result<_, _>>()
                .map_err(CallError::Contract)?;
            let rejected = rejected(rows, produced.rejected).map_err(CallError::Contract)?;
            Ok(Produced { outputs, rejected })
        }
        Ok(Err(error)) => Err(refused(error, rows)),
        Err(error) => Err(transform.bound.classify(store, &error, limits)),
    }
}

/// The context in the contract's words. There is no watermark before there is event time.
pub(super) fn wire_context(context: &CallContext) -> Context {
    Context {
        epoch: context.epoch.0,
        batch_time: context.time.0,
        partition: context.partition.0,
        call: context.call,
        watermark: i64::MIN,
        seed: context.seed,
    }
}

fn output(transform: &Described, input_rows: usize, wire: WireOutput) -> Result<Output, String> {
    let index = wire.port as usize;
    let Some((port, made)) = transform.ports.get(index).zip(transform.made.get(index)) else {
        return Err(format!(
            "it wrote to port {index} of {}",
            transform.ports.len()
        ));
    };
    let rows = wire.rows as usize;
    let of_port = |wrong: String| format!("in port `{}`, {wrong}", port.name);
    if wire.columns.len() != made.len() {
        let (found, planned) = (wire.columns.len(), made.len());
        return Err(of_port(format!(
            "it made {found} columns where its plan says {planned}"
        )));
    }
    let origin = origin(rows, input_rows, port.carry, wire.origin).map_err(of_port)?;
    let columns = made
        .iter()
        .zip(wire.columns)
        .map(|(made, buffers)| lift(made, rows, buffers));
    let columns = columns.collect::<Result<_, _>>().map_err(of_port)?;
    Ok(Output {
        port: index,
        rows,
        origin,
        columns,
    })
}

fn origin(rows: usize, input_rows: usize, carry: bool, wire: WireOrigin) -> Result<Origin, String> {
    match wire {
        WireOrigin::Same if rows != input_rows => Err(format!(
            "it made {rows} rows of {input_rows} and says that they are row for row the same"
        )),
        WireOrigin::Same => Ok(Origin::Same),
        WireOrigin::Parents(parents) if parents.len() != rows => Err(format!(
            "it made {rows} rows and named {} parents",
            parents.len()
        )),
        WireOrigin::Parents(parents) => {
            let highest = parents
                .iter()
                .fold(0, |highest, parent| highest.max(*parent));
            if !parents.is_empty() && highest as usize >= input_rows {
                return Err(format!("it named a parent {highest} of {input_rows} rows"));
            }
            Ok(Origin::Parents(UInt32Array::from(parents)))
        }
        WireOrigin::None if carry => {
            Err("it made rows of no input row, and the port carries the input's columns".into())
        }
        WireOrigin::None => Ok(Origin::None),
    }
}

/// The rows that a call turned away, ascending.
pub(super) fn rejected(input_rows: usize, wire: Rejects) -> Result<Vec<Rejected>, String> {
    if wire.rows.is_empty() && wire.reasons.data.is_empty() {
        return Ok(Vec::new());
    }
    let reasons = reasons(wire.rows.len(), wire.reasons)?;
    let reasons = (0..reasons.len()).map(|row| reasons.value(row).to_owned());
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
