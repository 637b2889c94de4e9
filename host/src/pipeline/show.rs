//! A plan as `wasmill check` shows it: to people node by node, to programs as JSON.

use std::fmt::Write as _;

use arrow::datatypes::Schema;
use serde_json::{Value, json};

use super::plan::{
    EpochRules, Input, KeyedStep, Lifetime, Node, NodeKind, OnError, Plan, TransformStep, Trigger,
};
use super::types::columns;
use crate::aggregate::Aggregate;
use crate::batch::name_of;
use crate::config::{format_duration, format_size};
use crate::join::Join;
use crate::plugin::{Component, Limits};
use crate::sql::Sql;
use crate::window::WindowSpec;

/// For people; ends with a line end.
pub fn text(plan: &Plan) -> String {
    let mut text = format!("{}  {}\n  {}\n", plan.name, plan.code.digest, epochs(plan));
    for node in &plan.nodes {
        // Writing to a String cannot fail, here and below.
        write!(text, "\n{} {}\n", node.role(), node.name).ok();
        for (label, line) in lines(plan, node) {
            writeln!(text, "  {label:<7} {line}").ok();
        }
    }
    if let Some(checkpoint) = &plan.checkpoint {
        write!(
            text,
            "\ncheckpoint\n  {:<7} {}\n",
            "in",
            checkpoint.location()
        )
        .ok();
    }
    if let Some(rejected) = &plan.rejected {
        write!(text, "\nrejected rows\n  {:<7} {}\n", "is", rejected.kind()).ok();
    }
    text
}

fn epochs(plan: &Plan) -> String {
    let EpochRules {
        trigger,
        max_rows,
        max_bytes,
        max_rate,
        adaptive,
        max_in_flight,
        max_live_bytes,
    } = &plan.epoch;
    let mut parts = vec![match trigger {
        Trigger::Interval(interval) => {
            let adaptive = if *adaptive { ", adaptive" } else { "" };
            format!("an epoch every {}{adaptive}", format_duration(*interval))
        }
        Trigger::AvailableNow => "epochs until what is there now is read".to_owned(),
    }];
    parts.push(format!("at most {} each", format_size(*max_bytes)));
    if *max_rows != u64::MAX {
        parts.push(format!("at most {max_rows} rows each"));
    }
    parts.extend(max_rate.map(|rate| format!("at most {rate} rows a second")));
    parts.push(format!("{max_in_flight} in flight"));
    parts.push(format!("{} alive", format_size(*max_live_bytes)));
    parts.push(format!("{} partitions", plan.partitions));
    parts.join(", ")
}

fn lines(plan: &Plan, node: &Node) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    match &node.kind {
        NodeKind::Source(source) => lines.push(("is", source.kind().to_owned())),
        NodeKind::Table(_) => lines.push(("is", "table".to_owned())),
        NodeKind::Transform(step) => lines.extend(transform(node, step)),
        NodeKind::Keyed(step) => lines.extend(keyed(node, step)),
        NodeKind::Sql(step) => lines.extend(sql(&step.sql)),
        NodeKind::Aggregate(aggregate, window) => {
            lines.extend(grouping(node, aggregate));
            lines.extend(window.map(|window| ("over", window.to_string())));
        }
        NodeKind::Reduce(step, window) => {
            lines.extend(plugin(step.reducer.component(), step.reducer.limits()));
            lines.push(("key", columns(&step.key_schema)));
            lines.push(("needs", needed(node, 0, &step.values).join(", ")));
            lines.extend(window.map(|window| ("over", window.to_string())));
        }
        NodeKind::Join(join, windows) => {
            lines.extend(joined(node, join));
            lines.extend(windows.map(|windows| ("over", over(&windows))));
        }
        NodeKind::Repartition(partitions) => {
            lines.push(("is", format!("repartition to {partitions} partitions")));
        }
        NodeKind::Sink(sink) => lines.push(("is", sink.kind().to_owned())),
    }
    for input in &node.inputs {
        lines.push(("reads", reads(plan, input).join(", ")));
        lines.push(("takes", columns(&input.schema)));
    }
    if node.ports.len() > 1 {
        for (port, schema) in node.plugin_ports().iter().zip(&node.ports) {
            let gives = format!("{}.{}: {}", node.name, port.name, columns(schema));
            lines.push(("gives", gives));
        }
    } else {
        lines.extend(node.ports.iter().map(|schema| ("gives", columns(schema))));
    }
    match node.on_error {
        OnError::Fail => (),
        OnError::Skip => lines.push(("errors", "are skipped and counted".to_owned())),
        OnError::Reject => lines.push(("errors", "go to the rejected rows".to_owned())),
    }
    lines
}

/// The names of what comes in, with the port where a node has several.
fn reads(plan: &Plan, input: &Input) -> Vec<String> {
    let ports = input.ports.iter();
    ports
        .map(|port| {
            let read = &plan.nodes[port.node];
            match read.plugin_ports().get(port.port) {
                Some(named) if read.ports.len() > 1 => format!("{}.{}", read.name, named.name),
                _ => read.name.to_string(),
            }
        })
        .collect()
}

