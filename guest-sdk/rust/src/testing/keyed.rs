//! The test of a keyed plugin.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::Serialize;

use super::check;
use super::epoch::Epoch;
use super::input::{Input, cells, columns, row};
use super::port::object;
use crate::wit::{Buffers, Context, Field, Group, KeyedBatch, KeyedPlan};
use crate::{Batch, Cell, Column, Error, Keyed, Result};

/// A keyed plugin with the schemas of its inputs; see [`keyed`](super::keyed()).
#[derive(Debug)]
pub struct KeyedTest<K> {
    config: String,
    key: Vec<String>,
    inputs: Vec<Vec<Column>>,
    part: usize,
    plugin: PhantomData<K>,
}

impl<K: Keyed> KeyedTest<K> {
    pub(super) fn new() -> Self {
        Self {
            config: String::new(),
            key: Vec::new(),
            inputs: Vec::new(),
            part: usize::MAX,
            plugin: PhantomData,
        }
    }

    /// The plugin's settings, as serde writes them: a struct, or `serde_json::json!({"gap": "30m"})`.
    ///
    /// # Panics
    /// If serde cannot write it as JSON.
    pub fn config(mut self, config: impl Serialize) -> Self {
        self.config = serde_json::to_string(&config).expect("the configuration is JSON");
        self
    }

    /// The columns by which rows are grouped; every input has them.
    pub fn key(mut self, columns: &[&str]) -> Self {
        self.key = columns.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// One more input, by names and types; `utf8?` allows nulls.
    pub fn input(mut self, schema: &[(&str, &str)]) -> Self {
        self.inputs.push(columns(schema));
        self
    }

    /// Splits keys of more rows of an input over several calls, unless the plugin wants whole groups.
    ///
    /// # Panics
    /// If there are no rows in a part.
    pub fn parts_of(mut self, rows: usize) -> Self {
        assert!(rows > 0, "a part has rows");
        self.part = rows;
        self
    }

    /// What `describe` answers.
    ///
    /// # Errors
    /// The plugin's own.
    ///
    /// # Panics
    /// If an input lacks a key column.
    pub fn describe(&self) -> Result<KeyedPlan> {
        let inputs: Vec<_> = self.inputs.iter().map(|input| fields(input)).collect();
        K::describe(&self.config, &fields(&self.key_columns()), &inputs)
    }

    fn key_columns(&self) -> Vec<Column> {
        let first = self.inputs.first().map_or(&[][..], Vec::as_slice);
        let positions = positions(first, &self.key);
        positions.iter().map(|at| first[*at].clone()).collect()
    }

    /// Describes and opens the plugin; nothing is remembered yet.
    ///
    /// # Errors
    /// The plugin's own.
    ///
    /// # Panics
    /// If the plan breaks the contract.
    pub fn start(self) -> Result<KeyedRun<K>> {
        let plan = self.describe()?;
        let keys = self.key_columns();
        assert_eq!(plan.inputs.len(), self.inputs.len(), "inputs of the plan");
        let inputs: Vec<TestInput> = self
            .inputs
            .into_iter()
            .zip(&plan.inputs)
            .map(|(columns, planned)| TestInput {
                key: positions(&columns, &self.key),
                planned: positions(&columns, planned),
                columns,
            })
            .collect();
        let planned: Vec<_> = inputs
            .iter()
            .map(|input| fields(&input.planned_columns()))
            .collect();
        let part = match plan.whole_groups {
            true => usize::MAX,
            false => self.part,
        };
        Ok(KeyedRun {
            open: K::open(&self.config, &fields(&keys), &planned)?,
            plan,
            keys,
            inputs,
            part,
            epochs: 0,
            known: BTreeMap::new(),
        })
    }

    /// [`start`](Self::start) with what another plugin, or another version of this one, remembered; it goes
    /// through `migrate` if its version or its columns are not those of today.
    ///
    /// # Errors
    /// The plugin's own, or that it does not migrate from that version.
    ///
    /// # Panics
    /// If what comes back breaks the contract.
    pub fn start_from<Old: Keyed>(self, old: &KeyedRun<Old>) -> Result<KeyedRun<K>> {
        let mut run = self.start()?;
        run.known.clone_from(&old.known);
        if !run.understands(&old.plan) {
            run.migrate(&old.plan)?;
        }
        Ok(run)
    }
}

fn fields(columns: &[Column]) -> Vec<Field> {
    columns.iter().cloned().map(Into::into).collect()
}

fn positions(columns: &[Column], names: &[String]) -> Vec<usize> {
    let position = |name: &String| columns.iter().position(|column| column.name == *name);
    names
        .iter()
        .map(|name| position(name).unwrap_or_else(|| panic!("an input has no column `{name}`")))
        .collect()
}

type Cells = Vec<Cell<'static>>;

#[derive(Debug)]
struct TestInput {
    columns: Vec<Column>,
    key: Vec<usize>,
    planned: Vec<usize>,
}

impl TestInput {
    fn planned_columns(&self) -> Vec<Column> {
        pick(&self.columns, &self.planned)
    }
}

fn pick<T: Clone>(all: &[T], positions: &[usize]) -> Vec<T> {
    positions.iter().map(|at| all[*at].clone()).collect()
}

/// A keyed plugin at work, with what it remembers.
#[derive(Debug)]
pub struct KeyedRun<K> {
    open: K,
    plan: KeyedPlan,
    keys: Vec<Column>,
    inputs: Vec<TestInput>,
    /// How many rows of a key and an input come in one call.
    part: usize,
    epochs: u64,
    /// By the key as JSON.
    known: BTreeMap<String, Known>,
}

/// What is known of a key.
#[derive(Clone, Debug)]
struct Known {
    key: Cells,
    state: Cells,
    timer: Option<i64>,
}

/// A key that is called in an epoch.
struct Called {
    key: Cells,
    /// Of each input, the numbers of its rows.
    rows: Vec<Vec<usize>>,
    /// Whether its timer is due.
    due: bool,
}

impl Called {
    fn parts(&self, size: usize) -> usize {
        let longest = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        longest.div_ceil(size).max(1)
    }

