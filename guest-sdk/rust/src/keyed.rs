//! Keyed plugins: the rows of a key with what is remembered of it; rows out, and what to remember from now on.
//!
//! ```
//! use wasmill_sdk::prelude::*;
//! use wasmill_sdk::testing;
//!
//! #[derive(Record)]
//! struct Order {
//!     amount: i64,
//! }
//!
//! /// What is remembered of each customer.
//! #[derive(Record)]
//! struct Account {
//!     spent: i64,
//! }
//!
//! #[derive(Record)]
//! struct Total<'a> {
//!     customer: &'a str,
//!     spent: i64,
//! }
//!
//! #[derive(Record)]
//! struct Customer<'a> {
//!     customer: &'a str,
//! }
//!
//! fn update(key: Customer, orders: Rows<Order>, state: &mut State<Account>, out: &mut Emit<Total>) {
//!     let before = state.get().map_or(0, |account| account.spent);
//!     let spent = before + orders.map(|order| order.amount).sum::<i64>();
//!     state.put(Account { spent });
//!     out.emit(Total { customer: key.customer, spent });
//! }
//!
//! export_keyed!(update: update);
//!
//! # fn main() {
//! let mut run = testing::keyed::<Plugin>()
//!     .key(&["customer"])
//!     .input(&[("customer", "utf8"), ("amount", "int64")])
//!     .start()
//!     .expect("the input has the columns");
//! let orders = [
//!     r#"{"customer": "ann", "amount": 5}"#,
//!     r#"{"customer": "bob", "amount": 1}"#,
//!     r#"{"customer": "ann", "amount": 2}"#,
//! ];
//! let epoch = run.epoch(0, orders).expect("an update never fails");
//! assert_eq!(epoch.json("out"), [r#"{"customer":"ann","spent":7}"#, r#"{"customer":"bob","spent":1}"#]);
//! let epoch = run.epoch(1000, [r#"{"customer": "bob", "amount": 1}"#]).expect("an update never fails");
//! assert_eq!(epoch.json("out"), [r#"{"customer":"bob","spent":2}"#]);
//! assert_eq!(run.state(), [r#"{"customer":"ann","spent":7}"#, r#"{"customer":"bob","spent":2}"#]);
//! # }
//! ```
//!
//! The function is called for each key that has rows in an epoch or whose timer is due. A key with very many rows
//! comes in several calls, one after another, of an epoch; [`State::is_last_part`] tells when to emit what is due once an
//! epoch. An error that it returns turns the rows of the key away, and leaves its state and its timer as they were.

mod migrate;
mod rows;
mod state;

use std::fmt;
use std::rc::Rc;

use serde::de::DeserializeOwned;

use crate::builder::Size;
use crate::emit::{self, PortShape, Ports, row_number};
use crate::read::Ends;
use crate::record::{self, Readable, Row, Wanted};
use crate::transform::Done;
use crate::wit::{Buffers, Changes, Context, Field, KeyedBatch, KeyedPlan};
use crate::{Batch, Column, Error, config, context};

pub use crate::emit::Calls;
pub use migrate::{migrate, no_migration, old};
pub use rows::{Group, Inputs, Rows};
pub use state::State;

/// A keyed plugin as the host sees it. [`export_keyed!`](crate::export_keyed) implements it for `Plugin`.
pub trait Keyed: Sized {
    /// Pure: the columns wanted of each input, the columns of the state, and the ports.
    ///
    /// # Errors
    /// A wrong configuration, or a missing or ill-typed column.
    fn describe(config: &str, keys: &[Field], inputs: &[Vec<Field>]) -> Result<KeyedPlan, Error>;

    /// A fresh instance; `inputs` hold the planned columns in the plan's order.
    ///
    /// # Errors
    /// As [`Keyed::describe`].
    fn open(config: &str, keys: &[Field], inputs: &[Vec<Field>]) -> Result<Self, Error>;

    /// Some keys of a partition.
    ///
    /// # Errors
    /// Whatever fails the whole call.
    fn process(&mut self, context: Context, batch: KeyedBatch) -> Result<Changes, Error>;

    /// States of an earlier number as states of today, row for row; `old` are the columns they had.
    ///
    /// # Errors
    /// That the number is none that the plan names, or a state that cannot be taken over.
    fn migrate(
        from_version: u32,
        old: &[Field],
        rows: u32,
        state: Vec<Buffers>,
    ) -> Result<Vec<Buffers>, Error> {
        let _ = (old, rows, state);
        no_migration(from_version)
    }
}