fn transform(node: &Node, step: &TransformStep) -> Vec<(&'static str, String)> {
    let mut lines = plugin(step.transform.component(), step.transform.limits());
    lines.push((
        "needs",
        needed(node, 0, step.transform.columns()).join(", "),
    ));
    if step.lifetime == Lifetime::Worker {
        lines.push(("lives", "as long as its worker".to_owned()));
    }
    lines
}

fn keyed(node: &Node, step: &KeyedStep) -> Vec<(&'static str, String)> {
    let mut lines = plugin(step.keyed.component(), step.keyed.limits());
    lines.push(("key", columns(&step.key_schema)));
    for input in 0..node.inputs.len() {
        let needed = needed(node, input, step.keyed.columns(input));
        lines.push(("needs", needed.join(", ")));
    }
    let state = step.keyed.state();
    if !state.columns.fields().is_empty() {
        let what = format!("{} (version {})", columns(&state.columns), state.version);
        lines.push(("keeps", what));
    }
    if step.every_key {
        lines.push(("calls", "every key in every epoch".to_owned()));
    }
    lines
}

fn plugin(component: &Component, of_calls: &Limits) -> Vec<(&'static str, String)> {
    let imports: Vec<_> = component
        .imports()
        .iter()
        .map(ToString::to_string)
        .collect();
    let imports = match imports.is_empty() {
        true => "nothing".to_owned(),
        false => imports.join(", "),
    };
    vec![
        ("is", format!("plugin {}", component.name())),
        ("digest", component.digest().to_string()),
        ("imports", imports),
        ("limits", limits(of_calls)),
    ]
}

fn needed(node: &Node, input: usize, columns: &[usize]) -> Vec<String> {
    let schema = &node.inputs[input].schema;
    let columns = columns.iter();
    columns
        .map(|column| schema.field(*column).name().clone())
        .collect()
}

fn limits(limits: &Limits) -> String {
    format!(
        "{} a call, memory {}, output {}, stack {}, {} table elements, {} instances",
        format_duration(limits.deadline),
        format_size(limits.memory),
        format_size(limits.output),
        format_size(limits.stack),
        limits.table_elements,
        limits.instances
    )
}

fn sql(sql: &Sql) -> Vec<(&'static str, String)> {
    match sql {
        Sql::Filter(condition) => vec![
            ("is", "filter".to_owned()),
            ("where", condition.text().to_owned()),
        ],
        Sql::Select(columns) => {
            let columns = columns.iter();
            let columns: Vec<_> = columns
                .map(|(name, column)| format!("{name} = {}", column.text()))
                .collect();
            vec![("is", "select".to_owned()), ("makes", columns.join(", "))]
        }
    }
}

fn grouping(node: &Node, aggregate: &Aggregate) -> Vec<(&'static str, String)> {
    let name = |column: usize| node.input().schema.field(column).name().as_str();
    let keys: Vec<_> = aggregate.keys.iter().map(|key| name(*key)).collect();
    let measures: Vec<_> = aggregate
        .measures
        .iter()
        .map(|measure| {
            let column = measure.column.map_or("", name);
            format!("{} = {}({column})", measure.name, measure.function)
        })
        .collect();
    let by = match keys.is_empty() {
        true => "all rows of an epoch".to_owned(),
        false => keys.join(", "),
    };
    vec![
        ("is", "aggregate".to_owned()),
        ("groups", by),
        ("makes", measures.join(", ")),
    ]
}

fn joined(node: &Node, join: &Join) -> Vec<(&'static str, String)> {
    let keys = keys(node, join).into_iter();
    let keys: Vec<_> = keys
        .map(|[left, right]| format!("{left} = {right}"))
        .collect();
    vec![
        ("is", format!("{} join", join.kind.name())),
        ("on", keys.join(", ")),
    ]
}

/// The windows of a join's sides.
fn over(windows: &[WindowSpec; 2]) -> String {
    match windows {
        [left, right] if left == right => left.to_string(),
        [left, right] => format!("{left} on the left; {right} on the right"),
    }
}

/// The names of a join's keys on the left and on the right.
fn keys(node: &Node, join: &Join) -> Vec<[String; 2]> {
    let name = |side: usize, key: usize| node.inputs[side].schema.field(key).name().clone();
    let [left, right] = &join.keys;
    let keys = left.iter().zip(right);
    keys.map(|(left, right)| [name(0, *left), name(1, *right)])
        .collect()
}

/// For programs.
pub fn json(plan: &Plan) -> Value {
    let epoch = &plan.epoch;
    json!({
        "name": plan.name,
        "hash": plan.code.digest.to_string(),
        "epoch": {
            "interval_ms": match epoch.trigger {
                Trigger::Interval(interval) => json!(interval.as_secs_f64() * 1e3),
                Trigger::AvailableNow => Value::Null,
            },
            "max_rows": Some(epoch.max_rows).filter(|rows| *rows != u64::MAX),
            "max_bytes": epoch.max_bytes,
            "max_rate": epoch.max_rate,
            "adaptive": epoch.adaptive,
            "max_in_flight": epoch.max_in_flight,
            "max_live_bytes": epoch.max_live_bytes,
        },
        "partitions": plan.partitions,
        "nodes": plan.nodes.iter().map(|node| node_as_json(plan, node)).collect::<Vec<_>>(),
        "checkpoint": plan.checkpoint.as_ref().map(|checkpoint| checkpoint.location().to_string()),
        "rejected": plan.rejected.as_ref().map(|sink| sink.kind()),
    })
}

