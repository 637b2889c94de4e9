//! Puts typed nodes together as the plan's: those that reach a sink, with the columns that someone reads.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use toml::Spanned;

use super::graph::Graph;
use super::plan::{
    Input, KeyedStep, Lifetime, Node, NodeKind, OnError, PortRef, ReduceStep, SqlStep,
    TransformStep,
};
use super::prune::{self, Carried};
use super::spec::{NodeSpec, Settings};
use super::types::{Typed, TypedKind};
use crate::config::{Problem, Problems};
use crate::join::{Column, Join};
use crate::plugin::{Keyed, Reducer, Transform};

/// The nodes that reach a sink, in the graph's order, pruned. `None` if one of them has a problem.
pub fn assemble(
    specs: &[NodeSpec],
    mut typed: Vec<Option<Typed>>,
    graph: &Graph,
    problems: &Problems,
) -> Option<Vec<Node>> {
    let used = graph.order.iter().copied();
    let used: Vec<usize> = used.filter(|&node| graph.reaches_sink[node]).collect();
    let mut place = vec![None; specs.len()];
    for (new, old) in used.iter().enumerate() {
        place[*old] = Some(new);
    }
    let mut chosen: Vec<(&NodeSpec, Typed)> = Vec::new();
    for old in used {
        let mut node = typed[old].take()?;
        for port in node.inputs.iter_mut().flat_map(|input| &mut input.ports) {
            port.node = place[port.node]?;
        }
        chosen.push((&specs[old], node));
    }
    warn_of_unread_ports(&chosen, problems);
    let kept = prune::prune(
        &chosen
            .iter()
            .map(|(spec, node)| reads(spec, node))
            .collect::<Vec<_>>(),
    );
    let mut nodes: Vec<Node> = Vec::new();
    for ((spec, typed), kept) in chosen.into_iter().zip(kept) {
        let node = node(spec, typed, kept, &nodes);
        nodes.push(node);
    }
    Some(nodes)
}

fn warn_of_unread_ports(nodes: &[(&NodeSpec, Typed)], problems: &Problems) {
    for (index, (spec, node)) in nodes.iter().enumerate() {
        for (port, typed) in node.ports.iter().enumerate() {
            let at = PortRef { node: index, port };
            let mut inputs = nodes.iter().flat_map(|(_, reader)| &reader.inputs);
            if !inputs.any(|input| input.ports.contains(&at)) {
                let name = spec.name.get_ref();
                let message = format!(
                    "nothing reads port `{}` of `{name}`; its rows are dropped",
                    typed.name
                );
                problems.push(
                    Problem::warning(spec.name.span(), message)
                        .help(format!("read it: input = \"{name}.{}\"", typed.name)),
                );
            }
        }
    }
}

/// What pruning is told of a node.
fn reads(spec: &NodeSpec, node: &Typed) -> prune::Node {
    let inputs = node.inputs.iter().enumerate();
    let inputs = inputs.map(|(place, input)| prune::Input {
        ports: input.ports.clone(),
        reads: reads_of(spec, node, place),
    });
    let ports = node.ports.iter().map(|port| prune::Port {
        columns: port.schema.fields().len(),
        fixed: port.fixed,
        carried: port.carried.clone(),
    });
    prune::Node {
        inputs: inputs.collect(),
        ports: ports.collect(),
    }
}

/// The columns of one of its inputs that a node reads whatever is read of it.
fn reads_of(spec: &NodeSpec, node: &Typed, place: usize) -> Vec<usize> {
    let all = || (0..node.inputs[place].schema.fields().len()).collect();
    let rejects = spec.on_error.as_ref().map(Spanned::get_ref) == Some(&OnError::Reject);
    match &node.kind {
        TypedKind::Source | TypedKind::Table(_) | TypedKind::Repartition(_) => Vec::new(),
        // A rejected row is written whole.
        TypedKind::Transform(_) | TypedKind::Keyed(..) | TypedKind::Sql(_) if rejects => all(),
        TypedKind::Transform(transform) => transform.columns().to_vec(),
        TypedKind::Keyed(keyed, keys) => {
            let keys = keys[place].iter();
            keys.chain(keyed.columns(place)).copied().collect()
        }
        TypedKind::Reduce(_, columns, _) => columns.concat(),
        TypedKind::Sql(sql) => sql.columns(),
        TypedKind::Aggregate(aggregate, _) => {
            let measured = aggregate
                .measures
                .iter()
                .filter_map(|measure| measure.column);
            aggregate.keys.iter().copied().chain(measured).collect()
        }
        TypedKind::Join(join, _) => join.keys[place].clone(),
        TypedKind::Sink(_) => all(),
    }
}

