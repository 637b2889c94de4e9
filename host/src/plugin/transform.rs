//! A transform bound to its step: described, checked, ready to open instances.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::World;
use super::bindings::exports::wasmill::plugin::transform::{Guest, GuestIndices};
use super::bound::{Bound, Planned, WireSchema};
use super::call::{CallContext, CallError, Produced, rejected};
use super::capture::{Called, Function};
use super::columns::Views;
use super::engine::Component;
use super::imports::Grants;
use super::limits::Limits;
use super::live::{Live, wire_context};
use super::ports::{Port, Ports};
use crate::error::Failure;
use crate::ids::{Digest, NodeName};
use crate::telemetry::NodeCounters;

/// A component bound to configuration, schema, limits and grants; cheap to clone.
#[derive(Clone)]
pub struct Transform(Arc<Described>);

#[derive(Clone)]
struct Described {
    bound: Bound,
    indices: GuestIndices,
    planned: Planned,
    ports: Ports,
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transform")
            .field("component", &self.0.bound.component)
            .field("columns", &self.columns())
            .field("ports", &self.ports())
            .finish_non_exhaustive()
    }
}

impl Transform {
    /// Binds `component` to the step `node`, and lets it describe what it will do with rows of `input`.
    ///
    /// # Errors
    /// When it is no transform, imports what it may not, refuses its configuration or input, or plans what cannot be.
    pub fn new(
        component: &Component,
        node: &NodeName,
        config: &serde_json::Value,
        input: &SchemaRef,
        limits: &Limits,
        grants: &Grants,
    ) -> Result<Self, Failure> {
        grants.refuse_on_steps(node)?;
        let bound = Bound::new(component, World::Transform, node, config, limits, grants)?;
        let indices = GuestIndices::new(&bound.pre)
            .map_err(|error| bound.failure(&format!("does not fit the contract: {error:#}")))?;
        let schema = WireSchema::of(input);
        let plan = bound.describe(
            std::slice::from_ref(input),
            |store, instance| indices.load(store, instance),
            |store, guest| guest.call_describe(store, &bound.config, &schema.fields()),
        )?;
        let planned = bound.planned(&plan.columns, input)?;
        let ports = Ports::planned(&bound, plan.ports)?;
        Ok(Self(Arc::new(Described {
            bound,
            indices,
            planned,
            ports,
        })))
    }

    /// The input columns it reads, as indices into the schema it was bound to.
    pub fn columns(&self) -> &[usize] {
        &self.0.planned.columns
    }

    /// Its outputs.
    pub fn ports(&self) -> &[Port] {
        &self.0.ports.ports
    }

    /// The same transform for an input of fewer columns: what nobody reads is left out before it gets here.
    ///
    /// # Panics
    /// When a column is missing that [`Self::columns`] named.
    pub fn narrowed(self, input: &SchemaRef) -> Self {
        let mut described = Arc::unwrap_or_clone(self.0);
        described.planned.narrow(input);
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
        self.0.bound.component.digest()
    }

    /// A fresh instance for a call, `open` called.
    ///
    /// # Errors
    /// When the plugin refuses, traps or exceeds a limit.
    pub fn open(&self, context: &CallContext) -> Result<TransformInstance, CallError> {
        let Described {
            bound,
            indices,
            planned,
            ..
        } = &*self.0;
        let live = Live::open(
            bound,
            |store, instance| indices.load(store, instance),
            |store, guest| guest.call_open(store, &bound.config, &planned.schema.fields()),
        );
        let live = live.inspect_err(|error| {
            bound.capture_open(error, context, vec![planned.input.clone()]);
        })?;
        Ok(TransformInstance {
            transform: self.0.clone(),
            live,
        })
    }
}

/// A live instance.
pub struct TransformInstance {
    transform: Arc<Described>,
    live: Live<Guest>,
}

impl TransformInstance {
    /// Bytes of linear memory that it has, unless it has trapped.
    pub fn memory(&self) -> Option<u64> {
        self.live.memory()
    }

    /// Calls the guest with the planned columns of `input`, whose schema is the one bound. At most [`CALL_ROWS`](super::CALL_ROWS).
    ///
    /// # Errors
    /// Why the call failed. After any error but [`CallError::Refused`] the instance is gone, and every further call fails.
    pub fn process(
        &mut self,
        context: &CallContext,
        input: &RecordBatch,
    ) -> Result<Produced, CallError> {
        let Described {
            bound,
            planned,
            ports,
            ..
        } = &*self.transform;
        let views = Views::new(&planned.asked, input)?;
        let rows = input.num_rows();
        let wire_rows = u32::try_from(rows).expect("a call's rows are few");
        let call = |store: &mut _, guest: &Guest| {
            views.with(|buffers| {
                guest.call_process(store, wire_context(context), wire_rows, buffers)
            })
        };
        let produced = self.live.call(bound, context, rows, call, |produced| {
            let outputs = produced
                .outputs
                .into_iter()
                .map(|wire| ports.output(rows, wire));
            Ok(Produced {
                outputs: outputs.collect::<Result<_, _>>()?,
                rejected: rejected(rows, produced.rejected)?,
            })
        });
        produced.inspect_err(|error| {
            bound.capture(error, context, rows, || Called {
                function: Function::Process,
                bound: vec![planned.input.clone()],
                batches: vec![input.clone()],
            });
        })
    }
}
