//! A sink written by a user: bound like a transform, called on an I/O thread.
//!
//! A call may wait for the outside (an HTTP server), and a deadline that only interrupts the guest would not end that wait. So
//! calls run on a fiber under a timer: one that does not come back in time is abandoned, and its instance with it.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::runtime::Runtime;
use wasmtime::Store;

use super::World;
use super::bindings::exports::wasmill::plugin::sink::{
    Delivery as WireDelivery, Guest, GuestIndices, Plan,
};
use super::bound::{Bound, Planned, WireSchema, begin, refused};
use super::call::{CallContext, CallError, Rejected, rejected};
use super::capture::{self, Called, Function};
use super::columns::Views;
use super::engine::Component;
use super::host::State;
use super::imports::Grants;
use super::limits::Limits;
use super::live::{Answer, wire_context};
use crate::error::Failure;
use crate::ids::{Digest, Epoch, NodeName, PartitionId};
use crate::telemetry::NodeCounters;

/// What a sink promises about a repeated epoch; `wit/sink.wit` says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is written again.
    AtLeastOnce,
    /// The sink knows which epochs it holds.
    Marker,
    /// Only what was committed is visible.
    TwoPhase,
}

/// A component of the world `sink-plugin` bound to configuration, schema, limits and grants; cheap to clone.
#[derive(Clone)]
pub struct SinkPlugin(Arc<Described>);

struct Described {
    bound: Bound,
    indices: GuestIndices,
    planned: Planned,
    delivery: Delivery,
}

impl fmt::Debug for SinkPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkPlugin")
            .field("component", &self.0.bound.component)
            .field("columns", &self.columns())
            .field("delivery", &self.0.delivery)
            .finish_non_exhaustive()
    }
}

impl SinkPlugin {
    /// Binds `component` to the sink `node`, and lets it describe what it wants of rows of `input`.
    ///
    /// # Errors
    /// When it is no sink, imports what it may not, refuses its configuration or input, or plans what cannot be.
    pub fn new(
        component: &Component,
        node: &NodeName,
        config: &serde_json::Value,
        input: &SchemaRef,
        limits: &Limits,
        grants: &Grants,
    ) -> Result<Self, Failure> {
        let bound = Bound::new(component, World::Sink, node, config, limits, grants)?;
        let indices = GuestIndices::new(&bound.pre)
            .map_err(|error| bound.failure(&format!("does not fit the contract: {error:#}")))?;
        let plan = describe(&bound, &indices, input)?;
        let planned = bound.planned(&plan.columns, input)?;
        let delivery = match plan.delivery {
            WireDelivery::AtLeastOnce => Delivery::AtLeastOnce,
            WireDelivery::Marker => Delivery::Marker,
            WireDelivery::TwoPhase => Delivery::TwoPhase,
        };
        Ok(Self(Arc::new(Described {
            bound,
            indices,
            planned,
            delivery,
        })))
    }

    /// The input columns it reads, as indices into the schema it was bound to.
    pub fn columns(&self) -> &[usize] {
        &self.0.planned.columns
    }

    /// What it promises.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// The component.
    pub fn component(&self) -> &Component {
        &self.0.bound.component
    }

    /// What its calls are charged to.
    pub fn counters(&self) -> Arc<NodeCounters> {
        self.0.bound.counters.clone()
    }

    /// Of the component.
    pub fn digest(&self) -> Digest {
        self.component().digest()
    }

