//! The state of the keys of one partition.
//!
//! A key and its state are kept as Arrow's row encoding, in one allocation: it compares as the key does, and turns into columns again.
//! Nothing but the keys that are named is looked at, so what an epoch costs does not depend on how many keys there are.
//!
//! Changes leave the table as a [`Table::delta`]: a batch with the columns `live` (false of a key that was removed), `timer`
//! (milliseconds since 1970, or null), the key's and the state's, in the order of the keys. [`Table::load`] takes it up again.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_empty_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{Row, RowConverter, Rows, SortField};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::error::Failure;
use crate::ids::BatchTime;

/// Columns of a delta before those of the key.
const MARKS: usize = 2;

type Bytes = Box<[u8]>;

/// Keys with their state and timers.
#[derive(Debug)]
pub struct Table {
    keys: RowConverter,
    states: RowConverter,
    key_columns: usize,
    state_schema: SchemaRef,
    delta_schema: SchemaRef,
    slots: HashTable<Slot>,
    hasher: RandomState,
    timers: BTreeSet<(i64, Bytes)>,
    /// Keys changed since the last delta, some of them twice.
    changed: Rows,
}

/// A key with what is kept of it. There may be millions, so it is small, and its bytes are one allocation.
#[derive(Debug)]
struct Slot {
    /// The key, its state, and the time of its timer, if it has one.
    bytes: Bytes,
    key_bytes: u32,
    has_timer: bool,
}

const TIMER_BYTES: usize = size_of::<i64>();

impl Slot {
    fn new(key: &[u8], state: &[u8], timer: Option<i64>) -> Self {
        let timer = timer.map(i64::to_le_bytes);
        let timer_bytes = timer.as_ref().map_or(&[][..], |timer| timer);
        Self {
            bytes: [key, state, timer_bytes].concat().into(),
            key_bytes: u32::try_from(key.len()).expect("a key comes from an Arrow array"),
            has_timer: timer.is_some(),
        }
    }

    fn key(&self) -> &[u8] {
        &self.bytes[..self.key_bytes as usize]
    }

    fn state(&self) -> &[u8] {
        let end = self.bytes.len() - if self.has_timer { TIMER_BYTES } else { 0 };
        &self.bytes[self.key_bytes as usize..end]
    }

    fn timer(&self) -> Option<i64> {
        let timer = self.bytes.last_chunk().filter(|_| self.has_timer);
        timer.copied().map(i64::from_le_bytes)
    }
}

/// What a table has of some keys.
#[derive(Debug)]
pub struct Found {
    /// Of each key, whether it has state.
    pub present: Vec<bool>,
    /// Of each key, whether its timer is due.
    pub due: Vec<bool>,
    /// The state's columns, a row for each key that has state.
    pub states: Vec<ArrayRef>,
}

/// What becomes of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What becomes of its state: `Some(true)` takes the next state given, `Some(false)` has none any more.
    pub state: Option<bool>,
    /// What becomes of its timer.
    pub timer: Option<Option<i64>>,
}

impl Table {
    /// An empty table of these columns.
    ///
    /// # Errors
    /// When a column is of a type that cannot be a key or state.
    pub fn new(keys: &Schema, states: &SchemaRef) -> Result<Self, Failure> {
        let converter = |schema: &Schema| {
            let fields = schema.fields().iter();
            RowConverter::new(
                fields
                    .map(|field| SortField::new(field.data_type().clone()))
                    .collect(),
            )
        };
        let marks = [
            Field::new("live", DataType::Boolean, false),
            Field::new("timer", DataType::Int64, true),
        ];
        let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
        let fields = marks
            .into_iter()
            .chain(keys.fields().iter().map(|field| field.as_ref().clone()))
            .chain(states.fields().iter().map(nullable));
        let keys_converter = converter(keys).map_err(bug)?;
        Ok(Self {
            changed: keys_converter.empty_rows(0, 0),
            keys: keys_converter,
            states: converter(states).map_err(bug)?,
            key_columns: keys.fields().len(),
            state_schema: states.clone(),
            delta_schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            slots: HashTable::new(),
            hasher: RandomState::default(),
            timers: BTreeSet::new(),
        })
    }

