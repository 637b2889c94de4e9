//! Reducers: many rows into one, by a function of two.
//!
//! ```
//! use wasmill_sdk::prelude::*;
//!
//! #[derive(Record, Debug, PartialEq)]
//! struct Stats {
//!     total: i64,
//!     largest: f64,
//! }
//!
//! fn add(a: Stats, b: Stats) -> Stats {
//!     Stats {
//!         total: a.total + b.total,
//!         largest: a.largest.max(b.largest),
//!     }
//! }
//!
//! export_reducer!(reduce: add);
//!
//! # fn main() {
//! let run = wasmill_sdk::testing::reducer::<Plugin>()
//!     .rows([(1, 0.5), (2, 2.5), (3, 1.0)].map(|(total, largest)| Stats { total, largest }))
//!     .run()
//!     .expect("the input has the columns");
//! assert_eq!(run.rows::<Stats>(), [Stats { total: 6, largest: 2.5 }]);
//! # }
//! ```
//!
//! Both arguments and the result are the same record: the rows of the input are themselves reduced, and what was reduced
//! is reduced again with more. So a column that counts must be there in the input, as ones. A record that borrows its
//! texts says so with one lifetime: `fn longest<'a>(a: Word<'a>, b: Word<'a>) -> Word<'a>`.

use std::fmt;
use std::rc::Rc;

use serde::de::DeserializeOwned;

use crate::builder::Size;
use crate::emit::row_number;
use crate::read::Ends;
use crate::record::{self, Builders, Made, Row, Wanted};
use crate::wit::{Buffers, Context, Field, ReducerPlan};
use crate::{Batch, Column, Error, config, context};

/// A reducer as the host sees it. [`export_reducer!`](crate::export_reducer) implements it for `Plugin`.
pub trait Reducer: Sized {
    /// Pure: the columns reduced, and whether there is an inverse.
    ///
    /// # Errors
    /// A wrong configuration, or a missing or ill-typed input column.
    fn describe(config: &str, input: &[Field]) -> Result<ReducerPlan, Error>;

    /// A fresh instance; `input` holds the planned columns in the plan's order.
    ///
    /// # Errors
    /// As [`Reducer::describe`].
    fn open(config: &str, input: &[Field]) -> Result<Self, Error>;

    /// One row for each group; `ends` holds, as u32 in little-endian, where the groups end.
    ///
    /// # Errors
    /// Whatever fails the whole call.
    fn reduce(
        &mut self,
        context: Context,
        ends: Vec<u8>,
        input: Vec<Buffers>,
    ) -> Result<Vec<Buffers>, Error>;

    /// Row for row, what is left of `total` without `gone`, the oldest part of it. Not called unless the plan says
    /// `invertible`.
    ///
    /// # Errors
    /// Whatever fails the whole call.
    fn inverse(
        &mut self,
        context: Context,
        rows: u32,
        total: Vec<Buffers>,
        gone: Vec<Buffers>,
    ) -> Result<Vec<Buffers>, Error> {
        let _ = (context, rows, total, gone);
        Err(no_inverse())
    }
}

/// What can be known about a reducer from the types of its function.
#[derive(Debug)]
pub struct Shape {
    wanted: Vec<Wanted>,
}

impl Shape {
    /// Of `fn(&State, Row, Row) -> Row`.
    pub fn reduce<'a, S, R: Row<'a>, M: Made<Output = R>>(_: impl Fn(&S, R, R) -> M) -> Self {
        Self {
            wanted: R::wanted(),
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
        config::open(config, &record::settings(&self.wanted), open)
    }

    /// The answer to `describe`.
    ///
    /// # Errors
    /// A missing or ill-typed input column.
    pub fn plan(
        &self,
        config: &str,
        input: &[Field],
        invertible: bool,
    ) -> Result<ReducerPlan, Error> {
        Ok(ReducerPlan {
            columns: record::resolve(&self.wanted, &config::parse(config)?, input)?,
            invertible,
        })
    }
}

/// What is done with the rows of a call.
type Rule<Rows> = dyn Fn(&Rows) -> Result<Vec<Buffers>, Error>;

/// An open reducer: the columns of its rows, and the functions over a call's.
pub struct Opened {
    columns: Rc<[Column]>,
    reduce: Box<Rule<Groups>>,
    inverse: Option<Box<Rule<Pairs>>>,
}

impl Opened {
    /// Remembers the schema for every call to come.
    ///
    /// # Errors
    /// A column type that this SDK does not know.
    pub fn new(
        input: &[Field],
        reduce: impl Fn(&Groups) -> Result<Vec<Buffers>, Error> + 'static,
    ) -> Result<Self, Error> {
        Ok(Self {
            columns: record::columns(input)?,
            reduce: Box::new(reduce),
            inverse: None,
        })
    }

