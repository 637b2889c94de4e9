//! What the table of a node says: a source, a step or a sink.

use toml::Spanned;

use super::partitions;
use crate::config::{Pair, Span, Table};
use crate::deliver::{PluginSink, SinkConfig};
use crate::join::Kind;
use crate::pipeline::expression::{self, Call};
use crate::pipeline::plan::{Lifetime, OnError};
use crate::pipeline::window::{window, windows};
use crate::plugin::{Grants, Limits};
use crate::receive::{SourceConfig, TableSource};
use crate::window::WindowSpec;

/// What kind of table a node was written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `[sources.NAME]`
    Source,
    /// `[steps.NAME]`
    Step,
    /// `[sinks.NAME]`
    Sink,
}

impl Role {
    /// As messages say it.
    pub fn word(self) -> &'static str {
        match self {
            Role::Source => "source",
            Role::Step => "step",
            Role::Sink => "sink",
        }
    }
}

/// A `[sources.NAME]`, `[steps.NAME]` or `[sinks.NAME]` table.
pub struct NodeSpec {
    /// Its name.
    pub name: Spanned<String>,
    /// Which of the three.
    pub role: Role,
    /// What it reads, each of its separate inputs with what is united to it; none for a source.
    pub inputs: Vec<Vec<InputSpec>>,
    /// `on_error`, if written.
    pub on_error: Option<Spanned<OnError>>,
    /// What it does; `None` after a problem, so that its readers can still be checked for the rest.
    pub settings: Option<Settings>,
}

/// One entry of `input` or `inputs`.
pub struct InputSpec {
    /// The node's name.
    pub node: Spanned<String>,
    /// `.port`, if written.
    pub port: Option<Spanned<String>>,
}

/// What a node does.
pub enum Settings {
    /// A source of any type but `table`.
    Source(SourceConfig),
    /// A source of type `table`.
    Table(TableSource),
    /// A step with `plugin`.
    Plugin {
        /// The plugin.
        plugin: PluginSpec,
        /// Where an instance lives.
        lifetime: Option<Spanned<Lifetime>>,
        /// Key columns, of a plugin that works by key.
        group_by: Spanned<Vec<Spanned<String>>>,
        /// Whether every key is called in every epoch.
        every_key: Option<Spanned<bool>>,
        /// Over which windows a reducer works, if not on each epoch.
        window: Option<Spanned<WindowSpec>>,
    },
    /// A step with `filter`: the condition.
    Filter(Spanned<String>),
    /// A step with `select`.
    Select(SelectSpec),
    /// A step with `aggregate`.
    Aggregate(AggregateSpec),
    /// A step with `join`.
    Join(JoinSpec),
    /// A step with `repartition`: how many partitions.
    Repartition(u32),
    /// A sink of any type but `plugin`.
    Sink(SinkConfig),
    /// A sink of type `plugin`.
    SinkPlugin {
        /// The plugin.
        plugin: PluginSpec,
        /// How often a call is repeated that may succeed later.
        retries: u32,
    },
}

/// User code and its conditions.
pub struct PluginSpec {
    /// A path, or a bare name to search for.
    pub plugin: Spanned<String>,
    /// The `config` table; an empty one where none is written, with the place of the node.
    pub config: Spanned<serde_json::Value>,
    /// What a call may use.
    pub limits: Limits,
    /// What it may import.
    pub grants: Grants,
}

/// Columns computed of each row.
pub struct SelectSpec {
    /// The columns and their expressions, in the file's order.
    pub columns: Vec<Pair>,
    /// Whether the other columns of the input go along.
    pub carry: bool,
}

/// A native grouping.
pub struct AggregateSpec {
    /// Key columns.
    pub group_by: Vec<Spanned<String>>,
    /// Computed columns, in the file's order.
    pub measures: Vec<(Spanned<String>, Call)>,
    /// Over which windows, if not of each epoch.
    pub window: Option<Spanned<WindowSpec>>,
}

/// Two inputs brought together by key.
pub struct JoinSpec {
    /// Whose rows go on alone.
    pub kind: Spanned<Kind>,
    /// Key columns: the left's name, then the right's.
    pub on: Vec<Pair>,
    /// Over which windows of the left and of the right, if not of each epoch.
    pub windows: Option<Spanned<[WindowSpec; 2]>>,
}

/// The nodes of one kind; `[surces.x]` is reported and read as what it was meant to be.
pub fn nodes_of(file: &mut Table<'_>, role: Role) -> Vec<NodeSpec> {
    let (key, needed) = match role {
        Role::Source => ("sources", Some("where rows come in")),
        Role::Step => ("steps", None),
        Role::Sink => ("sinks", Some("where rows go out")),
    };
    let mut written = key.to_owned();
    if !file.has(key)
        && let Some((misspelt, span)) = file.misspelt(key)
    {
        let message = format!("{} has no setting `{misspelt}`", file.what());
        file.problem(span, message, Some(format!("did you mean `{key}`?")));
        written = misspelt;
    }
    let wrong_type = file.has(&written);
    let table = file.table(&written, format!("`[{key}]`"));
    let tables = table.map_or_else(Vec::new, |table| table.tables(role.word()));
    if let Some(needed) = needed
        && tables.is_empty()
        && !wrong_type
    {
        let help = format!("add a table: [{key}.NAME]");
        file.missing(key, needed, Some(help));
    }
    let read = |(name, table)| node(name, table, role);
    tables.into_iter().map(read).collect()
}

