//! Steps over windows: what epochs bring is kept, and worked on when windows end.
//!
//! Every epoch comes by here, also one without rows: a window ends with time. What is kept goes to the [`store`](super::store),
//! of each input for itself ([`panes`]). What is kept of rows, and what is made of a window, is a [`Work`]'s: they are [`grouped`] or [`joined`].

pub mod grouped;
pub mod joined;
mod panes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use timely::container::{CapacityContainerBuilder, NoopBuilder};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};

use super::arrivals::{Epochs, Inputs};
use super::context::{Shared, Waker};
use super::parcel::{Parcel, Parcels};
use super::results::Results;
use super::route;
use super::store::{Barrier, Kept, Stored};
use crate::batch::UTC;
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, NodeName, PartitionId};
use crate::pipeline::Node;
use crate::plugin::CallContext;
use crate::window::{Spans, WindowSpec, by_end};
use panes::Panes;

/// What is done with the rows of windows.
pub trait Work {
    /// What the windows that end are given as.
    fn spans(&self) -> Spans;

    /// What is kept of what an epoch brings to an input.
    fn take(
        &mut self,
        call: CallContext,
        input: usize,
        parcels: Vec<Parcel>,
    ) -> Result<RecordBatch, Failure>;

    /// Several that are kept as one, in their order.
    fn combine(
        &mut self,
        call: CallContext,
        parts: &[&RecordBatch],
    ) -> Result<RecordBatch, Failure>;

    /// The rows of a window, without its bounds, of what is kept of each input in it.
    fn finish(
        &mut self,
        call: CallContext,
        inputs: &[Vec<RecordBatch>],
    ) -> Result<Vec<RecordBatch>, Failure>;
}

/// The windows of an input.
pub struct Over {
    /// What is kept goes by this name.
    pub name: NodeName,
    /// Which windows; all inputs have the same slide.
    pub windows: WindowSpec,
    /// Where it is kept, if there is a checkpoint.
    pub kept: Option<Kept>,
}

/// Builds the operator of the step at `index`: its rows, and what is kept. Each input has its windows.
pub fn window<'scope>(
    inputs: Vec<Stream<'scope, u64, Parcels>>,
    times: StreamVec<'scope, u64, BatchTime>,
    context: Shared,
    index: usize,
    work: Box<dyn Work>,
    over: Vec<Over>,
) -> (Stream<'scope, u64, Parcels>, StreamVec<'scope, u64, Stored>) {
    let scope = times.scope();
    let name = context.plan.nodes[index].name.to_string();
    let mut builder = OperatorBuilder::new(name, scope);
    let mut times = builder.new_input(times, Pipeline);
    let mut inputs: Vec<_> = inputs
        .into_iter()
        .map(|input| builder.new_input(input, route::by_target()))
        .collect();
    let (output, results) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    let (stored_output, stored) = builder.new_output::<Vec<Stored>>();
    let mut stored_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(stored_output);
    let waker = Arc::new(Waker::default());
    let address = builder.operator_info().address;
    waker.bind(scope.worker().sync_activator_for(address.to_vec()));
    builder.build(move |_capabilities| {
        let mut window = Operator::new(context, index, work, over, waker.clone());
        let mut epochs = Epochs::new(inputs.len());
        move |frontiers| {
            waker.rearm();
            times.for_each(|capability, times| {
                let retain = || vec![capability.retain(0), capability.retain(1)];
                epochs.begins(*capability.time(), times, retain);
            });
            for (place, input) in inputs.iter_mut().enumerate() {
                input.for_each(|capability, parcels| {
                    let retain = || vec![capability.retain(0), capability.retain(1)];
                    epochs.take(*capability.time(), place, parcels, retain);
                });
            }
            let mut output = output.activate();
            while !window.context.abort.is_set()
                && let Some((epoch, mut arrivals)) = epochs.complete(frontiers)
            {
                let stored = arrivals.capabilities.pop().expect("the last of two");
                window.barrier.begin(epoch, stored);
                let mut session = output.session_with_builder(&arrivals.capabilities[0]);
                let give = &mut |mut parcels| session.give_container(&mut parcels);
                window.advance(epoch, arrivals.time, arrivals.partitions, give);
                window.barrier.end(epoch);
            }
            let mut stored = stored_output.activate();
            let give = &mut |capability: &_, one| stored.session(capability).give(one);
            window.barrier.pass_on(give);
        }
    });
    (results, stored)
}