/// The plan's node; `before` are those it may read.
fn node(spec: &NodeSpec, typed: Typed, kept: Vec<Vec<bool>>, before: &[Node]) -> Node {
    let inputs = typed.inputs.iter();
    let kept_of: Vec<_> = inputs.map(|input| kept_columns(input, before)).collect();
    let inputs = typed.inputs.into_iter().zip(&kept_of);
    let inputs: Vec<Input> = inputs
        .map(|(input, kept)| Input {
            ports: input.ports,
            schema: project(&input.schema, kept),
        })
        .collect();
    let old_to_new = |old: Carried| {
        let mut kept = kept_of[old.input].iter();
        kept.position(|column| *column == old.column)
            .expect("a column that is read is kept")
    };
    let columns_of_ports = typed.ports.iter().zip(&kept).map(|(port, kept)| {
        let (first, rest) = kept[port.fixed..].split_at(port.carried.len());
        let first = port.carried.iter().zip(first).filter(|(_, kept)| **kept);
        let carried: Vec<usize> = first.map(|(column, _)| old_to_new(*column)).collect();
        let made: Vec<usize> = (0..rest.len()).filter(|&column| rest[column]).collect();
        PortColumns {
            fixed: port.fixed,
            kept: (0..kept.len()).filter(|&column| kept[column]).collect(),
            carried,
            made,
        }
    });
    let columns_of_ports: Vec<_> = columns_of_ports.collect();
    let ports = typed.ports.iter().zip(&columns_of_ports);
    let ports = ports.map(|(port, columns)| project(&port.schema, &columns.kept));
    let ports = ports.collect();
    let kind = kind(spec, typed.kind, &inputs, columns_of_ports, &old_to_new);
    Node {
        name: spec.name.get_ref().as_str().into(),
        inputs,
        ports,
        on_error: spec
            .on_error
            .as_ref()
            .map(|on_error| *on_error.get_ref())
            .unwrap_or_default(),
        kind,
    }
}

/// What is left of the columns of a port.
struct PortColumns {
    /// So many are always there.
    fixed: usize,
    /// All that are kept.
    kept: Vec<usize>,
    /// Those of the inputs that it carries.
    carried: Vec<usize>,
    /// Which of those made here are kept.
    made: Vec<usize>,
}

/// What the plan's node is, over the columns that reach it.
fn kind(
    spec: &NodeSpec,
    typed: TypedKind,
    inputs: &[Input],
    mut ports: Vec<PortColumns>,
    old_to_new: &dyn Fn(Carried) -> usize,
) -> NodeKind {
    match typed {
        TypedKind::Source => match &spec.settings {
            Some(Settings::Source(config)) => NodeKind::Source(config.clone()),
            _ => unreachable!("only a source is typed as one"),
        },
        TypedKind::Table(config) => NodeKind::Table(config),
        TypedKind::Transform(transform) => {
            NodeKind::Transform(transform_step(spec, transform, &inputs[0].schema, ports))
        }
        TypedKind::Keyed(keyed, keys) => {
            NodeKind::Keyed(keyed_step(spec, keyed, &keys, inputs, ports, old_to_new))
        }
        TypedKind::Reduce(reducer, columns, window) => {
            let step = reduce_step(reducer, columns, &inputs[0].schema, old_to_new);
            NodeKind::Reduce(step, window)
        }
        TypedKind::Sql(sql) => {
            let PortColumns { carried, made, .. } = ports.remove(0);
            NodeKind::Sql(SqlStep {
                sql: sql.over(&inputs[0].schema),
                carried,
                kept: made,
            })
        }
        TypedKind::Aggregate(mut aggregate, window) => {
            let measured = aggregate
                .measures
                .iter_mut()
                .filter_map(|measure| measure.column.as_mut());
            for column in aggregate.keys.iter_mut().chain(measured) {
                *column = old_to_new(Carried {
                    input: 0,
                    column: *column,
                });
            }
            NodeKind::Aggregate(aggregate, window)
        }
        TypedKind::Join(join, windows) => {
            NodeKind::Join(narrowed(join, &ports[0], old_to_new), windows)
        }
        TypedKind::Repartition(partitions) => NodeKind::Repartition(partitions),
        TypedKind::Sink(config) => NodeKind::Sink(config),
    }
}

