//! A component bound to a place in a pipeline: what transforms and sinks have in common.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Store, Trap, UpdateDeadline};

use super::bindings::wasmill::plugin::types::{Error, ErrorKind as GuestErrorKind, FieldParam};
use super::call::{CallContext, CallError, ErrorKind};
use super::capture::{Called, Capture, Function, Header};
use super::clock::InCall;
use super::columns::Asked;
use super::engine::{Component, ONLY_COMPUTES, Runtime};
use super::host::{Log, State, shown_error};
use super::imports::{self, Grants, HostPort};
use super::limits::{Limiter, Limits};
use super::live::Answer;
use super::meter::Meter;
use super::pool::MemoryPool;
use super::wasi::Wasi;
use super::{World, trap};
use crate::batch;
use crate::config::nearest;
use crate::error::Failure;
use crate::ids::NodeName;
use crate::telemetry::NodeCounters;

/// Time for `describe`: it only computes, and `wasmill check` waits for it.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(2);

/// A component linked, configured and limited. `describe` has not been called yet.
#[derive(Clone)]
pub(super) struct Bound {
    pub component: Component,
    pub pre: InstancePre<State>,
    /// What its calls are charged to.
    pub counters: Arc<NodeCounters>,
    /// The configuration as JSON, with its secrets: for the plugin alone.
    pub config: String,
    /// The configuration as the file has it.
    written: Arc<serde_json::Value>,
    pub limits: Limits,
    runtime: Arc<Runtime>,
    log: Arc<Log>,
    /// Empty without a grant.
    hosts: Arc<[HostPort]>,
}

/// Sets an instance's clock for a call.
pub(super) fn begin(store: &mut Store<State>, deadline: Duration) {
    let ticks = store.data_mut().meter.begin(deadline);
    store.set_epoch_deadline(ticks);
}

impl Bound {
    pub fn new(
        component: &Component,
        world: World,
        node: &NodeName,
        config: &serde_json::Value,
        limits: &Limits,
        grants: &Grants,
    ) -> Result<Self, Failure> {
        let name = component.name();
        if component.world() != world {
            let (is, wanted) = (component.world(), world);
            let message = format!("plugin `{name}` is a {is}, where a {wanted} is needed");
            return Err(Failure::user(message).help(match component.world() {
                World::Transform | World::Reducer | World::Keyed => {
                    "use it as the `plugin` of a step, and let the sink read that"
                }
                World::Sink => "use it as the `plugin` of a sink of `type = \"plugin\"`",
            }));
        }
        imports::check(name, component.imports(), grants)?;
        let (runtime, compiled) = component.compiled(limits.stack)?;
        let pre = runtime.calls.instantiate_pre(&compiled).map_err(|error| {
            Failure::user(format!(
                "plugin `{name}` does not fit the contract: {error:#}"
            ))
        })?;
        Ok(Self {
            component: component.clone(),
            pre,
            counters: Arc::default(),
            config: component.engine().fill(config)?.to_string(),
            written: Arc::new(config.clone()),
            limits: limits.clone(),
            log: Arc::new(Log::new(node.clone(), name.into())),
            hosts: grants.http.clone().into(),
            runtime,
        })
    }

