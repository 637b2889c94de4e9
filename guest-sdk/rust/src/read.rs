//! Reading a batch in place: every value handed out borrows from the buffers that the host wrote.
//!
//! Numbers are read as little-endian byte groups, so nothing here depends on the alignment of a buffer.

use std::ops::Range;
use std::rc::Rc;

use crate::Column;
use crate::bindings::transform::wasmill::plugin::types::Buffers;
use crate::text::Text;

/// The rows of one call.
#[derive(Debug)]
pub struct Batch {
    columns: Rc<[Column]>,
    rows: usize,
    buffers: Vec<Buffers>,
}

impl Batch {
    /// Joins what the host sent with the schema it announced at `open`.
    pub(crate) fn new(columns: Rc<[Column]>, rows: u32, buffers: Vec<Buffers>) -> Self {
        assert_eq!(
            columns.len(),
            buffers.len(),
            "the host sends the columns of the plan"
        );
        Self {
            columns,
            rows: rows as usize,
            buffers,
        }
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The schema, in the order of the plan.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The raw buffers of a column, by its position in [`Batch::columns`].
    pub fn buffers(&self, column: usize) -> &Buffers {
        &self.buffers[column]
    }

    /// Bytes of values, over all columns.
    pub(crate) fn data_bytes(&self) -> usize {
        self.buffers.iter().map(|column| column.data.len()).sum()
    }
}

/// Where each group of rows ends; a group begins where the one before it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a>(&'a [[u8; 4]]);

impl<'a> Ends<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.as_chunks().0)
    }

    pub(crate) fn groups(self) -> usize {
        self.0.len()
    }

    /// The rows of all groups.
    pub(crate) fn rows(self) -> u32 {
        self.0.last().map_or(0, |end| u32::from_le_bytes(*end))
    }

    #[inline]
    pub(crate) fn group(self, at: usize) -> Range<usize> {
        let end = |at: usize| u32::from_le_bytes(self.0[at]) as usize;
        let start = match at {
            0 => 0,
            _ => end(at - 1),
        };
        start..end(at)
    }
}

/// Which values are there; no bytes at all means every one is.
#[derive(Clone, Copy, Debug)]
pub struct Validity<'a>(pub(crate) &'a [u8]);

impl Validity<'_> {
    /// Whether the row holds a value.
    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        self.0.is_empty() || bit(self.0, row)
    }
}

/// Reads bit `row`, the least significant bit of a byte first.
#[inline]
pub(crate) fn bit(bytes: &[u8], row: usize) -> bool {
    bytes[row >> 3] >> (row & 7) & 1 == 1
}

/// A column of booleans.
#[derive(Clone, Copy, Debug)]
pub struct Bits<'a> {
    pub(crate) validity: Validity<'a>,
    pub(crate) bits: &'a [u8],
}

impl<'a> Bits<'a> {
    pub(crate) fn new(buffers: &'a Buffers) -> Self {
        Self {
            validity: Validity(&buffers.validity),
            bits: &buffers.data,
        }
    }

    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<bool> {
        self.validity.is_valid(row).then(|| bit(self.bits, row))
    }
}

/// A column of values that are `N` bytes wide.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<'a, const N: usize> {
    pub(crate) validity: Validity<'a>,
    pub(crate) values: &'a [[u8; N]],
}

impl<'a, const N: usize> Fixed<'a, N> {
    pub(crate) fn new(buffers: &'a Buffers) -> Self {
        Self {
            validity: Validity(&buffers.validity),
            values: buffers.data.as_chunks().0,
        }
    }

    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<[u8; N]> {
        self.validity.is_valid(row).then(|| self.values[row])
    }
}

/// A column of texts or byte strings.
#[derive(Clone, Copy, Debug)]
pub struct Varying<'a> {
    pub(crate) validity: Validity<'a>,
    offsets: &'a [[u8; 4]],
    data: &'a [u8],
}

impl<'a> Varying<'a> {
    pub(crate) fn new(buffers: &'a Buffers) -> Self {
        Self {
            validity: Validity(&buffers.validity),
            offsets: buffers.offsets.as_chunks().0,
            data: &buffers.data,
        }
    }

    #[inline]
    fn range(&self, row: usize) -> Option<(usize, usize)> {
        let start = u32::from_le_bytes(self.offsets[row]) as usize;
        let end = u32::from_le_bytes(self.offsets[row + 1]) as usize;
        self.validity.is_valid(row).then_some((start, end))
    }

    #[inline]
    pub(crate) fn bytes(&self, row: usize) -> Option<&'a [u8]> {
        self.range(row).map(|(start, end)| &self.data[start..end])
    }

    /// The text of a `utf8` or `json` column, with its column.
    #[inline]
    #[expect(
        unsafe_code,
        reason = "checking again what the host guarantees costs more than splitting the text does"
    )]
    pub(crate) fn text(&self, row: usize) -> Option<Text<'a>> {
        // SAFETY: only called for utf8 and json columns, which are valid UTF-8 as a whole by the contract; the host
        // makes them from checked columns, and `testing` from `&str`s.
        let column = unsafe { std::str::from_utf8_unchecked(self.data) };
        self.range(row)
            .map(|(start, end)| Text::within(column, start, end))
    }

    /// The text of a `utf8` or `json` column.
    #[inline]
    pub(crate) fn str(&self, row: usize) -> Option<&'a str> {
        self.text(row).map(|text| text.as_str())
    }
}
