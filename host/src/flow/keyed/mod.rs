//! User code that remembers something of each key: rows of an epoch, gathered by key, and what the host keeps of it.
//!
//! An epoch is worked on when all of its rows have come, one partition after the other, in calls of the plugin cut by [`session`]. What
//! the plugin changes is changed in the partition's table at once; what an epoch changed goes to the [`store`](super::store) before the
//! epoch can be committed.

mod call;
mod migrate;
mod session;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use timely::container::{CapacityContainerBuilder, NoopBuilder};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};
use timely::progress::frontier::MutableAntichain;

use crate::error::Failure;
use crate::flow::arrivals::{Epochs, Inputs};
use crate::flow::context::{Emitted, Shared, Waker};
use crate::flow::parcel::{Parcel, Parcels};
use crate::flow::route;
use crate::flow::slice::{Pause, Slice};
use crate::flow::store::{Barrier, Change, Kept, Stored};
use crate::ids::{BatchTime, Epoch, PartitionId};
use crate::pipeline::Node;
use crate::pipeline::plan::KeyedStep;
use crate::state::Table;
use crate::telemetry::NodeCounters;
use session::Session;

/// What comes out of the operator.
pub struct Outputs<'scope> {
    /// One stream a port.
    pub ports: Vec<Stream<'scope, u64, Parcels>>,
    /// Rows turned away.
    pub rejected: Stream<'scope, u64, Parcels>,
    /// What is kept; its frontier has passed an epoch when its state is durable.
    pub stored: StreamVec<'scope, u64, Stored>,
}

/// Builds the operator of the keyed step at `index`. `inputs` are spread by key, `times` tells of every epoch.
pub fn keyed<'scope>(
    inputs: Vec<Stream<'scope, u64, Parcels>>,
    times: StreamVec<'scope, u64, BatchTime>,
    context: Shared,
    index: usize,
    step: KeyedStep,
    kept: Option<Kept>,
) -> Outputs<'scope> {
    let scope = times.scope();
    let node = context.plan.nodes[index].clone();
    let mut builder = OperatorBuilder::new(node.name.to_string(), scope);
    let mut times = builder.new_input(times, Pipeline);
    let mut inputs: Vec<_> = inputs
        .into_iter()
        .map(|input| builder.new_input(input, route::by_target()))
        .collect();
    let (mut outputs, mut ports) = (Vec::new(), Vec::new());
    for _ in 0..=node.ports.len() {
        let (output, stream) = builder.new_output::<Parcels>();
        outputs.push(OutputBuilder::<_, NoopBuilder<Parcels>>::from(output));
        ports.push(stream);
    }
    let rejected = ports.pop().expect("one more than there are ports");
    let (output, stored) = builder.new_output::<Vec<Stored>>();
    let mut stored_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
    let address = builder.operator_info().address;
    let activator = scope.activator_for(address.clone());
    let waker = Arc::new(Waker::default());
    waker.bind(scope.worker().sync_activator_for(address.to_vec()));
    builder.build(move |_capabilities| {
        let mut keyed = Keyed::new(context, node, index, step, kept, waker.clone());
        move |frontiers| {
            waker.rearm();
            let outputs_and_stored = outputs.len() + 1;
            let retain = |capability: &timely::dataflow::operators::InputCapability<u64>| {
                (0..outputs_and_stored)
                    .map(|output| capability.retain(output))
                    .collect::<Vec<_>>()
            };
            let epochs = &mut keyed.epochs;
            times.for_each(|capability, times| {
                epochs.begins(*capability.time(), times, || retain(&capability));
            });
            for (input, handle) in inputs.iter_mut().enumerate() {
                handle.for_each(|capability, parcels| {
                    epochs.take(*capability.time(), input, parcels, || retain(&capability));
                });
            }
            let pause = keyed.work(frontiers, &mut |capability, output, parcel| {
                outputs[output]
                    .activate()
                    .session_with_builder(capability)
                    .give_container(&mut Parcels::one(parcel));
            });
            let mut stored = stored_output.activate();
            let give = &mut |capability: &_, one| stored.session(capability).give(one);
            keyed.barrier.pass_on(give);
            pause.schedule(&activator);
        }
    });
    Outputs {
        ports,
        rejected,
        stored,
    }
}

