//! What a pipeline file says: every setting with its place, each right in itself, not yet checked against the others.
//!
//! [`super::check`] takes a [`Spec`] from [`read`] and makes the [`super::Plan`] of it.

mod node;

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::plan::{EpochRules, Trigger};
use crate::checkpoint::CheckpointConfig;
use crate::config::{Problem, Span, Table};
use crate::deliver::SinkConfig;
use crate::state::StateConfig;

pub use node::{
    AggregateSpec, InputSpec, JoinSpec, NodeSpec, PluginSpec, Role, SelectSpec, Settings, within,
};
use node::{check_name, nodes_of};

/// A whole file.
pub struct Spec {
    /// The pipeline's name; `None` after a problem with it.
    pub name: Option<Spanned<String>>,
    /// `[epoch]`
    pub epoch: EpochRules,
    /// Where the trigger is set.
    pub trigger_span: Span,
    /// How much state is held in memory.
    pub state: StateConfig,
    /// Partitions after an exchange.
    pub partitions: u32,
    /// Sources, then steps, then sinks, each in the file's order.
    pub nodes: Vec<NodeSpec>,
    /// `[checkpoint]`, if there.
    pub checkpoint: Option<CheckpointConfig>,
    /// `[rejected]`, if there; within it `None` after a problem.
    pub rejected: Option<Spanned<Option<Rejected>>>,
}

/// `[rejected]`
#[derive(Clone)]
pub struct Rejected {
    /// Where rejected rows go.
    pub sink: SinkConfig,
    /// Where rows lie that come again.
    pub again: Option<PathBuf>,
}

/// Reads a whole file; problems are collected in the table.
pub fn read(mut file: Table<'_>) -> Spec {
    let name = file.required_string("name", "the pipeline's name");
    if let Some(name) = &name {
        check_name(&file, "the pipeline", name);
    }
    let (epoch, trigger_span) = match file.table("epoch", "`[epoch]`") {
        Some(table) => epoch(table),
        None => (default_epoch(), 0..0),
    };
    let partitions = partitions(&mut file, "partitions").unwrap_or(DEFAULT_PARTITIONS);
    let checkpoint = file
        .table("checkpoint", "`[checkpoint]`")
        .and_then(|mut table| {
            if table.is_confined() {
                let help = "remove the table: the server keeps the checkpoint, over all versions of the pipeline";
                table.problem(table.span(), "`[checkpoint]` is not the file's to choose here", Some(help.into()));
            }
            let checkpoint = CheckpointConfig::from_table(&mut table, epoch.max_in_flight);
            table.finish();
            checkpoint
        });
    let state = file.table("state", "`[state]`").map(|mut table| {
        let state = StateConfig::from_table(&mut table);
        table.finish();
        state
    });
    let mut nodes = Vec::new();
    for role in [Role::Source, Role::Step, Role::Sink] {
        nodes.extend(nodes_of(&mut file, role));
    }
    let rejected = file.table("rejected", "`[rejected]`").map(rejected);
    file.finish();
    Spec {
        name,
        epoch,
        trigger_span,
        partitions,
        state: state.unwrap_or_default(),
        nodes,
        checkpoint,
        rejected,
    }
}

/// A number of partitions, if written and right.
fn partitions(table: &mut Table<'_>, key: &str) -> Option<u32> {
    let count = table.integer(key, 1)?;
    let most = u64::from(crate::ids::KEY_GROUPS);
    if *count.get_ref() > most {
        let message = format!("`{key}` can be at most {most}, the number of key groups");
        table.problem(count.span(), message, None);
        return None;
    }
    u32::try_from(count.into_inner()).ok()
}

/// `[rejected]`, with its place.
fn rejected(mut table: Table<'_>) -> Spanned<Option<Rejected>> {
    let span = table.span();
    let again = table.path("again").map(Spanned::into_inner);
    let config = match table.peek("type") {
        Some("files") => SinkConfig::from_table(&mut table),
        Some(_) => {
            table.problem(span.clone(), "`[rejected]` must be a `files` sink", None);
            table.ignore_rest();
            None
        }
        None => {
            table.missing("type", "which is always \"files\"", None);
            table.ignore_rest();
            None
        }
    };
    table.finish();
    let config = config.map(|sink| Rejected { sink, again });
    Spanned::new(span, config)
}

/// Enough to spread a laptop's cores, few enough that small aggregates do not drown in empty partitions.
const DEFAULT_PARTITIONS: u32 = 8;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// Large enough to hide the cost of an epoch, small enough that three of them fit in a laptop's memory.
const DEFAULT_MAX_BYTES: u64 = 64 << 20;
/// One being read, one being computed, one being delivered.
const DEFAULT_MAX_IN_FLIGHT: u32 = 3;
/// Twice an epoch's input: what a step multiplies is held back before it fills the memory.
const DEFAULT_MAX_LIVE_BYTES: u64 = 128 << 20;

fn default_epoch() -> EpochRules {
    EpochRules {
        trigger: Trigger::Interval(DEFAULT_INTERVAL),
        max_rows: u64::MAX,
        max_bytes: DEFAULT_MAX_BYTES,
        max_rate: None,
        adaptive: true,
        max_in_flight: DEFAULT_MAX_IN_FLIGHT,
        max_live_bytes: DEFAULT_MAX_LIVE_BYTES,
    }
}

fn epoch(mut table: Table<'_>) -> (EpochRules, Span) {
    let mut rules = default_epoch();
    let interval = table.duration("interval");
    let trigger = table.choice("trigger", &[("available-now", Trigger::AvailableNow)]);
    if let (Some(interval), Some(trigger)) = (&interval, &trigger) {
        table.problems().push(
            Problem::error(
                trigger.span(),
                "`[epoch]` has either `interval` or `trigger`, not both",
            )
            .also(interval.span(), "the interval")
            .help("epochs of `available-now` follow each other at once; their size is set by `max_rows` and `max_bytes`"),
        );
    }
    let mut span = table.span();
    if let Some(interval) = interval {
        span = interval.span();
        rules.trigger = Trigger::Interval(interval.into_inner());
    }
    if let Some(trigger) = trigger {
        span = trigger.span();
        rules.trigger = trigger.into_inner();
    }
    if let Some(rows) = table.integer("max_rows", 1) {
        rules.max_rows = rows.into_inner();
    }
    if let Some(bytes) = table.size("max_bytes") {
        rules.max_bytes = bytes.into_inner();
    }
    rules.max_rate = table.integer("max_rate", 1).map(Spanned::into_inner);
    rules.adaptive = table.boolean("adaptive", true);
    if let Some(epochs) = table.integer("max_in_flight", 1) {
        rules.max_in_flight = u32::try_from(epochs.into_inner()).unwrap_or(u32::MAX);
    }
    if let Some(bytes) = table.size("max_live_bytes") {
        rules.max_live_bytes = bytes.into_inner();
    }
    table.finish();
    (rules, span)
}
