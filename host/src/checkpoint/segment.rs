//! The state of a step's partition as it is kept: segments, each with what some epochs changed, the newest last.
//!
//! A segment is a batch in Arrow's IPC stream format, sealed like every record, with the columns of a table's delta: whether the key is live,
//! its timer, the key, the state. Rows are in the order of the keys, each key once. Small neighbours are put together, so that a partition never has many.

use std::collections::HashSet;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Generation, NodeName, PartitionId};

/// The folder of all segments.
pub(super) const STATE: &str = "state";

/// What is kept of one partition of a step, after an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// The oldest first.
    pub segments: Vec<Segment>,
    /// When its first timer is due, in milliseconds since 1970.
    pub next_timer: Option<i64>,
}

/// A segment, by what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The first epoch whose changes are in it.
    pub first: Epoch,
    /// The last.
    pub last: Epoch,
    /// The start that wrote it. Another one may have written other rows of the same epochs, before a crash or at the same time.
    pub generation: Generation,
    /// The number of the state's meaning, as the plugin that wrote it counts.
    pub version: u32,
    /// Of a window, the pane that it is a part of. Never left out: between processes a segment travels without the names of its fields.
    #[serde(default)]
    pub pane: Option<i64>,
    /// Keys.
    pub rows: u64,
    /// Of the object, or of its part of a pack.
    pub bytes: u64,
    /// Where it lies with others; nothing if it is an object of its own. Never left out, like the pane.
    #[serde(default)]
    pub pack: Option<InPack>,
}

/// The place of a segment among those of its step that were written together, in its last epoch and by the same start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InPack {
    /// The partition of the first segment in it, in whose folder it is. No other pack of the epoch begins with this one.
    pub first: PartitionId,
    /// Bytes before it.
    pub offset: u64,
}

impl Segment {
    /// The name of its object, in the folder of its partition or of the pack's first.
    pub fn object(&self, (node, partition): (&NodeName, PartitionId)) -> String {
        let Self {
            first,
            last,
            generation,
            ..
        } = self;
        match self.pack {
            None => format!(
                "{STATE}/{node}/{:010}/{:020}-{:020}-{:020}",
                partition.0, first.0, last.0, generation.0
            ),
            Some(pack) => format!(
                "{STATE}/{node}/{:010}/pack-{:020}-{:020}",
                pack.first.0, last.0, generation.0
            ),
        }
    }

    /// The epoch that has written the object of such a name, which is its last one, and the start.
    pub fn written(name: &str) -> Option<(Epoch, Generation)> {
        let mut numbers = name.split('-').skip(1).map(str::parse);
        match (numbers.next()?, numbers.next()?) {
            (Ok(last), Ok(generation)) => Some((Epoch(last), Generation(generation))),
            _ => None,
        }
    }
}

/// So many segments are left as they are, however small.
const FEW: usize = 4;

/// Whether the two newest of some segments should be one: else every segment has at most half as many rows as the one before it, and
/// there are as many as the number of keys has binary digits.
pub fn should_merge(segments: &[Segment]) -> bool {
    match segments {
        [.., older, newer] => {
            segments.len() > FEW && older.version == newer.version && older.rows < 2 * newer.rows
        }
        _ => false,
    }
}

/// Both as one: a key that is in both is as the newer has it. Without anything `below`, keys that are not live are left out.
pub fn merge(
    older: &RecordBatch,
    newer: &RecordBatch,
    keys: usize,
    below: bool,
) -> Result<RecordBatch, ArrowError> {
    let both = concat_batches(older.schema_ref(), [older, newer])?;
    let encoded = encoded_keys(&both.columns()[MARKS..MARKS + keys])?;
    let (mut left, mut right) = (0, older.num_rows());
    let (left_end, right_end) = (older.num_rows(), both.num_rows());
    let mut rows = Vec::with_capacity(both.num_rows());
    while left < left_end && right < right_end {
        match encoded.row(left).cmp(&encoded.row(right)) {
            std::cmp::Ordering::Less => {
                rows.push(left as u32);
                left += 1;
            }
            order => {
                rows.push(right as u32);
                right += 1;
                left += usize::from(order.is_eq());
            }
        }
    }
    rows.extend(
        (left..left_end)
            .chain(right..right_end)
            .map(|row| row as u32),
    );
    let merged = take_record_batch(&both, &UInt32Array::from(rows))?;
    if below {
        return Ok(merged);
    }
    let live: BooleanArray = merged.column(0).as_boolean().clone();
    filter_record_batch(&merged, &live)
}

