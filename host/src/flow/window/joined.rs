//! Windows of two inputs that are joined: their rows are kept, of each column that is read, and joined when a window ends.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};

use super::Work;
use crate::error::Failure;
use crate::flow::arrivals::whole;
use crate::flow::join::{bug, rows, too_large};
use crate::flow::parcel::Parcel;
use crate::join::Join;
use crate::pipeline::Node;
use crate::plugin::CallContext;
use crate::state::Batch;
use crate::window::{BOUNDS, Spans};

/// A join over windows.
pub struct Joined {
    /// Over the columns that are kept.
    join: Join,
    /// Of each side, its columns, which of them are kept, and these.
    sides: [(SchemaRef, Vec<usize>, SchemaRef); 2],
    /// Of the result.
    schema: SchemaRef,
}

impl Joined {
    /// The join of a node.
    pub fn new(join: &Join, node: &Node) -> Self {
        let sides = [0, 1].map(|side| {
            let (kept, of_kept) = join.kept(side, &node.inputs[side].schema);
            (node.inputs[side].schema.clone(), kept, of_kept)
        });
        let fields = node.ports[0].fields().iter().skip(BOUNDS.len()).cloned();
        Self {
            join: join.over_kept(),
            sides,
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        }
    }
}

impl Work for Joined {
    /// Rows do not get fewer when they are put together.
    fn spans(&self) -> Spans {
        Spans::Panes
    }

    fn take(
        &mut self,
        _: CallContext,
        side: usize,
        mut rows: Vec<Parcel>,
    ) -> Result<RecordBatch, Failure> {
        let (schema, kept, _) = &self.sides[side];
        let rows = whole(&mut rows, schema).map_err(too_large)?;
        rows.project(kept).map_err(bug)
    }

    fn combine(&mut self, _: CallContext, parts: &[&RecordBatch]) -> Result<RecordBatch, Failure> {
        concat_batches(parts[0].schema_ref(), parts.iter().copied()).map_err(too_large)
    }