    /// The rows of an input in a part.
    fn part(&self, input: usize, part: usize, size: usize) -> &[usize] {
        self.rows[input].chunks(size).nth(part).unwrap_or(&[])
    }
}

impl<K: Keyed> KeyedRun<K> {
    /// What `describe` answered.
    pub fn plan(&self) -> &KeyedPlan {
        &self.plan
    }

    /// An epoch of the only input: its rows, as JSON objects, and the keys whose timers are due at the batch time, in
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// The plugin's own.
    ///
    /// # Panics
    /// If a row does not fit the schema, or what comes back breaks the contract.
    pub fn epoch<'a>(
        &mut self,
        batch_time: i64,
        rows: impl IntoIterator<Item = &'a str>,
    ) -> Result<Epoch> {
        self.epoch_of(batch_time, &[&rows.into_iter().collect::<Vec<_>>()])
    }

    /// [`epoch`](Self::epoch) of several inputs.
    ///
    /// # Errors
    /// The plugin's own.
    ///
    /// # Panics
    /// As [`epoch`](Self::epoch).
    pub fn epoch_of(&mut self, batch_time: i64, rows: &[&[&str]]) -> Result<Epoch> {
        assert_eq!(rows.len(), self.inputs.len(), "rows for each input");
        let rows: Vec<Vec<Cells>> = self
            .inputs
            .iter()
            .zip(rows)
            .map(|(input, rows)| rows.iter().map(|line| row(&input.columns, line)).collect())
            .collect();
        let called = self.called(batch_time, &rows);
        let mut context = Context {
            epoch: self.epochs,
            batch_time,
            call: 0,
            ..crate::context()
        };
        let mut epoch = Epoch::new(&self.plan);
        let parts = called.values().map(|called| called.parts(self.part)).max();
        for part in 0..parts.unwrap_or(0) {
            self.call(context, part, &called, &rows, &mut epoch)?;
            context.call += 1;
        }
        self.epochs += 1;
        Ok(epoch)
    }

