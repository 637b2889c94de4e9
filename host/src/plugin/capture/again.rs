//! The captured call, made again on a fresh instance.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{Capture, Function, TOKEN};
use crate::error::Failure;
use crate::ids::{Epoch, NodeName};
use crate::plugin::{
    CallContext, CallError, Component, Grants, Keyed, KeyedBatch, KeyedChanges, Limits, Port,
    Produced, Reduced, Reducer, Rejected, SinkInstance, SinkPlugin, Transform, World,
};

/// What the plugin gives now.
#[derive(Debug)]
pub enum Answer {
    /// A transform's, with its ports.
    Produced(Vec<Port>, Produced),
    /// A reducer's, a row for each group; or states as a keyed plugin has them today.
    Rows(RecordBatch),
    /// A keyed plugin's, with its ports.
    Changed(Vec<Port>, KeyedChanges),
    /// A sink's: the rows that its receiver refused.
    Written(Vec<Rejected>),
    /// What was done, where there is no more to see of it.
    Done(String),
}

/// The outer error: the plugin cannot be bound as it was. The inner one: the call failed.
type Again = Result<Result<Answer, CallError>, Failure>;

impl Capture {
    /// Makes the call again with `component`, which may be another version of the plugin.
    ///
    /// # Errors
    /// When the plugin cannot be bound as it was; the inner result is the call's own.
    pub fn again(&self, component: &Component, grants: &Grants) -> Again {
        let again = Repeat {
            capture: self,
            component,
            grants,
        };
        match &self.called.function {
            Function::Describe => again.describe(),
            Function::Open => again.open(),
            Function::Process => again.process(),
            Function::Reduce { ends, reduced } => again.reduce(ends, *reduced),
            Function::Keys { status, ends } => again.keys(status, ends),
            Function::Migrate { version } => again.migrate(*version),
            Function::LastEpoch => again.last_epoch(),
            Function::Begin { idempotency_key } => again.begin(idempotency_key),
            Function::Write { idempotency_key } => again.write(idempotency_key),
            Function::Prepare { idempotency_key } => again.prepare(idempotency_key),
            Function::Commit => again.settle("committed", SinkInstance::commit),
            Function::Abort => again.settle("aborted", SinkInstance::abort),
        }
    }
}

struct Repeat<'a> {
    capture: &'a Capture,
    component: &'a Component,
    grants: &'a Grants,
}

/// How a plugin of one input is bound.
type Bind<T> =
    fn(&Component, &NodeName, &Value, &SchemaRef, &Limits, &Grants) -> Result<T, Failure>;

/// What a sink does with an epoch's tokens.
type Settle = fn(&mut SinkInstance, Epoch, &[&[u8]]) -> Result<(), CallError>;