struct Operator {
    context: Shared,
    node: Node,
    work: Box<dyn Work>,
    over: Vec<Over>,
    /// Of each partition, the panes of each input.
    partitions: BTreeMap<PartitionId, Vec<Panes>>,
    barrier: Barrier,
    results: Results,
}

impl Operator {
    fn new(
        context: Shared,
        index: usize,
        work: Box<dyn Work>,
        over: Vec<Over>,
        waker: Arc<Waker>,
    ) -> Self {
        let node = context.plan.nodes[index].clone();
        let kept = over.iter().find_map(|over| over.kept.as_ref());
        let store = kept.map(|kept| kept.store.clone());
        let mut operator = Self {
            barrier: Barrier::new(store, waker),
            results: Results::new(context.clone(), &node.name),
            context,
            node,
            work,
            over,
            partitions: BTreeMap::new(),
        };
        if let Err(failure) = operator.load() {
            let failure = failure.at_node(&operator.node.name);
            operator.context.abort.fail(failure);
        }
        operator
    }

    /// Takes up this worker's partitions as they are kept.
    fn load(&mut self) -> Result<(), Failure> {
        let spans = self.work.spans();
        for partition in self.context.partitions() {
            let inputs = self.over.iter();
            let panes = inputs.map(|over| Panes::load(over, spans, partition));
            let panes = panes.collect::<Result<_, _>>()?;
            self.partitions.insert(partition, panes);
        }
        Ok(())
    }

    /// One epoch, over all partitions.
    fn advance(
        &mut self,
        epoch: Epoch,
        time: BatchTime,
        mut arrived: BTreeMap<PartitionId, Inputs>,
        give: &mut dyn FnMut(Parcels),
    ) {
        let began = Instant::now();
        let mut partitions = std::mem::take(&mut self.partitions);
        for (partition, panes) in &mut partitions {
            let nothing = || vec![Vec::new(); panes.len()];
            let inputs = arrived.remove(partition).unwrap_or_else(nothing);
            let call = self.context.call(epoch, time, *partition);
            match self.partition(call, panes, inputs) {
                Ok(batches) if batches.is_empty() => {}
                Ok(batches) => give(self.results.parcels(*partition, time, batches)),
                Err(failure) => {
                    let failure = failure.at_node(&self.node.name).at(epoch, *partition);
                    self.context.abort.fail(failure);
                }
            }
        }
        self.partitions = partitions;
        self.context.traces.worked(epoch, &self.node.name, began);
    }

    /// One epoch of a partition: the rows of the windows that end.
    fn partition(
        &mut self,
        call: CallContext,
        panes: &mut [Panes],
        inputs: Inputs,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let mut ended = Vec::new();
        for (place, (panes, parcels)) in panes.iter_mut().zip(inputs).enumerate() {
            let rows = match parcels.is_empty() {
                true => None,
                false => Some(self.work.take(call, place, parcels)?),
            };
            let rows = rows.filter(|rows| rows.num_rows() > 0);
            let mut combine = |parts: &[&RecordBatch]| self.work.combine(call, parts);
            ended.push(panes.advance(call.epoch, call.time, rows, &mut combine)?);
            if let Some((change, next_end)) = panes.change() {
                let place = (&self.over[place].name, call.partition);
                self.barrier
                    .change(call.epoch, place, Some(change), next_end);
            }
        }
        let mut results = Vec::new();
        for (end, inputs) in by_end(ended) {
            for rows in self.work.finish(call, &inputs)? {
                results.push(self.bounded(end, &rows)?);
            }
        }
        Ok(results)
    }

    /// Rows of the window that ends then, with its bounds: it is as long as the longest of its inputs.
    fn bounded(&self, end: i64, rows: &RecordBatch) -> Result<RecordBatch, Failure> {
        let lengths = self.over.iter().map(|over| over.windows.length());
        let start = end - lengths.max().unwrap_or_default();
        let bounds = [start, end].map(|millis| -> ArrayRef {
            let micros = vec![millis * 1000; rows.num_rows()];
            Arc::new(TimestampMicrosecondArray::from(micros).with_timezone(UTC))
        });
        let columns = bounds.into_iter().chain(rows.columns().iter().cloned());
        let schema = self.node.ports[0].clone();
        RecordBatch::try_new(schema, columns.collect()).map_err(|error| {
            Failure::internal(format!(
                "a window's rows could not be put together: {error}"
            ))
        })
    }
}