    /// What is remembered, as JSON objects of the key's columns and the state's, in the order of the keys as JSON.
    pub fn state(&self) -> Vec<String> {
        let state = check::schema(&self.plan.state);
        let columns: Vec<&Column> = self.keys.iter().chain(&state).collect();
        let cells = |known: &Known| [known.key.clone(), known.state.clone()].concat();
        self.known
            .values()
            .map(|known| object(columns.iter().copied().zip(cells(known))))
            .collect()
    }

    /// The keys that have a timer, as JSON objects, each with the batch time from which it is due.
    pub fn timers(&self) -> Vec<(&str, i64)> {
        self.known
            .iter()
            .filter_map(|(key, known)| Some((key.as_str(), known.timer?)))
            .collect()
    }

    fn called(&self, batch_time: i64, rows: &[Vec<Cells>]) -> BTreeMap<String, Called> {
        let called = |key: &Cells, due| Called {
            key: key.clone(),
            rows: vec![Vec::new(); rows.len()],
            due,
        };
        let due = |known: &Known| known.timer.is_some_and(|timer| timer <= batch_time);
        let mut all: BTreeMap<String, Called> = self
            .known
            .iter()
            .filter(|(_, known)| due(known))
            .map(|(name, known)| (name.clone(), called(&known.key, true)))
            .collect();
        for (at, (input, rows)) in self.inputs.iter().zip(rows).enumerate() {
            for (number, row) in rows.iter().enumerate() {
                let key = pick(row, &input.key);
                let name = object(self.keys.iter().zip(key.iter().cloned()));
                let entry = all.entry(name).or_insert_with(|| called(&key, false));
                entry.rows[at].push(number);
            }
        }
        all
    }

    fn call(
        &mut self,
        context: Context,
        part: usize,
        called: &BTreeMap<String, Called>,
        rows: &[Vec<Cells>],
        epoch: &mut Epoch,
    ) -> Result<()> {
        let keys: Vec<(&String, &Called)> = called
            .iter()
            .filter(|(_, called)| part < called.parts(self.part))
            .collect();
        let status: Vec<u8> = keys
            .iter()
            .map(|(name, called)| self.status(name, called, part))
            .collect();
        let key_cells = keys.iter().map(|(_, called)| called.key.as_slice());
        let key_input = Input::of_cells(&self.keys, key_cells);
        let states = keys
            .iter()
            .filter_map(|(name, _)| Some(self.known.get(*name)?.state.as_slice()));
        let numbers: Vec<Vec<usize>> = (0..rows.len())
            .map(|input| {
                keys.iter()
                    .flat_map(|(_, called)| called.part(input, part, self.part))
                    .copied()
                    .collect()
            })
            .collect();
        let groups = (0..rows.len()).map(|input| {
            let lengths = keys
                .iter()
                .map(|(_, key)| key.part(input, part, self.part).len());
            self.group(input, lengths, &numbers[input], &rows[input])
        });
        let batch = KeyedBatch {
            rows: key_input.rows,
            status: status.clone(),
            keys: key_input.buffers.clone(),
            state: Input::of_cells(&check::schema(&self.plan.state), states).buffers,
            inputs: groups.collect(),
        };
        let changes = self.open.process(context, batch)?;
        let states = (changes.ops, changes.state, changes.timers);
        epoch.take(key_input, changes.outputs, changes.rejected, &numbers);
        self.apply(&keys, &status, states);
        Ok(())
    }

    fn status(&self, name: &str, called: &Called, part: usize) -> u8 {
        let known = self.known.contains_key(name);
        let last = part + 1 == called.parts(self.part);
        u8::from(known)
            | u8::from(called.due && known && last) << 1
            | u8::from(part == 0) << 2
            | u8::from(last) << 3
    }

