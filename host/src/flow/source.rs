//! Reads the ranges that this worker was given, part by part, and emits them as parcels.
//!
//! One part is read per activation, and none while the process has too many live bytes, so a fast source waits for a slow
//! plugin instead of filling memory, and a part is worked on while it is in the cache of the core that has decoded it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};

use super::context::{Emitted, Shared};
use super::parcel::{Parcel, Parcels, Provenance};
use super::plan::ReadDirective;
use super::rejects::{RejectedRow, Rejects};
use super::slice::Pause;
use crate::error::Failure;
use crate::ids::{Epoch, NodeName, WorkerIndex};
use crate::pipeline::{Node, OnError};
use crate::receive::{BadRecord, Parts, Range, Read, Reader};
use crate::telemetry::count;

/// Skipped records of an epoch that the log names; the others it counts.
const SKIPS_NAMED: u64 = 5;

/// A range being read or waiting to be.
struct Pending {
    rows: Capability<u64>,
    rejected: Capability<u64>,
    directive: ReadDirective,
    range: Arc<Range>,
    sequence: u32,
    /// What is left of it, once it is begun.
    parts: Option<Parts>,
}

impl Pending {
    fn next(&mut self, reader: &dyn Reader) -> Option<Result<Read, Failure>> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            none => match reader.read(&self.range) {
                Ok(parts) => none.insert(parts),
                Err(failure) => return Some(Err(failure)),
            },
        };
        parts.next()
    }
}

/// Builds the operator of the source at `index` in the plan. The second stream holds rejected rows.
pub fn source<'scope>(
    directives: StreamVec<'scope, u64, ReadDirective>,
    context: Shared,
    index: usize,
    reader: Arc<dyn Reader>,
) -> (Stream<'scope, u64, Parcels>, Stream<'scope, u64, Parcels>) {
    let scope = directives.scope();
    let node = context.plan.nodes[index].clone();
    let mut builder = OperatorBuilder::new(node.name.to_string(), scope);
    let mut input = builder.new_input(directives, Pipeline);
    let (output, rows) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    let (rejected_output, rejected) = builder.new_output::<Parcels>();
    let mut rejected_output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(rejected_output);
    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |_capabilities| {
        let mut emitter = Emitter {
            context,
            node,
            index,
            reader,
            pending: VecDeque::new(),
            emitted: Emitted::default(),
            rejected: 0,
            skips: Skips::default(),
        };
        move |_frontiers| {
            input.for_each(|capability, directives| {
                for directive in directives.drain(..).filter(|read| read.source == index) {
                    emitter.pending.push_back(Pending {
                        rows: capability.retain(0),
                        rejected: capability.retain(1),
                        range: Arc::new(directive.range.clone()),
                        directive,
                        sequence: 0,
                        parts: None,
                    });
                }
            });
            if emitter.pending.is_empty() || emitter.context.abort.is_set() {
                return;
            }
            if emitter.context.live.is_over() {
                Pause::Full.schedule(&activator);
                return;
            }
            let (rows, rejects) = (&mut output.activate(), &mut rejected_output.activate());
            emitter.read(
                |capability, parcel| {
                    rows.session_with_builder(capability)
                        .give_container(&mut Parcels::one(parcel));
                },
                |capability, parcel| {
                    rejects
                        .session_with_builder(capability)
                        .give_container(&mut Parcels::one(parcel));
                },
            );
            if !emitter.pending.is_empty() {
                activator.activate();
            }
        }
    });
    (rows, rejected)
}

struct Emitter {
    context: Shared,
    node: Node,
    index: usize,
    reader: Arc<dyn Reader>,
    pending: VecDeque<Pending>,
    emitted: Emitted,
    rejected: u32,
    skips: Skips,
}

/// Records skipped in the epoch at hand.
#[derive(Default)]
struct Skips {
    epoch: Epoch,
    named: u64,
    /// Those that the log has not told of yet.
    unnamed: u64,
}

impl Skips {
    fn add(&mut self, node: &NodeName, epoch: Epoch, bad: &[BadRecord]) {
        if self.epoch != epoch {
            self.tell_the_rest(node);
            (self.epoch, self.named) = (epoch, 0);
        }
        for BadRecord { origin, reason, .. } in bad {
            if self.named < SKIPS_NAMED {
                self.named += 1;
                tracing::warn!(source = %node, "skipped the record from {origin}: {reason}");
            } else {
                self.unnamed += 1;
            }
        }
    }