    /// A fresh instance for a call, `open` called. Its calls wait on `runtime`; none may be made from inside of it.
    ///
    /// # Errors
    /// When the plugin refuses, traps or exceeds a limit.
    pub fn open(
        &self,
        runtime: &Arc<Runtime>,
        context: &CallContext,
    ) -> Result<SinkInstance, CallError> {
        let Described {
            bound,
            indices,
            planned,
            ..
        } = &*self.0;
        let in_call = bound.in_call();
        let mut store = bound.store();
        let opening = async {
            let instance = bound.pre.instantiate_async(&mut store).await?;
            let guest = indices.load(&mut store, &instance)?;
            let answer = guest
                .call_open(&mut store, &bound.config, &planned.schema.fields())
                .await?;
            Ok((guest, answer))
        };
        let opened =
            runtime.block_on(async { tokio::time::timeout(bound.limits.deadline, opening).await });
        store.data_mut().end();
        drop(in_call);
        let opened = match opened {
            Ok(Ok((guest, Ok(())))) => Ok(SinkInstance {
                sink: self.0.clone(),
                runtime: runtime.clone(),
                live: Some((store, guest)),
                key: String::new(),
                written: Vec::new(),
            }),
            Ok(Ok((_, Err(error)))) => Err(refused(error, 0)),
            Ok(Err(error)) => Err(bound.classify(&mut store, &error, &bound.limits)),
            Err(_elapsed) => Err(CallError::Deadline(bound.limits.deadline)),
        };
        opened.inspect_err(|error| {
            bound.capture_open(error, context, vec![planned.input.clone()]);
        })
    }
}

fn describe(bound: &Bound, indices: &GuestIndices, input: &SchemaRef) -> Result<Plan, Failure> {
    let _in_call = bound.in_call();
    let (mut store, pre, limits) = bound.for_describe()?;
    let schema = WireSchema::of(input);
    let answer = at_once(async {
        let instance = pre.instantiate_async(&mut store).await?;
        let guest = indices.load(&mut store, &instance)?;
        guest
            .call_describe(&mut store, &bound.config, &schema.fields())
            .await
    });
    bound.described(
        std::slice::from_ref(input),
        answer.map_err(|error| bound.classify(&mut store, &error, &limits)),
    )
}

/// Runs what never waits: without imports there is nothing to wait for.
fn at_once<T>(future: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    match pin!(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(wasmtime::Error::msg(
            "`describe` waited, with nothing to wait for",
        )),
    }
}

/// A live instance. What it keeps between calls is gone with it.
pub struct SinkInstance {
    sink: Arc<Described>,
    runtime: Arc<Runtime>,
    /// `None` after a trap or an abandoned call.
    live: Option<(Store<State>, Guest)>,
    /// Of the partition begun last.
    key: String,
    /// The rows written to it, if failed calls are to be captured: a call may fail for those before it.
    written: Vec<RecordBatch>,
}

impl SinkInstance {
    /// Whether it can be called again.
    pub fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Bytes of linear memory that it has, unless it is gone.
    pub fn memory(&self) -> Option<u64> {
        let (store, _) = self.live.as_ref()?;
        Some(store.data().limiter.memory())
    }

    /// The last epoch that a marker sink holds for a partition.
    ///
    /// # Errors
    /// Why the call failed, here and below. After any error but [`CallError::Refused`] the instance is gone.
    pub fn last_epoch(&mut self, partition: PartitionId) -> Result<Option<Epoch>, CallError> {
        let last = self.call(0, async |store, guest| {
            guest.call_last_epoch(store, partition.0).await
        });
        let context = CallContext {
            partition,
            ..CallContext::NONE
        };
        let last = last.inspect_err(|error| {
            self.capture(error, &context, 0, Function::LastEpoch, Vec::new());
        })?;
        Ok(last.map(Epoch))
    }

    /// Starts one partition of one epoch.
    pub fn begin(&mut self, context: &CallContext, idempotency_key: &str) -> Result<(), CallError> {
        self.place(context);
        idempotency_key.clone_into(&mut self.key);
        self.written.clear();
        let wire = wire_context(context);
        let begun = self.call(0, async |store, guest| {
            guest.call_begin(store, wire, idempotency_key).await
        });
        begun.inspect_err(|error| {
            let idempotency_key = self.key.clone();
            let function = Function::Begin { idempotency_key };
            self.capture(error, context, 0, function, Vec::new());
        })
    }

    /// Writes rows of it; answers with those that the receiver refused. At most [`CALL_ROWS`](super::CALL_ROWS).
    pub fn write(
        &mut self,
        context: &CallContext,
        input: &RecordBatch,
    ) -> Result<Vec<Rejected>, CallError> {
        self.place(context);
        let refused = self.write_rows(context, input).inspect_err(|error| {
            let idempotency_key = self.key.clone();
            let function = Function::Write { idempotency_key };
            let batches = [std::slice::from_ref(input), &self.written].concat();
            self.capture(error, context, input.num_rows(), function, batches);
        })?;
        if self.sink.bound.component.captures().is_some() {
            self.written.push(input.clone());
        }
        Ok(refused)
    }

