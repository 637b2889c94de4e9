//! Builds the dataflow of a plan on one worker: one operator after another in the plan's order.

use std::collections::BTreeMap;

use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::dataflow::{Scope, Stream};
use timely::worker::Worker;

use super::context::Shared;
use super::outlet::Outlet;
use super::parcel::{Parcel, Parcels};
use super::plan::EpochFeed;
use super::{
    aggregate, combine, gather, join, lookup, plan, repartition, route, sink, source, sql,
    transform,
};
use crate::deliver::Routing;
use crate::ids::PartitionId;
use crate::join::Join;
use crate::pipeline::{Input, Node, NodeKind};

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
}

type Rows<'scope> = Stream<'scope, u64, Parcels>;

/// Builds the graph. The probe's frontier has passed an epoch when every sink of every process has delivered it.
pub fn build(worker: &mut Worker, context: Shared, ends: Ends) -> Handle<u64> {
    let name = context.plan.name.to_string();
    worker.dataflow_core(&name, None, Box::new(()), |_, scope| {
        let mut graph = Graph {
            scope,
            context,
            ports: BTreeMap::new(),
            rejected: Vec::new(),
            delivered: Vec::new(),
        };
        graph.nodes(ends.feed, &ends.outlets, ends.rejected.as_ref(), ends.local);
        graph.finish(ends.rejected, ends.local)
    })
}

struct Graph<'scope> {
    scope: Scope<'scope, u64>,
    context: Shared,
    ports: BTreeMap<(usize, usize), Rows<'scope>>,
    rejected: Vec<Rows<'scope>>,
    delivered: Vec<Rows<'scope>>,
}

impl<'scope> Graph<'scope> {
    fn nodes(
        &mut self,
        feed: Option<EpochFeed>,
        outlets: &BTreeMap<usize, Outlet>,
        rejected: Option<&Outlet>,
        local: usize,
    ) {
        let all = outlets.values().chain(rejected);
        let told = all.filter(|_| local == 0).cloned().collect();
        let directives = plan::epochs(self.scope, self.context.clone(), feed, told);
        let nodes = self.context.plan.clone();
        for (index, node) in nodes.nodes.iter().enumerate() {
            let context = self.context.clone();
            match &node.kind {
                NodeKind::Source(_) => {
                    let reader = context.readers[&index].clone();
                    let (rows, rejected) =
                        source::source(directives.clone(), context, index, reader);
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
                NodeKind::Sql(step) => {
                    let input = self.input(node.input());
                    let (rows, rejected) = sql::sql(input, context, index, step.clone());
                    self.ports.insert((index, 0), rows);
                    self.rejected.push(rejected);
                }
                NodeKind::Aggregate(what) => {
                    let input = self.input(node.input());
                    let partials = combine::combine(input, context.clone(), index, what.clone());
                    let rows = aggregate::aggregate(partials, context, index, what.clone());
                    self.ports.insert((index, 0), rows);
                }
                NodeKind::Join(what) => {
                    let rows = self.join(node, index, what.clone());
                    self.ports.insert((index, 0), rows);
                }
                NodeKind::Repartition(partitions) => {
                    let input = self.input(node.input());
                    let rows = repartition::repartition(input, context, index, *partitions);
                    self.ports.insert((index, 0), rows);
                }
                NodeKind::Sink(config) => {
                    let input = self.input(node.input());
                    let (outlet, routing) = (outlets[&index].clone(), config.routing());
                    let name = node.name.as_str();
                    let refused = sink::sink(input, context, outlet, local, name, routing);
                    // A refused row is the last word of its epoch, so the same stream says what is delivered.
                    self.rejected.push(refused.clone());
                    self.delivered.push(refused);
                }
            }
        }
    }

    /// Two inputs, or one and a table that the process holds.
    fn join(&self, node: &Node, index: usize, join: Join) -> Rows<'scope> {
        let context = self.context.clone();
        let left = self.input(&node.inputs[0]);
        match context.tables.of(index) {
            Some(table) => lookup::lookup(left, context, index, join, table),
            None => {
                let right = self.input(&node.inputs[1]);
                join::join(left, right, context, index, join)
            }
        }
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

    fn finish(mut self, outlet: Option<Outlet>, local: usize) -> Handle<u64> {
        if let Some(outlet) = outlet {
            let rejected = self.scope.concatenate(std::mem::take(&mut self.rejected));
            let rejected = gather::address(rejected, self.context.clone());
            // What was turned away where depends on timing; the order of partition, node and row does not.
            let rejected = gather::gather(rejected, "gather", std::convert::identity);
            let context = self.context.clone();
            self.delivered.push(sink::sink(
                rejected,
                context,
                outlet,
                local,
                "rejected",
                Routing::Anywhere,
            ));
        }
        self.scope.concatenate(self.delivered).probe().0
    }
}
