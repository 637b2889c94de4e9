//! Joins the rows of two batches that have equal keys.
//!
//! Pure: batches in, batches out. Keys become Arrow rows, whose order as bytes is the order of the keys; both sides are
//! sorted by them and walked together, so that the result is in key order without being sorted again.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{Row, RowConverter, Rows, SortField};

use crate::aggregate::one_zero_one_nan;

mod lookup;
#[cfg(test)]
mod tests;

pub use lookup::Lookup;

/// Whose rows go on without a counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody's.
    Inner,
    /// The left's.
    Left,
    /// The right's.
    Right,
    /// Both sides'.
    Full,
}

impl Kind {
    /// Every kind by its name, as a pipeline file writes it.
    pub const ALL: [(&str, Self); 4] = [
        ("inner", Self::Inner),
        ("left", Self::Left),
        ("right", Self::Right),
        ("full", Self::Full),
    ];

    /// Whether the left's rows go on without a counterpart.
    pub fn keeps_left(self) -> bool {
        matches!(self, Self::Left | Self::Full)
    }

    /// Whether the right's do.
    pub fn keeps_right(self) -> bool {
        matches!(self, Self::Right | Self::Full)
    }

    /// As a pipeline file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inner => "inner",
            Self::Left => "left",
            Self::Right => "right",
            Self::Full => "full",
        }
    }
}

/// The sides, as messages and what is kept of them are named.
pub const SIDES: [&str; 2] = ["left", "right"];

/// A checked join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Whose rows go on alone.
    pub kind: Kind,
    /// Key columns of either side, indices into its schema, of the same types in the same order.
    pub keys: [Vec<usize>; 2],
    /// The columns of the result.
    pub columns: Vec<Column>,
}

/// A column of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// This one of the keys, of whichever side has a row.
    Key(usize),
    /// A column of the left side; null for a row of the right alone.
    Left(usize),
    /// A column of the right side; null for a row of the left alone.
    Right(usize),
}

/// Rows of the result before they are put together: a row of either side, or of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    left: Vec<Option<u32>>,
    right: Vec<Option<u32>>,
}

impl Pairs {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.left.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The rows of the left side that some of them hold.
    pub fn left_rows(&self, some: Range<usize>) -> &[Option<u32>] {
        &self.left[some]
    }

    fn push(&mut self, left: Option<u32>, right: Option<u32>) {
        self.left.push(left);
        self.right.push(right);
    }
}