    /// Keys that have state.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no key has state.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The columns of a delta.
    pub fn delta_schema(&self) -> &SchemaRef {
        &self.delta_schema
    }

    /// When the first timer is due.
    pub fn next_timer(&self) -> Option<i64> {
        self.timers.first().map(|(time, _)| *time)
    }

    /// The key columns of the keys whose timers are due.
    ///
    /// # Errors
    /// Only for a bug, here and below.
    pub fn due(&self, time: BatchTime) -> Result<Vec<ArrayRef>, Failure> {
        let due = self.timers.iter().take_while(|(due, _)| *due <= time.0);
        self.key_columns_of(due.map(|(_, key)| key.as_ref()))
    }

    /// The key columns of all keys that have state, in no order.
    pub fn all(&self) -> Result<Vec<ArrayRef>, Failure> {
        self.key_columns_of(self.slots.iter().map(Slot::key))
    }

    /// The bytes that each key's state takes; those of a key without state are none.
    pub fn sizes(&self, keys: &[ArrayRef]) -> Result<Vec<usize>, Failure> {
        let keys = self.encoded(keys)?;
        let size = |key| self.slot(key).map_or(0, |slot| slot.state().len());
        Ok(keys.iter().map(size).collect())
    }

    /// What there is of some keys at a time.
    pub fn find(&self, keys: &[ArrayRef], time: BatchTime) -> Result<Found, Failure> {
        let keys = self.encoded(keys)?;
        let slots: Vec<_> = keys.iter().map(|key| self.slot(key)).collect();
        let is_due = |slot: &Option<&Slot>| {
            let timer = slot.and_then(Slot::timer);
            timer.is_some_and(|due| due <= time.0)
        };
        Ok(Found {
            present: slots.iter().map(Option::is_some).collect(),
            due: slots.iter().map(is_due).collect(),
            states: self.state_columns(slots.iter().flatten().map(|slot| slot.state()))?,
        })
    }

    fn slot(&self, key: Row<'_>) -> Option<&Slot> {
        let key = key.as_ref();
        let hash = self.hasher.hash_one(key);
        self.slots.find(hash, |slot| slot.key() == key)
    }

    /// Changes some keys, each at most once. `states` are the states put, in the order of their keys.
    pub fn apply(
        &mut self,
        keys: &[ArrayRef],
        changes: &[Change],
        states: &[ArrayRef],
    ) -> Result<(), Failure> {
        let keys = self.encoded(keys)?;
        let states = match states.first().is_some_and(|column| !column.is_empty()) {
            true => Some(self.states.convert_columns(states).map_err(bug)?),
            false => None,
        };
        let mut put = states.iter().flat_map(Rows::iter);
        for (key, change) in keys.iter().zip(changes) {
            let state = match change.state {
                Some(true) => Some(put.next().ok_or_else(|| {
                    Failure::internal("fewer states were put than the changes say")
                })?),
                _ => None,
            };
            if change.state.is_some() || change.timer.is_some() {
                self.change(key.as_ref(), *change, state.as_ref().map(AsRef::as_ref));
                self.changed.push(key);
            }
        }
        Ok(())
    }

    fn change(&mut self, key: &[u8], change: Change, state: Option<&[u8]>) {
        let (slots, hasher) = (&mut self.slots, &self.hasher);
        let hash_of = |slot: &Slot| hasher.hash_one(slot.key());
        let place = slots.entry(hasher.hash_one(key), |slot| slot.key() == key, hash_of);
        let before = match &place {
            Entry::Occupied(slot) => slot.get().timer(),
            Entry::Vacant(_) => None,
        };
        let timer = change.timer.unwrap_or(before);
        let after = match (place, change.state, state) {
            (Entry::Occupied(slot), Some(false), _) => {
                slot.remove();
                None
            }
            (Entry::Occupied(mut slot), ..) => {
                let slot = slot.get_mut();
                *slot = Slot::new(key, state.unwrap_or(slot.state()), timer);
                timer
            }
            (Entry::Vacant(place), Some(true), Some(state)) => {
                place.insert(Slot::new(key, state, timer));
                timer
            }
            (Entry::Vacant(_), ..) => None,
        };
        if before != after {
            if let Some(before) = before {
                self.timers.remove(&(before, key.into()));
            }
            if let Some(after) = after {
                self.timers.insert((after, key.into()));
            }
        }
    }