    fn finish(
        &mut self,
        _: CallContext,
        inputs: &[Vec<Batch>],
    ) -> Result<Vec<RecordBatch>, Failure> {
        let side = |side: usize| {
            let parts = inputs[side].iter().map(Batch::rows);
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            concat_batches(&self.sides[side].2, &parts).map_err(too_large)
        };
        rows(&self.join, [&side(0)?, &side(1)?], &self.schema)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::array::{Array, AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type};
    use proptest::prelude::*;

    use super::super::{Over, Panes};
    use super::*;
    use crate::ids::{BatchTime, Epoch, PartitionId};
    use crate::join::{Column, Kind};
    use crate::pipeline::{Input, NodeKind, OnError};
    use crate::state::{StateConfig, StateMemory};
    use crate::window::{WindowSpec, by_end};

    type Key = Option<i64>;
    /// Of either side, an epoch's keys, each with the partition that its row comes from.
    type Sides = [Vec<(Key, u32)>; 2];
    /// A row of the result: the window's end, the key, and the numbers of the rows.
    type Row = (i64, Key, Option<i64>, Option<i64>);

    /// A side: a column that nobody reads, the number of the row, the key.
    fn side() -> SchemaRef {
        let fields = ["unread", "number", "key"];
        let fields = fields.map(|name| Field::new(name, DataType::Int64, true));
        Arc::new(Schema::new(fields.to_vec()))
    }

    fn joined(kind: Kind, windows: [WindowSpec; 2]) -> Joined {
        let join = Join {
            kind,
            keys: [vec![2], vec![2]],
            columns: vec![Column::Key(0), Column::Left(1), Column::Right(1)],
        };
        let rows = join.output_schema(&side(), &side());
        let bounds = BOUNDS.map(|name| Field::new(name, DataType::Int64, false));
        let fields = bounds.into_iter().map(Arc::new);
        let fields = fields.chain(rows.fields().iter().cloned());
        let input = Input {
            ports: Vec::new(),
            schema: side(),
        };
        let node = Node {
            name: "step".into(),
            inputs: vec![input.clone(), input],
            ports: vec![Arc::new(Schema::new(fields.collect::<Vec<_>>()))],
            on_error: OnError::Fail,
            kind: NodeKind::Join(join.clone(), Some(windows)),
        };
        Joined::new(&join, &node)
    }

    /// Each row as a parcel, the last partition's first: what came first is another thing than what is first.
    fn parcels(rows: &[(Key, u32)], first: i64) -> Vec<Parcel> {
        let parcel = |(number, (key, from)): (i64, &(Key, u32))| {
            let columns = [Some(-1), Some(first + number), *key];
            let columns = columns.map(|value| Arc::new(Int64Array::from(vec![value])) as _);
            let batch = RecordBatch::try_new(side(), columns.to_vec()).unwrap();
            let end = Parcel::end_of(PartitionId(0), BatchTime(0), number as u32, batch);
            Parcel {
                from: PartitionId(*from),
                ..end
            }
        };
        let mut parcels: Vec<_> = (0..).zip(rows).map(parcel).collect();
        parcels.sort_by_key(|parcel| std::cmp::Reverse(parcel.from));
        parcels
    }

    fn found(end: i64, batch: &RecordBatch) -> impl Iterator<Item = Row> {
        let value = |column: usize, row: usize| {
            let column = batch.column(column).as_primitive::<Int64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        (0..batch.num_rows()).map(move |row| (end, value(0, row), value(1, row), value(2, row)))
    }

    /// Every row that ever came, looked at for every window.
    fn twin(kind: Kind, lengths: [i64; 2], slide: i64, epochs: &[(i64, Sides)]) -> Vec<Row> {
        let last = epochs.last().map_or(0, |(time, _)| *time);
        let mut all = Vec::new();
        for end in (0..=last).filter(|end| end % slide == 0) {
            let [left, right] = [0, 1].map(|side| {
                let numbered = epochs
                    .iter()
                    .enumerate()
                    .flat_map(|(epoch, (time, sides))| {
                        let mut rows: Vec<_> =
                            sides[side].iter().zip(epoch as i64 * 100..).collect();
                        rows.sort_by_key(|((_, from), _)| *from);
                        rows.into_iter()
                            .map(|((key, _), number)| (*time, *key, number))
                    });
                let inside =
                    numbered.filter(|(time, ..)| *time <= end && *time > end - lengths[side]);
                inside
                    .map(|(_, key, number)| (key, number))
                    .collect::<Vec<_>>()
            });
            let mut rows = Vec::new();
            let equal = |one: Key, other: Key| one.is_some() && one == other;
            for (place, (key, one)) in left.iter().enumerate() {
                let others = right
                    .iter()
                    .enumerate()
                    .filter(|(_, (other, _))| equal(*key, *other));
                let others: Vec<_> = others.map(|(at, (_, other))| (at, Some(*other))).collect();
                if others.is_empty() && kind.keeps_left() {
                    rows.push(((*key, place, 0), (end, *key, Some(*one), None)));
                }
                for (at, other) in others {
                    rows.push(((*key, place, at), (end, *key, Some(*one), other)));
                }
            }
            for (at, (key, other)) in right.iter().enumerate() {
                if kind.keeps_right() && !left.iter().any(|(one, _)| equal(*one, *key)) {
                    rows.push(((*key, usize::MAX, at), (end, *key, None, Some(*other))));
                }
            }
            rows.sort_by_key(|(order, _)| *order);
            all.extend(rows.into_iter().map(|(_, row)| row));
        }
        all
    }

    fn rows_of_side() -> impl Strategy<Value = Vec<(Key, u32)>> {
        prop::collection::vec((prop::option::weighted(0.9, 0i64..4), 0u32..3), 0..5)
    }

    proptest! {
        #[test]
        fn windows_join_what_a_search_of_all_rows_finds_and_keep_no_more_than_they_hold(
            epochs in prop::collection::vec((1i64..30, rows_of_side(), rows_of_side()), 0..30),
            slide in 1i64..20, more in [0i64..40, 0i64..40], kind in 0usize..4,
            limit in prop_oneof![0u64..500, Just(u64::MAX)],
        ) {
            let config = StateConfig { memory: limit, spill: None };
            let memory = Arc::new(StateMemory::new(config));
            let kind = Kind::ALL[kind].1;
            let lengths = more.map(|more| slide + more);
            let span = |millis: i64| Duration::from_millis(millis as u64);
            let windows = lengths.map(|length| WindowSpec::new(span(length), span(slide)).unwrap());
            let mut work = joined(kind, windows);
            let mut panes = windows.map(|windows| {
                let over = Over { name: "step".into(), windows, kept: None };
                Panes::load(&over, work.spans(), PartitionId(0), memory.clone()).unwrap()
            });
            let (mut time, mut all, mut rows) = (0, Vec::new(), Vec::new());
            for (number, (gap, left, right)) in (0..).zip(epochs) {
                time += gap;
                let call = CallContext {
                    epoch: Epoch(number),
                    time: BatchTime(time),
                    partition: PartitionId(0),
                    call: 0,
                    seed: 0,
                };
                let sides = [left, right];
                let mut ended = Vec::new();
                for side in [0, 1] {
                    let parcels = parcels(&sides[side], number as i64 * 100);
                    let taken = match parcels.is_empty() {
                        true => None,
                        false => Some(work.take(call, side, parcels).unwrap()),
                    };
                    let mut combine = |parts: &[&RecordBatch]| work.combine(call, parts);
                    let of_side = panes[side].advance(call.epoch, call.time, taken, &mut combine);
                    ended.push(of_side.unwrap());
                }
                all.push((time, sides));
                for (end, inputs) in by_end(ended) {
                    for batch in work.finish(call, &inputs).unwrap() {
                        rows.extend(found(end, &batch));
                    }
                }
                for side in [0, 1] {
                    panes[side].settle().unwrap();
                    // The next window begins after this; whole panes are kept.
                    let begins = time.div_euclid(slide) * slide + slide - lengths[side];
                    let held = all.iter().filter(|(time, _)| *time > begins);
                    let most: usize = held.map(|(_, sides)| sides[side].len()).sum();
                    prop_assert_eq!(panes[side].rows(), most);
                }
            }
            prop_assert_eq!(rows, twin(kind, lengths, slide, &all));
        }
    }
}