    fn group(
        &self,
        input: usize,
        lengths: impl Iterator<Item = usize>,
        numbers: &[usize],
        rows: &[Cells],
    ) -> Group {
        let input = &self.inputs[input];
        let planned: Vec<Cells> = numbers
            .iter()
            .map(|number| pick(&rows[*number], &input.planned))
            .collect();
        let mut end = 0;
        let ends = lengths.flat_map(|length| {
            end += u32::try_from(length).expect("rows are numbered by u32");
            end.to_le_bytes()
        });
        Group {
            ends: ends.collect(),
            columns: Input::of_cells(&input.planned_columns(), planned.iter().map(Vec::as_slice))
                .buffers,
        }
    }

    /// What the host makes of ops, states and timers.
    ///
    /// # Panics
    /// If they break the contract.
    fn apply(
        &mut self,
        keys: &[(&String, &Called)],
        status: &[u8],
        (ops, states, timers): (Vec<u8>, Vec<Buffers>, Vec<u8>),
    ) {
        let ops = or_all(ops, keys.len(), 0);
        let (timers, rest) = timers.as_chunks::<8>();
        assert!(rest.is_empty(), "timers are of 8 bytes each");
        let timers = or_all(timers.to_vec(), keys.len(), i64::MIN.to_le_bytes());
        assert!(ops.iter().all(|op| *op <= 2), "ops are 0, 1 or 2: {ops:?}");
        let puts = ops.iter().filter(|op| **op == 1).count();
        let mut states = match puts {
            0 if states.is_empty() => Vec::new(),
            _ => self.checked(puts, states),
        }
        .into_iter();
        for (at, (name, called)) in keys.iter().enumerate() {
            let mut timer = match self.known.get(*name) {
                Some(known) if status[at] & 0b10 == 0 => known.timer,
                _ => None,
            };
            match i64::from_le_bytes(timers[at]) {
                i64::MIN => {}
                i64::MAX => timer = None,
                time => timer = Some(time),
            }
            match ops[at] {
                0 => {
                    if let Some(known) = self.known.get_mut(*name) {
                        known.timer = timer;
                    }
                }
                1 => {
                    let known = Known {
                        key: called.key.clone(),
                        state: states.next().expect("they were counted"),
                        timer,
                    };
                    self.known.insert((*name).clone(), known);
                }
                _ => {
                    self.known.remove(*name);
                }
            }
        }
    }

    /// # Panics
    /// If there are no states, or the buffers do not hold `rows` of them.
    fn checked(&self, rows: usize, buffers: Vec<Buffers>) -> Vec<Cells> {
        assert!(
            !self.plan.state.is_empty(),
            "a state is put, and the plan has no columns for it"
        );
        let columns = check::columns(&self.plan.state, &buffers, rows);
        let rows = u32::try_from(rows).expect("rows are numbered by u32");
        cells(&Batch::new(Rc::from(columns), rows, buffers))
    }

    fn understands(&self, old: &KeyedPlan) -> bool {
        self.plan.state_version == old.state_version
            && check::schema(&self.plan.state) == check::schema(&old.state)
    }

    fn migrate(&mut self, old: &KeyedPlan) -> Result<()> {
        let version = old.state_version;
        if !self.plan.migrates_from.contains(&version) {
            return Err(Error::fatal(format!(
                "the plugin does not migrate from state of version {version}"
            )));
        }
        let states = self.known.values().map(|known| known.state.as_slice());
        let states = Input::of_cells(&check::schema(&old.state), states);
        let migrated = K::migrate(version, &old.state, states.rows, states.buffers)?;
        let migrated = self.checked(self.known.len(), migrated);
        for (known, state) in self.known.values_mut().zip(migrated) {
            known.state = state;
        }
        Ok(())
    }
}

/// As many values as there are keys: those given, or the same for all.
///
/// # Panics
/// If it is neither none nor one a key.
fn or_all<T: Clone>(values: Vec<T>, keys: usize, default: T) -> Vec<T> {
    if values.is_empty() {
        return vec![default; keys];
    }
    assert_eq!(values.len(), keys, "a value for each key");
    values
}
