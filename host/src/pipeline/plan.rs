//! A checked pipeline: the truth that the data plane builds from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};

use crate::aggregate::Aggregate;
use crate::checkpoint::{
    CheckpointConfig, Code, ColumnRecord, Definition, PipelineRecord, StateRecord,
};
use crate::deliver::SinkConfig;
use crate::ids::{Digest, NodeName, PipelineName};
use crate::join::{Join, SIDES};
use crate::plugin;
use crate::receive::{SourceConfig, TableSource};
use crate::sql::Sql;
use crate::state::StateConfig;
use crate::telemetry::NodeCounters;
use crate::window::WindowSpec;

/// A whole pipeline. Every process of a run makes the same one from the same file.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The pipeline's name.
    pub name: PipelineName,
    /// What it was made of: processes whose code differs refuse each other.
    pub code: Code,
    /// How epochs are cut.
    pub epoch: EpochRules,
    /// How much state is held in memory.
    pub state: StateConfig,
    /// Partitions after an exchange.
    pub partitions: u32,
    /// In an order in which every input comes before its readers.
    pub nodes: Vec<Node>,
    /// Where the pipeline writes down what a crash must not lose; without it a run begins anew each time.
    pub checkpoint: Option<CheckpointConfig>,
    /// Where rejected rows go, if any node rejects; its rows have the columns of [`crate::deliver::rejected_schema`].
    pub rejected: Option<SinkConfig>,
}

impl Plan {
    /// What its checkpoint has to know of it.
    pub fn definition(&self) -> Definition {
        let nodes = self.nodes.iter();
        Definition {
            record: PipelineRecord {
                name: self.name.clone(),
                nodes: nodes
                    .map(|node| (node.name.clone(), node.role().to_owned()))
                    .collect(),
                partitions: self.partitions,
            },
            states: self.states(),
            code: self.code.clone(),
        }
    }

    /// What its steps remember, by the names that it is kept under.
    pub fn states(&self) -> BTreeMap<NodeName, StateRecord> {
        self.nodes.iter().flat_map(Node::states).collect()
    }
}

/// How epochs are cut.
#[derive(Clone, Debug)]
pub struct EpochRules {
    /// When.
    pub trigger: Trigger,
    /// At most so many rows over all sources.
    pub max_rows: u64,
    /// At most so many bytes over all sources.
    pub max_bytes: u64,
    /// At most so many rows a second over all sources.
    pub max_rate: Option<u64>,
    /// Whether epochs of an interval are kept as small as it takes to be done within it.
    pub adaptive: bool,
    /// At most so many epochs cut and not yet committed, or, without a checkpoint, delivered.
    pub max_in_flight: u32,
    /// Rows and batches alive in the data plane of a process stay below this; above it sources pause.
    pub max_live_bytes: u64,
}

/// When an epoch is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Every so often, or earlier when the limits are reached.
    Interval(Duration),
    /// At once, until all that was there at the start is read; then the run ends.
    AvailableNow,
}

/// One output port of one node, by position in [`Plan::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRef {
    /// Index of the node.
    pub node: usize,
    /// Index of its port.
    pub port: usize,
}

/// One of the separate inputs of a node.
#[derive(Clone, Debug)]
pub struct Input {
    /// What comes in, in the order written; several are a union and have equal schemas.
    pub ports: Vec<PortRef>,
    /// The columns that reach the node.
    pub schema: SchemaRef,
}

/// A source, step or sink.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// What it reads, each input for itself: none for a source, one for most steps and every sink.
    pub inputs: Vec<Input>,
    /// What it gives, one entry a port, pruned to columns that a later node reads; none of a port that no node reads.
    /// Empty for a sink.
    pub ports: Vec<SchemaRef>,
    /// What to do with a row that fails here.
    pub on_error: OnError,
    /// What it is.
    pub kind: NodeKind,
}