/// Sends a parcel out of an output; the index after the last port is that of rejected rows.
type Emit<'a> = dyn FnMut(&Capability<u64>, usize, Parcel) + 'a;

/// An epoch being worked on.
struct Running {
    epoch: Epoch,
    time: BatchTime,
    capabilities: Vec<Capability<u64>>,
    partitions: VecDeque<(PartitionId, Inputs)>,
    session: Option<Session>,
}

struct Keyed {
    context: Shared,
    node: Node,
    index: usize,
    step: KeyedStep,
    counters: Arc<NodeCounters>,
    tables: BTreeMap<PartitionId, Table>,
    epochs: Epochs,
    running: Option<Running>,
    barrier: Barrier,
    emitted: Emitted,
    rejected: u32,
    /// Time spent on isolating keys at fault in the epoch at work.
    isolation: Duration,
}

impl Keyed {
    fn new(
        context: Shared,
        node: Node,
        index: usize,
        step: KeyedStep,
        kept: Option<Kept>,
        waker: Arc<Waker>,
    ) -> Self {
        let counters = context.counters.of(&node.name);
        let store = kept.as_ref().map(|kept| kept.store.clone());
        let barrier = Barrier::new(store, waker);
        let mut keyed = Self {
            context,
            node,
            index,
            epochs: Epochs::new(step.group_by.len()),
            step,
            counters,
            tables: BTreeMap::new(),
            running: None,
            barrier,
            emitted: Emitted::default(),
            rejected: 0,
            isolation: Duration::ZERO,
        };
        if let Err(failure) = keyed.load(kept.as_ref()) {
            keyed.context.abort.fail(failure.at_node(&keyed.node.name));
        }
        keyed
    }

    /// Makes the tables of this worker's partitions, and fills them with what is kept.
    fn load(&mut self, kept: Option<&Kept>) -> Result<(), Failure> {
        let shape = self.step.keyed.state();
        for partition in self.context.partitions() {
            let memory = self.context.state.clone();
            let mut table = Table::new(&self.step.key_schema, &shape.columns, memory)?;
            let place = (&self.node.name, partition);
            for segment in kept.into_iter().flat_map(|kept| kept.read(place)) {
                let (segment, delta) = segment?;
                let delta = match segment.version == shape.version {
                    true => delta,
                    false => migrate::migrated(&self.step, segment.version, &delta)?,
                };
                table.load(&delta)?;
            }
            self.tables.insert(partition, table);
        }
        Ok(())
    }

    fn work(&mut self, frontiers: &[MutableAntichain<u64>], emit: &mut Emit<'_>) -> Pause {
        let mut slice = Slice::begin();
        loop {
            if self.context.abort.is_set() {
                return Pause::Idle;
            }
            let next = match self.running.take() {
                Some(running) => Ok(Some(running)),
                None => self.next(frontiers),
            };
            let mut running = match next {
                Ok(Some(running)) => running,
                Ok(None) => return Pause::Idle,
                Err(failure) => {
                    let failure = failure.at_node(&self.node.name);
                    self.context.abort.fail(failure);
                    return Pause::Idle;
                }
            };
            if self.context.live.is_over() && self.emitted.is_alive() {
                self.running = Some(running);
                return Pause::Full;
            }
            let (epoch, turn) = (running.epoch, Instant::now());
            let advanced = self.advance(&mut running, emit);
            self.context.traces.worked(epoch, &self.node.name, turn);
            match advanced {
                Ok(Some(bytes)) => {
                    slice.add(bytes);
                    self.running = Some(running);
                }
                Ok(None) => self.barrier.end(running.epoch),
                Err(failure) => {
                    let failure = failure.at_node(&self.node.name);
                    self.context.abort.fail(match &running.session {
                        Some(session) => failure.at(running.epoch, session.partition),
                        None => failure,
                    });
                    return Pause::Idle;
                }
            }
            if slice.is_used_up() {
                return Pause::Slice;
            }
        }
    }

