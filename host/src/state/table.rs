//! The state of the keys of one partition.
//!
//! A key and its state are kept as Arrow's row encoding: it compares as the key does, and turns into columns again. Nothing but the keys that are named is looked at, so what an epoch costs does not depend on how many keys there are.
//!
//! An epoch's keys are looked up once, as a [`Selection`]; what is done with them later goes by it. Changes leave the table as a [`Table::delta`]: a batch with the columns `live` (false of a key that was removed), `timer`
//! (milliseconds since 1970, or null), the key's and the state's, in the order of the keys. [`Table::load`] takes it up again.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_empty_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use super::entries::{Change, Entries, Entry, Held};
use super::memory::StateMemory;
use crate::error::Failure;
use crate::ids::BatchTime;

/// Columns of a delta before those of the key.
const MARKS: usize = 2;
/// Rows of a delta that are turned into entries at once: their bytes stay in the processor's cache.
const LOADED_AT_ONCE: usize = 4096;

/// Keys with their state and timers.
#[derive(Debug)]
pub struct Table {
    keys: RowConverter,
    states: RowConverter,
    key_columns: usize,
    state_schema: SchemaRef,
    delta_schema: SchemaRef,
    entries: Entries,
}

/// Some keys of a table, looked up.
#[derive(Debug)]
pub struct Selection {
    keys: Rows,
    held: Vec<Held>,
    /// Of each key, whether anything was changed.
    changed: Vec<bool>,
}

