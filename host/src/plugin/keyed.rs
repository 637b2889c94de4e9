//! A plugin that remembers something of each key: bound to its step, and called with keys, their state and their rows.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use arrow::datatypes::SchemaRef;

use super::World;
use super::bindings::exports::wasmill::plugin::keyed::{
    Batch as WireBatch, Changes as WireChanges, Group, Guest, GuestIndices, Plan,
};
use super::bindings::wasmill::plugin::types::{BuffersResult, Rejects};
use super::bound::{Bound, Planned, WireSchema};
use super::call::{CallContext, CallError, Output, Rejected, rejected};
use super::capture::{Called, Function};
use super::columns::{Asked, Made, Views, lift, params};
use super::engine::Component;
use super::imports::Grants;
use super::limits::Limits;
use super::live::{Live, wire_context};
use super::ports::{Port, Ports, made_columns, schema_of};
use crate::error::Failure;
use crate::ids::{Digest, NodeName};
use crate::telemetry::NodeCounters;

/// Bits of a key's status in `wit/keyed.wit`.
pub mod status {
    /// The key has state.
    pub const HAS_STATE: u8 = 1;
    /// Its timer is due.
    pub const TIMED_OUT: u8 = 2;
    /// These are its first rows of the epoch.
    pub const FIRST: u8 = 4;
    /// These are its last.
    pub const LAST: u8 = 8;
}

/// A component of the world `keyed-plugin` bound to configuration, schemas, limits and grants; cheap to clone.
#[derive(Clone)]
pub struct Keyed(Arc<Described>);

#[derive(Clone)]
struct Described {
    bound: Bound,
    indices: GuestIndices,
    /// The key, and each input.
    bound_to: Vec<SchemaRef>,
    keys: WireSchema,
    asked_keys: Vec<Asked>,
    inputs: Vec<Planned>,
    asked_state: Vec<Asked>,
    made_state: Vec<Made>,
    state: StateShape,
    whole_groups: bool,
    ports: Ports,
}

/// What a keyed plugin remembers of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateShape {
    /// Its columns; none if nothing is remembered.
    pub columns: SchemaRef,
    /// The author's number for their meaning.
    pub version: u32,
    /// The numbers that `migrate` takes.
    pub migrates_from: Vec<u32>,
}

/// Keys for one call; every batch has the schema that was bound.
#[derive(Debug)]
pub struct KeyedBatch {
    /// A row a key.
    pub keys: RecordBatch,
    /// The bits of [`status`], a byte a key.
    pub status: Vec<u8>,
    /// A row for each key that has state.
    pub state: RecordBatch,
    /// Of each input, where each key's rows end, and the rows.
    pub inputs: Vec<(Vec<u32>, RecordBatch)>,
}

/// What a call changes, checked.
#[derive(Debug)]
pub struct KeyedChanges {
    /// One a key.
    pub ops: Vec<Op>,
    /// The states put, in the order of their keys.
    pub state: Vec<ArrayRef>,
    /// One a key; none if all stay as they are.
    pub timers: Vec<Timer>,
    /// Rows for ports; their parents are keys.
    pub outputs: Vec<Output>,
    /// Of each input, the rows turned away; none at all if there are none.
    pub rejected: Vec<Vec<Rejected>>,
}

/// What becomes of a key's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// It stays.
    Keep,
    /// There is a new one.
    Put,
    /// There is none any more, nor a timer.
    Remove,
}

/// What becomes of a key's timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// It stays, unless it was due.
    Keep,
    /// There is none.
    Clear,
    /// It is due from this batch time on, in milliseconds since 1970.
    At(i64),
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("component", &self.0.bound.component)
            .field("state", &self.0.state)
            .field("ports", &self.ports())
            .finish_non_exhaustive()
    }
}