    /// The next epoch, if all of it has come: its partitions that have rows, or keys that are due.
    fn next(&mut self, frontiers: &[MutableAntichain<u64>]) -> Result<Option<Running>, Failure> {
        let Some((epoch, mut arrivals)) = self.epochs.complete(frontiers) else {
            return Ok(None);
        };
        let has_rows = |parcel: &Parcel| parcel.batch.num_rows() > 0;
        arrivals
            .partitions
            .retain(|_, inputs| inputs.iter().flatten().any(has_rows));
        for (partition, table) in &self.tables {
            let next_timer = table.next_timer()?;
            let is_due = next_timer.is_some_and(|due| due <= arrivals.time.0);
            if is_due || (self.step.every_key && !table.is_empty()) {
                let nothing = || vec![Vec::new(); self.step.group_by.len()];
                arrivals
                    .partitions
                    .entry(*partition)
                    .or_insert_with(nothing);
            }
        }
        self.isolation = Duration::ZERO;
        let capability = arrivals.capabilities.pop();
        let capability = capability.expect("the last is for what is stored");
        self.barrier.begin(epoch, capability);
        Ok(Some(Running {
            epoch,
            time: arrivals.time,
            capabilities: arrivals.capabilities,
            partitions: arrivals.partitions.into_iter().collect(),
            session: None,
        }))
    }

    /// One call, or the start or end of a partition. Answers the bytes made; nothing when the epoch is over.
    fn advance(
        &mut self,
        running: &mut Running,
        emit: &mut Emit<'_>,
    ) -> Result<Option<usize>, Failure> {
        let Some(mut session) = running.session.take() else {
            let Some((partition, parcels)) = running.partitions.pop_front() else {
                return Ok(None);
            };
            let table = self.table(partition);
            let session = Session::new(&self.step, table, partition, running.time, parcels)?;
            running.session = Some(session);
            return Ok(Some(0));
        };
        if session.is_over() {
            self.end(running, session, emit)?;
            return Ok(Some(0));
        }
        let made = self.call(running, &mut session, emit);
        running.session = Some(session);
        made.map(Some)
    }

    fn table(&self, partition: PartitionId) -> &Table {
        &self.tables[&partition]
    }

    fn table_mut(&mut self, partition: PartitionId) -> &mut Table {
        let table = self.tables.get_mut(&partition);
        table.expect("a partition is worked on by its owner")
    }

    /// Ends a partition: its last parcels, and what is to be kept.
    fn end(
        &mut self,
        running: &mut Running,
        session: Session,
        emit: &mut Emit<'_>,
    ) -> Result<(), Failure> {
        for (port, schema) in self.node.ports.iter().enumerate() {
            let empty = RecordBatch::new_empty(schema.clone());
            let sequence = session.sequences[port];
            let end = Parcel::end_of(session.partition, running.time, sequence, empty);
            emit(&running.capabilities[port], port, end);
        }
        if !session.selection.is_changed() {
            return Ok(());
        }
        let change = match self.barrier.keeps() {
            true => {
                let delta = self.table(session.partition).delta(&session.selection)?;
                let (version, keys) = (self.step.keyed.state().version, &self.step.key_schema);
                Some(Change::Keys(delta, version, keys.fields().len()))
            }
            false => None,
        };
        let table = self.table_mut(session.partition);
        table.settle()?;
        let next_timer = table.next_timer()?;
        let place = (&self.node.name, session.partition);
        self.barrier
            .change(running.epoch, place, change, next_timer);
        Ok(())
    }
}
