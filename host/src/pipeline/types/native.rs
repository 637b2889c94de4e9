//! Types the steps whose code is the host's: groupings and joins, of epochs and over windows.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use toml::Spanned;

use super::{Typed, TypedKind, TypedPort, Typer, only_port};
use crate::aggregate::{Aggregate, Measure};
use crate::batch::ColumnType;
use crate::config::{Problem, Span};
use crate::pipeline::join;
use crate::pipeline::plan::Input;
use crate::pipeline::spec::{AggregateSpec, JoinSpec, NodeSpec};
use crate::window::BOUNDS;

impl Typer<'_> {
    pub(super) fn join(
        &self,
        node: &NodeSpec,
        spec: &JoinSpec,
        inputs: &[Input],
    ) -> Option<(Vec<TypedPort>, TypedKind)> {
        let [left, right] = inputs else {
            return None;
        };
        let sides = [&left.schema, &right.schema];
        let (mut port, join) = join::join(node.name.get_ref(), spec, sides, self.problems)?;
        if let Some(windows) = &spec.windows {
            port.schema = self.with_bounds(windows.span(), &port.schema)?;
            port.fixed = BOUNDS.len();
        }
        let windows = spec.windows.as_ref().map(|windows| *windows.get_ref());
        Some((vec![port], TypedKind::Join(join, windows)))
    }

    pub(super) fn aggregate(
        &self,
        node: &NodeSpec,
        spec: &AggregateSpec,
        input: &Input,
        typed: &[Option<Typed>],
    ) -> Option<(Vec<TypedPort>, TypedKind)> {
        let column = |name| self.column(name, input, node, typed);
        let input = &input.schema;
        let keys: Vec<_> = spec.group_by.iter().map(column).collect();
        let measures: Vec<_> = spec
            .measures
            .iter()
            .map(|(name, call)| {
                let measured = match &call.column {
                    Some(name) => Some(column(name)?),
                    None => None,
                };
                let data_type = measured.map(|column| input.field(column).data_type());
                if let Err(reason) = call.function.get_ref().data_type(data_type) {
                    let span = call.column.as_ref().unwrap_or(name).span();
                    self.problems.add(span, reason, None);
                    return None;
                }
                Some(Measure {
                    name: name.get_ref().clone(),
                    function: *call.function.get_ref(),
                    column: measured,
                })
            })
            .collect();
        self.check_result_names(spec);
        let aggregate = Aggregate {
            keys: keys.into_iter().collect::<Option<_>>()?,
            measures: measures.into_iter().collect::<Option<_>>()?,
        };
        for (name, &key) in spec.group_by.iter().zip(&aggregate.keys) {
            let alone = Aggregate {
                keys: vec![key],
                measures: Vec::new(),
            };
            if let Err(reason) = alone.output_schema(input) {
                self.problems.add(name.span(), reason, None);
            }
        }
        let mut schema = aggregate.output_schema(input).ok()?;
        let window = spec.window.as_ref().map(|window| *window.get_ref());
        if let Some(window) = &spec.window {
            schema = self.with_bounds(window.span(), &schema)?;
        }
        let kind = TypedKind::Aggregate(aggregate, window);
        Some((vec![only_port(schema)], kind))
    }

    /// The columns that say which window a row is of, before those of the row.
    pub(super) fn with_bounds(&self, span: Span, rows: &Schema) -> Option<SchemaRef> {
        if let Some(taken) = BOUNDS.iter().find(|name| rows.index_of(name).is_ok()) {
            let message =
                format!("a window gives a column `{taken}`, and the step has one already");
            self.problems.add(span, message, None);
            return None;
        }
        let bounds = BOUNDS.map(|name| Arc::new(ColumnType::Timestamp.field(name, false)));
        let fields = bounds.into_iter().chain(rows.fields().iter().cloned());
        Some(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    fn check_result_names(&self, spec: &AggregateSpec) {
        let names: Vec<_> = spec
            .group_by
            .iter()
            .chain(spec.measures.iter().map(|(name, _)| name))
            .collect();
        for (index, name) in names.iter().enumerate() {
            let same = |other: &&&Spanned<String>| other.get_ref() == name.get_ref();
            if let Some(first) = names[..index].iter().find(same) {
                let message = format!("two columns of the result are named `{}`", name.get_ref());
                self.problems
                    .push(Problem::error(name.span(), message).also(first.span(), "the first"));
            }
        }
    }
}
