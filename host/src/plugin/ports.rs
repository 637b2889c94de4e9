//! The outputs of a plugin that makes rows: what its plan says of them, and the rows that a call gives them.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::datatypes::{Schema, SchemaRef};

use super::bindings::wasmill::plugin::types::{
    FieldResult, Origin as WireOrigin, Output as WireOutput, Port as WirePort,
};
use super::bound::Bound;
use super::call::{Origin, Output};
use super::columns::{Made, lift};
use crate::batch::ColumnType;
use crate::error::Failure;

/// An output of a plugin.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name; a reader says `input = "step.name"`, the first port also goes by the step's name.
    pub name: String,
    /// What the plugin makes.
    pub columns: SchemaRef,
    /// Whether the input's other columns go along.
    pub carry: bool,
}

/// All outputs of a plugin, with what their columns are checked against.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    pub ports: Vec<Port>,
    made: Vec<Vec<Made>>,
}

impl Ports {
    /// Those of a plan.
    pub fn planned(bound: &Bound, wire: Vec<WirePort>) -> Result<Self, Failure> {
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
            if port.columns.is_empty() && !port.carry {
                return Err(bound.failure(&format!(
                    "plans a port `{}` without columns that carries none",
                    port.name
                )));
            }
            let columns = made_columns(bound, &port.columns, &format!("port `{}`", port.name))?;
            ports.push(Port {
                name: port.name,
                columns: schema_of(&columns),
                carry: port.carry,
            });
            made.push(columns);
        }
        Ok(Self { ports, made })
    }

    /// The rows in `wire`, made of `parents` rows or keys, or what is wrong with them.
    pub fn output(&self, parents: usize, wire: WireOutput) -> Result<Output, String> {
        let index = wire.port as usize;
        let Some((port, made)) = self.ports.get(index).zip(self.made.get(index)) else {
            return Err(format!("it wrote to port {index} of {}", self.ports.len()));
        };
        let rows = wire.rows as usize;
        let of_port = |wrong: String| format!("in port `{}`, {wrong}", port.name);
        if wire.columns.len() != made.len() {
            let (found, planned) = (wire.columns.len(), made.len());
            return Err(of_port(format!(
                "it made {found} columns where its plan says {planned}"
            )));
        }
        let origin = origin(rows, parents, port.carry, wire.origin).map_err(of_port)?;
        let columns = made
            .iter()
            .zip(wire.columns)
            .map(|(made, buffers)| lift(made, rows, buffers));
        let columns = columns.collect::<Result<_, _>>().map_err(of_port)?;
        Ok(Output {
            port: index,
            rows,
            origin,
            columns,
        })
    }
}

/// Columns that a plan promises for `whole`, a port or the state.
pub(super) fn made_columns(
    bound: &Bound,
    fields: &[FieldResult],
    whole: &str,
) -> Result<Vec<Made>, Failure> {
    let mut columns: Vec<Made> = Vec::new();
    for field in fields {
        if field.name.is_empty() {
            return Err(bound.failure(&format!("plans a column without a name in its {whole}")));
        }
        let place = format!("a column `{}` of its {whole}", field.name.escape_debug());
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

/// The columns as Arrow has them.
pub(super) fn schema_of(columns: &[Made]) -> SchemaRef {
    let fields = columns
        .iter()
        .map(|made| made.column_type.field(&made.name, made.nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn origin(rows: usize, parents: usize, carry: bool, wire: WireOrigin) -> Result<Origin, String> {
    match wire {
        WireOrigin::Same if rows != parents => Err(format!(
            "it made {rows} rows of {parents} and says that they are row for row the same"
        )),
        WireOrigin::Same => Ok(Origin::Same),
        WireOrigin::Parents(named) if named.len() != rows => Err(format!(
            "it made {rows} rows and named {} parents",
            named.len()
        )),
        WireOrigin::Parents(named) => {
            let highest = named.iter().fold(0, |highest, parent| highest.max(*parent));
            if !named.is_empty() && highest as usize >= parents {
                return Err(format!("it named a parent {highest} of {parents} rows"));
            }
            Ok(Origin::Parents(UInt32Array::from(named)))
        }
        WireOrigin::None if carry => {
            Err("it made rows of no input row, and the port carries the input's columns".into())
        }
        WireOrigin::None => Ok(Origin::None),
    }
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