    fn tell_the_rest(&mut self, node: &NodeName) {
        match std::mem::take(&mut self.unnamed) {
            0 => {}
            more => tracing::warn!(source = %node, "skipped {more} more in epoch {}", self.epoch),
        }
    }
}

impl Emitter {
    /// Turns the next part of the range at the front into parcels.
    fn read(
        &mut self,
        emit: impl FnOnce(&Capability<u64>, Parcel),
        reject: impl FnOnce(&Capability<u64>, Parcel),
    ) {
        let pending = self.pending.front_mut().expect("a range is pending");
        let (partition, time) = (pending.directive.partition, pending.directive.time);
        let epoch = Epoch(*pending.rows.time());
        let began = Instant::now();
        let next = pending.next(&*self.reader);
        self.context.traces.worked(epoch, &self.node.name, began);
        match next {
            Some(Ok(part)) => {
                let counters = self.context.counters.of(&self.node.name);
                count(&counters.bytes_in, part.bytes);
                count(&counters.rows_in, part.rows.num_rows() as u64);
                count(&counters.rows_out, part.rows.num_rows() as u64);
                if !part.bad.is_empty() {
                    match self.judge(epoch, &part.bad) {
                        Ok(None) => {}
                        Ok(Some(rejects)) => {
                            let pending = self.pending.front().expect("still there");
                            reject(
                                &pending.rejected,
                                rejects.parcel(epoch, time, partition, self.rejected),
                            );
                            self.rejected += 1;
                        }
                        Err(failure) => {
                            return self.context.abort.fail(failure.at(epoch, partition));
                        }
                    }
                }
                let pending = self.pending.front_mut().expect("still there");
                let parcel = Parcel {
                    target: WorkerIndex(0),
                    partition,
                    from: partition,
                    sequence: pending.sequence,
                    last: false,
                    time,
                    charge: Some(
                        self.context
                            .live
                            .charge(part.rows.get_array_memory_size(), &self.emitted),
                    ),
                    provenance: part.positions.map(|positions| Provenance {
                        source: self.index,
                        range: pending.range.clone(),
                        positions,
                    }),
                    batch: part.rows,
                };
                pending.sequence += 1;
                if parcel.batch.num_rows() > 0 {
                    emit(&pending.rows, parcel);
                }
            }
            None => {
                let empty = arrow::array::RecordBatch::new_empty(self.reader.schema());
                emit(
                    &pending.rows,
                    Parcel::end_of(partition, time, pending.sequence, empty),
                );
                self.pending.pop_front();
                let next = self.pending.front();
                if next.is_none_or(|next| *next.rows.time() != epoch.0) {
                    self.skips.tell_the_rest(&self.node.name);
                }
            }
            Some(Err(failure)) => {
                let failure = failure.at_node(&self.node.name).at(epoch, partition);
                self.context.abort.fail(failure);
            }
        }
    }

    /// What to do with records that could not be decoded.
    fn judge(&mut self, epoch: Epoch, bad: &[BadRecord]) -> Result<Option<Rejects>, Failure> {
        let counters = self.context.counters.of(&self.node.name);
        let amount = bad.len() as u64;
        match self.node.on_error {
            OnError::Fail => {
                let first = &bad[0];
                Err(Failure::user(first.reason.clone())
                    .at_node(&self.node.name)
                    .from_origin(first.origin.clone())
                    .help("set `on_error = \"skip\"` or `\"reject\"` on the source to go on without such records"))
            }
            OnError::Skip => {
                count(&counters.skipped, amount);
                self.skips.add(&self.node.name, epoch, bad);
                Ok(None)
            }
            OnError::Reject => {
                count(&counters.rejected, amount);
                let mut rejects = Rejects::new(&self.node, self.index);
                for BadRecord {
                    origin,
                    reason,
                    kept,
                } in bad
                {
                    let row = kept.as_ref();
                    rejects.add(RejectedRow {
                        input: None,
                        origin: Some(origin.clone()),
                        reason: reason.clone(),
                        row: row.and_then(|kept| serde_json::to_string(&kept.text).ok()),
                        bytes: row.and_then(|kept| kept.bytes.clone()),
                        cut: row.is_some_and(|kept| kept.cut),
                    });
                }
                Ok(Some(rejects))
            }
        }
    }
}
