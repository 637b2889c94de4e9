//! The first half of a grouping: groups the rows of each source partition before anything moves.
//!
//! Flushes when the partition ends, or when it holds many groups: both depend on its rows alone, so the partial
//! results of a partition are the same on any number of workers.

use std::collections::HashMap;
use std::time::Instant;

use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::context::{Emitted, Shared};
use super::grouper::{Combiner, Fresh, Grouping};
use super::parcel::{Parcel, Parcels};
use crate::error::Failure;
use crate::ids::{Epoch, PartitionId};
use crate::telemetry::count;

/// Groups held per partition before they are sent on: some tens of MB of keys at worst.
const FLUSH_GROUPS: usize = 256 << 10;

/// Builds the operator; its parcels are addressed to the workers that own the key groups.
pub fn combine<'scope>(
    rows: Stream<'scope, u64, Parcels>,
    context: Shared,
    index: usize,
    grouping: Grouping,
) -> Stream<'scope, u64, Parcels> {
    let node = context.plan.nodes[index].clone();
    let mut builder = OperatorBuilder::new(format!("{}: combine", node.name), rows.scope());
    let mut input = builder.new_input(rows, Pipeline);
    let (output, partials) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    builder.build(move |_capabilities| {
        let counters = context.counters.of(&node.name);
        let mut combine = Combine {
            fresh: grouping.combiners(&context, index),
            context,
            idle: Vec::new(),
            open: HashMap::new(),
            emitted: Emitted::default(),
        };
        move |_frontiers| {
            let mut output = output.activate();
            input.for_each(|capability, parcels| {
                for parcel in parcels.drain() {
                    count(&counters.rows_in, parcel.batch.num_rows() as u64);
                    let began = Instant::now();
                    let added = combine.add(&capability.retain(0), parcel);
                    let epoch = Epoch(*capability.time());
                    combine.context.traces.worked(epoch, &node.name, began);
                    match added {
                        Ok(mut partials) => {
                            output
                                .session_with_builder(&capability)
                                .give_container(&mut partials);
                        }
                        Err(failure) => {
                            combine.context.abort.fail(failure.at_node(&node.name));
                        }
                    }
                }
            });
        }
    });
    partials
}

struct Combine {
    context: Shared,
    fresh: Box<Fresh>,
    /// Flushed combiners, whose allocations the next partition uses again.
    idle: Vec<Box<dyn Combiner>>,
    open: HashMap<(Epoch, PartitionId), (Box<dyn Combiner>, u32)>,
    emitted: Emitted,
}

impl Combine {
    fn add(&mut self, capability: &Capability<u64>, parcel: Parcel) -> Result<Parcels, Failure> {
        let epoch = Epoch(*capability.time());
        let key = (epoch, parcel.partition);
        let (mut combiner, mut sequence) = match self.open.remove(&key) {
            Some(open) => open,
            None => (self.idle.pop().map_or_else(&self.fresh, Ok)?, 0),
        };
        let call = self.context.call(epoch, parcel.time, parcel.partition);
        combiner
            .update(call, &parcel.batch)
            .map_err(|failure| failure.at(epoch, parcel.partition))?;
        let mut partials = Parcels::default();
        if parcel.last || combiner.groups() >= FLUSH_GROUPS {
            partials = self.flush(&mut *combiner, &parcel, sequence)?;
            sequence += 1;
        }
        if parcel.last {
            self.idle.push(combiner);
        } else {
            self.open.insert(key, (combiner, sequence));
        }
        Ok(partials)
    }

    fn flush(
        &self,
        combiner: &mut dyn Combiner,
        parcel: &Parcel,
        sequence: u32,
    ) -> Result<Parcels, Failure> {
        let partials = combiner.flush(self.context.plan.partitions)?;
        let parcels: Vec<Parcel> = partials
            .into_iter()
            .map(|(partition, batch)| Parcel {
                target: self.context.owner(partition.0),
                partition,
                from: parcel.partition,
                sequence,
                last: false,
                time: parcel.time,
                provenance: None,
                charge: Some(
                    self.context
                        .live
                        .charge(batch.get_array_memory_size(), &self.emitted),
                ),
                batch,
            })
            .collect();
        Ok(parcels.into())
    }
}