impl Selection {
    /// Whether anything was changed.
    pub fn is_changed(&self) -> bool {
        self.changed.contains(&true)
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

impl Table {
    /// An empty table of these columns; what it holds is counted in `memory`.
    ///
    /// # Errors
    /// When a column is of a type that cannot be a key or state.
    pub fn new(
        keys: &Schema,
        states: &SchemaRef,
        memory: Arc<StateMemory>,
    ) -> Result<Self, Failure> {
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
        Ok(Self {
            keys: converter(keys).map_err(bug)?,
            states: converter(states).map_err(bug)?,
            key_columns: keys.fields().len(),
            state_schema: states.clone(),
            delta_schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            entries: Entries::new(memory),
        })
    }

    /// Keys that have state.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key has state.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// The columns of a delta.
    pub fn delta_schema(&self) -> &SchemaRef {
        &self.delta_schema
    }

    /// When the first timer is due.
    ///
    /// # Errors
    /// When the disk that holds what is too much for memory cannot be read or written, here and below.
    pub fn next_timer(&self) -> Result<Option<i64>, Failure> {
        self.entries.next_timer()
    }

    /// The key columns of the keys whose timers are due.
    pub fn due(&self, time: BatchTime) -> Result<Vec<ArrayRef>, Failure> {
        let due = self.entries.due(time.0)?;
        self.key_columns_of(due.iter().map(AsRef::as_ref))
    }

    /// The key columns of all keys that have state, in no order.
    pub fn all(&self) -> Result<Vec<ArrayRef>, Failure> {
        let keys = self.entries.keys()?;
        self.key_columns_of(keys.iter().map(AsRef::as_ref))
    }

    /// Looks some keys up, each once, in their order.
    pub fn select(&self, keys: &[ArrayRef]) -> Result<Selection, Failure> {
        let keys = self.keys.convert_columns(keys).map_err(bug)?;
        let bytes: Vec<&[u8]> = keys.iter().map(|key| key.data()).collect();
        Ok(Selection {
            held: self.entries.find(&bytes)?,
            changed: vec![false; keys.num_rows()],
            keys,
        })
    }

    /// The bytes that each key's state takes; those of a key without state are none.
    pub fn sizes(&self, selection: &Selection) -> Vec<usize> {
        let entries = self.entries_of(selection, 0..selection.held.len());
        entries
            .map(|entry| entry.map_or(0, |entry| entry.state.len()))
            .collect()
    }

    /// What there is of some of the keys at a time.
    pub fn find(
        &self,
        selection: &Selection,
        keys: Range<usize>,
        time: BatchTime,
    ) -> Result<Found, Failure> {
        let entries = || self.entries_of(selection, keys.clone());
        let is_due = |entry: Option<Entry<'_>>| {
            let timer = entry.and_then(|entry| entry.timer);
            timer.is_some_and(|due| due <= time.0)
        };
        Ok(Found {
            present: entries().map(|entry| entry.is_some()).collect(),
            due: entries().map(is_due).collect(),
            states: self.state_columns(entries().flatten().map(|entry| entry.state))?,
        })
    }

    fn entries_of<'a>(
        &'a self,
        selection: &'a Selection,
        keys: impl Iterator<Item = usize>,
    ) -> impl Iterator<Item = Option<Entry<'a>>> {
        keys.map(|key| {
            self.entries.fetch_ahead(&selection.held, key);
            self.entries.entry(&selection.held[key])
        })
    }

    /// Changes some of the keys. `states` are the states put, in the order of their keys.
    pub fn apply(
        &mut self,
        selection: &mut Selection,
        keys: Range<usize>,
        changes: &[Change],
        states: &[ArrayRef],
    ) -> Result<(), Failure> {
        let states = match states.first().is_some_and(|column| !column.is_empty()) {
            true => Some(self.states.convert_columns(states).map_err(bug)?),
            false => None,
        };
        let mut put = states.iter().flat_map(Rows::iter);
        for (key, change) in keys.zip(changes) {
            let state = match change.state {
                Some(true) => Some(put.next().ok_or_else(|| {
                    Failure::internal("fewer states were put than the changes say")
                })?),
                _ => None,
            };
            if change.state.is_some() || change.timer.is_some() {
                let state = state.as_ref().map(AsRef::as_ref);
                self.entries.fetch_ahead(&selection.held, key);
                let held = &mut selection.held[key];
                self.entries
                    .change(held, selection.keys.row(key).as_ref(), *change, state);
                selection.changed[key] = true;
            }
        }
        Ok(())
    }

    /// What has changed of the keys since they were looked up.
    pub fn delta(&self, selection: &Selection) -> Result<RecordBatch, Failure> {
        let changed: Vec<usize> = (0..selection.changed.len())
            .filter(|key| selection.changed[*key])
            .collect();
        let entries = || self.entries_of(selection, changed.iter().copied());
        let live: BooleanArray = entries().map(|entry| Some(entry.is_some())).collect();
        let timers: Int64Array = entries().map(|entry| entry?.timer).collect();
        let mut next = 0..;
        let places: UInt32Array = entries()
            .map(|entry| entry.and_then(|_| next.next()))
            .collect();
        let states = self.state_columns(entries().flatten().map(|entry| entry.state))?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(live), Arc::new(timers)];
        let keys = changed.iter().map(|key| selection.keys.row(*key));
        columns.extend(self.keys.convert_rows(keys).map_err(bug)?);
        for state in &states {
            columns.push(take(state, &places, None).map_err(bug)?);
        }
        RecordBatch::try_new(self.delta_schema.clone(), columns).map_err(bug)
    }

    /// Puts what has changed where it stays. Selections made before are void.
    pub fn settle(&mut self) -> Result<(), Failure> {
        self.entries.settle()
    }

    /// Takes up a delta, the oldest first.
    pub fn load(&mut self, delta: &RecordBatch) -> Result<(), Failure> {
        for start in (0..delta.num_rows()).step_by(LOADED_AT_ONCE) {
            let rows = LOADED_AT_ONCE.min(delta.num_rows() - start);
            self.load_some(&delta.slice(start, rows))?;
        }
        Ok(())
    }

    fn load_some(&mut self, delta: &RecordBatch) -> Result<(), Failure> {
        let (marks, rest) = delta.columns().split_at(MARKS);
        let (keys, states) = rest.split_at(self.key_columns);
        let (live, timers) = (marks[0].as_boolean(), marks[1].as_primitive::<Int64Type>());
        let mut selection = self.select(keys)?;
        let states = self.states.convert_columns(states).map_err(bug)?;
        for (row, (key, held)) in selection.keys.iter().zip(&mut selection.held).enumerate() {
            let is_live = live.value(row);
            let change = Change {
                state: Some(is_live),
                timer: Some(timers.is_valid(row).then(|| timers.value(row))),
            };
            let state = states.row(row);
            let state = is_live.then(|| state.as_ref());
            self.entries.change(held, key.as_ref(), change, state);
        }
        self.settle()
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
    use crate::state::StateConfig;

    /// What a table should hold: of each key its state and timer.
    type Twin = BTreeMap<String, (i64, Option<i64>)>;

    fn table() -> Table {
        let keys = Schema::new(vec![Field::new("k", DataType::Utf8, true)]);
        let states = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let memory = Arc::new(StateMemory::new(StateConfig::default()));
        Table::new(&keys, &states, memory).unwrap()
    }

    fn column(keys: &[&str]) -> Vec<ArrayRef> {
        vec![Arc::new(StringArray::from(keys.to_vec()))]
    }

    fn content(table: &Table) -> Twin {
        let all = table.select(&table.all().unwrap()).unwrap();
        let delta = table.delta(&Selection {
            changed: vec![true; all.held.len()],
            ..all
        });
        let delta = delta.unwrap();
        let keys = delta.column(MARKS).as_string::<i32>().iter().flatten();
        let states = delta.column(MARKS + 1).as_primitive::<Int64Type>();
        let timers = delta.column(1).as_primitive::<Int64Type>();
        let values = states.values().iter().copied().zip(timers.iter());
        keys.map(str::to_owned).zip(values).collect()
    }

    fn put(timer: Option<Option<i64>>) -> Change {
        Change {
            state: Some(true),
            timer,
        }
    }

    /// What a number stands for; some take a state, or a timer.
    fn change(what: u8, n: i64) -> Change {
        let nothing = Change {
            state: None,
            timer: None,
        };
        match what {
            0 => put(None),
            1 => put(Some(Some(n))),
            2 => Change {
                state: Some(false),
                ..nothing
            },
            3 => Change {
                timer: Some(None),
                ..nothing
            },
            _ => nothing,
        }
    }

    /// The same done to a map.
    fn change_twin(twin: &mut Twin, key: &str, what: u8, n: i64) {
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
        // An epoch is some keys, each with what is done to it in its first part and in its last.
        #[test]
        fn a_table_holds_what_a_map_does_and_so_does_one_made_of_its_deltas(
            epochs in prop::collection::vec(
                prop::collection::btree_map(0usize..6, [(0u8..6, -9i64..9), (0u8..6, -9i64..9)], 0..6),
                0..20,
            ),
        ) {
            let names = ["", "a", "ab", "b", "long enough to be kept elsewhere", "\u{e9}"];
            let (mut table, mut twin, mut copy) = (self::table(), Twin::new(), self::table());
            for epoch in epochs {
                let keys: Vec<&str> = epoch.keys().map(|key| names[*key]).collect();
                let mut selection = table.select(&column(&keys)).unwrap();
                for part in 0..2 {
                    let of_part: Vec<(u8, i64)> = epoch.values().map(|parts| parts[part]).collect();
                    let changes: Vec<Change> = of_part.iter().map(|(what, n)| change(*what, *n)).collect();
                    let states = of_part.iter().filter(|(what, _)| *what < 2).map(|(_, n)| *n);
                    let states: Vec<ArrayRef> = vec![Arc::new(states.collect::<Int64Array>())];
                    table.apply(&mut selection, 0..keys.len(), &changes, &states).unwrap();
                    for (key, (what, n)) in keys.iter().zip(of_part) {
                        change_twin(&mut twin, key, what, n);
                    }
                }
                let delta = selection.is_changed().then(|| table.delta(&selection).unwrap());
                table.settle().unwrap();
                prop_assert_eq!(&content(&table), &twin);
                prop_assert_eq!(table.len(), twin.len());
                let first = twin.values().filter_map(|(_, timer)| *timer).min();
                prop_assert_eq!(table.next_timer().unwrap(), first);
                if let Some(delta) = delta {
                    copy.load(&delta).unwrap();
                }
                prop_assert_eq!(&content(&copy), &twin);
            }
        }
    }

    #[test]
    fn what_is_due_is_found_by_time_and_nothing_else_is_touched() {
        let mut table = table();
        let states: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2, 3]))];
        let changes = [put(Some(Some(10))), put(Some(None)), put(Some(Some(20)))];
        let mut selection = table.select(&column(&["a", "b", "c"])).unwrap();
        table
            .apply(&mut selection, 0..3, &changes, &states)
            .unwrap();
        let due = |time| table.due(BatchTime(time)).unwrap()[0].len();
        assert_eq!([due(9), due(10), due(20)], [0, 1, 2]);
        let selection = table.select(&column(&["c", "x", "a"])).unwrap();
        let found = table.find(&selection, 0..3, BatchTime(10)).unwrap();
        assert_eq!(found.present, [true, false, true]);
        assert_eq!(found.due, [false, false, true]);
        let states = found.states[0].as_primitive::<Int64Type>();
        assert_eq!(states.values(), &[3, 1]);
        assert_eq!(table.sizes(&selection), [9, 0, 9]);
    }
}
