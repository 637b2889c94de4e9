//! Builds the dataflow of a plan on one worker: one operator after another in the plan's order.

use std::collections::BTreeMap;

use crossbeam_channel::Sender;

use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::dataflow::{Scope, Stream, StreamVec};
use timely::worker::Worker;

use super::context::Shared;
use super::grouper::Grouping;
use super::outlet::{Outlet, SinkToken};
use super::parcel::{Parcel, Parcels};
use super::plan::{EpochFeed, Epochs};
use super::store::{Kept, Stored};
use super::window::grouped::Grouped;
use super::window::joined::Joined;
use super::window::{Over, Work};
use super::{
    aggregate, collect, combine, gather, join, keyed, lookup, plan, repartition, route, sink,
    source, spread, sql, transform, window,
};
use crate::deliver::Routing;
use crate::ids::{Epoch, NodeName, PartitionId};
use crate::join::Join;
use crate::pipeline::{Input, NodeKind};
use crate::window::WindowSpec;

/// What a worker brings to the graph beside its [`Shared`] context.
pub struct Ends {
    /// The epochs, on worker 0 only.
    pub feed: Option<EpochFeed>,
    /// The outlet of each sink node, by index in the plan.
    pub outlets: BTreeMap<usize, Outlet>,
    /// The outlet of the pipeline's `[rejected]` sink.
    pub rejected: Option<Outlet>,
    /// This worker's place among those of its process.
    pub local: usize,
    /// Where steps that remember something keep it.
    pub kept: BTreeMap<NodeName, Kept>,
    /// The epoch driver's ears, on worker 0 only.
    pub told: Option<Told>,
}

/// Where the epoch driver hears what belongs to an epoch before the epoch is delivered.
#[derive(Clone)]
pub struct Told {
    /// What is kept of steps.
    pub stored: Sender<(Epoch, Stored)>,
    /// What sinks have prepared.
    pub prepared: Sender<(Epoch, SinkToken)>,
}

type Rows<'scope> = Stream<'scope, u64, Parcels>;

/// Builds the graph. The probe's frontier has passed an epoch when every sink of every process has delivered it.
pub fn build(worker: &mut Worker, context: Shared, mut ends: Ends) -> Handle<u64> {
    let name = context.plan.name.to_string();
    worker.dataflow_core(&name, None, Box::new(()), |_, scope| {
        let mut graph = Graph {
            scope,
            context,
            ports: BTreeMap::new(),
            rejected: Vec::new(),
            delivered: Vec::new(),
            stored: Vec::new(),
            prepared: Vec::new(),
        };
        graph.nodes(&mut ends);
        graph.finish(ends)
    })
}

struct Graph<'scope> {
    scope: Scope<'scope, u64>,
    context: Shared,
    ports: BTreeMap<(usize, usize), Rows<'scope>>,
    rejected: Vec<Rows<'scope>>,
    delivered: Vec<Rows<'scope>>,
    stored: Vec<StreamVec<'scope, u64, Stored>>,
    prepared: Vec<StreamVec<'scope, u64, SinkToken>>,
}

impl<'scope> Graph<'scope> {
    fn nodes(&mut self, ends: &mut Ends) {
        let (outlets, local) = (&ends.outlets, ends.local);
        let epochs = plan::epochs(self.scope, self.context.clone(), ends.feed.take());
        let nodes = self.context.plan.clone();
        for (index, node) in nodes.nodes.iter().enumerate() {
            let context = self.context.clone();
            match &node.kind {
                NodeKind::Source(_) => {
                    let reader = context.readers[&index].clone();
                    let (rows, rejected) =
                        source::source(epochs.reads.clone(), context, index, reader);
                    self.ports.insert((index, 0), rows);
                    self.rejected.push(rejected);
                }
                // Read by the process, and looked up by joins.
                NodeKind::Table(_) => {}
                NodeKind::Transform(step) => {
                    let input = self.input(node.input());
                    let (ports, rejected) =
                        transform::transform(input, context, index, step.clone());
                    for (port, rows) in ports.into_iter().enumerate() {
                        self.ports.insert((index, port), rows);
                    }
                    self.rejected.push(rejected);
                }
                NodeKind::Keyed(step) => {
                    let inputs = node.inputs.iter().zip(&step.group_by);
                    let inputs = inputs.map(|(input, keys)| {
                        let rows = self.input(input);
                        spread::by_key(rows, context.clone(), index, keys.clone())
                    });
                    let inputs = inputs.collect();
                    let (times, step) = (epochs.times.clone(), step.clone());
                    let kept = ends.kept.get(&node.name).cloned();
                    let made = keyed::keyed(inputs, times, context, index, step, kept);
                    for (port, rows) in made.ports.into_iter().enumerate() {
                        self.ports.insert((index, port), rows);
                    }
                    self.rejected.push(made.rejected);
                    self.stored.push(made.stored);
                }
                NodeKind::Sql(step) => {
                    let input = self.input(node.input());
                    let (rows, rejected) = sql::sql(input, context, index, step.clone());
                    self.ports.insert((index, 0), rows);
                    self.rejected.push(rejected);
                }
                NodeKind::Aggregate(what, windows) => {
                    let input = node.input().schema.clone();
                    let grouping = Grouping::Native(what.clone(), input);
                    self.group(index, grouping, *windows, &epochs, ends);
                }
                NodeKind::Reduce(step, windows) => {
                    let grouping = Grouping::Plugin(step.clone());
                    self.group(index, grouping, *windows, &epochs, ends);
                }
                NodeKind::Join(what, windows) => self.join(index, what, *windows, &epochs, ends),
                NodeKind::Repartition(partitions) => {
                    let input = self.input(node.input());
                    let rows = repartition::repartition(input, context, index, *partitions);
                    self.ports.insert((index, 0), rows);
                }
                NodeKind::Sink(config) => {
                    let input = self.input(node.input());
                    let (outlet, routing) = (outlets[&index].clone(), config.routing());
                    let name = node.name.as_str();
                    let sunk = sink::sink(input, context, outlet, local, name, routing);
                    // A refused row is the last word of its epoch, so the same stream says what is delivered.
                    self.rejected.push(sunk.refused.clone());
                    self.delivered.push(sunk.refused);
                    self.prepared.push(sunk.prepared);
                }
            }
        }
    }

