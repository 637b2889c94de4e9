//! The second half of a grouping over windows: keeps the partial results of epochs, and gives those of windows that end.
//!
//! Every epoch comes by here, also one without rows: a window ends with time. What is kept goes to the [`store`](super::store).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use timely::container::{CapacityContainerBuilder, NoopBuilder};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};

use super::aggregate::{in_order, pieces};
use super::arrivals::Epochs;
use super::context::{Emitted, Shared, Waker};
use super::grouper::{Grouper, Grouping};
use super::parcel::{Parcel, Parcels};
use super::route;
use super::store::{Barrier, Change, Kept, Stored};
use crate::batch::UTC;
use crate::checkpoint::Segment;
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, Generation, PartitionId, WorkerIndex};
use crate::pipeline::Node;
use crate::plugin::CallContext;
use crate::telemetry::{NodeCounters, count};
use crate::window::{Ended, Part, WindowSpec, Windows};

/// Builds the operator of the aggregate at `index`: its rows, and what is kept.
pub fn window<'scope>(
    partials: Stream<'scope, u64, Parcels>,
    times: StreamVec<'scope, u64, BatchTime>,
    context: Shared,
    index: usize,
    (grouping, spec): (Grouping, WindowSpec),
    kept: Option<Kept>,
) -> (Stream<'scope, u64, Parcels>, StreamVec<'scope, u64, Stored>) {
    let scope = times.scope();
    let name = context.plan.nodes[index].name.to_string();
    let mut builder = OperatorBuilder::new(name, scope);
    let mut times = builder.new_input(times, Pipeline);
    let mut input = builder.new_input(partials, route::by_target());
    let (output, results) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    let (stored_output, stored) = builder.new_output::<Vec<Stored>>();
    let mut stored_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(stored_output);
    let waker = Arc::new(Waker::default());
    let address = builder.operator_info().address;
    waker.bind(scope.worker().sync_activator_for(address.to_vec()));
    builder.build(move |_capabilities| {
        let mut window = Operator::new(context, index, grouping, spec, kept, waker.clone());
        let mut epochs = Epochs::default();
        move |frontiers| {
            waker.rearm();
            times.for_each(|capability, times| {
                let retain = || vec![capability.retain(0), capability.retain(1)];
                epochs.begins(*capability.time(), times, retain);
            });
            input.for_each(|capability, parcels| {
                let retain = || vec![capability.retain(0), capability.retain(1)];
                epochs.take(*capability.time(), parcels, retain);
            });
            let mut output = output.activate();
            while !window.context.abort.is_set()
                && let Some((epoch, mut arrivals)) = epochs.complete(frontiers)
            {
                let stored = arrivals.capabilities.pop().expect("the last of two");
                window.barrier.begin(epoch, stored);
                let mut session = output.session_with_builder(&arrivals.capabilities[0]);
                let give = &mut |parcels: Vec<Parcel>| session.give_container(&mut parcels.into());
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

/// One partition.
struct Partition {
    windows: Windows<RecordBatch>,
    /// What is written down or on its way.
    written: BTreeSet<(Epoch, Epoch)>,
    next_end: Option<i64>,
}

struct Operator {
    context: Shared,
    node: Node,
    grouper: Box<dyn Grouper>,
    spec: WindowSpec,
    partitions: BTreeMap<PartitionId, Partition>,
    barrier: Barrier,
    counters: Arc<NodeCounters>,
    emitted: Emitted,
}

impl Operator {
    fn new(
        context: Shared,
        index: usize,
        grouping: Grouping,
        spec: WindowSpec,
        kept: Option<Kept>,
        waker: Arc<Waker>,
    ) -> Self {
        let node = context.plan.nodes[index].clone();
        let store = kept.as_ref().map(|kept| kept.store.clone());
        let mut operator = Self {
            barrier: Barrier::new(node.name.clone(), store, waker),
            grouper: grouping.grouper(&context, index),
            counters: context.counters.of(&node.name),
            context,
            node,
            spec,
            partitions: BTreeMap::new(),
            emitted: Emitted::default(),
        };
        if let Err(failure) = operator.load(kept.as_ref()) {
            let failure = failure.at_node(&operator.node.name);
            operator.context.abort.fail(failure);
        }
        operator
    }

    /// Takes up this worker's partitions as they are kept.
    fn load(&mut self, kept: Option<&Kept>) -> Result<(), Failure> {
        for partition in self.context.partitions() {
            let place = (&self.node.name, partition);
            let mut parts = Vec::new();
            for segment in kept.into_iter().flat_map(|kept| kept.read(place)) {
                let (segment, content) = segment?;
                let part = Part {
                    first: segment.first,
                    last: segment.last,
                    content,
                };
                parts.push((segment.pane.unwrap_or_default(), part));
            }
            let written = parts
                .iter()
                .map(|(_, part)| (part.first, part.last))
                .collect();
            let windows = match kept.filter(|kept| kept.time > BatchTime::default()) {
                Some(kept) => Windows::restored(self.spec, kept.time, parts),
                None => Windows::new(self.spec),
            };
            let next_end = windows.next_end();
            let all = Partition {
                windows,
                written,
                next_end,
            };
            self.partitions.insert(partition, all);
        }
        Ok(())
    }

    /// One epoch, over all partitions.
    fn advance(
        &mut self,
        epoch: Epoch,
        time: BatchTime,
        mut partials: BTreeMap<PartitionId, Vec<Parcel>>,
        give: &mut dyn FnMut(Vec<Parcel>),
    ) {
        let mut partitions = std::mem::take(&mut self.partitions);
        for (partition, windows) in &mut partitions {
            let parcels = partials.remove(partition).unwrap_or_default();
            match self.partition(epoch, time, *partition, windows, parcels) {
                Ok(Some(result)) => {
                    count(&self.counters.rows_out, result.num_rows() as u64);
                    let bytes = result.get_array_memory_size();
                    let charge = self.context.live.charge(bytes, &self.emitted);
                    give(pieces(Parcel {
                        target: WorkerIndex(0),
                        charge: Some(charge),
                        ..Parcel::end_of(*partition, time, 0, result)
                    }));
                }
                Ok(None) => {}
                Err(failure) => {
                    let failure = failure.at_node(&self.node.name).at(epoch, *partition);
                    self.context.abort.fail(failure);
                }
            }
        }
        self.partitions = partitions;
    }

    /// One epoch of a partition: the rows of the windows that end.
    fn partition(
        &mut self,
        epoch: Epoch,
        time: BatchTime,
        partition: PartitionId,
        state: &mut Partition,
        parcels: Vec<Parcel>,
    ) -> Result<Option<RecordBatch>, Failure> {
        let call = self.context.call(epoch, time, partition);
        let grouper = &mut self.grouper;
        let partial = match parcels.is_empty() {
            true => None,
            false => Some(grouper.merge(call, &in_order(&mut { parcels }))?),
        };
        let partial = partial.filter(|partial| partial.num_rows() > 0);
        let mut combine = |parts: &[&RecordBatch]| grouper.merge(call, parts);
        let ended = state.windows.advance(epoch, time, partial, &mut combine)?;
        self.keep(epoch, partition, state);
        let results = ended.into_iter().map(|ended| self.result(call, ended));
        let results: Vec<RecordBatch> = results.collect::<Result<_, _>>()?;
        if results.is_empty() {
            return Ok(None);
        }
        let schema = &self.node.ports[0];
        let all = arrow::compute::concat_batches(schema, &results);
        all.map(Some).map_err(bug)
    }

    /// The rows of a window.
    fn result(
        &mut self,
        call: CallContext,
        ended: Ended<RecordBatch>,
    ) -> Result<RecordBatch, Failure> {
        let spans: Vec<&RecordBatch> = ended.spans.iter().collect();
        let rows = self.grouper.finish(call, &spans)?;
        let bound = |millis: i64| -> ArrayRef {
            let micros = vec![millis * 1000; rows.num_rows()];
            Arc::new(TimestampMicrosecondArray::from(micros).with_timezone(UTC))
        };
        let mut columns = vec![bound(ended.end - self.spec.length()), bound(ended.end)];
        columns.extend(rows.columns().iter().cloned());
        RecordBatch::try_new(self.node.ports[0].clone(), columns).map_err(bug)
    }

    /// Has what is new written down, and when the next window ends.
    fn keep(&mut self, epoch: Epoch, partition: PartitionId, state: &mut Partition) {
        let (mut new, mut all) = (Vec::new(), Vec::new());
        for (pane, part) in state.windows.kept() {
            let segment = Segment {
                first: part.first,
                last: part.last,
                generation: Generation::default(),
                version: 0,
                pane: Some(pane),
                rows: 0,
                bytes: 0,
            };
            if !state.written.contains(&(part.first, part.last)) {
                new.push((segment.clone(), part.content.clone()));
            }
            all.push(segment);
        }
        let next_end = state.windows.next_end();
        let names: BTreeSet<_> = all
            .iter()
            .map(|segment| (segment.first, segment.last))
            .collect();
        if names != state.written || next_end != state.next_end {
            (state.written, state.next_end) = (names, next_end);
            let change = Change::Parts(new, all);
            self.barrier.change(epoch, partition, change, next_end);
        }
    }
}

fn bug(error: arrow::error::ArrowError) -> Failure {
    Failure::internal(format!(
        "a window's rows could not be put together: {error}"
    ))
}