fn node_as_json(plan: &Plan, node: &Node) -> Value {
    let mut json = json!({
        "name": node.name,
        "role": node.role(),
        "inputs": node.inputs.iter().map(|input| json!({
            "reads": reads(plan, input),
            "columns": fields(&input.schema),
        })).collect::<Vec<_>>(),
        "on_error": match node.on_error {
            OnError::Fail => "fail",
            OnError::Skip => "skip",
            OnError::Reject => "reject",
        },
    });
    let port_names: Vec<Option<&str>> = match node.plugin_ports() {
        [] => vec![None; node.ports.len()],
        ports => ports.iter().map(|port| Some(port.name.as_str())).collect(),
    };
    json["ports"] = port_names
        .into_iter()
        .zip(&node.ports)
        .map(|(name, schema)| json!({ "name": name, "columns": fields(schema) }))
        .collect();
    describe(node, &mut json);
    json
}

/// Adds what a node is.
fn describe(node: &Node, json: &mut Value) {
    match &node.kind {
        NodeKind::Source(source) => json["type"] = source.kind().into(),
        NodeKind::Table(_) => json["type"] = "table".into(),
        NodeKind::Sink(sink) => json["type"] = sink.kind().into(),
        NodeKind::Sql(step) => match &step.sql {
            Sql::Filter(condition) => {
                json["type"] = "filter".into();
                json["filter"] = condition.text().into();
            }
            Sql::Select(columns) => {
                let columns = columns.iter();
                let columns = columns.map(|(name, column)| (name.clone(), column.text().into()));
                json["type"] = "select".into();
                json["select"] = columns.collect::<serde_json::Map<_, _>>().into();
            }
        },
        NodeKind::Aggregate(_, window) => {
            json["type"] = "aggregate".into();
            json["window_ms"] = window_as_json(*window);
        }
        NodeKind::Reduce(step, window) => {
            let needed = needed(node, 0, &step.values);
            let (component, limits) = (step.reducer.component(), step.reducer.limits());
            json["type"] = "reduce".into();
            json["plugin"] = plugin_as_json(component, limits, &[needed]);
            json["key"] = fields(&step.key_schema).into();
            json["window_ms"] = window_as_json(*window);
        }
        NodeKind::Join(join, windows) => {
            json["type"] = "join".into();
            json["join"] = join.kind.name().into();
            json["on"] = keys(node, join).into();
            let windows = windows.map(|windows| windows.map(|side| window_as_json(Some(side))));
            json["windows_ms"] = json!(windows);
        }
        NodeKind::Repartition(partitions) => {
            json["type"] = "repartition".into();
            json["partitions"] = (*partitions).into();
        }
        NodeKind::Transform(step) => {
            let needed = needed(node, 0, step.transform.columns());
            json["type"] = "plugin".into();
            json["plugin"] = plugin_as_json(
                step.transform.component(),
                step.transform.limits(),
                &[needed],
            );
        }
        NodeKind::Keyed(step) => {
            let inputs = 0..node.inputs.len();
            let needed = inputs.map(|input| needed(node, input, step.keyed.columns(input)));
            let needed: Vec<_> = needed.collect();
            json["type"] = "keyed".into();
            json["plugin"] = plugin_as_json(step.keyed.component(), step.keyed.limits(), &needed);
            json["key"] = fields(&step.key_schema).into();
            json["state"] = fields(&step.keyed.state().columns).into();
            json["state_version"] = step.keyed.state().version.into();
        }
    }
}

fn window_as_json(window: Option<WindowSpec>) -> Value {
    window.map_or(
        Value::Null,
        |window| json!({ "length": window.length(), "slide": window.slide() }),
    )
}

/// `needed` are the columns it reads of each input.
fn plugin_as_json(component: &Component, limits: &Limits, needed: &[Vec<String>]) -> Value {
    json!({
        "name": component.name(),
        "digest": component.digest().to_string(),
        "imports": component.imports().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "columns": needed.concat(),
        "limits": limits_as_json(limits),
    })
}

fn limits_as_json(limits: &Limits) -> Value {
    json!({
        "deadline_ms": limits.deadline.as_secs_f64() * 1e3,
        "memory": limits.memory,
        "output": limits.output,
        "stack": limits.stack,
        "table_elements": limits.table_elements,
        "instances": limits.instances,
    })
}

fn fields(schema: &Schema) -> Vec<Value> {
    let fields = schema.fields().iter();
    fields
        .map(|field| {
            json!({ "name": field.name(), "type": name_of(field), "nullable": field.is_nullable() })
        })
        .collect()
}
