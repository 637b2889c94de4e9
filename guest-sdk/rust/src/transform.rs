//! Transforms: the contract's three functions, and how `export_transform!` builds them around a plain function.

use std::rc::Rc;

use serde::de::DeserializeOwned;

use crate::bindings::transform::exports::wasmill::plugin::transform::{Plan, Produced};
use crate::bindings::transform::wasmill::plugin::types::{Buffers, Context, Field, Origin, Output};
use crate::builder::Size;
use crate::emit::{self, Emit, PortShape, Ports, Rejected, row_number};
use crate::record::{self, Record, Row, Wanted};
use crate::{Batch, Column, Error, Reject, config, context};

pub use crate::emit::Calls;

/// A transform as the host sees it. [`export_transform!`](crate::export_transform) implements it for `Plugin`; a
/// plugin that fits none of the three shapes implements it itself.
pub trait Transform: Sized {
    /// Pure: the columns wanted and the ports.
    ///
    /// # Errors
    /// A wrong configuration, or a missing or ill-typed input column.
    fn describe(config: &str, input: &[Field]) -> Result<Plan, Error>;

    /// A fresh instance; `input` holds the planned columns in the plan's order.
    ///
    /// # Errors
    /// As [`Transform::describe`].
    fn open(config: &str, input: &[Field]) -> Result<Self, Error>;

    /// One chunk of a partition.
    ///
    /// # Errors
    /// Whatever fails the whole chunk.
    fn process(
        &mut self,
        context: Context,
        rows: u32,
        input: Vec<Buffers>,
    ) -> Result<Produced, Error>;
}

/// What can be known about a transform from the types of its function.
#[derive(Debug)]
pub struct Shape {
    wanted: Vec<Wanted>,
    ports: fn(&[Column]) -> Vec<PortShape>,
    carry: bool,
}

impl Shape {
    /// Of `fn(&State, Row, &mut Ports)`.
    pub fn flat_map<'a, S, I: Row<'a>, P: Ports, R: Done>(_: impl Fn(&S, I, &mut P) -> R) -> Self {
        Self {
            wanted: I::wanted(),
            ports: P::ports,
            carry: false,
        }
    }

    /// Of `fn(&State, Row) -> Row`.
    pub fn map<'a, S, I: Row<'a>, R: Mapped>(_: impl Fn(&S, I) -> R) -> Self {
        Self {
            wanted: I::wanted(),
            ports: <Emit<R::Output> as Ports>::ports,
            carry: false,
        }
    }