impl Keyed {
    /// Binds `component` to the step `node`, and lets it describe what it will do with rows of `inputs` grouped by `keys`.
    ///
    /// # Errors
    /// When it is no keyed plugin, imports what it may not, refuses its configuration or input, or plans what cannot be.
    pub fn new(
        component: &Component,
        node: &NodeName,
        config: &serde_json::Value,
        keys: &SchemaRef,
        inputs: &[SchemaRef],
        limits: &Limits,
        grants: &Grants,
    ) -> Result<Self, Failure> {
        grants.refuse_on_steps(node)?;
        let bound = Bound::new(component, World::Keyed, node, config, limits, grants)?;
        let indices = GuestIndices::new(&bound.pre)
            .map_err(|error| bound.failure(&format!("does not fit the contract: {error:#}")))?;
        let names: Vec<String> = keys
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let planned_keys = bound.planned(&names, keys)?;
        let bound_to: Vec<_> = std::iter::once(keys).chain(inputs).cloned().collect();
        let plan = describe(&bound, &indices, &bound_to)?;
        if plan.inputs.len() != inputs.len() {
            return Err(bound.failure(&format!(
                "plans {} inputs, and the step has {}",
                plan.inputs.len(),
                inputs.len()
            )));
        }
        let planned = plan.inputs.iter().zip(inputs);
        let planned: Result<_, _> = planned
            .map(|(columns, input)| bound.planned(columns, input))
            .collect();
        let made_state = made_columns(&bound, &plan.state, "state")?;
        let columns = schema_of(&made_state);
        let asked_state = columns.fields().iter().enumerate();
        Ok(Self(Arc::new(Described {
            indices,
            bound_to,
            keys: planned_keys.schema,
            asked_keys: planned_keys.asked,
            inputs: planned?,
            asked_state: asked_state
                .filter_map(|(index, field)| Asked::new(index, field))
                .collect(),
            made_state,
            state: StateShape {
                columns,
                version: plan.state_version,
                migrates_from: plan.migrates_from,
            },
            whole_groups: plan.whole_groups,
            ports: Ports::planned(&bound, plan.ports)?,
            bound,
        })))
    }

    /// The columns of each input that it reads, as indices into the schema it was bound to.
    pub fn columns(&self, input: usize) -> &[usize] {
        &self.0.inputs[input].columns
    }

    /// The key's columns.
    pub fn keys(&self) -> &SchemaRef {
        &self.0.bound_to[0]
    }

    /// What it remembers.
    pub fn state(&self) -> &StateShape {
        &self.0.state
    }

    /// Whether all rows of a key must be in one call.
    pub fn whole_groups(&self) -> bool {
        self.0.whole_groups
    }

    /// Its outputs.
    pub fn ports(&self) -> &[Port] {
        &self.0.ports.ports
    }

    /// The same plugin for inputs of fewer columns: what nobody reads is left out before it gets here.
    ///
    /// # Panics
    /// When a column is missing that [`Self::columns`] named.
    pub fn narrowed(self, inputs: &[SchemaRef]) -> Self {
        let mut described = Arc::unwrap_or_clone(self.0);
        for (planned, input) in described.inputs.iter_mut().zip(inputs) {
            planned.narrow(input);
        }
        Self(Arc::new(described))
    }

    /// The component.
    pub fn component(&self) -> &Component {
        &self.0.bound.component
    }

    /// What its instances and calls may use.
    pub fn limits(&self) -> &Limits {
        &self.0.bound.limits
    }

    /// What its calls are charged to.
    pub fn counters(&self) -> Arc<NodeCounters> {
        self.0.bound.counters.clone()
    }

    /// Of the component.
    pub fn digest(&self) -> Digest {
        self.component().digest()
    }

    /// A fresh instance for a call, `open` called.
    ///
    /// # Errors
    /// When the plugin refuses, traps or exceeds a limit.
    pub fn open(&self, context: &CallContext) -> Result<KeyedInstance, CallError> {
        let Described {
            bound,
            indices,
            keys,
            inputs,
            ..
        } = &*self.0;
        let schemas: Vec<_> = inputs.iter().map(|input| input.schema.fields()).collect();
        let schemas: Vec<_> = schemas.iter().map(Vec::as_slice).collect();
        let live = Live::open(
            bound,
            |store, instance| indices.load(store, instance),
            |store, guest| guest.call_open(store, &bound.config, &keys.fields(), &schemas),
        );
        let live = live.inspect_err(|error| {
            bound.capture_open(error, context, self.0.bound_to.clone());
        })?;
        Ok(KeyedInstance {
            keyed: self.0.clone(),
            live,
        })
    }
}