fn node(name: Spanned<String>, mut table: Table<'_>, role: Role) -> NodeSpec {
    check_name(&table, &format!("a {}", role.word()), &name);
    let inputs = match role {
        Role::Source => Vec::new(),
        Role::Step | Role::Sink => inputs(&mut table, role),
    };
    // These have no rows to blame: the only error of an aggregate, an overflow, ends the run, and so does a bad table.
    let mut faultless = ["aggregate", "join", "repartition"].into_iter();
    let is_table = role == Role::Source && table.peek("type") == Some("table");
    let is_faultless = is_table || role == Role::Step && faultless.any(|kind| table.has(kind));
    let settings = match role {
        Role::Source if is_table => {
            table.string("type");
            TableSource::from_table(&mut table).map(Settings::Table)
        }
        Role::Source => SourceConfig::from_table(&mut table).map(Settings::Source),
        Role::Step => step(&mut table),
        Role::Sink if table.peek("type") == Some("plugin") => {
            table.string("type");
            sink_plugin(&mut table)
        }
        Role::Sink => SinkConfig::from_table(&mut table).map(Settings::Sink),
    };
    let on_error = match is_faultless {
        true => None,
        false => on_error(&mut table),
    };
    table.finish();
    NodeSpec {
        name,
        role,
        inputs,
        on_error,
        settings,
    }
}

fn on_error(table: &mut Table<'_>) -> Option<Spanned<OnError>> {
    let known = [
        ("fail", OnError::Fail),
        ("skip", OnError::Skip),
        ("reject", OnError::Reject),
    ];
    table.choice("on_error", &known)
}

/// One input of `input`, whose entries are united, or those of `inputs`, which stay apart.
fn inputs(table: &mut Table<'_>, role: Role) -> Vec<Vec<InputSpec>> {
    let united = table.has("input");
    let separate = role == Role::Step && table.has("inputs");
    if united && separate {
        let message = format!("{} has both `input` and `inputs`", table.what());
        let help = "`input` names what is read as one, `inputs` what a step takes separately";
        table.problem(table.span(), message, Some(help.into()));
    }
    if !united && !separate {
        let help = "write the name of a source or step, or a list of them: input = \"lines\"";
        table.missing("input", "what it reads", Some(help.into()));
    }
    let mut inputs = Vec::new();
    let names = table.strings("input");
    if !names.is_empty() {
        inputs.push(names.into_iter().map(input).collect());
    }
    if role == Role::Step {
        let names = table.strings("inputs").into_iter();
        let separate = names.map(|name| vec![input(name)]);
        inputs.extend(separate.filter(|_| !united));
    }
    inputs
}

/// `node` or `node.port`
fn input(text: Spanned<String>) -> InputSpec {
    match text.get_ref().split_once('.') {
        Some((node, port)) => {
            let (start, end) = (0, text.get_ref().len());
            InputSpec {
                node: Spanned::new(within(&text, start..node.len()), node.to_owned()),
                port: Some(Spanned::new(
                    within(&text, node.len() + 1..end),
                    port.to_owned(),
                )),
            }
        }
        None => InputSpec {
            node: text,
            port: None,
        },
    }
}

/// The settings of which a step has one, which says what it does.
const KINDS: [&str; 6] = [
    "plugin",
    "filter",
    "select",
    "aggregate",
    "join",
    "repartition",
];

fn step(table: &mut Table<'_>) -> Option<Settings> {
    let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| table.has(kind)).collect();
    match kinds.as_slice() {
        ["plugin"] => step_plugin(table),
        ["filter"] => table.string("filter").map(Settings::Filter),
        ["select"] => select(table).map(Settings::Select),
        ["join"] => join(table).map(Settings::Join),
        ["repartition"] => partitions(table, "repartition").map(Settings::Repartition),
        ["aggregate"] => aggregate(table).map(Settings::Aggregate),
        [first, second, ..] => {
            let message = format!(
                "{} has both `{first}` and `{second}`; a step does one thing",
                table.what()
            );
            let help = "make it two steps, one the `input` of the other";
            table.problem(table.span(), message, Some(help.into()));
            table.ignore_rest();
            None
        }
        _ => {
            let (message, help) = missing_kind(table);
            table.problem(table.span(), message, Some(help));
            table.ignore_rest();
            None
        }
    }
}

/// A step that says neither what it does, or misspells it.
fn missing_kind(table: &Table<'_>) -> (String, String) {
    let kinds = KINDS.map(|kind| format!("`{kind}`")).join(", ");
    let message = format!("{} needs one of {kinds}, what it does", table.what());
    let meant = table.keys().into_iter().find_map(|(key, _)| {
        let kind = crate::config::nearest(&key, KINDS)?;
        Some(format!("did you mean `{kind}` by `{key}`?"))
    });
    let help = meant.unwrap_or_else(|| {
        "write plugin = \"NAME\" to run user code, or aggregate = { n = \"count()\" } to group rows"
            .into()
    });
    (message, help)
}