    fn write_rows(
        &mut self,
        context: &CallContext,
        input: &RecordBatch,
    ) -> Result<Vec<Rejected>, CallError> {
        let sink = self.sink.clone();
        let views = Views::new(&sink.planned.asked, input)?;
        let rows = u32::try_from(input.num_rows()).expect("a call's rows are few");
        let wire = wire_context(context);
        let answer = views.with(|buffers| {
            self.call(input.num_rows(), async |store, guest| {
                guest.call_write(store, wire, rows, buffers).await
            })
        })?;
        rejected(input.num_rows(), answer).map_err(|wrong| {
            self.live = None;
            CallError::Contract(wrong)
        })
    }

    /// Ends it; the token is for [`Self::commit`].
    pub fn prepare(&mut self, context: &CallContext) -> Result<Vec<u8>, CallError> {
        let wire = wire_context(context);
        let token = self.call(0, async |store, guest| {
            guest.call_prepare(store, wire).await
        });
        let written = std::mem::take(&mut self.written);
        token.inspect_err(|error| {
            let idempotency_key = self.key.clone();
            let function = Function::Prepare { idempotency_key };
            let rows = written.iter().map(RecordBatch::num_rows).sum();
            self.capture(error, context, rows, function, written);
        })
    }

    /// Makes an epoch's tokens visible.
    pub fn commit(&mut self, epoch: Epoch, tokens: &[&[u8]]) -> Result<(), CallError> {
        let committed = self.call(0, async |store, guest| {
            guest.call_commit(store, epoch.0, tokens).await
        });
        committed.inspect_err(|error| self.capture_settle(error, Function::Commit, epoch, tokens))
    }

    /// Undoes an epoch's tokens.
    pub fn abort(&mut self, epoch: Epoch, tokens: &[&[u8]]) -> Result<(), CallError> {
        let aborted = self.call(0, async |store, guest| {
            guest.call_abort(store, epoch.0, tokens).await
        });
        aborted.inspect_err(|error| self.capture_settle(error, Function::Abort, epoch, tokens))
    }

    fn capture_settle(
        &self,
        error: &CallError,
        function: Function,
        epoch: Epoch,
        tokens: &[&[u8]],
    ) {
        let context = CallContext {
            epoch,
            ..CallContext::NONE
        };
        let tokens = capture::tokens(tokens);
        self.capture(error, &context, tokens.num_rows(), function, vec![tokens]);
    }

    /// Keeps a call that failed, where that is wanted.
    fn capture(
        &self,
        error: &CallError,
        context: &CallContext,
        rows: usize,
        function: Function,
        batches: Vec<RecordBatch>,
    ) {
        let Described { bound, planned, .. } = &*self.sink;
        bound.capture(error, context, rows, || Called {
            function,
            bound: vec![planned.input.clone()],
            batches,
        });
    }

    fn place(&mut self, context: &CallContext) {
        if let Some((store, _)) = &mut self.live {
            store.data_mut().begin(context);
        }
    }

    fn call<R>(
        &mut self,
        rows: usize,
        call: impl AsyncFnOnce(&mut Store<State>, &Guest) -> Answer<R>,
    ) -> Result<R, CallError> {
        let Some((mut store, guest)) = self.live.take() else {
            return Err(CallError::Contract(
                "it was called again after it had trapped".into(),
            ));
        };
        let bound = &self.sink.bound;
        let deadline = bound.limits.deadline;
        let in_call = bound.in_call();
        begin(&mut store, deadline);
        store.data_mut().log.last_error = None;
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(deadline, call(&mut store, &guest)).await });
        store.data_mut().end();
        drop(in_call);
        let result = match answer {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(refused(error, rows)),
            Ok(Err(error)) => Err(bound.classify(&mut store, &error, &bound.limits)),
            Err(_elapsed) => Err(CallError::Deadline(deadline)),
        };
        if matches!(result, Ok(_) | Err(CallError::Refused { .. })) {
            self.live = Some((store, guest));
        }
        result
    }
}