fn describe(
    bound: &Bound,
    indices: &GuestIndices,
    bound_to: &[SchemaRef],
) -> Result<Plan, Failure> {
    let schemas = bound_to.iter().map(|schema| WireSchema::of(schema));
    let schemas: Vec<_> = schemas.collect();
    let fields: Vec<_> = schemas.iter().map(WireSchema::fields).collect();
    let fields: Vec<_> = fields.iter().map(Vec::as_slice).collect();
    let (keys, inputs) = (fields[0], &fields[1..]);
    bound.describe(
        bound_to,
        |store, instance| indices.load(store, instance),
        |store, guest| guest.call_describe(store, &bound.config, keys, inputs),
    )
}

/// A live instance.
pub struct KeyedInstance {
    keyed: Arc<Described>,
    live: Live<Guest>,
}

impl KeyedInstance {
    /// Bytes of linear memory that it has, unless it has trapped.
    pub fn memory(&self) -> Option<u64> {
        self.live.memory()
    }

    /// Calls the guest with some keys.
    ///
    /// # Errors
    /// Why the call failed. After any error but [`CallError::Refused`] the instance is gone, and every further call fails.
    pub fn process(
        &mut self,
        context: &CallContext,
        batch: &KeyedBatch,
    ) -> Result<KeyedChanges, CallError> {
        let keyed = &*self.keyed;
        let keys = Views::new(&keyed.asked_keys, &batch.keys)?;
        let state = Views::new(&keyed.asked_state, &batch.state)?;
        let inputs = keyed.inputs.iter().zip(&batch.inputs);
        let inputs = inputs.map(|(planned, (ends, rows))| {
            let ends: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
            Ok((ends, Views::new(&planned.asked, rows)?))
        });
        let inputs: Vec<_> = inputs.collect::<Result<_, CallError>>()?;
        let (keys, state) = (keys.views(), state.views());
        let (keys, state) = (params(&keys), params(&state));
        let views: Vec<_> = inputs.iter().map(|(_, input)| input.views()).collect();
        let columns: Vec<_> = views.iter().map(|views| params(views)).collect();
        let groups: Vec<Group<'_>> = inputs
            .iter()
            .zip(&columns)
            .map(|((ends, _), columns)| Group { ends, columns })
            .collect();
        let rows = batch.status.len();
        let wire = WireBatch {
            rows: u32::try_from(rows).expect("a call's keys are few"),
            status: &batch.status,
            keys: &keys,
            state: &state,
            inputs: &groups,
        };
        let changes = self.live.call(
            &keyed.bound,
            context,
            rows,
            |store, guest| guest.call_process(store, wire_context(context), wire),
            |changes| keyed.changes(batch, changes),
        );
        changes.inspect_err(|error| {
            let bound = &keyed.bound;
            bound.capture(error, context, rows, || keyed.called(batch));
        })
    }

