//! A transform bound to its step: described, checked, ready to open instances.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::World;
use super::bindings::exports::wasmill::plugin::transform::{GuestIndices, Plan};
use super::bindings::wasmill::plugin::types::Port as WirePort;
use super::bound::{Bound, Planned, WireSchema};
use super::call::CallError;
use super::columns::Made;
use super::engine::Component;
use super::imports::Grants;
use super::instance::TransformInstance;
use super::limits::Limits;
use crate::batch::ColumnType;
use crate::error::Failure;
use crate::ids::{Digest, NodeName};

/// An output of a transform.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name; a reader says `input = "step.name"`, the first port also goes by the step's name.
    pub name: String,
    /// What the plugin makes.
    pub columns: SchemaRef,
    /// Whether the input's other columns go along.
    pub carry: bool,
}

/// A component bound to configuration, schema, limits and grants; cheap to clone.
#[derive(Clone)]
pub struct Transform(pub(super) Arc<Described>);

/// What an instance needs of its transform.
#[derive(Clone)]
pub(super) struct Described {
    pub bound: Bound,
    pub indices: GuestIndices,
    pub planned: Planned,
    /// What each port's columns are checked against.
    pub made: Vec<Vec<Made>>,
    pub ports: Vec<Port>,
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transform")
            .field("component", &self.0.bound.component)
            .field("columns", &self.columns())
            .field("ports", &self.0.ports)
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
        if !grants.http.is_empty() {
            return Err(Failure::user(format!("`{node}` is a step, and only sinks can be granted `http`"))
                .help("a transform runs in the data plane, which must not wait for anything outside; move the requests to a sink plugin"));
        }
        let bound = Bound::new(component, World::Transform, node, config, limits, grants)?;
        let indices = GuestIndices::new(&bound.pre)
            .map_err(|error| bound.failure(&format!("does not fit the contract: {error:#}")))?;
        let plan = describe(&bound, &indices, input)?;
        let planned = bound.planned(&plan.columns, input)?;
        let (ports, made) = ports(&bound, plan.ports)?;
        Ok(Self(Arc::new(Described {
            bound,
            indices,
            planned,
            made,
            ports,
        })))
    }

    /// The input columns it reads, as indices into the schema it was bound to.
    pub fn columns(&self) -> &[usize] {
        &self.0.planned.columns
    }

    /// Its outputs.
    pub fn ports(&self) -> &[Port] {
        &self.0.ports
    }

    /// The same transform for an input of fewer columns: what nobody reads is left out before it gets here.
    ///
    /// # Panics
    /// When a column is missing that [`Self::columns`] named.
    pub fn narrowed(self, input: &SchemaRef) -> Self {
        let mut described = Arc::unwrap_or_clone(self.0);
        let planned = &mut described.planned;
        for (asked, column) in planned.asked.iter_mut().zip(&mut planned.columns) {
            *column = asked
                .found_in(input)
                .expect("a narrowed input keeps the columns that the plugin asked for");
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

    /// Of the component.
    pub fn digest(&self) -> Digest {
        self.0.bound.component.digest()
    }

    /// A fresh instance, `open` called.
    ///
    /// # Errors
    /// When the plugin refuses, traps or exceeds a limit.
    pub fn open(&self) -> Result<TransformInstance, CallError> {
        TransformInstance::open(&self.0)
    }
}

fn describe(bound: &Bound, indices: &GuestIndices, input: &Schema) -> Result<Plan, Failure> {
    let (mut store, pre, limits) = bound.for_describe()?;
    let schema = WireSchema::new(input.fields().iter().cloned());
    let answer = pre
        .instantiate(&mut store)
        .and_then(|instance| indices.load(&mut store, &instance))
        .and_then(|guest| guest.call_describe(&mut store, &bound.config, &schema.fields()))
        .map_err(|error| bound.classify(&mut store, &error, &limits));
    bound.described(&schema, answer)
}

fn ports(bound: &Bound, wire: Vec<WirePort>) -> Result<(Vec<Port>, Vec<Vec<Made>>), Failure> {
    if wire.is_empty() {
        return Err(bound.failure("plans no output port"));
    }
    let (mut ports, mut made) = (Vec::<Port>::new(), Vec::new());
    for port in wire {
        if !is_identifier(&port.name) {
            return Err(bound.failure(&format!(
                "plans a port `{}`; a port's name has letters, digits, `_` and `-`, and begins with a letter",
                port.name.escape_debug()
            )));
        }
        if ports.iter().any(|other| other.name == port.name) {
            return Err(bound.failure(&format!("plans two ports `{}`", port.name)));
        }
        let columns = made_columns(bound, &port)?;
        let fields: Vec<_> = columns
            .iter()
            .map(|made| made.column_type.field(&made.name, made.nullable))
            .collect();
        ports.push(Port {
            name: port.name,
            columns: Arc::new(Schema::new(fields)),
            carry: port.carry,
        });
        made.push(columns);
    }
    Ok((ports, made))
}

fn made_columns(bound: &Bound, port: &WirePort) -> Result<Vec<Made>, Failure> {
    if port.columns.is_empty() && !port.carry {
        return Err(bound.failure(&format!(
            "plans a port `{}` without columns that carries none",
            port.name
        )));
    }
    let mut columns: Vec<Made> = Vec::new();
    for field in &port.columns {
        let place = format!(
            "a column `{}` of its port `{}`",
            field.name.escape_debug(),
            port.name
        );
        if field.name.is_empty() {
            return Err(bound.failure(&format!(
                "plans a column without a name in its port `{}`",
                port.name
            )));
        }
        if columns.iter().any(|other| other.name == field.name) {
            return Err(bound.failure(&format!("plans {place} twice")));
        }
        let column_type: ColumnType = field
            .data_type
            .parse()
            .map_err(|unknown| bound.failure(&format!("plans {place}: {unknown}")))?;
        columns.push(Made {
            name: field.name.clone(),
            column_type,
            nullable: field.nullable,
        });
    }
    Ok(columns)
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