impl Join {
    /// The columns of the result over two inputs; keys go by their name on the left.
    pub fn output_schema(&self, left: &Schema, right: &Schema) -> SchemaRef {
        let fields = self.columns.iter().map(|column| match *column {
            Column::Key(key) => {
                let from_left = left.field(self.keys[0][key]);
                let from_right = right.field(self.keys[1][key]);
                let nullable = match self.kind {
                    Kind::Inner => false,
                    Kind::Left => from_left.is_nullable(),
                    Kind::Right => from_right.is_nullable(),
                    Kind::Full => from_left.is_nullable() || from_right.is_nullable(),
                };
                from_left.clone().with_nullable(nullable)
            }
            Column::Left(column) => absent(left.field(column), self.kind.keeps_right()),
            Column::Right(column) => absent(right.field(column), self.kind.keeps_left()),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The columns of a side that the join reads, of those that it has: the keys', then those that go into its rows.
    pub fn kept(&self, side: usize, schema: &Schema) -> (Vec<usize>, SchemaRef) {
        let others = self.columns.iter().filter_map(|column| match *column {
            Column::Left(column) if side == 0 => Some(column),
            Column::Right(column) if side == 1 => Some(column),
            _ => None,
        });
        let kept: Vec<usize> = self.keys[side].iter().copied().chain(others).collect();
        let of_kept = schema.project(&kept);
        let of_kept = of_kept.expect("a join reads columns that its sides have");
        (kept, Arc::new(of_kept))
    }

    /// The same join over sides that have the columns of [`Self::kept`] alone, in that order.
    pub fn over_kept(&self) -> Self {
        let keys = self.keys[0].len();
        let mut of_left = (keys..).map(Column::Left);
        let mut of_right = (keys..).map(Column::Right);
        let columns = self.columns.iter().filter_map(|column| match column {
            Column::Key(_) => Some(*column),
            Column::Left(_) => of_left.next(),
            Column::Right(_) => of_right.next(),
        });
        Self {
            kind: self.kind,
            keys: [0, 1].map(|_| (0..keys).collect()),
            columns: columns.collect(),
        }
    }

    /// Which rows of two batches belong together: in the order of the keys, then of the left rows, then of the right ones.
    /// A null in a key equals nothing; rows that have one are ordered as keys are, nulls first.
    pub fn pairs(&self, left: &RecordBatch, right: &RecordBatch) -> Result<Pairs, ArrowError> {
        let left = Keys::of(left, &self.keys[0])?;
        let right = Keys::of(right, &self.keys[1])?;
        let (left_order, right_order) = (left.sorted(), right.sorted());
        let mut pairs = Pairs::default();
        let (mut lefts, mut rights) = (left_order.as_slice(), right_order.as_slice());
        loop {
            let order = match (lefts.first(), rights.first()) {
                (Some(&one), Some(&other)) => left.row(one).cmp(&right.row(other)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Ok(pairs),
            };
            match order {
                Ordering::Equal if !left.has_null(lefts[0]) => {
                    let (some, rest) = lefts.split_at(left.run(lefts));
                    let (others, other_rest) = rights.split_at(right.run(rights));
                    for &one in some {
                        for &other in others {
                            pairs.push(Some(one), Some(other));
                        }
                    }
                    (lefts, rights) = (rest, other_rest);
                }
                Ordering::Less | Ordering::Equal => {
                    if self.kind.keeps_left() {
                        pairs.push(Some(lefts[0]), None);
                    }
                    lefts = &lefts[1..];
                }
                Ordering::Greater => {
                    if self.kind.keeps_right() {
                        pairs.push(None, Some(rights[0]));
                    }
                    rights = &rights[1..];
                }
            }
        }
    }

    /// Puts some of the pairs of two batches together as rows of `schema`, which is [`Self::output_schema`] or equal to it.
    pub fn rows(
        &self,
        left: &RecordBatch,
        right: &RecordBatch,
        pairs: &Pairs,
        some: Range<usize>,
        schema: &SchemaRef,
    ) -> Result<RecordBatch, ArrowError> {
        let of_left = UInt32Array::from(pairs.left[some.clone()].to_vec());
        let of_right = UInt32Array::from(pairs.right[some.clone()].to_vec());
        let columns = self.columns.iter().map(|column| match *column {
            Column::Left(column) => take(left.column(column), &of_left, None),
            Column::Right(column) => take(right.column(column), &of_right, None),
            Column::Key(key) => {
                let left = left.column(self.keys[0][key]);
                let right = right.column(self.keys[1][key]);
                let whose: Vec<_> = some.clone().map(|pair| pairs.holder(pair)).collect();
                interleave(&[left.as_ref(), right.as_ref()], &whose)
            }
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(some.len()));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
    }
}

impl Pairs {
    /// The side (0 the left) and the row that have the key of a pair.
    fn holder(&self, pair: usize) -> (usize, usize) {
        match (self.left[pair], self.right[pair]) {
            (Some(row), _) => (0, row as usize),
            (None, row) => (1, row.expect("a pair has a row") as usize),
        }
    }
}

/// A column that is null where its side has no row.
fn absent(field: &Field, can_be: bool) -> Field {
    let nullable = field.is_nullable() || can_be;
    field.clone().with_nullable(nullable)
}

/// The keys of a batch.
struct Keys {
    rows: Rows,
    columns: Vec<ArrayRef>,
}

impl Keys {
    fn of(batch: &RecordBatch, keys: &[usize]) -> Result<Self, ArrowError> {
        let keys = keys.iter();
        let columns: Vec<_> = keys
            .map(|&key| one_zero_one_nan(batch.column(key)))
            .collect();
        let fields = columns.iter();
        let fields = fields.map(|column| SortField::new(column.data_type().clone()));
        let rows = RowConverter::new(fields.collect())?.convert_columns(&columns)?;
        Ok(Self { rows, columns })
    }

    fn row(&self, row: u32) -> Row<'_> {
        self.rows.row(row as usize)
    }

    fn has_null(&self, row: u32) -> bool {
        let mut columns = self.columns.iter();
        columns.any(|column| column.is_null(row as usize))
    }

    /// The rows in the order of their keys, else in their own.
    fn sorted(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.rows.num_rows() as u32).collect();
        order.sort_by(|one, other| self.row(*one).cmp(&self.row(*other)));
        order
    }

    /// How many of the first rows in `order` have the same key.
    fn run(&self, order: &[u32]) -> usize {
        let first = self.row(order[0]);
        let same = order.iter().take_while(|row| self.row(**row) == first);
        same.count()
    }
}
