//! The test of a sink.

use std::marker::PhantomData;

use super::check;
use super::test::Test;
use crate::sink::{Opened, describe};
use crate::wit::{Field, SinkPlan};
use crate::{ErrorKind, Result, Sink};

/// A sink with its input; see [`sink`](super::sink()).
pub type SinkTest<S> = Test<SinkUnderTest<S>>;

/// A sink, and what its calls are given.
#[derive(Debug)]
pub struct SinkUnderTest<S> {
    key: String,
    retries: u32,
    sink: PhantomData<S>,
}

impl<S: Sink> SinkTest<S> {
    pub(super) fn new() -> Self {
        Self::of(SinkUnderTest {
            key: "test-0-0".to_owned(),
            retries: 0,
            sink: PhantomData,
        })
    }

    /// The idempotency key of the partition.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.plugin.key = key.into();
        self
    }

    /// How often a chunk is written again after a retryable error, at once; 0 unless set.
    pub fn retries(mut self, retries: u32) -> Self {
        self.plugin.retries = retries;
        self
    }

    /// What `describe` answers.
    ///
    /// # Errors
    /// The sink's own.
    pub fn describe(&self) -> Result<SinkPlan> {
        describe::<S>(&self.config, &self.input.fields())
    }

    /// Opens the sink and writes all rows as one chunk of one partition.
    ///
    /// # Errors
    /// The sink's own.
    ///
    /// # Panics
    /// If what comes back breaks the contract.
    pub fn run(self) -> Result<SinkRun<S>> {
        let plan = self.describe()?;
        let (fields, buffers) = self.input.planned(&plan.columns);
        let mut open = Opened::<S>::open(&self.config, &fields)?;
        let context = crate::context();
        open.begin(context, &self.plugin.key)?;
        let mut written = open.write(context, self.input.rows, buffers.clone());
        for _ in 0..self.plugin.retries {
            if !matches!(&written, Err(error) if error.kind == ErrorKind::Retryable) {
                break;
            }
            written = open.write(context, self.input.rows, buffers.clone());
        }
        let rejects = written?;
        let rejected = check::rejects(rejects, self.input.rows);
        let token = open.prepare(context)?;
        Ok(SinkRun {
            config: self.config,
            fields,
            open,
            rejected,
            token,
        })
    }
}

/// What a sink did.
#[derive(Debug)]
pub struct SinkRun<S> {
    config: String,
    fields: Vec<Field>,
    open: Opened<S>,
    rejected: Vec<(u32, String)>,
    token: Vec<u8>,
}

impl<S: Sink> SinkRun<S> {
    /// The sink after its last call.
    pub fn sink(&mut self) -> &mut S {
        self.open.sink()
    }

    /// The rows turned away, each with its reason.
    pub fn rejected(&self) -> &[(u32, String)] {
        &self.rejected
    }

    /// What `prepare` answered.
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// Commits the token as that of an epoch, with a fresh instance: as after a crash, nothing but the token is left.
    ///
    /// # Errors
    /// The sink's own.
    pub fn commit(&self, epoch: u64) -> Result<()> {
        let mut open = Opened::<S>::open(&self.config, &self.fields)?;
        open.sink().commit(epoch, std::slice::from_ref(&self.token))
    }

    /// Aborts the token as that of an epoch, with a fresh instance.
    ///
    /// # Errors
    /// The sink's own.
    pub fn abort(&self, epoch: u64) -> Result<()> {
        let mut open = Opened::<S>::open(&self.config, &self.fields)?;
        open.sink().abort(epoch, std::slice::from_ref(&self.token))
    }
}