/// What can be known about a keyed plugin from the types of its function.
#[derive(Debug)]
pub struct Shape {
    key: Vec<Wanted>,
    inputs: Vec<Vec<Wanted>>,
    state: Vec<Column>,
    ports: fn(&[Column]) -> Vec<PortShape>,
}

/// What the author says of the plugin beside its function.
#[derive(Debug)]
pub struct Options {
    /// The number for the meaning of the state.
    pub version: u32,
    /// The earlier numbers that `migrate` takes.
    pub migrates_from: Vec<u32>,
    /// Whether all rows of a key must come in one call.
    pub whole_groups: bool,
    /// Whether the host carries the key columns beside the plugin's own.
    pub carry: bool,
}

impl Shape {
    /// Of `fn(&State, Key, Inputs, &mut State, &mut Ports)`.
    pub fn update<'a, S, K, I, T, P, D>(
        _: impl Fn(&S, K, I, &mut State<'a, T>, &mut P) -> D,
    ) -> Self
    where
        K: Row<'a>,
        I: Inputs<'a>,
        T: Readable,
        P: Ports,
        D: Done,
    {
        Self {
            key: K::wanted(),
            inputs: I::wanted(),
            state: T::columns(&[]),
            ports: P::ports,
        }
    }

    /// Reads the configuration and makes the state of it.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn state<C: DeserializeOwned, S, E: Into<Error>>(
        &self,
        config: &str,
        open: impl FnOnce(C) -> Result<S, E>,
    ) -> Result<S, Error> {
        let wanted = self.key.iter().chain(self.inputs.iter().flatten());
        config::open(config, &record::settings(wanted), open)
    }

    /// The answer to `describe`; `declared` are columns known from the configuration only.
    ///
    /// # Errors
    /// Another number of inputs than the function takes, or a missing or ill-typed column.
    pub fn plan(
        &self,
        config: &str,
        keys: &[Field],
        inputs: &[Vec<Field>],
        declared: &[Column],
        options: Options,
    ) -> Result<KeyedPlan, Error> {
        let config = config::parse(config)?;
        Selection::new(&self.key, &config, keys).map_err(|error| within("key", error))?;
        if inputs.len() != self.inputs.len() {
            return Err(Error::fatal(format!(
                "the step has {} inputs, and the plugin reads {}",
                inputs.len(),
                self.inputs.len()
            )));
        }
        let resolve = |(at, (wanted, input)): (usize, (&Vec<Wanted>, &Vec<Field>))| {
            record::resolve(wanted, &config, input).map_err(|error| match inputs.len() {
                1 => error,
                _ => within(&format!("input {}", at + 1), error),
            })
        };
        Ok(KeyedPlan {
            inputs: self
                .inputs
                .iter()
                .zip(inputs)
                .enumerate()
                .map(resolve)
                .collect::<Result<_, _>>()?,
            state: self.state.iter().cloned().map(Into::into).collect(),
            state_version: options.version,
            migrates_from: options.migrates_from,
            whole_groups: options.whole_groups,
            ports: emit::plan((self.ports)(declared), options.carry),
        })
    }
}

fn within(place: &str, error: Error) -> Error {
    Error::fatal(format!("{place}: {error}"))
}

/// Some of the columns that the host sends, in the order of a record's fields.
#[derive(Debug)]
struct Selection {
    positions: Vec<usize>,
    columns: Rc<[Column]>,
}

impl Selection {
    fn new(
        wanted: &[Wanted],
        config: &serde_json::Map<String, serde_json::Value>,
        fields: &[Field],
    ) -> Result<Self, Error> {
        let names = record::resolve(wanted, config, fields)?;
        let positions: Vec<usize> = names
            .iter()
            .filter_map(|name| fields.iter().position(|field| field.name == *name))
            .collect();
        Ok(Self {
            columns: positions
                .iter()
                .map(|at| Column::try_from(&fields[*at]))
                .collect::<Result<_, _>>()?,
            positions,
        })
    }

    fn batch(&self, rows: usize, buffers: &[Buffers]) -> Batch {
        let selected = self.positions.iter().map(|at| buffers[*at].clone());
        Batch::new(
            Rc::clone(&self.columns),
            row_number(rows),
            selected.collect(),
        )
    }
}

/// What is done with the keys of a call.
type Process = dyn FnMut(&Keys) -> Result<Changes, Error>;

/// An open keyed plugin: the columns that it reads, and the function over a call's keys.
pub struct Opened {
    key: Selection,
    state: Rc<[Column]>,
    inputs: Vec<Rc<[Column]>>,
    process: Box<Process>,
}

