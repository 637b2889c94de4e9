//! The exports of a component: one open instance, and the contract's functions on it. Only there in WebAssembly.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::thread::LocalKey;

use crate::bindings::keyed::exports::wasmill::plugin::keyed;
use crate::bindings::reducer::exports::wasmill::plugin::reducer;
use crate::bindings::sink::exports::wasmill::plugin::sink;
use crate::bindings::transform::exports::wasmill::plugin::transform::{self, Plan, Produced};
use crate::bindings::transform::wasmill::plugin::types::{Buffers, Context, Error, Field, Rejects};
use crate::sink::Opened;
use crate::{Keyed, Reducer, Sink, Transform, log};

/// Where the open instance is kept between calls.
pub type Slot<T> = RefCell<Option<T>>;

/// A plugin with a place for its one open instance. The export macros implement it.
pub trait Exported {
    /// The instance.
    type Open: 'static;

    /// The place.
    fn slot() -> &'static LocalKey<Slot<Self::Open>>;
}

/// The exports around an [`Exported`] type.
#[derive(Debug)]
pub struct Exports<T>(PhantomData<T>);

fn with_open<T: Exported, O>(call: impl FnOnce(&mut T::Open) -> O) -> O {
    T::slot().with_borrow_mut(|open| call(open.as_mut().expect("the host calls `open` first")))
}

fn keep<T: Exported>(opened: crate::Result<T::Open>) -> Result<(), Error> {
    let opened = opened?;
    T::slot().set(Some(opened));
    Ok(())
}

impl<T: Transform + Exported<Open = T>> transform::Guest for Exports<T> {
    fn describe(config: String, input: Vec<Field>) -> Result<Plan, Error> {
        log::silently(|| T::describe(&config, &input)).map_err(Into::into)
    }

    fn open(config: String, input: Vec<Field>) -> Result<(), Error> {
        log::report_panics();
        keep::<T>(T::open(&config, &input))
    }

    fn process(context: Context, rows: u32, input: Vec<Buffers>) -> Result<Produced, Error> {
        with_open::<T, _>(|open| open.process(context, rows, input)).map_err(Into::into)
    }
}

impl<R: Reducer + Exported<Open = R>> reducer::Guest for Exports<R> {
    fn describe(config: String, input: Vec<Field>) -> Result<reducer::Plan, Error> {
        log::silently(|| R::describe(&config, &input)).map_err(Into::into)
    }

    fn open(config: String, input: Vec<Field>) -> Result<(), Error> {
        log::report_panics();
        keep::<R>(R::open(&config, &input))
    }

    fn reduce(context: Context, ends: Vec<u8>, input: Vec<Buffers>) -> Result<Vec<Buffers>, Error> {
        with_open::<R, _>(|open| open.reduce(context, ends, input)).map_err(Into::into)
    }

    fn inverse(
        context: Context,
        rows: u32,
        total: Vec<Buffers>,
        gone: Vec<Buffers>,
    ) -> Result<Vec<Buffers>, Error> {
        with_open::<R, _>(|open| open.inverse(context, rows, total, gone)).map_err(Into::into)
    }
}

impl<K: Keyed + Exported<Open = K>> keyed::Guest for Exports<K> {
    fn describe(
        config: String,
        keys: Vec<Field>,
        inputs: Vec<Vec<Field>>,
    ) -> Result<keyed::Plan, Error> {
        log::silently(|| K::describe(&config, &keys, &inputs)).map_err(Into::into)
    }

    fn open(config: String, keys: Vec<Field>, inputs: Vec<Vec<Field>>) -> Result<(), Error> {
        log::report_panics();
        keep::<K>(K::open(&config, &keys, &inputs))
    }

    fn process(context: Context, batch: keyed::Batch) -> Result<keyed::Changes, Error> {
        with_open::<K, _>(|open| open.process(context, batch)).map_err(Into::into)
    }

    fn migrate(
        from_version: u32,
        old: Vec<Field>,
        rows: u32,
        state: Vec<Buffers>,
    ) -> Result<Vec<Buffers>, Error> {
        log::report_panics();
        K::migrate(from_version, &old, rows, state).map_err(Into::into)
    }
}

impl<S: Sink + Exported<Open = Opened<S>>> sink::Guest for Exports<S> {
    fn describe(config: String, input: Vec<Field>) -> Result<sink::Plan, Error> {
        log::silently(|| crate::sink::describe::<S>(&config, &input)).map_err(Into::into)
    }

    fn open(config: String, input: Vec<Field>) -> Result<(), Error> {
        log::report_panics();
        keep::<S>(Opened::open(&config, &input))
    }

    fn last_epoch(partition: u32) -> Result<Option<u64>, Error> {
        with_open::<S, _>(|open| open.sink().last_epoch(partition)).map_err(Into::into)
    }

    fn begin(context: Context, idempotency_key: String) -> Result<(), Error> {
        with_open::<S, _>(|open| open.begin(context, &idempotency_key)).map_err(Into::into)
    }

    fn write(context: Context, rows: u32, input: Vec<Buffers>) -> Result<Rejects, Error> {
        with_open::<S, _>(|open| open.write(context, rows, input)).map_err(Into::into)
    }

    fn prepare(context: Context) -> Result<Vec<u8>, Error> {
        with_open::<S, _>(|open| open.prepare(context)).map_err(Into::into)
    }

    fn commit(epoch: u64, tokens: Vec<Vec<u8>>) -> Result<(), Error> {
        with_open::<S, _>(|open| open.sink().commit(epoch, &tokens)).map_err(Into::into)
    }

    fn abort(epoch: u64, tokens: Vec<Vec<u8>>) -> Result<(), Error> {
        with_open::<S, _>(|open| open.sink().abort(epoch, &tokens)).map_err(Into::into)
    }
}
