//! Steps whose code is SQL: computes each parcel as it comes, inline in the worker, one parcel out of one.

use std::collections::{HashMap, HashSet};
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
use super::parcel::{Parcel, Parcels};
use super::rejects::Rejects;
use crate::error::Failure;
use crate::ids::{Epoch, PartitionId};
use crate::pipeline::Node;
use crate::pipeline::plan::SqlStep;
use crate::plugin::Origin;
use crate::sql::Computed;
use crate::telemetry::{NodeCounters, count};

/// Builds the operator of the step at `index` in the plan: its rows, and those it rejects.
pub fn sql<'scope>(
    rows: Stream<'scope, u64, Parcels>,
    context: Shared,
    index: usize,
    step: SqlStep,
) -> (Stream<'scope, u64, Parcels>, Stream<'scope, u64, Parcels>) {
    let node = context.plan.nodes[index].clone();
    let mut builder = OperatorBuilder::new(node.name.to_string(), rows.scope());
    let mut input = builder.new_input(rows, Pipeline);
    let (output, results) = builder.new_output::<Parcels>();
    let mut output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(output);
    let (rejected_output, rejected) = builder.new_output::<Parcels>();
    let mut rejected_output = OutputBuilder::<_, NoopBuilder<Parcels>>::from(rejected_output);
    builder.build(move |_capabilities| {
        let counters = context.counters.of(&node.name);
        let mut operator = Operator {
            context,
            node,
            index,
            step,
            counters,
            rows: HashMap::new(),
            emitted: Emitted::default(),
            rejected: 0,
        };
        move |_frontiers| {
            let mut output = output.activate();
            let mut rejected_output = rejected_output.activate();
            input.for_each(|capability, parcels| {
                let epoch = Epoch(*capability.time());
                let began = Instant::now();
                let (mut made, mut rejects) = (Vec::new(), Vec::new());
                for parcel in parcels.drain() {
                    if operator.context.abort.is_set() {
                        return;
                    }
                    match operator.parcel(epoch, parcel, &mut rejects) {
                        Ok(parcel) => made.extend(parcel),
                        Err(failure) => operator.context.abort.fail(failure),
                    }
                }
                let traces = &operator.context.traces;
                traces.worked(epoch, &operator.node.name, began);
                output
                    .session_with_builder(&capability)
                    .give_container(&mut made.into());
                rejected_output
                    .session_with_builder(&capability)
                    .give_container(&mut rejects.into());
            });
        }
    });
    (results, rejected)
}

struct Operator {
    context: Shared,
    node: Node,
    index: usize,
    step: SqlStep,
    counters: Arc<NodeCounters>,
    /// Rows that have come of the partitions that are not at their end.
    rows: HashMap<(Epoch, PartitionId), u64>,
    emitted: Emitted,
    rejected: u32,
}

impl Operator {
    /// What becomes of a parcel, if anything is left of it.
    fn parcel(
        &mut self,
        epoch: Epoch,
        parcel: Parcel,
        rejected: &mut Vec<Parcel>,
    ) -> Result<Option<Parcel>, Failure> {
        let (partition, rows) = (parcel.partition, parcel.batch.num_rows() as u64);
        count(&self.counters.rows_in, rows);
        let before = self.rows.remove(&(epoch, partition)).unwrap_or_default();
        if !parcel.last {
            self.rows.insert((epoch, partition), before + rows);
        }
        let made = self.compute(epoch, &parcel, rejected).map_err(|failure| {
            parcel
                .placed(failure, &self.context.readers, before)
                .at_node(&self.node.name)
                .at(epoch, partition)
        })?;
        count(&self.counters.rows_out, made.batch.num_rows() as u64);
        let bytes = made.batch.get_array_memory_size();
        let made = Parcel {
            last: parcel.last,
            charge: Some(self.context.live.charge(bytes, &self.emitted)),
            ..made
        };
        Ok(Some(made).filter(|made| made.last || made.batch.num_rows() > 0))
    }

    fn compute(
        &mut self,
        epoch: Epoch,
        parcel: &Parcel,
        rejected: &mut Vec<Parcel>,
    ) -> Result<Parcel, Failure> {
        if let Ok(computed) = self.step.sql.compute(&parcel.batch, parcel.time) {
            return self.made(parcel, computed);
        }
        let good = self.without_bad_rows(epoch, parcel, rejected)?;
        let computed = self.step.sql.compute(&good.batch, good.time);
        self.made(&good, computed.map_err(Failure::user)?)
    }

    fn made(&self, parcel: &Parcel, computed: Computed) -> Result<Parcel, Failure> {
        let all = parcel.batch.num_rows();
        let (count, origin, columns) = match computed {
            Computed::Rows(rows) if rows.len() == all => (all, Origin::Same, Vec::new()),
            Computed::Rows(rows) => (rows.len(), Origin::Parents(rows), Vec::new()),
            Computed::Columns(columns) => {
                let kept = self.step.kept.iter();
                let kept = kept.map(|column| columns[*column].clone());
                (all, Origin::Same, kept.collect())
            }
        };
        let made = Made {
            parcel,
            rows: 0..all,
            count,
            origin,
            carried: &self.step.carried,
            columns,
        };
        made.parcel(self.node.ports[0].clone(), parcel.sequence)
    }

    /// The parcel without the rows that cannot be computed, which are turned away.
    fn without_bad_rows(
        &mut self,
        epoch: Epoch,
        parcel: &Parcel,
        rejected: &mut Vec<Parcel>,
    ) -> Result<Parcel, Failure> {
        let rows = 0..parcel.batch.num_rows();
        let bad = (self.step.sql).bad_rows(&parcel.batch, parcel.time, rows.clone());
        let mut rejects = Rejects::new(&self.node, self.index);
        for (row, reason) in &bad {
            rejects.turn_away(&self.context, self.node.on_error, parcel, *row, reason)?;
        }
        if !rejects.is_empty() {
            let rejects = rejects.parcel(epoch, parcel.time, parcel.partition, self.rejected);
            rejected.push(rejects);
            self.rejected += 1;
        }
        let bad: HashSet<usize> = bad.into_iter().map(|(row, _)| row).collect();
        let good = rows.clone().filter(|row| !bad.contains(row));
        let good = UInt32Array::from_iter_values(good.map(|row| row as u32));
        let all: Vec<usize> = (0..parcel.batch.num_columns()).collect();
        let made = Made {
            parcel,
            rows,
            count: good.len(),
            origin: Origin::Parents(good),
            carried: &all,
            columns: Vec::new(),
        };
        made.parcel(parcel.batch.schema(), parcel.sequence)
    }
}
