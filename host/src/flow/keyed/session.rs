//! One partition of one epoch of a keyed step: its rows by key, and the calls they are cut into.

use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::take_record_batch;

use crate::aggregate::grouping::group;
use crate::error::Failure;
use crate::flow::arrivals::{Inputs, whole};
use crate::flow::rejects::row_as_json;
use crate::ids::{BatchTime, PartitionId};
use crate::pipeline::plan::KeyedStep;
use crate::plugin::{CALL_BYTES, CALL_ROWS, Keyed, KeyedInstance, WHOLE_KEY_ROWS, bytes_of};
use crate::state::{Selection, Table};

/// A partition being worked on.
pub struct Session {
    pub partition: PartitionId,
    /// The step's key columns, a row a key, in the order of the keys.
    pub keys: Vec<ArrayRef>,
    /// Of each input.
    pub inputs: Vec<Input>,
    /// Of each port, the parcels sent.
    pub sequences: Vec<u32>,
    pub instance: Option<KeyedInstance>,
    /// Calls made.
    pub calls: u32,
    /// The keys in the partition's table.
    pub selection: Selection,
    /// Bytes of each key's state before the epoch.
    sizes: Vec<usize>,
    at: Cursor,
}

/// The rows of one input, by key.
pub struct Input {
    pub rows: RecordBatch,
    /// Where each key's rows end.
    pub ends: Vec<u32>,
}

impl Input {
    /// The rows of a key.
    fn of(&self, key: usize) -> Range<usize> {
        let start = if key == 0 { 0 } else { self.ends[key - 1] };
        start as usize..self.ends[key] as usize
    }
}

/// Where the next call begins.
struct Cursor {
    key: usize,
    /// Of each input, the rows of that key which earlier calls had; none if the key has not been begun.
    done: Option<Vec<usize>>,
}

/// The keys and rows of one call: whole keys, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which keys.
    pub keys: Range<usize>,
    /// Of each input, which rows.
    pub rows: Vec<Range<usize>>,
    /// Whether these are the keys' first rows of the epoch.
    pub first: bool,
    /// Whether they are the last.
    pub last: bool,
}

impl Session {
    /// Groups the rows of `parcels` (of each input, in any order), together with the keys that are due.
    pub fn new(
        step: &KeyedStep,
        table: &Table,
        partition: PartitionId,
        time: BatchTime,
        parcels: Inputs,
    ) -> Result<Self, Failure> {
        let batches = parcels.into_iter().zip(&step.input_schemas);
        let batches = batches.map(|(mut parcels, schema)| whole(&mut parcels, schema));
        let batches: Vec<RecordBatch> = batches.collect::<Result<_, _>>().map_err(bug)?;
        let keys: Vec<Vec<ArrayRef>> = batches
            .iter()
            .zip(&step.group_by)
            .map(|(batch, keys)| keys.iter().map(|key| batch.column(*key).clone()).collect())
            .collect();
        let asked = match step.every_key {
            true => table.all()?,
            false => table.due(time)?,
        };
        let grouping = group(&step.key_schema, &keys, &asked)?;
        let inputs = batches.iter().zip(grouping.inputs);
        let inputs = inputs.map(|(batch, by_key)| {
            Ok(Input {
                rows: take_record_batch(batch, &by_key.rows).map_err(bug)?,
                ends: by_key.ends,
            })
        });
        let selection = table.select(&grouping.keys)?;
        Ok(Self {
            partition,
            sizes: table.sizes(&selection),
            selection,
            keys: grouping.keys,
            inputs: inputs.collect::<Result<_, Failure>>()?,
            sequences: vec![0; step.carried.len()],
            instance: None,
            calls: 0,
            at: Cursor { key: 0, done: None },
        })
    }

    /// Whether every key has been called.
    pub fn is_over(&self) -> bool {
        self.at.key >= self.sizes.len()
    }

