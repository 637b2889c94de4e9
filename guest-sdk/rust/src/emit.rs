//! Where a plugin's rows go: builders for the columns of each port, and the input row, or key, each came from.

use std::fmt;

use crate::bindings::transform::wasmill::plugin::types::{self, Buffers, Origin, Output, Rejects};
use crate::builder::{ColumnBuilder, Size, VaryingBuilder};
use crate::record::{Builders, Record};
use crate::{Column, Reject};

/// The rows of one output port.
pub struct Emit<R: Record> {
    columns: R::Builders,
    rows: usize,
    /// The input row of each output row up to the last finished input row.
    parents: Vec<u32>,
}

impl<R: Record> Emit<R> {
    /// Adds a row.
    #[inline]
    pub fn emit<Row: Record<Builders = R::Builders>>(&mut self, row: Row) {
        row.write(&mut self.columns);
        self.rows += 1;
    }

    /// Rows emitted so far, over all input rows of the call.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

impl<R: Record> fmt::Debug for Emit<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emit")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// What the SDK does with a port; implemented by [`Emit`] alone.
pub trait Port: Sized {
    /// The columns that the plugin makes for it.
    fn columns(declared: &[Column]) -> Vec<Column>;
    /// No rows yet, and room for so many in each column.
    fn new(declared: &[Column], size: Size) -> Self;
    /// The rows emitted since the last call came from input row `row`.
    fn end_row(&mut self, row: u32);
    /// Takes back the rows emitted since the last [`Port::end_row`].
    fn undo_row(&mut self);
    /// The output for port number `port`.
    fn finish(self, port: u32) -> Output;
}

impl<R: Record> Port for Emit<R> {
    fn columns(declared: &[Column]) -> Vec<Column> {
        R::columns(declared)
    }

    fn new(declared: &[Column], size: Size) -> Self {
        Self {
            columns: R::Builders::new(declared, size),
            rows: 0,
            parents: Vec::with_capacity(size.rows),
        }
    }

    #[inline]
    fn end_row(&mut self, row: u32) {
        self.parents.resize(self.rows, row);
    }

    fn undo_row(&mut self) {
        self.rows = self.parents.len();
        self.columns.truncate(self.rows);
    }

    fn finish(self, port: u32) -> Output {
        Output {
            port,
            rows: row_number(self.rows),
            origin: Origin::Parents(self.parents),
            columns: self.columns.finish(),
        }
    }
}

/// A port by its types.
#[derive(Clone, Debug)]
pub struct PortShape {
    /// Its name.
    pub name: &'static str,
    /// The columns that the plugin makes for it.
    pub columns: Vec<Column>,
}

/// All output ports of a plugin. [`Emit`] is a single one named `out`; for several, derive it for a struct whose
/// fields are [`Emit`]s, each named as its port.
pub trait Ports: Sized {
    /// Name and columns of each.
    fn ports(declared: &[Column]) -> Vec<PortShape>;
    /// No rows yet, and room for so many in each column of each.
    fn new(declared: &[Column], size: Size) -> Self;
    /// See [`Port::end_row`].
    fn end_row(&mut self, row: u32);
    /// See [`Port::undo_row`].
    fn undo_row(&mut self);
    /// One output a port.
    fn finish(self) -> Vec<Output>;
}

impl<R: Record> Ports for Emit<R> {
    fn ports(declared: &[Column]) -> Vec<PortShape> {
        vec![PortShape {
            name: "out",
            columns: <Self as Port>::columns(declared),
        }]
    }

    fn new(declared: &[Column], size: Size) -> Self {
        Port::new(declared, size)
    }

    #[inline]
    fn end_row(&mut self, row: u32) {
        Port::end_row(self, row);
    }

    fn undo_row(&mut self) {
        Port::undo_row(self);
    }

    fn finish(self) -> Vec<Output> {
        vec![Port::finish(self, 0)]
    }
}

/// The ports as a plan has them.
pub(crate) fn plan(ports: Vec<PortShape>, carry: bool) -> Vec<types::Port> {
    ports
        .into_iter()
        .map(|port| types::Port {
            name: port.name.to_owned(),
            columns: port.columns.into_iter().map(Into::into).collect(),
            carry,
        })
        .collect()
}

/// What the calls of one instance have in common: the declared columns, and the size of the last call's output.
#[derive(Debug)]
pub struct Calls {
    declared: Vec<Column>,
    /// How many columns there are, over all ports; counted by the first call.
    columns: Option<usize>,
    last: Option<Size>,
}

impl Calls {
    /// Before the first call.
    pub fn new(declared: Vec<Column>) -> Self {
        Self {
            declared,
            columns: None,
            last: None,
        }
    }

    /// Ports with room ahead, for as many rows and bytes as the last call made or else for `guess`. Room that is not
    /// used costs address space only; the bytes are shared among the columns, so that all of them fit into memory.
    pub(crate) fn ports<P: Ports>(&mut self, guess: Size) -> P {
        let columns = *self.columns.get_or_insert_with(|| {
            let ports = P::ports(&self.declared);
            ports.iter().map(|port| port.columns.len()).sum()
        });
        let Size { rows, bytes } = self.last.unwrap_or(guess);
        let bytes = bytes / columns.max(1);
        P::new(&self.declared, Size { rows, bytes })
    }

    pub(crate) fn finish<P: Ports>(&mut self, ports: P) -> Vec<Output> {
        let outputs = ports.finish();
        let columns = outputs.iter().flat_map(|output| &output.columns);
        self.last = Some(Size {
            rows: outputs.iter().map(|output| output.rows).max().unwrap_or(0) as usize,
            bytes: columns.map(|column| column.data.len()).sum(),
        });
        outputs
    }
}

/// Input rows turned away.
#[derive(Debug, Default)]
pub struct Rejected {
    rows: Vec<u32>,
    /// Made for the first: a batch without any costs no allocation.
    reasons: Option<VaryingBuilder>,
}

impl Rejected {
    /// Turns a row of the batch away.
    pub fn push(&mut self, row: usize, reject: impl Into<Reject>) {
        self.rows.push(row_number(row));
        self.reasons
            .get_or_insert_with(|| VaryingBuilder::with_capacity(Size::default()))
            .push(reject.into().reason.as_bytes());
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn finish(self) -> Rejects {
        let none = Buffers {
            validity: Vec::new(),
            offsets: Vec::new(),
            data: Vec::new(),
        };
        let reasons = self.reasons.map_or(none, ColumnBuilder::finish);
        Rejects {
            rows: self.rows,
            reasons,
        }
    }
}

/// Row numbers are u32 in the contract; a call's memory cannot hold more.
pub(crate) fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a wasm32 memory holds fewer than 2^32 rows")
}