    /// States of an earlier number as states of today, row for row.
    ///
    /// # Errors
    /// As [`Self::process`].
    pub fn migrate(
        &mut self,
        context: &CallContext,
        version: u32,
        old: &RecordBatch,
    ) -> Result<Vec<ArrayRef>, CallError> {
        let keyed = &*self.keyed;
        let schema = WireSchema::of(&old.schema());
        let asked = old
            .schema()
            .fields()
            .iter()
            .enumerate()
            .map(|(index, field)| {
                Asked::new(index, field).ok_or_else(|| {
                    CallError::Contract(format!(
                        "the state's column `{}` cannot be read",
                        field.name()
                    ))
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let views = Views::new(&asked, old)?;
        let rows = old.num_rows();
        let wire_rows = u32::try_from(rows).expect("a call's rows are few");
        let state = self.live.call(
            &keyed.bound,
            context,
            rows,
            |store, guest| {
                views.with(|buffers| {
                    guest.call_migrate(store, version, &schema.fields(), wire_rows, buffers)
                })
            },
            |state| keyed.lift_state(rows, state),
        );
        state.inspect_err(|error| {
            keyed.bound.capture(error, context, rows, || Called {
                function: Function::Migrate { version },
                bound: keyed.bound_to.clone(),
                batches: vec![old.clone()],
            });
        })
    }
}

impl Described {
    /// The key's columns, then the inputs'.
    fn called(&self, batch: &KeyedBatch) -> Called {
        let inputs = batch.inputs.iter();
        let (ends, rows): (Vec<_>, Vec<_>) = inputs.cloned().unzip();
        Called {
            function: Function::Keys {
                status: batch.status.clone(),
                ends,
            },
            bound: self.bound_to.clone(),
            batches: [&batch.keys, &batch.state]
                .into_iter()
                .chain(&rows)
                .cloned()
                .collect(),
        }
    }

    fn changes(&self, batch: &KeyedBatch, wire: WireChanges) -> Result<KeyedChanges, String> {
        let keys = batch.status.len();
        let ops = ops(keys, &wire.ops)?;
        let puts = ops.iter().filter(|op| **op == Op::Put).count();
        if puts > 0 && self.made_state.is_empty() {
            return Err("it put a state, and its plan has no state".into());
        }
        let timers = timers(keys, &wire.timers)?;
        let sets = |timer: &Timer| matches!(timer, Timer::At(_));
        let stateless = |(op, status): (&Op, &u8)| match op {
            Op::Keep => status & status::HAS_STATE == 0,
            Op::Put => false,
            Op::Remove => true,
        };
        let mut keys_with_timers = timers.iter().zip(ops.iter().zip(&batch.status));
        if keys_with_timers.any(|(timer, key)| sets(timer) && stateless(key)) {
            return Err("it set a timer for a key without state".into());
        }
        let outputs = wire.outputs.into_iter();
        let outputs = outputs.map(|output| self.ports.output(keys, output));
        Ok(KeyedChanges {
            state: self.lift_state(puts, wire.state)?,
            ops,
            timers,
            outputs: outputs.collect::<Result<_, _>>()?,
            rejected: self.rejected(batch, wire.rejected)?,
        })
    }

    fn lift_state(&self, rows: usize, wire: Vec<BuffersResult>) -> Result<Vec<ArrayRef>, String> {
        if rows == 0 && wire.is_empty() {
            let fields = self.state.columns.fields().iter();
            return Ok(fields
                .map(|field| new_empty_array(field.data_type()))
                .collect());
        }
        if wire.len() != self.made_state.len() {
            let (found, planned) = (wire.len(), self.made_state.len());
            return Err(format!(
                "it gave {found} columns of state where its plan says {planned}"
            ));
        }
        let columns = self.made_state.iter().zip(wire);
        columns
            .map(|(made, buffers)| lift(made, rows, buffers))
            .collect::<Result<_, _>>()
            .map_err(|wrong| format!("in its state, {wrong}"))
    }

    fn rejected(
        &self,
        batch: &KeyedBatch,
        wire: Vec<Rejects>,
    ) -> Result<Vec<Vec<Rejected>>, String> {
        if !wire.is_empty() && wire.len() != batch.inputs.len() {
            let (found, inputs) = (wire.len(), batch.inputs.len());
            return Err(format!(
                "it rejected rows of {found} inputs, and has {inputs}"
            ));
        }
        let inputs = wire.into_iter().zip(&batch.inputs);
        inputs
            .map(|(rejects, (_, rows))| rejected(rows.num_rows(), rejects))
            .collect()
    }
}

fn ops(keys: usize, wire: &[u8]) -> Result<Vec<Op>, String> {
    if wire.is_empty() {
        return Ok(vec![Op::Keep; keys]);
    }
    if wire.len() != keys {
        return Err(format!("it gave {} operations for {keys} keys", wire.len()));
    }
    let op = |byte: &u8| match byte {
        0 => Ok(Op::Keep),
        1 => Ok(Op::Put),
        2 => Ok(Op::Remove),
        other => Err(format!("it gave the operation {other}, which there is not")),
    };
    wire.iter().map(op).collect()
}

fn timers(keys: usize, wire: &[u8]) -> Result<Vec<Timer>, String> {
    let (times, rest) = wire.as_chunks::<8>();
    if !wire.is_empty() && (times.len() != keys || !rest.is_empty()) {
        return Err(format!(
            "it gave {} bytes of timers for {keys} keys",
            wire.len()
        ));
    }
    let timer = |bytes: &[u8; 8]| match i64::from_le_bytes(*bytes) {
        i64::MIN => Timer::Keep,
        i64::MAX => Timer::Clear,
        time => Timer::At(time),
    };
    Ok(times.iter().map(timer).collect())
}
