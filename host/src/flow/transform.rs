//! User code in the stream: calls the plugin inline in the worker and carries the columns it did not touch.
//!
//! Works in [slices](super::slice).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::caller::{Caller, Piece, turned_away};
use super::carry::Made;
use super::context::{Emitted, Shared};
use super::parcel::{Parcel, Parcels};
use super::rejects::Rejects;
use super::slice::{Pause, Slice};
use crate::error::Failure;
use crate::ids::{Epoch, PartitionId};
use crate::pipeline::Node;
use crate::pipeline::plan::{Lifetime, TransformStep};
use crate::plugin::{Output, TransformInstance, chunks};
use crate::telemetry::{NodeCounters, count};

/// A parcel being worked on: one capability per output, the rejected rows' last.
struct Work {
    capabilities: Vec<Capability<u64>>,
    parcel: Parcel,
    chunks: VecDeque<Range<usize>>,
}

/// What is kept between the parcels of one partition of one epoch.
#[derive(Default)]
struct Partition {
    instance: Option<TransformInstance>,
    calls: u32,
    rows: u64,
    sequences: Vec<u32>,
}

/// Builds the operator of the transform at `index` in the plan: one stream per port, then that of rejected rows.
pub fn transform<'scope>(
    input: Stream<'scope, u64, Parcels>,
    context: Shared,
    index: usize,
    step: TransformStep,
) -> (
    Vec<Stream<'scope, u64, Parcels>>,
    Stream<'scope, u64, Parcels>,
) {
    let scope = input.scope();
    let node = context.plan.nodes[index].clone();
    let mut builder = OperatorBuilder::new(node.name.to_string(), scope);
    let mut input = builder.new_input(input, Pipeline);
    let mut outputs = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..=node.ports.len() {
        let (output, stream) = builder.new_output::<Parcels>();
        outputs.push(OutputBuilder::<_, NoopBuilder<Parcels>>::from(output));
        streams.push(stream);
    }
    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |_capabilities| {
        let mut operator = Transform::new(context, node, index, step);
        let ports = operator.node.ports.len();
        move |_frontiers| {
            input.for_each(|capability, parcels| {
                for parcel in parcels.drain() {
                    operator.queue.push_back(Work {
                        capabilities: (0..=ports)
                            .map(|output| capability.retain(output))
                            .collect(),
                        chunks: chunks(&parcel.batch, operator.step.transform.columns()).into(),
                        parcel,
                    });
                }
            });
            let pause = operator.work(&mut |capability, output, parcel| {
                outputs[output]
                    .activate()
                    .session_with_builder(capability)
                    .give_container(&mut Parcels::one(parcel));
            });
            pause.schedule(&activator);
        }
    });
    let rejected = streams.pop().expect("one more than there are ports");
    (streams, rejected)
}

/// Sends a parcel out of an output; the index after the last port is that of rejected rows.
type Emit<'a> = dyn FnMut(&Capability<u64>, usize, Parcel) + 'a;

struct Transform {
    context: Shared,
    node: Node,
    index: usize,
    step: TransformStep,
    counters: Arc<NodeCounters>,
    queue: VecDeque<Work>,
    partitions: HashMap<(Epoch, PartitionId), Partition>,
    worker_instance: Option<TransformInstance>,
    isolation: BTreeMap<Epoch, Duration>,
    emitted: Emitted,
    rejected: u32,
}

impl Transform {
    fn new(context: Shared, node: Node, index: usize, step: TransformStep) -> Self {
        let counters = context.counters.of(&node.name);
        Self {
            context,
            node,
            index,
            step,
            counters,
            queue: VecDeque::new(),
            partitions: HashMap::new(),
            worker_instance: None,
            isolation: BTreeMap::new(),
            emitted: Emitted::default(),
            rejected: 0,
        }
    }

    fn work(&mut self, emit: &mut Emit<'_>) -> Pause {
        let mut slice = Slice::begin();
        while let Some(mut work) = self.queue.pop_front() {
            if self.context.abort.is_set() {
                return Pause::Idle;
            }
            while let Some(rows) = work.chunks.pop_front() {
                if self.context.live.is_over() && self.emitted.is_alive() {
                    work.chunks.push_front(rows);
                    self.queue.push_front(work);
                    return Pause::Full;
                }
                match self.chunk(&work, rows, emit) {
                    Ok(bytes) => slice.add(bytes),
                    Err(failure) => {
                        self.fail(&work, failure);
                        return Pause::Idle;
                    }
                }
                if slice.is_used_up() {
                    self.queue.push_front(work);
                    return Pause::Slice;
                }
            }
            self.finish(work, emit);
        }
        Pause::Idle
    }

    fn fail(&self, work: &Work, failure: Failure) {
        let epoch = Epoch(*work.capabilities[0].time());
        let partition = self.partitions.get(&(epoch, work.parcel.partition));
        let before = partition.map_or(0, |partition| partition.rows);
        let failure = work
            .parcel
            .placed(failure, &self.context.readers, before)
            .at_node(&self.node.name)
            .at(epoch, work.parcel.partition);
        self.context.abort.fail(failure);
    }