/// The live keys of a delta that no newer one has, with their timers, keys and states; all of its keys are seen after it.
pub fn unseen(
    delta: &RecordBatch,
    keys: usize,
    seen: &mut HashSet<Box<[u8]>>,
) -> Result<RecordBatch, ArrowError> {
    let live = delta.column(0).as_boolean();
    let encoded = encoded_keys(&delta.columns()[MARKS..MARKS + keys])?;
    let is_new = encoded.iter().map(|key| seen.insert(key.as_ref().into()));
    let shown: BooleanArray = is_new
        .zip(live.values())
        .map(|(is_new, live)| Some(is_new && live))
        .collect();
    let columns: Vec<usize> = (1..delta.num_columns()).collect();
    filter_record_batch(&delta.project(&columns)?, &shown)
}

fn encoded_keys(columns: &[ArrayRef]) -> Result<Rows, ArrowError> {
    let fields = columns
        .iter()
        .map(|column| SortField::new(column.data_type().clone()));
    RowConverter::new(fields.collect())?.convert_columns(columns)
}

/// Columns before those of the key.
pub const MARKS: usize = 2;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{decode, encode};

    /// Of each key the state, or that it has none any more.
    type Twin = BTreeMap<String, Option<i64>>;

    fn batch(content: &Twin) -> RecordBatch {
        let live: BooleanArray = content
            .values()
            .map(|state| Some(state.is_some()))
            .collect();
        let timers: Int64Array = content.values().copied().collect();
        let keys: StringArray = content.keys().map(Some).collect();
        let states: Int64Array = content.values().copied().collect();
        RecordBatch::try_from_iter_with_nullable([
            ("live", Arc::new(live) as _, false),
            ("timer", Arc::new(timers) as _, true),
            ("k", Arc::new(keys) as _, false),
            ("n", Arc::new(states) as _, true),
        ])
        .unwrap()
    }

    fn content(batch: &RecordBatch) -> Twin {
        let keys = batch.column(2).as_string::<i32>().iter().flatten();
        let states = batch.column(3).as_primitive::<Int64Type>().iter();
        keys.map(str::to_owned).zip(states).collect()
    }

    proptest! {
        #[test]
        fn what_is_merged_is_what_a_map_makes_of_both(
            older in prop::collection::btree_map("[a-d]{0,2}", prop::option::of(0i64..9), 0..8),
            newer in prop::collection::btree_map("[a-d]{0,2}", prop::option::of(0i64..9), 0..8),
            below: bool,
        ) {
            let mut twin = older.clone();
            twin.extend(newer.clone());
            if !below {
                twin.retain(|_, state| state.is_some());
            }
            let merged = merge(&batch(&older), &batch(&newer), 1, below).unwrap();
            prop_assert_eq!(content(&merged), twin);
            let again = decode(encode(&merged).unwrap()).unwrap();
            prop_assert_eq!(again, merged);
        }
    }

    #[test]
    fn segments_stay_few_and_their_merging_cheap() {
        let (mut segments, mut written) = (Vec::<Segment>::new(), 0);
        for epoch in (0..10_000).map(Epoch) {
            segments.push(Segment {
                first: epoch,
                last: epoch,
                generation: Generation(1),
                version: 0,
                pane: None,
                rows: 100,
                bytes: 0,
                pack: None,
            });
            written += 100;
            while should_merge(&segments) {
                let newer = segments.pop().unwrap();
                let older = segments.last_mut().unwrap();
                older.last = newer.last;
                older.rows += newer.rows;
                written += older.rows;
            }
            assert!(segments.len() <= FEW + 13, "{} segments", segments.len());
        }
        // Every row is written about as often as the state has doubled.
        assert!(written < 10_000 * 100 * 16, "{written} rows");
    }
}
