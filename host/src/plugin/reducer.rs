//! A plugin that makes one row of many: bound to its step, and called with groups of rows.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::World;
use super::bindings::exports::wasmill::plugin::reducer::{Guest, GuestIndices};
use super::bindings::wasmill::plugin::types::BuffersResult;
use super::bound::{Bound, Planned, WireSchema};
use super::call::{CallContext, CallError};
use super::capture::{Called, Function};
use super::columns::{Asked, Made, Views, lift};
use super::engine::Component;
use super::imports::Grants;
use super::limits::Limits;
use super::live::{Live, wire_context};
use super::ports::schema_of;
use crate::batch::ColumnType;
use crate::error::Failure;
use crate::ids::{Digest, NodeName};
use crate::telemetry::NodeCounters;

/// A component of the world `reducer-plugin` bound to configuration, schema, limits and grants; cheap to clone.
#[derive(Clone)]
pub struct Reducer(Arc<Described>);

#[derive(Clone)]
struct Described {
    bound: Bound,
    indices: GuestIndices,
    planned: Planned,
    /// The result's columns: the planned ones, in the contract's types.
    made: Vec<Made>,
    result: SchemaRef,
    /// How a result gets into the plugin again.
    again: Vec<Asked>,
}

/// What is to be reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduced {
    /// Rows of the input.
    Not,
    /// Results of earlier calls.
    Already,
}

impl fmt::Debug for Reducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reducer")
            .field("component", &self.0.bound.component)
            .field("result", &self.0.result)
            .finish_non_exhaustive()
    }
}

impl Reducer {
    /// Binds `component` to the step `node`, and lets it describe what it will do with rows of `input`.
    ///
    /// # Errors
    /// When it is no reducer, imports what it may not, refuses its configuration or input, or plans what cannot be.
    pub fn new(
        component: &Component,
        node: &NodeName,
        config: &serde_json::Value,
        input: &SchemaRef,
        limits: &Limits,
        grants: &Grants,
    ) -> Result<Self, Failure> {
        grants.refuse_on_steps(node)?;
        let bound = Bound::new(component, World::Reducer, node, config, limits, grants)?;
        let indices = GuestIndices::new(&bound.pre)
            .map_err(|error| bound.failure(&format!("does not fit the contract: {error:#}")))?;
        let schema = WireSchema::of(input);
        let plan = bound.describe(
            std::slice::from_ref(input),
            |store, instance| indices.load(store, instance),
            |store, guest| guest.call_describe(store, &bound.config, &schema.fields()),
        )?;
        if plan.columns.is_empty() {
            return Err(bound.failure("plans to reduce no column"));
        }
        let planned = bound.planned(&plan.columns, input)?;
        let made = planned.columns.iter().filter_map(|column| {
            let field = input.field(*column);
            Some(Made {
                name: field.name().clone(),
                column_type: ColumnType::of(field)?,
                nullable: field.is_nullable(),
            })
        });
        let made: Vec<Made> = made.collect();
        let result = schema_of(&made);
        let again = result.fields().iter().enumerate();
        Ok(Self(Arc::new(Described {
            bound,
            indices,
            planned,
            again: again
                .filter_map(|(index, field)| Asked::new(index, field))
                .collect(),
            made,
            result,
        })))
    }

    /// The input columns it reduces, as indices into the schema it was bound to.
    pub fn columns(&self) -> &[usize] {
        &self.0.planned.columns
    }

    /// The columns of a result.
    pub fn result(&self) -> &SchemaRef {
        &self.0.result
    }

    /// The same reducer for an input of fewer columns: what nobody reads is left out before it gets here.
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
        self.component().digest()
    }

    /// A fresh instance for a call, `open` called.
    ///
    /// # Errors
    /// When the plugin refuses, traps or exceeds a limit.
    pub fn open(&self, context: &CallContext) -> Result<ReducerInstance, CallError> {
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
        Ok(ReducerInstance {
            reducer: self.0.clone(),
            live,
        })
    }
}

/// A live instance.
pub struct ReducerInstance {
    reducer: Arc<Described>,
    live: Live<Guest>,
}

impl ReducerInstance {
    /// Bytes of linear memory that it has, unless it has trapped.
    pub fn memory(&self) -> Option<u64> {
        self.live.memory()
    }

    /// One row for each group; `ends` says where each group's rows end. At most [`CALL_ROWS`](super::CALL_ROWS).
    ///
    /// # Errors
    /// Why the call failed. After any error but [`CallError::Refused`] the instance is gone, and every further call fails.
    pub fn reduce(
        &mut self,
        context: &CallContext,
        ends: &[u32],
        input: &RecordBatch,
        reduced: Reduced,
    ) -> Result<Vec<ArrayRef>, CallError> {
        let reducer = &*self.reducer;
        let asked = match reduced {
            Reduced::Not => &reducer.planned.asked,
            Reduced::Already => &reducer.again,
        };
        let views = Views::new(asked, input)?;
        let wire_ends: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
        let rows = self.live.call(
            &reducer.bound,
            context,
            input.num_rows(),
            |store, guest| {
                views.with(|buffers| {
                    guest.call_reduce(store, wire_context(context), &wire_ends, buffers)
                })
            },
            |result| reducer.lift(ends.len(), result),
        );
        rows.inspect_err(|error| {
            let count = input.num_rows();
            reducer.bound.capture(error, context, count, || Called {
                function: Function::Reduce {
                    ends: ends.to_vec(),
                    reduced,
                },
                bound: vec![reducer.planned.input.clone()],
                batches: vec![input.clone()],
            });
        })
    }
}

impl Described {
    fn lift(&self, rows: usize, wire: Vec<BuffersResult>) -> Result<Vec<ArrayRef>, String> {
        if wire.len() != self.made.len() {
            let (found, planned) = (wire.len(), self.made.len());
            return Err(format!(
                "it gave {found} columns where its plan says {planned}"
            ));
        }
        let columns = self.made.iter().zip(wire);
        columns
            .map(|(made, buffers)| lift(made, rows, buffers))
            .collect()
    }
}