    /// What has changed since the last time, or nothing.
    pub fn delta(&mut self) -> Result<Option<RecordBatch>, Failure> {
        let changed = std::mem::replace(&mut self.changed, self.keys.empty_rows(0, 0));
        if changed.num_rows() == 0 {
            return Ok(None);
        }
        let mut keys: Vec<Row<'_>> = changed.iter().collect();
        keys.sort_unstable();
        keys.dedup();
        self.batch(&keys).map(Some)
    }

    fn batch(&self, keys: &[Row<'_>]) -> Result<RecordBatch, Failure> {
        let slots: Vec<_> = keys.iter().map(|key| self.slot(*key)).collect();
        let live: BooleanArray = slots.iter().map(|slot| Some(slot.is_some())).collect();
        let timers: Int64Array = slots
            .iter()
            .map(|slot| slot.and_then(Slot::timer))
            .collect();
        let mut next = 0..;
        let places: UInt32Array = slots
            .iter()
            .map(|slot| slot.and_then(|_| next.next()))
            .collect();
        let states = self.state_columns(slots.iter().flatten().map(|slot| slot.state()))?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(live), Arc::new(timers)];
        columns.extend(self.keys.convert_rows(keys.iter().copied()).map_err(bug)?);
        for state in &states {
            columns.push(take(state, &places, None).map_err(bug)?);
        }
        RecordBatch::try_new(self.delta_schema.clone(), columns).map_err(bug)
    }

    /// Takes up a delta, the oldest first. It is no part of the next delta.
    pub fn load(&mut self, delta: &RecordBatch) -> Result<(), Failure> {
        let (marks, rest) = delta.columns().split_at(MARKS);
        let (keys, states) = rest.split_at(self.key_columns);
        let (live, timers) = (marks[0].as_boolean(), marks[1].as_primitive::<Int64Type>());
        let keys = self.encoded(keys)?;
        let states = self.states.convert_columns(states).map_err(bug)?;
        if self.slots.is_empty() {
            // The oldest delta has nearly all keys.
            let hasher = &self.hasher;
            let hash_of = |slot: &Slot| hasher.hash_one(slot.key());
            self.slots.reserve(keys.num_rows(), hash_of);
        }
        for (row, (key, state)) in keys.iter().zip(states.iter()).enumerate() {
            let is_live = live.value(row);
            let timer = timers.is_valid(row).then(|| timers.value(row));
            let change = Change {
                state: Some(is_live),
                timer: Some(timer),
            };
            self.change(key.as_ref(), change, is_live.then_some(state.as_ref()));
        }
        Ok(())
    }

    fn encoded(&self, keys: &[ArrayRef]) -> Result<Rows, Failure> {
        self.keys.convert_columns(keys).map_err(bug)
    }

    fn key_columns_of<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>, Failure> {
        let parser = self.keys.parser();
        let keys = keys.map(|key| parser.parse(key));
        self.keys.convert_rows(keys).map_err(bug)
    }

    fn state_columns<'a>(
        &self,
        states: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>, Failure> {
        let parser = self.states.parser();
        let mut states = states.map(|state| parser.parse(state)).peekable();
        if states.peek().is_none() {
            let fields = self.state_schema.fields().iter();
            return Ok(fields
                .map(|field| new_empty_array(field.data_type()))
                .collect());
        }
        self.states.convert_rows(states).map_err(bug)
    }
}