    /// A call begins on this thread, which is to return in time.
    pub fn in_call(&self) -> InCall<'_> {
        let is_limited = self.component.engine().quota().is_limited();
        // A sink waits more than it computes, and each interruption wakes it.
        let computes = self.component.world() != World::Sink;
        self.runtime.clock.call(is_limited && computes)
    }

    /// A store for one instance, its clock set for the first call.
    pub fn store(&self) -> Store<State> {
        let wasi = self.wasi(&self.hosts);
        let pool = self.component.engine().memory().clone();
        self.limited(self.state(&self.limits, wasi, pool), &self.limits)
    }

    fn wasi(&self, granted: &Arc<[HostPort]>) -> Option<Box<Wasi>> {
        let mut imports = self.component.imports().iter();
        let any = imports.any(|function| function.interface.starts_with("wasi:"));
        let reach = self.component.engine().reach();
        any.then(|| Box::new(Wasi::new(granted.clone(), reach.clone())))
    }

    /// What `describe` runs in: an instance in which all that leads outside traps, and a deadline of its own.
    pub fn for_describe(&self) -> Result<(Store<State>, InstancePre<State>, Limits), Failure> {
        let pre = self
            .runtime
            .describe
            .instantiate_pre(self.pre.component())
            .map_err(|error| self.failure(&format!("cannot be linked: {error:#}")))?;
        let limits = Limits {
            deadline: DESCRIBE_DEADLINE.min(self.limits.deadline),
            ..self.limits.clone()
        };
        let wasi = self.wasi(&Arc::default());
        // A file is not wrong because others have the memory now: what describes itself has its own, for a moment.
        let state = self.state(&limits, wasi, Arc::default());
        Ok((self.limited(state, &limits), pre, limits))
    }

    fn state(&self, limits: &Limits, wasi: Option<Box<Wasi>>, pool: Arc<MemoryPool>) -> State {
        let quota = self.component.engine().quota().clone();
        let meter = Meter::new(quota, self.counters.clone());
        let limiter = Limiter::new(limits, pool);
        State::new(limiter, meter, &self.log, wasi)
    }

    fn limited(&self, state: State, limits: &Limits) -> Store<State> {
        let mut store = Store::new(&self.runtime.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(|mut store| match store.data_mut().meter.goes_on() {
            true => Ok(UpdateDeadline::Continue(1)),
            false => Err(Trap::Interrupt.into()),
        });
        begin(&mut store, limits.deadline);
        // What a call may hand back is what the host may have to copy.
        store.set_hostcall_fuel(usize::try_from(limits.output).unwrap_or(usize::MAX));
        store
    }

    /// What went wrong in the runtime.
    pub fn classify(
        &self,
        store: &mut Store<State>,
        error: &wasmtime::Error,
        limits: &Limits,
    ) -> CallError {
        trap::classify(error, limits, store.data_mut().log.last_error.take())
    }

    /// Has the plugin describe what it will do with what it is bound to, in an instance of its own in which it can only compute.
    pub fn describe<G, P>(
        &self,
        bound_to: &[SchemaRef],
        load: impl FnOnce(&mut Store<State>, &Instance) -> wasmtime::Result<G>,
        call: impl FnOnce(&mut Store<State>, &G) -> Answer<P>,
    ) -> Result<P, Failure> {
        let _in_call = self.in_call();
        let (mut store, pre, limits) = self.for_describe()?;
        let answer = pre
            .instantiate(&mut store)
            .and_then(|instance| load(&mut store, &instance))
            .and_then(|guest| call(&mut store, &guest))
            .map_err(|error| self.classify(&mut store, &error, &limits));
        self.described(bound_to, answer)
    }

    /// Turns what `describe` came to into the plan, or says in the plugin's name what is wrong.
    pub fn described<P>(
        &self,
        bound_to: &[SchemaRef],
        answer: Result<Result<P, Error>, CallError>,
    ) -> Result<P, Failure> {
        if let Err(error) = &answer {
            self.capture(error, &CallContext::NONE, 0, || Called {
                function: Function::Describe,
                bound: bound_to.to_vec(),
                batches: Vec::new(),
            });
        }
        match answer {
            Ok(Ok(plan)) => Ok(plan),
            Ok(Err(error)) => {
                let what = format!(
                    "refuses its input or configuration: {}",
                    shown_error(&error.message)
                );
                let keys = usize::from(self.component.world() == World::Keyed);
                let inputs = bound_to[keys..].iter().map(|input| WireSchema::of(input));
                let inputs: Vec<_> = inputs.map(|input| input.to_string()).collect();
                let inputs = inputs.join("; another has ");
                let help = format!("its settings are in `config`; its input has {inputs}");
                Err(self.failure(&what).help(help))
            }
            Err(CallError::Trap { message, .. }) if message.contains(ONLY_COMPUTES) => Err(self
                .failure("calls an import in `describe`, which must only compute")
                .help("move the call to `open` or later")),
            Err(error) => {
                let failure = self.failure(&format!("failed in `describe`: {error}"));
                Err(match error {
                    CallError::Deadline(deadline) if deadline >= DESCRIBE_DEADLINE => {
                        failure.help("`describe` must only compute: mend the plugin")
                    }
                    CallError::Deadline(_)
                    | CallError::Limit(_)
                    | CallError::OutputTooLarge { .. } => {
                        failure.help("raise its `limits`, or mend the plugin")
                    }
                    CallError::Trap { .. }
                    | CallError::Quota(_)
                    | CallError::Contract(_)
                    | CallError::Refused { .. } => failure,
                })
            }
        }
    }

    /// Keeps that no instance could be opened for a call, where that is wanted.
    pub fn capture_open(&self, error: &CallError, context: &CallContext, bound: Vec<SchemaRef>) {
        self.capture(error, context, 0, || Called {
            function: Function::Open,
            bound,
            batches: Vec::new(),
        });
    }

    /// Keeps a call on `rows` rows that failed, where that is wanted.
    pub fn capture(
        &self,
        error: &CallError,
        context: &CallContext,
        rows: usize,
        called: impl FnOnce() -> Called,
    ) {
        let Some(captures) = self.component.captures() else {
            return;
        };
        let (node, called) = (self.log.node(), called());
        let place = (node.clone(), called.function.place(context));
        captures.keep(error, place, rows, || {
            Ok(Capture {
                header: Header {
                    wasmill: env!("CARGO_PKG_VERSION").into(),
                    plugin: self.component.name().into(),
                    digest: self.component.digest(),
                    world: self.component.world(),
                    node: node.clone(),
                    config: (*self.written).clone(),
                    limits: self.limits.clone(),
                    context: *context,
                    rows,
                    error: error.to_string(),
                },
                called,
                component: self.component.bytes()?.into_owned(),
            })
        });
    }

    /// A failure of the plugin's own.
    pub fn failure(&self, what: &str) -> Failure {
        Failure::user(format!("plugin `{}` {what}", self.component.name()))
    }

    /// The columns that a plan names.
    pub fn planned(&self, names: &[String], input: &SchemaRef) -> Result<Planned, Failure> {
        let columns = self.found(names, input)?;
        let carrier = |index: &usize| {
            let field = input.field(*index);
            Asked::new(*index, field).ok_or_else(|| {
                self.failure(&format!(
                    "asks for the column `{}`, whose type {} plugins cannot read",
                    field.name(),
                    batch::name_of(field)
                ))
            })
        };
        Ok(Planned {
            asked: columns.iter().map(carrier).collect::<Result<_, _>>()?,
            schema: WireSchema::new(columns.iter().map(|index| input.fields()[*index].clone())),
            columns,
            input: input.clone(),
        })
    }

    fn found(&self, names: &[String], input: &Schema) -> Result<Vec<usize>, Failure> {
        let mut indices = Vec::with_capacity(names.len());
        for name in names {
            let Ok(index) = input.index_of(name) else {
                let known = input.fields().iter().map(|field| field.name().as_str());
                let help =
                    nearest(name, known).map(|near| format!("the input has a column `{near}`"));
                let help = help.unwrap_or_else(|| {
                    let has = WireSchema::of(input);
                    format!("the input has {has}")
                });
                let what = format!("asks for the column `{name}`, which its input does not have");
                return Err(self.failure(&what).help(help));
            };
            if indices.contains(&index) {
                return Err(self.failure(&format!("asks for the column `{name}` twice")));
            }
            indices.push(index);
        }
        Ok(indices)
    }
}