/// The transform over the columns that reach it.
fn transform_step(
    spec: &NodeSpec,
    transform: Transform,
    input: &SchemaRef,
    ports: Vec<PortColumns>,
) -> TransformStep {
    let lifetime = match &spec.settings {
        Some(Settings::Plugin { lifetime, .. }) => lifetime
            .as_ref()
            .map_or(Lifetime::Partition, |lifetime| *lifetime.get_ref()),
        _ => unreachable!("only a plugin step is typed as a transform"),
    };
    let ports = ports.into_iter();
    let (carried, kept) = ports.map(|port| (port.carried, port.made)).unzip();
    TransformStep {
        transform: Arc::new(transform.narrowed(input)),
        lifetime,
        carried,
        kept,
    }
}

/// The keyed step over the columns that reach it; `keys` are the key's, by input.
fn keyed_step(
    spec: &NodeSpec,
    keyed: Keyed,
    keys: &[Vec<usize>],
    inputs: &[Input],
    ports: Vec<PortColumns>,
    old_to_new: &dyn Fn(Carried) -> usize,
) -> KeyedStep {
    let every_key = match &spec.settings {
        Some(Settings::Plugin { every_key, .. }) => {
            every_key.as_ref().is_some_and(|every| *every.get_ref())
        }
        _ => unreachable!("only a plugin step is typed as keyed"),
    };
    let group_by = keys.iter().enumerate().map(|(input, columns)| {
        let columns = columns.iter();
        columns
            .map(|&column| old_to_new(Carried { input, column }))
            .collect()
    });
    let group_by: Vec<Vec<usize>> = group_by.collect();
    let ports = ports.into_iter().map(|port| {
        let keys = group_by[0].iter().enumerate();
        let carried = keys.filter(|(_, key)| port.carried.contains(key));
        (carried.map(|(place, _)| place).collect(), port.made)
    });
    let (carried, kept) = ports.unzip();
    let schemas: Vec<SchemaRef> = inputs.iter().map(|input| input.schema.clone()).collect();
    KeyedStep {
        group_by,
        key_schema: keyed.keys().clone(),
        keyed: Arc::new(keyed.narrowed(&schemas)),
        input_schemas: schemas,
        every_key,
        carried,
        kept,
    }
}

/// The reduction over the columns that reach it; `columns` are the key's and those it reduces.
fn reduce_step(
    reducer: Reducer,
    columns: [Vec<usize>; 2],
    input: &SchemaRef,
    old_to_new: &dyn Fn(Carried) -> usize,
) -> ReduceStep {
    let found = columns.map(|columns| {
        let columns = columns.iter();
        let new = columns.map(|&column| old_to_new(Carried { input: 0, column }));
        new.collect::<Vec<_>>()
    });
    let [key_schema, value_schema] = [0, 1].map(|at| project(input, &found[at]));
    let [group_by, values] = found;
    let fields = key_schema.fields().iter().chain(reducer.result().fields());
    let partial = Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()));
    ReduceStep {
        reducer: Arc::new(reducer.narrowed(&value_schema)),
        key_schema,
        group_by,
        values,
        value_schema,
        partial,
    }
}

/// The join that gives only the columns that are kept, over columns with other numbers.
fn narrowed(join: Join, port: &PortColumns, old_to_new: &dyn Fn(Carried) -> usize) -> Join {
    let column = |input, column| old_to_new(Carried { input, column });
    let kept = port.kept.iter().skip(port.fixed);
    let columns = kept.map(|at| match join.columns[at - port.fixed] {
        Column::Key(key) => Column::Key(key),
        Column::Left(left) => Column::Left(column(0, left)),
        Column::Right(right) => Column::Right(column(1, right)),
    });
    let columns = columns.collect();
    let keys = |input: usize| {
        let keys = join.keys[input].iter();
        keys.map(|key| column(input, *key)).collect()
    };
    Join {
        kind: join.kind,
        keys: [0, 1].map(keys),
        columns,
    }
}

/// Which columns of a full input reach its node.
fn kept_columns(input: &Input, before: &[Node]) -> Vec<usize> {
    let first = input.ports[0];
    let reaching = &before[first.node].ports[first.port];
    let fields = input.schema.fields().iter().enumerate();
    fields
        .filter(|(_, field)| reaching.index_of(field.name()).is_ok())
        .map(|(column, _)| column)
        .collect()
}

fn project(schema: &SchemaRef, columns: &[usize]) -> SchemaRef {
    let projected = schema.project(columns);
    Arc::new(projected.expect("the columns are counted in this schema"))
}
