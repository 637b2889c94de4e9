//! Steps over windows: what epochs bring is kept, and worked on when windows end.
//!
//! Every epoch comes by here, also one without rows: a window ends with time. It is worked on one partition after the other, since a window may
//! have far more rows than an epoch. What is kept goes to the [`store`](super::store),
//! of each input for itself ([`panes`]). What is kept of rows, and what is made of a window, is a [`Work`]'s: they are [`grouped`] or [`joined`].

pub mod grouped;
pub mod joined;
mod panes;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use timely::container::{CapacityContainerBuilder, NoopBuilder};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};
use timely::progress::frontier::MutableAntichain;

use super::arrivals::{Epochs, Inputs};
use super::context::{Shared, Waker};
use super::parcel::{Parcel, Parcels};
use super::results::Results;
use super::route;
use super::slice::{Pause, Slice};
use super::store::{Barrier, Kept, Stored};
use crate::batch::UTC;
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, NodeName, PartitionId};
use crate::pipeline::Node;
use crate::plugin::CallContext;
use crate::state::Batch;
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
        inputs: &[Vec<Batch>],
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
    let activator = scope.activator_for(address.clone());
    waker.bind(scope.worker().sync_activator_for(address.to_vec()));
    builder.build(move |_capabilities| {
        let mut window = Operator::new(context, index, work, over, waker.clone());
        move |frontiers| {
            waker.rearm();
            let epochs = &mut window.epochs;
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
            let pause = window.work(frontiers, &mut |capability, mut parcels| {
                output
                    .activate()
                    .session_with_builder(capability)
                    .give_container(&mut parcels);
            });
            let mut stored = stored_output.activate();
            let give = &mut |capability: &_, one| stored.session(capability).give(one);
            window.barrier.pass_on(give);
            pause.schedule(&activator);
        }
    });
    (results, stored)
}

/// Sends the results of a partition on.
type Emit<'a> = dyn FnMut(&Capability<u64>, Parcels) + 'a;

/// An epoch being worked on.
struct Running {
    epoch: Epoch,
    time: BatchTime,
    capability: Capability<u64>,
    /// Those that are left.
    partitions: VecDeque<PartitionId>,
    arrived: BTreeMap<PartitionId, Inputs>,
}

struct Operator {
    context: Shared,
    node: Node,
    work: Box<dyn Work>,
    over: Vec<Over>,
    epochs: Epochs,
    running: Option<Running>,
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
            epochs: Epochs::new(over.len()),
            over,
            running: None,
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
            let memory = &self.context.state;
            let panes = inputs.map(|over| Panes::load(over, spans, partition, memory.clone()));
            let panes = panes.collect::<Result<_, _>>()?;
            self.partitions.insert(partition, panes);
        }
        Ok(())
    }

    /// Works on epochs, one partition after the other.
    fn work(&mut self, frontiers: &[MutableAntichain<u64>], emit: &mut Emit<'_>) -> Pause {
        let mut slice = Slice::begin();
        while !self.context.abort.is_set()
            && let Some(mut running) = self.running.take().or_else(|| self.next(frontiers))
        {
            if self.results.are_too_much() {
                self.running = Some(running);
                return Pause::Full;
            }
            let Some(partition) = running.partitions.pop_front() else {
                self.barrier.end(running.epoch);
                continue;
            };
            let (epoch, began) = (running.epoch, Instant::now());
            let advanced = self.advance(&mut running, partition);
            self.context.traces.worked(epoch, &self.node.name, began);
            match advanced {
                Ok(batches) if batches.is_empty() => {}
                Ok(batches) => {
                    let bytes = batches.iter().map(RecordBatch::get_array_memory_size);
                    slice.add(bytes.sum());
                    let parcels = self.results.parcels(partition, running.time, batches);
                    emit(&running.capability, parcels);
                }
                Err(failure) => {
                    let failure = failure.at_node(&self.node.name).at(epoch, partition);
                    self.context.abort.fail(failure);
                }
            }
            self.running = Some(running);
            if slice.is_used_up() {
                return Pause::Slice;
            }
        }
        Pause::Idle
    }

    /// The next epoch, if all of it has come.
    fn next(&mut self, frontiers: &[MutableAntichain<u64>]) -> Option<Running> {
        let (epoch, mut arrivals) = self.epochs.complete(frontiers)?;
        let stored = arrivals.capabilities.pop().expect("one of two");
        self.barrier.begin(epoch, stored);
        Some(Running {
            epoch,
            time: arrivals.time,
            capability: arrivals.capabilities.pop().expect("the other"),
            partitions: self.partitions.keys().copied().collect(),
            arrived: arrivals.partitions,
        })
    }

    /// One epoch of a partition: the rows of the windows that end.
    fn advance(
        &mut self,
        running: &mut Running,
        partition: PartitionId,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let call = self.context.call(running.epoch, running.time, partition);
        let inputs = running.arrived.remove(&partition);
        let inputs = inputs.unwrap_or_else(|| vec![Vec::new(); self.over.len()]);
        let panes = self.partitions.get_mut(&partition).expect("it is loaded");
        let mut ended = Vec::new();
        for (place, (panes, parcels)) in panes.iter_mut().zip(inputs).enumerate() {
            let rows = match parcels.is_empty() {
                true => None,
                false => Some(self.work.take(call, place, parcels)?),
            };
            let rows = rows.filter(|rows| rows.num_rows() > 0);
            let mut combine = |parts: &[&RecordBatch]| self.work.combine(call, parts);
            ended.push(panes.advance(call.epoch, call.time, rows, &mut combine)?);
            if let Some((change, next_end)) = panes.change()? {
                let place = (&self.over[place].name, call.partition);
                self.barrier
                    .change(call.epoch, place, Some(change), next_end);
            }
        }
        let mut results = Vec::new();
        for (end, inputs) in by_end(ended) {
            for rows in self.work.finish(call, &inputs)? {
                results.push(bounded(&self.node, &self.over, end, &rows)?);
            }
        }
        for panes in panes {
            panes.settle()?;
        }
        Ok(results)
    }
}

/// Rows of the window that ends then, with its bounds: it is as long as the longest of its inputs.
fn bounded(
    node: &Node,
    over: &[Over],
    end: i64,
    rows: &RecordBatch,
) -> Result<RecordBatch, Failure> {
    let lengths = over.iter().map(|over| over.windows.length());
    let start = end - lengths.max().unwrap_or_default();
    let bounds = [start, end].map(|millis| -> ArrayRef {
        let micros = vec![millis * 1000; rows.num_rows()];
        Arc::new(TimestampMicrosecondArray::from(micros).with_timezone(UTC))
    });
    let columns = bounds.into_iter().chain(rows.columns().iter().cloned());
    let schema = node.ports[0].clone();
    RecordBatch::try_new(schema, columns.collect()).map_err(|error| {
        Failure::internal(format!(
            "a window's rows could not be put together: {error}"
        ))
    })
}
