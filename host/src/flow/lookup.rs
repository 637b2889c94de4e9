//! Joins rows with a table that every process holds: inline, nothing moves.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::UInt32Array;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::carry::Made;
use super::context::{Emitted, Shared};
use super::join::{bug, too_large};
use super::parcel::{Parcel, Parcels};
use super::results::PARCEL_ROWS;
use super::tables::Table;
use crate::error::Failure;
use crate::ids::{Epoch, PartitionId};
use crate::join::{Join, Lookup};
use crate::pipeline::Node;
use crate::plugin::Origin;
use crate::telemetry::count;

/// Builds the operator of the join at `index` in the plan, whose right input is `table`. The result is in the order of the
/// rows, then of the table's; a worker uses one state of the table for all rows of an epoch.
pub fn lookup<'scope>(
    rows: Stream<'scope, u64, Parcels>,
    context: Shared,
    index: usize,
    join: Join,
    table: Arc<Table>,
) -> Stream<'scope, u64, Parcels> {
    let node = context.plan.nodes[index].clone();
    let mut builder = OperatorBuilder::new(node.name.to_string(), rows.scope());
    let mut input = builder.new_input(rows, Pipeline);
    let (output, joined) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    builder.build(move |_capabilities| {
        let mut operator = Operator {
            context,
            node,
            join,
            table,
            emitted: Emitted::default(),
            states: BTreeMap::new(),
            sequences: HashMap::new(),
        };
        move |frontiers| {
            let mut output = output.activate();
            input.for_each(|capability, parcels| {
                let epoch = Epoch(*capability.time());
                for parcel in parcels.drain() {
                    let began = Instant::now();
                    let joined = operator.joined(epoch, &parcel);
                    let traces = &operator.context.traces;
                    traces.worked(epoch, &operator.node.name, began);
                    match joined {
                        Ok(parcels) => output
                            .session_with_builder(&capability)
                            .give_container(&mut parcels.into()),
                        Err(failure) => {
                            let failure = failure.at_node(&operator.node.name);
                            let failure = failure.at(epoch, parcel.partition);
                            operator.context.abort.fail(failure);
                        }
                    }
                }
            });
            let is_open = |epoch: &Epoch| frontiers[0].less_equal(&epoch.0);
            operator.states.retain(|epoch, _| is_open(epoch));
        }
    });
    joined
}

struct Operator {
    context: Shared,
    node: Node,
    join: Join,
    table: Arc<Table>,
    emitted: Emitted,
    /// The table as each open epoch sees it.
    states: BTreeMap<Epoch, Arc<Lookup>>,
    /// Parcels emitted of each partition that is not at its end.
    sequences: HashMap<(Epoch, PartitionId), u32>,
}

impl Operator {
    /// What becomes of a parcel; the last of a partition stays the last, even without rows.
    fn joined(&mut self, epoch: Epoch, parcel: &Parcel) -> Result<Vec<Parcel>, Failure> {
        let state = self.states.entry(epoch);
        let table = state.or_insert_with(|| self.table.now()).clone();
        let pairs = table.pairs(&self.join, &parcel.batch).map_err(bug)?;
        let counters = self.context.counters.of(&self.node.name);
        count(&counters.rows_in, parcel.batch.num_rows() as u64);
        count(&counters.rows_out, pairs.len() as u64);
        let key = (epoch, parcel.partition);
        let first = self.sequences.remove(&key).unwrap_or_default();
        let pieces = pairs
            .len()
            .div_ceil(PARCEL_ROWS)
            .max(usize::from(parcel.last));
        if !parcel.last {
            self.sequences.insert(key, first + pieces as u32);
        }
        let schema = &self.node.ports[0];
        (0..pieces)
            .map(|piece| {
                let start = piece * PARCEL_ROWS;
                let some = start..pairs.len().min(start + PARCEL_ROWS);
                let parents = UInt32Array::from(pairs.left_rows(some.clone()).to_vec());
                let rows = self
                    .join
                    .rows(&parcel.batch, table.batch(), &pairs, some, schema);
                let rows = rows.map_err(too_large)?;
                let bytes = rows.get_array_memory_size();
                let made = Made {
                    parcel,
                    rows: 0..parcel.batch.num_rows(),
                    count: rows.num_rows(),
                    origin: Origin::Parents(parents),
                    carried: &[],
                    columns: rows.columns().to_vec(),
                };
                Ok(Parcel {
                    last: parcel.last && piece + 1 == pieces,
                    charge: Some(self.context.live.charge(bytes, &self.emitted)),
                    ..made.parcel(schema.clone(), first + piece as u32)?
                })
            })
            .collect()
    }
}