impl Opened {
    /// Remembers the schemas for every call to come.
    ///
    /// # Errors
    /// A column type that this SDK does not know, or a missing key column.
    pub fn new(
        shape: &Shape,
        config: &str,
        keys: &[Field],
        inputs: &[Vec<Field>],
        process: impl FnMut(&Keys) -> Result<Changes, Error> + 'static,
    ) -> Result<Self, Error> {
        Ok(Self {
            key: Selection::new(&shape.key, &config::parse(config)?, keys)?,
            state: Rc::from(shape.state.clone()),
            inputs: inputs
                .iter()
                .map(|input| record::columns(input))
                .collect::<Result<_, _>>()?,
            process: Box::new(process),
        })
    }

    /// One call.
    ///
    /// # Errors
    /// Those of [`update`].
    pub fn process(&mut self, context: Context, batch: KeyedBatch) -> Result<Changes, Error> {
        context::enter(context);
        let keys = self.read(batch);
        (self.process)(&keys)
    }

    fn read(&self, batch: KeyedBatch) -> Keys {
        let known = batch
            .status
            .iter()
            .filter(|status| state::has_state(**status));
        let state = Batch::new(
            Rc::clone(&self.state),
            row_number(known.count()),
            batch.state,
        );
        let group = |(columns, group): (&Rc<[Column]>, crate::wit::Group)| {
            let rows = Ends::new(&group.ends).rows();
            Group::new(
                Batch::new(Rc::clone(columns), rows, group.columns),
                group.ends,
            )
        };
        Keys {
            keys: self.key.batch(batch.rows as usize, &batch.keys),
            status: batch.status,
            state,
            inputs: self.inputs.iter().zip(batch.inputs).map(group).collect(),
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("key", &self.key)
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}

/// The keys of one call, with their states and their rows.
#[derive(Debug)]
pub struct Keys {
    keys: Batch,
    status: Vec<u8>,
    state: Batch,
    inputs: Vec<Group>,
}

impl Keys {
    /// Room for a row a key.
    fn size(&self) -> Size {
        Size {
            rows: self.keys.rows(),
            bytes: self.keys.data_bytes() + self.state.data_bytes(),
        }
    }

    /// Turns the rows of a key away.
    ///
    /// # Errors
    /// If there are none: the reason must not be lost.
    #[cold]
    fn reject(&self, key: usize, reject: &crate::Reject) -> Result<(), Error> {
        if self
            .inputs
            .iter()
            .all(|group| group.rows_of(key).is_empty())
        {
            return Err(Error::fatal(reject.reason.clone()));
        }
        for group in &self.inputs {
            group.reject(group.rows_of(key), reject);
        }
        Ok(())
    }
}

/// Runs `fn(&State, Key, Inputs, &mut State, &mut Ports)` over the keys of a call; a key that is turned away leaves
/// nothing in any port, and keeps its state and its timer.
///
/// # Errors
/// A key turned away that has no rows to turn away, or a timer of a key without state.
pub fn update<'a, S, K, I, T, P, D>(
    state: &S,
    keys: &'a Keys,
    calls: &mut Calls,
    each: impl Fn(&S, K, I, &mut State<'a, T>, &mut P) -> D,
) -> Result<Changes, Error>
where
    K: Row<'a>,
    I: Inputs<'a>,
    T: Readable,
    P: Ports,
    D: Done,
{
    let key_readers = K::readers(&keys.keys);
    let input_readers = I::readers(&keys.inputs);
    let mut ports: P = calls.ports(keys.size());
    let mut changes = State::<T>::new(&keys.state, keys.size());
    for (key, status) in keys.status.iter().enumerate() {
        changes.begin(*status);
        let outcome = match K::read(&key_readers, key) {
            Ok(record) => {
                let rows = I::rows(&input_readers, &keys.inputs, key);
                each(state, record, rows, &mut changes, &mut ports).done()
            }
            Err(column) => Err(record::null_in(&keys.keys.columns()[column])),
        };
        match outcome {
            Ok(()) => ports.end_row(row_number(key)),
            Err(reject) => {
                ports.undo_row();
                changes.undo();
                keys.reject(key, &reject)?;
            }
        }
        changes.end()?;
    }
    let (ops, state, timers) = changes.finish();
    Ok(Changes {
        ops,
        state,
        timers,
        outputs: calls.finish(ports),
        rejected: rows::rejects(&keys.inputs),
    })
}