fn bug(error: ArrowError) -> Failure {
    Failure::internal(format!("state could not be kept: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::StringArray;
    use proptest::prelude::*;

    use super::*;

    /// What a table should hold: of each key its state and timer.
    type Twin = BTreeMap<String, (i64, Option<i64>)>;

    fn table() -> Table {
        let keys = Schema::new(vec![Field::new("k", DataType::Utf8, true)]);
        let states = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        Table::new(&keys, &states).unwrap()
    }

    fn column(keys: &[&str]) -> Vec<ArrayRef> {
        vec![Arc::new(StringArray::from(keys.to_vec()))]
    }

    fn content(table: &Table) -> Twin {
        let columns = table.all().unwrap();
        let keys = columns[0].as_string::<i32>().iter().flatten();
        keys.map(|key| {
            let found = table.find(&column(&[key]), BatchTime(i64::MIN)).unwrap();
            let state = found.states[0].as_primitive::<Int64Type>().value(0);
            let entry = table.timers.iter().find(|(_, other)| {
                let columns = table.key_columns_of(std::iter::once(other.as_ref()));
                columns.unwrap()[0].as_string::<i32>().value(0) == key
            });
            (key.to_owned(), (state, entry.map(|(time, _)| *time)))
        })
        .collect()
    }

    fn change(table: &mut Table, twin: &mut Twin, key: &str, what: u8, n: i64) {
        let change = match what {
            0 => Change {
                state: Some(true),
                timer: None,
            },
            1 => Change {
                state: Some(true),
                timer: Some(Some(n)),
            },
            2 => Change {
                state: Some(false),
                timer: None,
            },
            3 => Change {
                state: None,
                timer: Some(None),
            },
            _ => Change {
                state: None,
                timer: None,
            },
        };
        let states: Vec<ArrayRef> = match change.state {
            Some(true) => vec![Arc::new(Int64Array::from(vec![n]))],
            _ => Vec::new(),
        };
        table.apply(&column(&[key]), &[change], &states).unwrap();
        match what {
            0 => {
                let timer = twin.get(key).and_then(|(_, timer)| *timer);
                twin.insert(key.to_owned(), (n, timer));
            }
            1 => drop(twin.insert(key.to_owned(), (n, Some(n)))),
            2 => drop(twin.remove(key)),
            3 => {
                if let Some((_, timer)) = twin.get_mut(key) {
                    *timer = None;
                }
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn a_table_holds_what_a_map_does_and_so_does_one_made_of_its_deltas(
            steps in prop::collection::vec((0usize..6, 0u8..6, -9i64..9), 0..60),
        ) {
            let names = ["", "a", "b", "ab", "\u{e9}", "long enough to be kept elsewhere"];
            let (mut table, mut twin, mut copy) = (self::table(), Twin::new(), self::table());
            for (at, (key, what, n)) in steps.into_iter().enumerate() {
                change(&mut table, &mut twin, names[key], what, n);
                prop_assert_eq!(&content(&table), &twin);
                prop_assert_eq!(table.len(), twin.len());
                let first = twin.values().filter_map(|(_, timer)| *timer).min();
                prop_assert_eq!(table.next_timer(), first);
                if at % 7 == 0 && let Some(delta) = table.delta().unwrap() {
                    copy.load(&delta).unwrap();
                    prop_assert_eq!(&content(&copy), &twin);
                }
            }
        }
    }

    #[test]
    fn what_is_due_is_found_by_time_and_nothing_else_is_touched() {
        let mut table = table();
        let put = |timer| Change {
            state: Some(true),
            timer: Some(timer),
        };
        let states: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2, 3]))];
        let changes = [put(Some(10)), put(None), put(Some(20))];
        table
            .apply(&column(&["a", "b", "c"]), &changes, &states)
            .unwrap();
        let due = |time| table.due(BatchTime(time)).unwrap()[0].len();
        assert_eq!([due(9), due(10), due(20)], [0, 1, 2]);
        let found = table
            .find(&column(&["c", "x", "a"]), BatchTime(10))
            .unwrap();
        assert_eq!(found.present, [true, false, true]);
        assert_eq!(found.due, [false, false, true]);
        let states: Vec<_> = found.states[0]
            .as_primitive::<Int64Type>()
            .values()
            .to_vec();
        assert_eq!(states, [3, 1]);
    }
}