    /// The next call, cut by rows and bytes alone. Not after the last.
    pub fn next(&mut self, step: &KeyedStep) -> Result<Call, Failure> {
        let keyed = &step.keyed;
        let first_key = self.at.key;
        if self.at.done.is_none() {
            let keys = first_key..self.whole_keys(keyed, first_key);
            if !keys.is_empty() {
                self.at.key = keys.end;
                return Ok(self.whole(keys));
            }
            if keyed.whole_groups() {
                let keys = self.keys.iter().map(|column| column.slice(first_key, 1));
                let key = RecordBatch::try_new(step.key_schema.clone(), keys.collect());
                let key = key.ok().and_then(|key| row_as_json(&key, 0));
                let message = format!(
                    "the key {} has more rows than one call can take ({WHOLE_KEY_ROWS}, or {CALL_BYTES} bytes), and the plugin wants all rows of a key at once",
                    key.unwrap_or_default()
                );
                return Err(
                    Failure::user(message).help("have the plugin take a key's rows in parts")
                );
            }
        }
        Ok(self.part(keyed, first_key))
    }

    /// Keys with all their rows.
    pub fn whole(&self, keys: Range<usize>) -> Call {
        let rows = self.inputs.iter().map(|input| {
            let start = input.of(keys.start).start;
            start..input.of(keys.end - 1).end
        });
        Call {
            rows: rows.collect(),
            keys,
            first: true,
            last: true,
        }
    }

    /// Where the keys end that fit into one call, from `start` on: one by itself may be larger if it is wanted whole.
    fn whole_keys(&self, keyed: &Keyed, start: usize) -> usize {
        let (mut rows, mut bytes) = (0, 0);
        let most = |key| match keyed.whole_groups() && key == start {
            true => WHOLE_KEY_ROWS,
            false => CALL_ROWS,
        };
        let fits = |key: &usize| {
            rows += 1;
            bytes += self.sizes[*key];
            for (index, input) in self.inputs.iter().enumerate() {
                let of_key = input.of(*key);
                rows += of_key.len();
                bytes += bytes_of(&input.rows, keyed.columns(index), &of_key);
            }
            rows <= most(*key) && bytes <= CALL_BYTES
        };
        start + (start..self.sizes.len()).take_while(fits).count()
    }

    /// As many rows of a key as fit into a call, at least one of those that are left.
    fn part(&mut self, keyed: &Keyed, key: usize) -> Call {
        let first = self.at.done.is_none();
        let mut done = self
            .at
            .done
            .take()
            .unwrap_or_else(|| vec![0; self.inputs.len()]);
        let (mut rows_left, mut bytes_left) = (CALL_ROWS, CALL_BYTES);
        let (mut rows, mut last, mut taken) = (Vec::new(), true, 0);
        for (index, input) in self.inputs.iter().enumerate() {
            let of_key = input.of(key);
            let start = of_key.start + done[index];
            let left = of_key.end - start;
            let mut count = if last { left.min(rows_left) } else { 0 };
            let bytes =
                |count| bytes_of(&input.rows, keyed.columns(index), &(start..start + count));
            while count > 0 && bytes(count) > bytes_left && (count > 1 || taken > 0) {
                count /= 2;
            }
            last &= count == left;
            rows_left -= count;
            bytes_left = bytes_left.saturating_sub(bytes(count));
            taken += count;
            done[index] += count;
            rows.push(start..start + count);
        }
        if last {
            self.at.key += 1;
        } else {
            self.at.done = Some(done);
        }
        Call {
            keys: key..key + 1,
            rows,
            first,
            last,
        }
    }

    /// The key columns of a call.
    pub fn key_columns(&self, call: &Call) -> Vec<ArrayRef> {
        let columns = self.keys.iter();
        columns
            .map(|column| column.slice(call.keys.start, call.keys.len()))
            .collect()
    }
}

fn bug(error: arrow::error::ArrowError) -> Failure {
    Failure::internal(format!(
        "rows could not be brought together by key: {error}"
    ))
}