impl Node {
    /// The first input, which is the only one of a sink and of most steps. A source has none.
    pub fn input(&self) -> &Input {
        &self.inputs[0]
    }

    /// `source`, `step` or `sink`, as its table in the file is called.
    pub fn role(&self) -> &'static str {
        match self.kind {
            NodeKind::Source(_) | NodeKind::Table(_) => "source",
            NodeKind::Sink(_) => "sink",
            _ => "step",
        }
    }

    /// The ports as its plugin names them; none if it is not a plugin with ports.
    pub fn plugin_ports(&self) -> &[plugin::Port] {
        match &self.kind {
            NodeKind::Transform(step) => step.transform.ports(),
            NodeKind::Keyed(step) => step.keyed.ports(),
            _ => &[],
        }
    }

    /// The digest of its component, if it is user code.
    pub fn digest(&self) -> Option<Digest> {
        match &self.kind {
            NodeKind::Transform(step) => Some(step.transform.digest()),
            NodeKind::Keyed(step) => Some(step.keyed.digest()),
            NodeKind::Reduce(step, _) => Some(step.reducer.digest()),
            NodeKind::Sink(SinkConfig::Plugin(sink)) => Some(sink.plugin.digest()),
            _ => None,
        }
    }

    /// Its counters: those that its calls are charged to, if it is user code, else new ones.
    pub fn counters(&self) -> Arc<NodeCounters> {
        match &self.kind {
            NodeKind::Transform(step) => step.transform.counters(),
            NodeKind::Keyed(step) => step.keyed.counters(),
            NodeKind::Reduce(step, _) => step.reducer.counters(),
            NodeKind::Sink(SinkConfig::Plugin(sink)) => sink.plugin.counters(),
            _ => Arc::default(),
        }
    }

    /// What it remembers, by the names that it is kept under: its own, or of a join over windows those of its sides.
    pub fn states(&self) -> Vec<(NodeName, StateRecord)> {
        if let NodeKind::Join(join, Some(windows)) = &self.kind {
            let side = |side: usize| {
                let (_, kept) = join.kept(side, &self.inputs[side].schema);
                let record = panes(&kept, join.keys[side].len(), windows[side]);
                (self.side(side), record)
            };
            return [0, 1].map(side).into();
        }
        let state = self.state().into_iter();
        state.map(|state| (self.name.clone(), state)).collect()
    }

    /// The name of what is kept of a side of a join; no node has one like it.
    pub fn side(&self, side: usize) -> NodeName {
        format!("{}.{}", self.name, SIDES[side]).as_str().into()
    }

    fn state(&self) -> Option<StateRecord> {
        match &self.kind {
            NodeKind::Keyed(step) => {
                let state = step.keyed.state();
                let record = StateRecord {
                    keys: ColumnRecord::of(&step.key_schema),
                    columns: ColumnRecord::of(&state.columns),
                    version: state.version,
                    migrates_from: state.migrates_from.clone(),
                };
                (!record.columns.is_empty()).then_some(record)
            }
            NodeKind::Aggregate(aggregate, Some(window)) => {
                let partial = aggregate.partial_schema(&self.input().schema).ok()?;
                Some(panes(&partial, aggregate.keys.len(), *window))
            }
            NodeKind::Reduce(step, Some(window)) => {
                Some(panes(&step.partial, step.group_by.len(), *window))
            }
            _ => None,
        }
    }
}