    /// Two inputs, of each epoch or over windows, or one and a table that the process holds.
    fn join(
        &mut self,
        index: usize,
        join: &Join,
        windows: Option<[WindowSpec; 2]>,
        epochs: &Epochs<'scope>,
        ends: &Ends,
    ) {
        let context = self.context.clone();
        let node = &context.plan.nodes[index];
        if let Some(table) = context.tables.of(index) {
            let left = self.input(node.input());
            let rows = lookup::lookup(left, context.clone(), index, join.clone(), table);
            self.ports.insert((index, 0), rows);
            return;
        }
        let sides = [0, 1].map(|side| {
            let rows = self.input(&node.inputs[side]);
            spread::by_key(rows, context.clone(), index, join.keys[side].clone())
        });
        match windows {
            None => {
                let rows = join::join(sides.into(), context.clone(), index, join.clone());
                self.ports.insert((index, 0), rows);
            }
            Some(windows) => {
                let over = [0, 1].map(|side| over(node.side(side), windows[side], ends));
                let work = Box::new(Joined::new(join, node));
                self.windows(index, sides.into(), work, over.into(), epochs);
            }
        }
    }

    /// A grouping: combined where the rows are, merged by the owners of the keys, of each epoch or over windows.
    fn group(
        &mut self,
        index: usize,
        grouping: Grouping,
        windows: Option<WindowSpec>,
        epochs: &Epochs<'scope>,
        ends: &Ends,
    ) {
        let context = self.context.clone();
        let node = &context.plan.nodes[index];
        let input = self.input(node.input());
        let partials = combine::combine(input, context.clone(), index, grouping.clone());
        match windows {
            None => {
                let times = epochs.times.clone();
                let rows = aggregate::aggregate(partials, times, context.clone(), index, grouping);
                self.ports.insert((index, 0), rows);
            }
            Some(windows) => {
                let over = vec![over(node.name.clone(), windows, ends)];
                let work = Box::new(Grouped(grouping.grouper(&context, index)));
                self.windows(index, vec![partials], work, over, epochs);
            }
        }
    }

    /// A step over windows.
    fn windows(
        &mut self,
        index: usize,
        inputs: Vec<Rows<'scope>>,
        work: Box<dyn Work>,
        over: Vec<Over>,
        epochs: &Epochs<'scope>,
    ) {
        let (times, context) = (epochs.times.clone(), self.context.clone());
        let (rows, stored) = window::window(inputs, times, context, index, work, over);
        self.stored.push(stored);
        self.ports.insert((index, 0), rows);
    }

    /// The rows of several ports as one stream, each partition under a number of its own.
    fn input(&self, input: &Input) -> Rows<'scope> {
        let ports = input.ports.iter();
        let ports: Vec<_> = ports
            .map(|port| self.ports[&(port.node, port.port)].clone())
            .collect();
        if let [only] = ports.as_slice() {
            return only.clone();
        }
        let count = ports.len() as u32;
        let renumbered = ports.into_iter().enumerate().map(|(place, rows)| {
            route::map(rows, "union", move |parcel| {
                let partition = PartitionId(parcel.partition.0 * count + place as u32);
                Parcel {
                    partition,
                    from: partition,
                    ..parcel
                }
            })
        });
        self.scope.concatenate(renumbered)
    }

    fn finish(mut self, ends: Ends) -> Handle<u64> {
        if let Some(outlet) = ends.rejected {
            let rejected = self.scope.concatenate(std::mem::take(&mut self.rejected));
            let rejected = gather::address(rejected, self.context.clone());
            // What was turned away where depends on timing; the order of partition, node and row does not.
            let rejected = gather::gather(rejected, "gather", std::convert::identity);
            let context = self.context.clone();
            let sunk = sink::sink(
                rejected,
                context,
                outlet,
                ends.local,
                "rejected",
                Routing::Anywhere,
            );
            self.delivered.push(sunk.refused);
            self.prepared.push(sunk.prepared);
        }
        let probe = self.scope.concatenate(self.delivered).probe().0;
        let (stored, prepared) = match ends.told {
            Some(told) => (Some(told.stored), Some(told.prepared)),
            None => (None, None),
        };
        if !self.stored.is_empty() {
            let all = self.scope.concatenate(self.stored);
            collect::collect(all, "collect state", stored).probe_with(&probe);
        }
        let all = self.scope.concatenate(self.prepared);
        collect::collect(all, "collect tokens", prepared).probe_with(&probe);
        probe
    }
}

/// The windows of an input, kept under a name.
fn over(name: NodeName, windows: WindowSpec, ends: &Ends) -> Over {
    Over {
        kept: ends.kept.get(&name).cloned(),
        name,
        windows,
    }
}
