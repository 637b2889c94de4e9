//! Deals the rows of an epoch out to a number of partitions, one after another, so that each gets as many.

use std::collections::HashMap;

use timely::dataflow::Stream;

use super::context::{Context, Emitted, Shared};
use super::gather;
use super::parcel::{Parcel, Parcels};
use super::spread::spread;
use crate::ids::{Epoch, PartitionId};
use crate::telemetry::count;

/// Builds the operators of the step at `index` in the plan. Which row goes where depends on its place in its partition
/// alone; the rows of a new partition are in the order of the partitions they come from, and in theirs.
pub fn repartition<'scope>(
    rows: Stream<'scope, u64, Parcels>,
    context: Shared,
    index: usize,
    partitions: u32,
) -> Stream<'scope, u64, Parcels> {
    let mut next: HashMap<(Epoch, PartitionId), u64> = HashMap::new();
    let dealt = spread(
        rows,
        context.clone(),
        index,
        partitions,
        move |epoch, parcel| {
            let key = (epoch, parcel.partition);
            // Partitions begin apart, or many small ones would all begin with the first.
            let first = next.remove(&key).unwrap_or(parcel.partition.0.into());
            let end = first + parcel.batch.num_rows() as u64;
            if !parcel.last {
                next.insert(key, end);
            }
            let partition = |row: u64| PartitionId((row % u64::from(partitions)) as u32);
            Ok((first..end).map(partition).collect())
        },
    );
    let name = context.plan.nodes[index].name.clone();
    let counters = context.counters.of(&name);
    let emitted = Emitted::default();
    gather::gather(dealt, name.as_str(), move |pieces| {
        let numbered = numbered(pieces, &context, &emitted);
        let rows = numbered.iter().map(|parcel| parcel.batch.num_rows() as u64);
        count(&counters.rows_out, rows.sum());
        numbered
    })
}

/// The pieces of an epoch, sorted by partition, as partitions of their own.
fn numbered(pieces: Vec<Parcel>, context: &Context, emitted: &Emitted) -> Vec<Parcel> {
    let mut numbered: Vec<Parcel> = Vec::new();
    let mut pieces = pieces.into_iter().peekable();
    while let Some(piece) = pieces.next() {
        let next = pieces.peek().map(|next| next.partition);
        let last = next != Some(piece.partition);
        if piece.batch.num_rows() == 0 && !last {
            continue;
        }
        let before = numbered.last();
        let before = before.filter(|before| before.partition == piece.partition);
        let bytes = piece.batch.get_array_memory_size();
        numbered.push(Parcel {
            from: piece.partition,
            sequence: before.map_or(0, |before| before.sequence + 1),
            last,
            charge: Some(context.live.charge(bytes, emitted)),
            ..piece
        });
    }
    numbered
}