impl Repeat<'_> {
    /// The plugin bound as it was.
    fn bind<T>(&self, bind: Bind<T>) -> Result<T, Failure> {
        let (header, input) = (&self.capture.header, self.bound(0)?);
        let (config, limits) = (&header.config, &header.limits);
        bind(
            self.component,
            &header.node,
            config,
            input,
            limits,
            self.grants,
        )
    }

    /// Who is bound describes itself, so that it fails again is for [`Capture::again`]'s outer error.
    fn describe(&self) -> Again {
        match self.capture.header.world {
            World::Transform => self.bind(Transform::new).map(drop),
            World::Reducer => self.bind(Reducer::new).map(drop),
            World::Keyed => self.keyed().map(drop),
            World::Sink => self.bind(SinkPlugin::new).map(drop),
        }?;
        Ok(Ok(Answer::Done("described".into())))
    }

    fn open(&self) -> Again {
        let context = &self.capture.header.context;
        let opened = match self.capture.header.world {
            World::Transform => self.bind(Transform::new)?.open(context).map(drop),
            World::Reducer => self.bind(Reducer::new)?.open(context).map(drop),
            World::Keyed => self.keyed()?.open(context).map(drop),
            World::Sink => self.sink()?.map(drop),
        };
        Ok(opened.map(|()| Answer::Done("opened".into())))
    }

    fn process(&self) -> Again {
        let header = &self.capture.header;
        let (input, rows) = (self.bound(0)?, self.batch(0)?);
        let transform = self.bind(Transform::new)?;
        self.has(rows, input, transform.columns())?;
        let transform = transform.narrowed(&rows.schema());
        let produced = transform
            .open(&header.context)
            .and_then(|mut instance| instance.process(&header.context, rows));
        Ok(produced.map(|produced| Answer::Produced(transform.ports().to_vec(), produced)))
    }

    fn reduce(&self, ends: &[u32], reduced: Reduced) -> Again {
        let header = &self.capture.header;
        let (input, rows) = (self.bound(0)?, self.batch(0)?);
        let reducer = self.bind(Reducer::new)?;
        let reducer = match reduced {
            Reduced::Not => {
                self.has(rows, input, reducer.columns())?;
                reducer.narrowed(&rows.schema())
            }
            Reduced::Already => reducer,
        };
        let columns = reducer
            .open(&header.context)
            .and_then(|mut instance| instance.reduce(&header.context, ends, rows, reduced));
        Ok(columns.map(|columns| Answer::Rows(rows_of(reducer.result(), columns))))
    }

    fn keyed(&self) -> Result<Keyed, Failure> {
        let header = &self.capture.header;
        let (keys, inputs) = (self.bound(0)?, &self.capture.called.bound[1..]);
        let (config, limits) = (&header.config, &header.limits);
        Keyed::new(
            self.component,
            &header.node,
            config,
            keys,
            inputs,
            limits,
            self.grants,
        )
    }

    /// Batches: keys, state, inputs.
    fn keys(&self, status: &[u8], ends: &[Vec<u32>]) -> Again {
        let keyed = self.keyed()?;
        let state = self.batch(1)?;
        if state.schema() != keyed.state().columns {
            return Err(Failure::user(
                "the plugin's state has other columns than the captured call's",
            ));
        }
        let mut inputs = Vec::new();
        for (index, ends) in ends.iter().enumerate() {
            let rows = self.batch(index + 2)?;
            self.has(rows, self.bound(index + 1)?, keyed.columns(index))?;
            inputs.push((ends.clone(), rows.clone()));
        }
        let narrow: Vec<SchemaRef> = inputs.iter().map(|(_, rows)| rows.schema()).collect();
        let keyed = keyed.narrowed(&narrow);
        let batch = KeyedBatch {
            keys: self.batch(0)?.clone(),
            status: status.to_vec(),
            state: state.clone(),
            inputs,
        };
        let context = &self.capture.header.context;
        let changes = keyed
            .open(context)
            .and_then(|mut instance| instance.process(context, &batch));
        Ok(changes.map(|changes| Answer::Changed(keyed.ports().to_vec(), changes)))
    }

    fn migrate(&self, version: u32) -> Again {
        let (keyed, old) = (self.keyed()?, self.batch(0)?);
        let context = &self.capture.header.context;
        let columns = keyed
            .open(context)
            .and_then(|mut instance| instance.migrate(context, version, old));
        Ok(columns.map(|columns| Answer::Rows(rows_of(&keyed.state().columns, columns))))
    }

    /// An instance of a sink.
    fn sink(&self) -> Result<Result<SinkInstance, CallError>, Failure> {
        let sink = self.bind(SinkPlugin::new)?;
        Ok(sink.open(&runtime()?, &self.capture.header.context))
    }

    /// A sink's instance that has been given these rows of a partition.
    fn written(
        &self,
        idempotency_key: &str,
        batches: &[RecordBatch],
    ) -> Result<Result<SinkInstance, CallError>, Failure> {
        let context = &self.capture.header.context;
        Ok(self.sink()?.and_then(|mut instance| {
            instance.begin(context, idempotency_key)?;
            for (call, rows) in (0..).zip(batches) {
                instance.write(&CallContext { call, ..*context }, rows)?;
            }
            Ok(instance)
        }))
    }

    fn last_epoch(&self) -> Again {
        let partition = self.capture.header.context.partition;
        let held = self
            .sink()?
            .and_then(|mut instance| instance.last_epoch(partition));
        Ok(held.map(|held| {
            Answer::Done(match held {
                Some(epoch) => format!("holds epoch {epoch}"),
                None => "holds no epoch".into(),
            })
        }))
    }

    fn begin(&self, idempotency_key: &str) -> Again {
        let begun = self.written(idempotency_key, &[])?;
        Ok(begun.map(|_| Answer::Done("begun".into())))
    }

    /// Batches: the rows of the call, then those written before them.
    fn write(&self, idempotency_key: &str) -> Again {
        let rows = self.batch(0)?;
        let written = self.written(idempotency_key, &self.capture.called.batches[1..])?;
        let context = &self.capture.header.context;
        let refused = written.and_then(|mut instance| instance.write(context, rows));
        Ok(refused.map(Answer::Written))
    }

    fn prepare(&self, idempotency_key: &str) -> Again {
        let written = self.written(idempotency_key, &self.capture.called.batches)?;
        let context = &self.capture.header.context;
        let token = written.and_then(|mut instance| instance.prepare(context));
        Ok(token.map(|token| {
            let bytes = token.len();
            Answer::Done(format!("prepared, with a token of {bytes} bytes"))
        }))
    }

    /// One batch: the tokens.
    fn settle(&self, done: &str, settle: Settle) -> Again {
        let tokens = self.batch(0)?.column_by_name(TOKEN);
        let tokens = tokens.and_then(|tokens| tokens.as_binary_opt::<i32>());
        let tokens: Vec<&[u8]> = tokens.ok_or_else(incomplete)?.iter().flatten().collect();
        let epoch = self.capture.header.context.epoch;
        let settled = self
            .sink()?
            .and_then(|mut instance| settle(&mut instance, epoch, &tokens));
        Ok(settled.map(|()| Answer::Done(done.into())))
    }

    fn bound(&self, index: usize) -> Result<&SchemaRef, Failure> {
        self.capture.called.bound.get(index).ok_or_else(incomplete)
    }

    fn batch(&self, index: usize) -> Result<&RecordBatch, Failure> {
        self.capture
            .called
            .batches
            .get(index)
            .ok_or_else(incomplete)
    }

    /// What nobody read when the call was captured is not in its rows.
    fn has(&self, rows: &RecordBatch, input: &SchemaRef, columns: &[usize]) -> Result<(), Failure> {
        let schema = rows.schema();
        let mut names = columns.iter().map(|column| input.field(*column).name());
        match names.find(|name| schema.index_of(name).is_err()) {
            None => Ok(()),
            Some(name) => {
                let plugin = self.component.name();
                Err(Failure::user(format!(
                    "plugin `{plugin}` asks for the column `{name}`, which the captured call was not given"
                )))
            }
        }
    }
}

/// For a sink to wait on.
fn runtime() -> Result<Arc<Runtime>, Failure> {
    let runtime = Runtime::new();
    let runtime = runtime.map_err(|error| format!("threads cannot be started: {error}"));
    runtime.map(Arc::new).map_err(Failure::external)
}

fn incomplete() -> Failure {
    Failure::user("the capture lacks some of its rows")
}

fn rows_of(schema: &SchemaRef, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(schema.clone(), columns)
        .expect("an answer has been checked against its columns")
}