    /// The same with an inverse.
    pub fn with_inverse(
        self,
        inverse: impl Fn(&Pairs) -> Result<Vec<Buffers>, Error> + 'static,
    ) -> Self {
        Self {
            inverse: Some(Box::new(inverse)),
            ..self
        }
    }

    /// One call of `reduce`.
    ///
    /// # Errors
    /// Those of [`reduce()`].
    pub fn reduce(
        &self,
        context: Context,
        ends: Vec<u8>,
        input: Vec<Buffers>,
    ) -> Result<Vec<Buffers>, Error> {
        context::enter(context);
        let rows = self.batch(Ends::new(&ends).rows(), input);
        (self.reduce)(&Groups { rows, ends })
    }

    /// One call of `inverse`.
    ///
    /// # Errors
    /// Those of [`inverse()`], or that there is none.
    pub fn inverse(
        &self,
        context: Context,
        rows: u32,
        total: Vec<Buffers>,
        gone: Vec<Buffers>,
    ) -> Result<Vec<Buffers>, Error> {
        context::enter(context);
        let inverse = self.inverse.as_ref().ok_or_else(no_inverse)?;
        let [total, gone] = [total, gone].map(|buffers| self.batch(rows, buffers));
        inverse(&Pairs { total, gone })
    }

    fn batch(&self, rows: u32, buffers: Vec<Buffers>) -> Batch {
        Batch::new(Rc::clone(&self.columns), rows, buffers)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

fn no_inverse() -> Error {
    Error::fatal("this reducer has no inverse")
}

/// Rows in groups.
#[derive(Debug)]
pub struct Groups {
    rows: Batch,
    ends: Vec<u8>,
}

/// Totals, and what is to be taken out of each.
#[derive(Debug)]
pub struct Pairs {
    total: Batch,
    gone: Batch,
}

/// Runs `fn(&State, Row, Row) -> Row` over each group, from its first row on.
///
/// # Errors
/// The function's own, or the rows with a null in a field without room for one.
pub fn reduce<'a, S, R: Row<'a>, M: Made<Output = R>>(
    state: &S,
    groups: &'a Groups,
    each: impl Fn(&S, R, R) -> M,
) -> Result<Vec<Buffers>, Error> {
    let readers = R::readers(&groups.rows);
    let ends = Ends::new(&groups.ends);
    let mut builders = R::Builders::new(&[], size(ends.groups(), &groups.rows));
    let mut nulls = Nulls::default();
    for group in 0..ends.groups() {
        let mut reduced: Option<R> = None;
        for row in ends.group(group) {
            let record = match R::read(&readers, row) {
                Ok(record) => record,
                Err(column) => {
                    nulls.push(row, column);
                    continue;
                }
            };
            reduced = Some(match reduced {
                Some(sum) => each(state, sum, record).made()?,
                None => record,
            });
        }
        if let Some(reduced) = reduced {
            reduced.write(&mut builders);
        }
    }
    nulls.check(&groups.rows)?;
    Ok(builders.finish())
}

/// Runs `fn(&State, Row, Row) -> Row` over each pair.
///
/// # Errors
/// The function's own, or a null in a field without room for one.
pub fn inverse<'a, S, R: Row<'a>, M: Made<Output = R>>(
    state: &S,
    pairs: &'a Pairs,
    each: impl Fn(&S, R, R) -> M,
) -> Result<Vec<Buffers>, Error> {
    let rows = pairs.total.rows();
    let [totals, gones] = [&pairs.total, &pairs.gone].map(|batch| R::readers(batch));
    let mut builders = R::Builders::new(&[], size(rows, &pairs.total));
    let null = |column: usize| Error::fatal(record::null_in(&pairs.total.columns()[column]).reason);
    for row in 0..rows {
        let total = R::read(&totals, row).map_err(null)?;
        let gone = R::read(&gones, row).map_err(null)?;
        each(state, total, gone).made()?.write(&mut builders);
    }
    Ok(builders.finish())
}

/// Room for `results`, each with as much text as a row of the input.
fn size(results: usize, input: &Batch) -> Size {
    Size {
        rows: results,
        bytes: input.data_bytes() / input.rows().max(1) * results,
    }
}

/// Rows with a null in a field without room for one. They cannot be left out: a group of nothing else has no result.
#[derive(Debug, Default)]
struct Nulls {
    rows: Vec<u32>,
    /// The column at fault in the first of them.
    column: usize,
}

impl Nulls {
    #[cold]
    fn push(&mut self, row: usize, column: usize) {
        if self.rows.is_empty() {
            self.column = column;
        }
        self.rows.push(row_number(row));
    }

    fn check(self, batch: &Batch) -> Result<(), Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let reason = record::null_in(&batch.columns()[self.column]).reason;
        Err(Error::rejected(reason, self.rows))
    }
}
