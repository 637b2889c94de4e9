//! A live instance of a world whose functions are called synchronously, inline in a worker.

use wasmtime::Store;
use wasmtime::component::Instance;

use super::bindings::wasmill::plugin::types::{Context, Error};
use super::bound::{Bound, begin, refused};
use super::call::{CallContext, CallError};
use super::host::State;

/// One call's answer: the runtime's error, the plugin's own, or a value.
pub(super) type Answer<R> = wasmtime::Result<Result<R, Error>>;

/// An instance; what it keeps between calls is gone with it. `None` after a trap: what is left of a guest then is in no
/// state that its code foresaw.
pub(super) struct Live<G>(Option<(Store<State>, G)>);

impl<G> Live<G> {
    /// Makes an instance, loads the functions of its world and calls `open`.
    pub fn open(
        bound: &Bound,
        load: impl FnOnce(&mut Store<State>, &Instance) -> wasmtime::Result<G>,
        open: impl FnOnce(&mut Store<State>, &G) -> Answer<()>,
    ) -> Result<Self, CallError> {
        let in_call = bound.in_call();
        let mut store = bound.store();
        let opened = bound
            .pre
            .instantiate(&mut store)
            .and_then(|instance| load(&mut store, &instance))
            .and_then(|guest| {
                let answer = open(&mut store, &guest)?;
                Ok((guest, answer))
            });
        store.data_mut().end();
        drop(in_call);
        match opened {
            Ok((guest, Ok(()))) => Ok(Self(Some((store, guest)))),
            Ok((_, Err(error))) => Err(refused(error, 0)),
            Err(error) => Err(bound.classify(&mut store, &error, &bound.limits)),
        }
    }

    /// Bytes of linear memory that it has; of one that has trapped nothing is known.
    pub fn memory(&self) -> Option<u64> {
        let (store, _) = self.0.as_ref()?;
        Some(store.data().limiter.memory())
    }

    /// One call on `rows` rows, and what `check` makes of its answer.
    ///
    /// # Errors
    /// Why the call failed. After any error but [`CallError::Refused`] the instance is gone, and every further call fails.
    pub fn call<R, T>(
        &mut self,
        bound: &Bound,
        context: &CallContext,
        rows: usize,
        call: impl FnOnce(&mut Store<State>, &G) -> Answer<R>,
        check: impl FnOnce(R) -> Result<T, String>,
    ) -> Result<T, CallError> {
        let Some((mut store, guest)) = self.0.take() else {
            return Err(CallError::Contract(
                "it was called again after it had trapped".into(),
            ));
        };
        let in_call = bound.in_call();
        begin(&mut store, bound.limits.deadline);
        store.data_mut().log.last_error = None;
        store.data_mut().begin(context);
        let answer = call(&mut store, &guest);
        store.data_mut().end();
        drop(in_call);
        let result = match answer {
            Ok(Ok(answer)) => check(answer).map_err(CallError::Contract),
            Ok(Err(error)) => Err(refused(error, rows)),
            Err(error) => Err(bound.classify(&mut store, &error, &bound.limits)),
        };
        if matches!(result, Ok(_) | Err(CallError::Refused { .. })) {
            self.0 = Some((store, guest));
        }
        result
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
