//! Types a join: finds its keys on both sides, and lays out the columns of the result.

use std::collections::HashMap;

use arrow::datatypes::{Schema, SchemaRef};
use toml::Spanned;

use super::prune::Carried;
use super::spec::{JoinSpec, NodeSpec, Settings};
use super::types::TypedPort;
use crate::aggregate::is_key;
use crate::batch::name_of;
use crate::config::{Problem, Problems, did_you_mean};
use crate::join::{Column, Join, SIDES};

/// A join of two inputs: the keys, then the other columns of the left, then those of the right.
pub fn join(
    step: &str,
    spec: &JoinSpec,
    sides: [&SchemaRef; 2],
    problems: &Problems,
) -> Option<(TypedPort, Join)> {
    let keys: Vec<_> = spec
        .on
        .iter()
        .map(|on| keys(step, on, sides, problems))
        .collect();
    let keys: Vec<[usize; 2]> = keys.into_iter().collect::<Option<_>>()?;
    let count = keys.len();
    let keys = [0, 1].map(|side| keys.iter().map(|key| key[side]).collect::<Vec<usize>>());
    let others = |side: usize| {
        let all = 0..sides[side].fields().len();
        all.filter(|column| !keys[side].contains(column))
            .collect::<Vec<usize>>()
    };
    let columns = (0..count)
        .map(Column::Key)
        .chain(others(0).into_iter().map(Column::Left))
        .chain(others(1).into_iter().map(Column::Right))
        .collect();
    let join = Join {
        kind: *spec.kind.get_ref(),
        keys,
        columns,
    };
    let schema = join.output_schema(sides[0], sides[1]);
    check_names(step, spec, &schema, problems)?;
    let carried = join.columns.iter().map(|column| match *column {
        Column::Key(key) => carried(0, join.keys[0][key]),
        Column::Left(column) => carried(0, column),
        Column::Right(column) => carried(1, column),
    });
    let port = TypedPort {
        name: String::new(),
        fixed: 0,
        carried: carried.collect(),
        schema,
    };
    Some((port, join))
}

/// Whether a node may read `table` as the input at `place`; reports it if not.
pub fn may_look_up(
    node: &NodeSpec,
    place: usize,
    table: &Spanned<String>,
    problems: &Problems,
) -> bool {
    let name = table.get_ref();
    let (message, help) = match &node.settings {
        Some(Settings::Join(spec)) if place == 1 && spec.windows.is_some() => (
            format!("the rows of the table `{name}` are in no epoch, so they are in no window"),
            "without `window` they are looked up for the rows of every epoch",
        ),
        Some(Settings::Join(spec)) if place == 1 && !spec.kind.get_ref().keeps_right() => {
            return true;
        }
        Some(Settings::Join(_)) if place == 1 => (
            format!(
                "the rows of the table `{name}` are in no epoch, so none can be left over in one"
            ),
            "an \"inner\" or a \"left\" join looks them up for the rows of the other input",
        ),
        _ => (
            format!(
                "`{name}` is a table, which only a `join` can read, as the second of its `inputs`"
            ),
            "to have its rows in an epoch, make it a source of type \"files\"",
        ),
    };
    problems.add(table.span(), message, Some(help.into()));
    false
}

fn carried(input: usize, column: usize) -> Carried {
    Carried { input, column }
}

/// The columns of one key on both sides.
fn keys(
    step: &str,
    on: &(Spanned<String>, Spanned<String>),
    sides: [&SchemaRef; 2],
    problems: &Problems,
) -> Option<[usize; 2]> {
    let names = [&on.0, &on.1];
    let found = [0, 1].map(|side| {
        let key = key(step, names[side], SIDES[side], sides[side], problems)?;
        Some((key, sides[side].field(key)))
    });
    let [Some((left, one)), Some((right, other))] = found else {
        return None;
    };
    if one.data_type() != other.data_type() {
        let message = format!(
            "`{}` is {} on the left, but `{}` is {} on the right, so they are never equal",
            one.name(),
            name_of(one),
            other.name(),
            name_of(other)
        );
        let help = "make them the same in a `select` step before: CAST(... AS VARCHAR)";
        problems.push(Problem::error(on.1.span(), message).help(help));
        return None;
    }
    Some([left, right])
}

fn key(
    step: &str,
    name: &Spanned<String>,
    side: &str,
    schema: &Schema,
    problems: &Problems,
) -> Option<usize> {
    let Ok(column) = schema.index_of(name.get_ref()) else {
        let message = format!(
            "the {side} input of `{step}` has no column `{}`",
            name.get_ref()
        );
        let known = schema.fields().iter().map(|field| field.name().as_str());
        problems.add(name.span(), message, did_you_mean(name.get_ref(), known));
        return None;
    };
    let field = schema.field(column);
    if !is_key(field.data_type()) {
        let message = format!(
            "rows cannot be joined by `{}`, which is {}",
            field.name(),
            name_of(field)
        );
        let help = "a key is a boolean, a number, a date, a timestamp, utf8 or binary";
        problems.add(name.span(), message, Some(help.into()));
        return None;
    }
    Some(column)
}

/// Reports columns of the result that have the same name.
fn check_names(step: &str, spec: &JoinSpec, schema: &Schema, problems: &Problems) -> Option<()> {
    let mut seen = HashMap::new();
    for field in schema.fields() {
        let times = seen.entry(field.name()).or_insert(0);
        *times += 1;
        if *times == 2 {
            let name = field.name();
            let message = format!("two columns of the result of `{step}` are named `{name}`");
            let help = format!(
                "rename one in a `select` step before: select = {{ other_{name} = \"{name}\" }}"
            );
            problems.add(spec.kind.span(), message, Some(help));
        }
    }
    seen.values().all(|times| *times == 1).then_some(())
}