    /// The parcel is done: count it, and pass on the end of its partition.
    fn finish(&mut self, work: Work, emit: &mut Emit<'_>) {
        let epoch = Epoch(*work.capabilities[0].time());
        let rows = work.parcel.batch.num_rows() as u64;
        count(&self.counters.rows_in, rows);
        let key = (epoch, work.parcel.partition);
        if !work.parcel.last {
            self.partitions.entry(key).or_default().rows += rows;
            return;
        }
        let partition = self.partitions.remove(&key).unwrap_or_default();
        for (port, schema) in self.node.ports.iter().enumerate() {
            let sequence = partition.sequences.get(port).copied().unwrap_or_default();
            let empty = RecordBatch::new_empty(schema.clone());
            let end = Parcel::end_of(work.parcel.partition, work.parcel.time, sequence, empty);
            emit(&work.capabilities[port], port, end);
        }
        // Epochs before the oldest one at work cannot come again.
        let oldest = self
            .partitions
            .keys()
            .map(|(epoch, _)| *epoch)
            .min()
            .unwrap_or(epoch);
        self.isolation.retain(|epoch, _| *epoch >= oldest);
    }

    /// Calls the plugin on some rows of a parcel and sends on what comes of them. Answers the bytes sent.
    fn chunk(
        &mut self,
        work: &Work,
        rows: Range<usize>,
        emit: &mut Emit<'_>,
    ) -> Result<usize, Failure> {
        let epoch = Epoch(*work.capabilities[0].time());
        let parcel = &work.parcel;
        let mut partition = self
            .partitions
            .remove(&(epoch, parcel.partition))
            .unwrap_or_default();
        partition.sequences.resize(self.node.ports.len(), 0);
        let instance = match self.step.lifetime {
            Lifetime::Partition => &mut partition.instance,
            Lifetime::Worker => &mut self.worker_instance,
        };
        let mut pieces = Vec::new();
        let began = Instant::now();
        let result = Caller {
            step: &self.step,
            on_error: self.node.on_error,
            instance,
            calls: &mut partition.calls,
            spent: self.isolation.entry(epoch).or_default(),
            counters: &self.counters,
            context: self.context.call(epoch, parcel.time, parcel.partition),
            batch: &parcel.batch,
        }
        .run(rows, &mut |piece| pieces.push(piece));
        self.context.traces.worked(epoch, &self.node.name, began);
        let sent = result.and_then(|()| self.send(work, &mut partition, pieces, emit));
        self.partitions.insert((epoch, parcel.partition), partition);
        sent
    }

    fn send(
        &mut self,
        work: &Work,
        partition: &mut Partition,
        pieces: Vec<Piece>,
        emit: &mut Emit<'_>,
    ) -> Result<usize, Failure> {
        let mut bytes = 0;
        let mut rejects = Rejects::new(&self.node, self.index);
        for piece in pieces {
            match piece {
                Piece::Produced(rows, produced) => {
                    for (row, reason) in turned_away(&rows, &produced.rejected) {
                        self.turn_away(work, row, reason, &mut rejects)?;
                    }
                    for output in produced.outputs {
                        let port = output.port;
                        let parcel = self.assemble(
                            &work.parcel,
                            &rows,
                            output,
                            &mut partition.sequences[port],
                        )?;
                        if let Some(parcel) = parcel {
                            bytes += parcel.batch.get_array_memory_size();
                            count(&self.counters.rows_out, parcel.batch.num_rows() as u64);
                            emit(&work.capabilities[port], port, parcel);
                        }
                    }
                }
                Piece::Rejected(rows, reason) => {
                    for row in rows {
                        self.turn_away(work, row, &reason, &mut rejects)?;
                    }
                }
            }
        }
        if !rejects.is_empty() {
            let output = self.node.ports.len();
            let epoch = Epoch(*work.capabilities[output].time());
            let parcel = rejects.parcel(
                epoch,
                work.parcel.time,
                work.parcel.partition,
                self.rejected,
            );
            self.rejected += 1;
            emit(&work.capabilities[output], output, parcel);
        }
        Ok(bytes)
    }

    /// One row that the plugin would not take or could not bear.
    fn turn_away(
        &self,
        work: &Work,
        row: usize,
        reason: &str,
        rejects: &mut Rejects,
    ) -> Result<(), Failure> {
        let judged =
            rejects.turn_away(&self.context, self.node.on_error, &work.parcel, row, reason);
        judged.map_err(|failure| Failure {
            message: format!("the plugin rejected the row: {}", failure.message),
            ..failure
        })
    }

    /// What the plugin made of `rows`, beside the columns that are carried.
    fn assemble(
        &self,
        parcel: &Parcel,
        rows: &Range<usize>,
        output: Output,
        sequence: &mut u32,
    ) -> Result<Option<Parcel>, Failure> {
        if output.rows == 0 {
            return Ok(None);
        }
        let kept = self.step.kept[output.port].iter();
        let made = Made {
            parcel,
            rows: rows.clone(),
            count: output.rows,
            carried: &self.step.carried[output.port],
            columns: kept.map(|column| output.columns[*column].clone()).collect(),
            origin: output.origin,
        };
        let made = made.parcel(self.node.ports[output.port].clone(), *sequence)?;
        *sequence += 1;
        let bytes = made.batch.get_array_memory_size();
        Ok(Some(Parcel {
            charge: Some(self.context.live.charge(bytes, &self.emitted)),
            ..made
        }))
    }
}