    /// Of `fn(&State, Row) -> bool`. What a filter keeps, it keeps whole.
    pub fn filter<'a, S, I: Row<'a>, R: Verdict>(_: impl Fn(&S, I) -> R) -> Self {
        Self {
            wanted: I::wanted(),
            ports: |_| {
                vec![PortShape {
                    name: "out",
                    columns: Vec::new(),
                }]
            },
            carry: true,
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

    /// The answer to `describe`; `declared` are columns known from the configuration only.
    ///
    /// # Errors
    /// A missing or ill-typed input column.
    pub fn plan(
        &self,
        config: &str,
        input: &[Field],
        declared: &[Column],
        carry: Option<bool>,
    ) -> Result<Plan, Error> {
        Ok(Plan {
            columns: record::resolve(&self.wanted, &config::parse(config)?, input)?,
            ports: emit::plan((self.ports)(declared), carry.unwrap_or(self.carry)),
        })
    }
}

/// An open transform: the columns of its input, and the function over a batch of them.
pub struct Opened {
    input: Rc<[Column]>,
    process: Box<dyn FnMut(&Batch) -> Produced>,
}

impl Opened {
    /// Remembers the schema for every batch to come.
    ///
    /// # Errors
    /// A column type that this SDK does not know.
    pub fn new(
        input: &[Field],
        process: impl FnMut(&Batch) -> Produced + 'static,
    ) -> Result<Self, Error> {
        Ok(Self {
            input: record::columns(input)?,
            process: Box::new(process),
        })
    }

    /// One call.
    pub fn process(&mut self, context: Context, rows: u32, input: Vec<Buffers>) -> Produced {
        context::enter(context);
        (self.process)(&Batch::new(Rc::clone(&self.input), rows, input))
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

/// The columns that the configuration declares.
pub fn declared<S>(state: &S, columns: impl FnOnce(&S) -> Vec<Column>) -> Vec<Column> {
    columns(state)
}

/// Whether the configuration has the host carry the input's other columns, if the plugin says so at all.
pub fn carry<S, const N: usize>(state: &S, carry: [fn(&S) -> bool; N]) -> Option<bool> {
    carry.first().map(|carry| carry(state))
}

/// How a flat-map's function ends: with nothing, or with a `Result` whose error turns the row away.
pub trait Done {
    /// As a `Result`.
    ///
    /// # Errors
    /// The row is turned away.
    fn done(self) -> Result<(), Reject>;
}

impl Done for () {
    #[inline]
    fn done(self) -> Result<(), Reject> {
        Ok(())
    }
}

impl<E: Into<Reject>> Done for Result<(), E> {
    #[inline]
    fn done(self) -> Result<(), Reject> {
        self.map_err(Into::into)
    }
}

/// What a map's function answers: a record, an `Option` of one to drop the row, or a `Result` of either.
pub trait Mapped {
    /// The record.
    type Output: Record;

    /// As a `Result` of an `Option`.
    ///
    /// # Errors
    /// The row is turned away.
    fn mapped(self) -> Result<Option<Self::Output>, Reject>;
}

impl<O: Record> Mapped for O {
    type Output = O;

    #[inline]
    fn mapped(self) -> Result<Option<O>, Reject> {
        Ok(Some(self))
    }
}

impl<O: Record> Mapped for Option<O> {
    type Output = O;

    #[inline]
    fn mapped(self) -> Result<Option<O>, Reject> {
        Ok(self)
    }
}

impl<M: Mapped, E: Into<Reject>> Mapped for Result<M, E> {
    type Output = M::Output;

    #[inline]
    fn mapped(self) -> Result<Option<M::Output>, Reject> {
        self.map_err(Into::into)?.mapped()
    }
}

/// What a filter's function answers: whether to keep the row, or a `Result` of that.
pub trait Verdict {
    /// As a `Result`.
    ///
    /// # Errors
    /// The row is turned away.
    fn verdict(self) -> Result<bool, Reject>;
}

impl Verdict for bool {
    #[inline]
    fn verdict(self) -> Result<bool, Reject> {
        Ok(self)
    }
}

impl<E: Into<Reject>> Verdict for Result<bool, E> {
    #[inline]
    fn verdict(self) -> Result<bool, Reject> {
        self.map_err(Into::into)
    }
}

/// Calls `each` with every row of the batch, as a record; what it refuses, and what has a null in a field without
/// room for one, is turned away.
#[inline]
fn for_each_row<'a, I: Row<'a>>(
    batch: &'a Batch,
    mut each: impl FnMut(usize, I) -> Result<(), Reject>,
) -> Rejected {
    let readers = I::readers(batch);
    let mut rejected = Rejected::default();
    for row in 0..batch.rows() {
        let outcome = match I::read(&readers, row) {
            Ok(record) => each(row, record),
            Err(column) => Err(record::null_in(&batch.columns()[column])),
        };
        if let Err(reject) = outcome {
            rejected.push(row, reject);
        }
    }
    rejected
}

/// Bytes of text per output row that a flat-map's first call makes room for.
const BYTES_PER_ROW: usize = 4;

/// Runs `fn(&State, Row, &mut Ports)` over a batch; a row that is turned away leaves nothing in any port.
pub fn flat_map<'a, S, I: Row<'a>, P: Ports, R: Done>(
    state: &S,
    batch: &'a Batch,
    calls: &mut Calls,
    each: impl Fn(&S, I, &mut P) -> R,
) -> Produced {
    let bytes = batch.data_bytes();
    let rows = batch.rows() + bytes / BYTES_PER_ROW;
    let mut ports: P = calls.ports(Size { rows, bytes });
    let rejected = for_each_row(batch, |row, record| {
        match each(state, record, &mut ports).done() {
            Ok(()) => {
                ports.end_row(row_number(row));
                Ok(())
            }
            Err(reject) => {
                ports.undo_row();
                Err(reject)
            }
        }
    });
    Produced {
        outputs: calls.finish(ports),
        rejected: rejected.finish(),
    }
}

/// Runs `fn(&State, Row) -> Row` over a batch.
pub fn map<'a, S, I: Row<'a>, R: Mapped>(
    state: &S,
    batch: &'a Batch,
    calls: &mut Calls,
    each: impl Fn(&S, I) -> R,
) -> Produced {
    let mut out: Emit<R::Output> = calls.ports(Size {
        rows: batch.rows(),
        bytes: batch.data_bytes(),
    });
    let rejected = for_each_row(batch, |row, record| {
        if let Some(mapped) = each(state, record).mapped()? {
            out.emit(mapped);
            Ports::end_row(&mut out, row_number(row));
        }
        Ok(())
    });
    let every_row = out.rows() == batch.rows();
    let mut outputs = calls.finish(out);
    if every_row {
        for output in &mut outputs {
            output.origin = Origin::Same;
        }
    }
    Produced {
        outputs,
        rejected: rejected.finish(),
    }
}

/// Runs `fn(&State, Row) -> bool` over a batch: only row numbers come out, the host has the rows.
pub fn filter<'a, S, I: Row<'a>, R: Verdict>(
    state: &S,
    batch: &'a Batch,
    _calls: &mut Calls,
    each: impl Fn(&S, I) -> R,
) -> Produced {
    let mut kept = Vec::with_capacity(batch.rows());
    let rejected = for_each_row(batch, |row, record| {
        if each(state, record).verdict()? {
            kept.push(row_number(row));
        }
        Ok(())
    });
    let output = Output {
        port: 0,
        rows: row_number(kept.len()),
        origin: if kept.len() == batch.rows() {
            Origin::Same
        } else {
            Origin::Parents(kept)
        },
        columns: Vec::new(),
    };
    Produced {
        outputs: vec![output],
        rejected: rejected.finish(),
    }
}