/// What is kept of windows: rows or partial results, of which the first columns are the key's.
fn panes(kept: &Schema, keys: usize, window: WindowSpec) -> StateRecord {
    let mut keys_and_values = ColumnRecord::of(kept);
    let columns = keys_and_values.split_off(keys);
    // Panes of other windows are of no use.
    let pane = ColumnRecord::of_window(window.length(), window.slide());
    keys_and_values.insert(0, pane);
    StateRecord {
        keys: keys_and_values,
        columns,
        version: 0,
        migrates_from: Vec::new(),
    }
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// Input.
    Source(SourceConfig),
    /// Rows of no epoch, which a join looks up.
    Table(TableSource),
    /// User code, world `transform`.
    Transform(TransformStep),
    /// User code, world `keyed`.
    Keyed(KeyedStep),
    /// Conditions and columns in SQL.
    Sql(SqlStep),
    /// Native grouping, of each epoch or over windows.
    Aggregate(Aggregate, Option<WindowSpec>),
    /// User code, world `reducer`, of each epoch or over windows.
    Reduce(ReduceStep, Option<WindowSpec>),
    /// Two inputs brought together by key, of each epoch or over windows, those of the left and of the right.
    Join(Join, Option<[WindowSpec; 2]>),
    /// Rows dealt out to so many partitions.
    Repartition(u32),
    /// Output. World `sink` is one of them.
    Sink(SinkConfig),
}

/// A `plugin` step.
#[derive(Clone, Debug)]
pub struct TransformStep {
    /// Compiled, configured, described; opens instances.
    pub transform: Arc<plugin::Transform>,
    /// Where an instance lives.
    pub lifetime: Lifetime,
    /// Per port, the input columns (indices into its input) that are carried beside what the plugin made.
    /// In the port's schema carried columns come first, in this order, then the plugin's in its order, minus the pruned.
    pub carried: Vec<Vec<usize>>,
    /// Per port, which of the plugin's columns are kept (indices into the plugin's port).
    pub kept: Vec<Vec<usize>>,
}

/// A `plugin` step whose plugin remembers something of each key.
#[derive(Clone, Debug)]
pub struct KeyedStep {
    /// Compiled, configured, described; opens instances.
    pub keyed: Arc<plugin::Keyed>,
    /// The key's columns.
    pub key_schema: SchemaRef,
    /// Of each input, where the key's columns are.
    pub group_by: Vec<Vec<usize>>,
    /// Of each input, its columns; those of [`Node::inputs`].
    pub input_schemas: Vec<SchemaRef>,
    /// Whether keys that have state are called in every epoch, as Spark's `updateStateByKey` does.
    pub every_key: bool,
    /// Per port, the key's columns (indices into [`Self::key_schema`]) that are carried before what the plugin made.
    pub carried: Vec<Vec<usize>>,
    /// Per port, which of the plugin's columns are kept (indices into the plugin's port).
    pub kept: Vec<Vec<usize>>,
}

/// A `plugin` step whose plugin makes one row of many.
#[derive(Clone, Debug)]
pub struct ReduceStep {
    /// Compiled, configured, described; opens instances.
    pub reducer: Arc<plugin::Reducer>,
    /// The key's columns; none if all rows are reduced to one.
    pub key_schema: SchemaRef,
    /// Where they are in the input.
    pub group_by: Vec<usize>,
    /// Where the columns are that are reduced.
    pub values: Vec<usize>,
    /// What these are in the input.
    pub value_schema: SchemaRef,
    /// The key's columns and the result's.
    pub partial: SchemaRef,
}

/// A `filter` or `select` step.
#[derive(Clone, Debug)]
pub struct SqlStep {
    /// What it computes, over the columns that reach it.
    pub sql: Sql,
    /// The input columns (indices into its input) that go along; in the port's schema they come first, then those computed.
    pub carried: Vec<usize>,
    /// Which of the computed columns are kept.
    pub kept: Vec<usize>,
}

/// How long an instance of a plugin lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// A fresh one per (step, epoch, partition): no hidden state, a replay gives the same.
    Partition,
    /// One per worker, for plugins with a costly start.
    Worker,
}

/// What to do with a record or row that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// End the run.
    #[default]
    Fail,
    /// Drop it and count it.
    Skip,
    /// Write it, with where it came from and why, to the pipeline's `[rejected]` sink, and count it.
    Reject,
}