fn step_plugin(table: &mut Table<'_>) -> Option<Settings> {
    let plugin = plugin(table, Limits::default());
    let lifetimes = [
        ("partition", Lifetime::Partition),
        ("worker", Lifetime::Worker),
    ];
    let lifetime = table.choice("lifetime", &lifetimes);
    let group_by = table.span_of("group_by").unwrap_or_else(|| table.span());
    let group_by = Spanned::new(group_by, table.strings("group_by"));
    let written = table.span_of("every_key");
    let every_key = table.boolean("every_key", false);
    let every_key = written.map(|span| Spanned::new(span, every_key));
    let window = window(table);
    Some(Settings::Plugin {
        plugin: plugin?,
        lifetime,
        group_by,
        every_key,
        window,
    })
}

fn select(table: &mut Table<'_>) -> Option<SelectSpec> {
    let carry = table.boolean("carry", false);
    let columns = table.pairs("select")?;
    if columns.get_ref().is_empty() {
        let message = format!("{} selects nothing", table.what());
        let help = "write what to compute: select = { path = \"lower(path)\" }";
        table.problem(columns.span(), message, Some(help.into()));
    }
    Some(SelectSpec {
        columns: columns.into_inner(),
        carry,
    })
}

fn sink_plugin(table: &mut Table<'_>) -> Option<Settings> {
    let plugin = plugin(table, Limits::of_sinks());
    let retries = match table.integer("retries", 0) {
        Some(retries) => u32::try_from(retries.into_inner()).unwrap_or(u32::MAX),
        None => PluginSink::RETRIES,
    };
    Some(Settings::SinkPlugin {
        plugin: plugin?,
        retries,
    })
}

fn plugin(table: &mut Table<'_>, limits: Limits) -> Option<PluginSpec> {
    let plugin = table.required_string("plugin", "the component's file or name");
    let config = match table.json("config") {
        Some(config) if !config.get_ref().is_object() => {
            let message = format!(
                "`config` of {} must be a table, the plugin's own settings",
                table.what()
            );
            table.problem(config.span(), message, None);
            None
        }
        Some(config) => Some(config),
        None => Some(Spanned::new(
            table.span(),
            serde_json::Value::Object(Default::default()),
        )),
    };
    let limits = match table.table("limits", format!("`limits` of {}", table.what())) {
        Some(written) => limits.with(written),
        None => limits,
    };
    let grants = match table.table("grants", format!("`grants` of {}", table.what())) {
        Some(grants) => Grants::from_table(grants),
        None => Grants::default(),
    };
    Some(PluginSpec {
        plugin: plugin?,
        config: config?,
        limits,
        grants,
    })
}

fn join(table: &mut Table<'_>) -> Option<JoinSpec> {
    let written = table.has("on");
    if !written {
        let help = "write the columns that must be equal: on = [\"user\"], or on = { user = \"user_id\" } where their names differ";
        table.missing("on", "the key columns", Some(help.into()));
    }
    let kind = table.choice("join", &Kind::ALL);
    let on = match table.holds_table("on") {
        true => table.pairs("on").map(Spanned::into_inner),
        false => {
            let names = table.strings("on").into_iter();
            Some(names.map(|name| (name.clone(), name)).collect())
        }
    };
    let windows = windows(table);
    let on = on.filter(|on| written && !on.is_empty())?;
    Some(JoinSpec {
        kind: kind?,
        on,
        windows,
    })
}

fn aggregate(table: &mut Table<'_>) -> Option<AggregateSpec> {
    let group_by = table.strings("group_by");
    let window = window(table);
    let measures = table.pairs("aggregate")?;
    if measures.get_ref().is_empty() && group_by.is_empty() {
        let message = format!("{} computes nothing", table.what());
        let help = "write what to compute: aggregate = { n = \"count()\" }";
        table.problem(measures.span(), message, Some(help.into()));
    }
    let wanted = measures.get_ref().len();
    let measures: Vec<_> = measures
        .into_inner()
        .into_iter()
        .filter_map(|(name, text)| Some((name, expression::parse(&text, table.problems())?)))
        .collect();
    (measures.len() == wanted).then_some(AggregateSpec {
        group_by,
        measures,
        window,
    })
}

/// Reports a name that is none.
pub fn check_name(table: &Table<'_>, of: &str, name: &Spanned<String>) {
    let text = name.get_ref();
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !(first && text.chars().all(rest)) {
        let message = format!("`{text}` cannot be the name of {of}");
        let help =
            "a name has letters, digits, `-` and `_`, and does not begin with a digit or `-`";
        table.problem(name.span(), message, Some(help.into()));
    }
}

/// The place of a part of a text, where the text is written without escapes; else of the whole.
pub fn within(text: &Spanned<String>, part: Span) -> Span {
    let span = text.span();
    if span.len() == text.get_ref().len() + 2 {
        span.start + 1 + part.start..span.start + 1 + part.end
    } else {
        span
    }
}
