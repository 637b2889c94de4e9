//! Sinks: rows to the outside, one partition of one epoch at a time.

use std::rc::Rc;

use serde::de::DeserializeOwned;

use crate::bindings::sink::exports::wasmill::plugin::sink::Plan;
use crate::bindings::transform::wasmill::plugin::types::{Buffers, Context, Field, Rejects};
use crate::emit::Rejected;
use crate::{Batch, Column, Error, config, context, record, suggest};

pub use crate::bindings::sink::exports::wasmill::plugin::sink::Delivery;

/// A sink. For each partition of an epoch the host calls [`begin`](Sink::begin), [`write`](Sink::write) for each
/// chunk, [`prepare`](Sink::prepare), and, once the epoch is recorded, [`commit`](Sink::commit).
pub trait Sink: Sized + 'static {
    /// The plugin's settings.
    type Config: DeserializeOwned;

    /// What the sink promises about an epoch that is written again.
    const DELIVERY: Delivery = Delivery::AtLeastOnce;

    /// The columns it wants, in order; all of them unless it says otherwise. Pure.
    ///
    /// # Errors
    /// A setting that makes no sense.
    fn columns(config: &Self::Config, input: &[Field]) -> Result<Vec<String>, Error> {
        let _ = config;
        Ok(input.iter().map(|field| field.name.clone()).collect())
    }

    /// A fresh instance. It may live for many epochs, and is dropped without notice.
    ///
    /// # Errors
    /// What keeps it from working.
    fn open(config: Self::Config, columns: &[Column]) -> Result<Self, Error>;

    /// Starts a partition of an epoch. Whenever that is written again, the key is the same.
    ///
    /// # Errors
    /// What keeps it from being written.
    fn begin(&mut self, idempotency_key: &str) -> Result<(), Error>;

    /// One chunk of it; rows that the receiver refuses go to `rejected`.
    ///
    /// # Errors
    /// What keeps the chunk from being written; after a retryable error the host writes the same chunk again.
    fn write(&mut self, rows: &Batch, rejected: &mut Rejected) -> Result<(), Error>;

    /// Ends it. A two-phase sink answers with a token by which [`commit`](Sink::commit) finds what was written.
    ///
    /// # Errors
    /// What keeps it from being complete.
    fn prepare(&mut self) -> Result<Vec<u8>, Error> {
        Ok(Vec::new())
    }

    /// Makes an epoch's tokens visible. Idempotent; another instance may have made them.
    ///
    /// # Errors
    /// What keeps them from being visible.
    fn commit(&mut self, epoch: u64, tokens: &[Vec<u8>]) -> Result<(), Error> {
        let _ = (epoch, tokens);
        Ok(())
    }

    /// Undoes an epoch's tokens. Idempotent.
    ///
    /// # Errors
    /// What keeps them from being undone.
    fn abort(&mut self, epoch: u64, tokens: &[Vec<u8>]) -> Result<(), Error> {
        let _ = (epoch, tokens);
        Ok(())
    }

    /// The last epoch that a marker sink holds for a partition.
    ///
    /// # Errors
    /// What keeps it from knowing.
    fn last_epoch(&mut self, partition: u32) -> Result<Option<u64>, Error> {
        let _ = partition;
        Ok(None)
    }
}

/// The answer to `describe`.
///
/// # Errors
/// A wrong configuration, or a column that the input does not have.
pub fn describe<S: Sink>(config: &str, input: &[Field]) -> Result<Plan, Error> {
    let config: S::Config = config::read(config::parse(config)?, &[])?;
    let columns = S::columns(&config, input)?;
    let names = || input.iter().map(|field| field.name.as_str());
    for column in &columns {
        if !names().any(|name| name == column) {
            let near =
                suggest::nearest(column, names()).map(|near| format!("; did you mean `{near}`?"));
            return Err(format!(
                "the input has no column `{column}`{}",
                near.unwrap_or_default()
            )
            .into());
        }
    }
    Ok(Plan {
        columns,
        delivery: S::DELIVERY,
    })
}

/// An open sink with the schema of its input.
#[derive(Debug)]
pub struct Opened<S> {
    sink: S,
    input: Rc<[Column]>,
}

impl<S: Sink> Opened<S> {
    /// Opens the sink; `input` holds the planned columns.
    ///
    /// # Errors
    /// A wrong configuration, or whatever keeps the sink from working.
    pub fn open(config: &str, input: &[Field]) -> Result<Self, Error> {
        let input: Rc<[Column]> = record::columns(input)?;
        let sink = S::open(config::read(config::parse(config)?, &[])?, &input)?;
        Ok(Self { sink, input })
    }

    /// The sink itself, for calls that need no more.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Starts a partition of an epoch.
    ///
    /// # Errors
    /// Those of [`Sink::begin`].
    pub fn begin(&mut self, context: Context, idempotency_key: &str) -> Result<(), Error> {
        context::enter(context);
        self.sink.begin(idempotency_key)
    }

    /// Writes a chunk.
    ///
    /// # Errors
    /// Those of [`Sink::write`].
    pub fn write(
        &mut self,
        context: Context,
        rows: u32,
        input: Vec<Buffers>,
    ) -> Result<Rejects, Error> {
        context::enter(context);
        let mut rejected = Rejected::default();
        self.sink.write(
            &Batch::new(Rc::clone(&self.input), rows, input),
            &mut rejected,
        )?;
        Ok(rejected.finish())
    }

    /// Ends a partition of an epoch.
    ///
    /// # Errors
    /// Those of [`Sink::prepare`].
    pub fn prepare(&mut self, context: Context) -> Result<Vec<u8>, Error> {
        context::enter(context);
        self.sink.prepare()
    }
}