/// The columns of the input that a plugin reads, as it named them in its plan.
#[derive(Clone)]
pub(super) struct Planned {
    /// As indices into the input.
    pub columns: Vec<usize>,
    /// How each gets into the plugin.
    pub asked: Vec<Asked>,
    /// What `open` is told.
    pub schema: WireSchema,
    /// What the plugin was bound to.
    pub input: SchemaRef,
}

impl Planned {
    /// Finds the columns again in an input of fewer columns.
    ///
    /// # Panics
    /// When one is missing.
    pub fn narrow(&mut self, input: &Schema) {
        for (asked, column) in self.asked.iter_mut().zip(&mut self.columns) {
            *column = asked
                .found_in(input)
                .expect("a narrowed input keeps the columns that the plugin asked for");
        }
    }
}

/// A schema in the contract's words; owns the names of types, which Arrow does not have.
#[derive(Clone, Debug)]
pub(super) struct WireSchema(Vec<(FieldRef, String)>);

impl WireSchema {
    /// Every column, also those that a plugin cannot read: it may carry them.
    pub fn of(schema: &Schema) -> Self {
        Self::new(schema.fields().iter().cloned())
    }

    fn new(fields: impl Iterator<Item = FieldRef>) -> Self {
        Self(
            fields
                .map(|field| (field.clone(), batch::name_of(&field)))
                .collect(),
        )
    }

    pub fn fields(&self) -> Vec<FieldParam<'_>> {
        self.0
            .iter()
            .map(|(field, data_type)| FieldParam {
                name: field.name(),
                data_type,
                nullable: field.is_nullable(),
            })
            .collect()
    }
}

/// For people, as `text` utf8, `n` int64.
impl fmt::Display for WireSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no columns");
        }
        for (place, (field, data_type)) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            write!(f, "{separator}`{}` {data_type}", field.name())?;
        }
        Ok(())
    }
}

/// A plugin's own answer that a call on `rows` rows failed.
pub(super) fn refused(error: Error, rows: usize) -> CallError {
    let message = shown_error(&error.message);
    if let Some(row) = error.rows.iter().find(|row| **row as usize >= rows) {
        return CallError::Contract(format!(
            "its error blames row {row} of {rows}, and says: {message}"
        ));
    }
    CallError::Refused {
        kind: match error.kind {
            GuestErrorKind::Retryable => ErrorKind::Retryable,
            GuestErrorKind::Rejected => ErrorKind::Rejected,
            GuestErrorKind::Fatal => ErrorKind::Fatal,
        },
        message,
        rows: error.rows,
        after: error
            .after_ms
            .map(|ms| std::time::Duration::from_millis(ms.into())),
    }
}
