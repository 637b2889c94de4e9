//! Building output columns: values are written once, straight into the buffers that the host reads.

use crate::bindings::transform::wasmill::plugin::types::Buffers;

/// How large a column is, or is expected to become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Values.
    pub rows: usize,
    /// Bytes of texts or byte strings.
    pub bytes: usize,
}

/// A column in the making.
pub trait ColumnBuilder: Sized {
    /// An empty column with room for so much.
    fn with_capacity(size: Size) -> Self;
    /// A value of no meaning, where the column above notes a null.
    fn push_blank(&mut self);
    /// Takes back all rows from `rows` on.
    fn truncate(&mut self, rows: usize);
    /// The finished buffers.
    fn finish(self) -> Buffers;
}

fn buffers(offsets: Vec<u8>, data: Vec<u8>) -> Buffers {
    Buffers {
        validity: Vec::new(),
        offsets,
        data,
    }
}

/// Bits, the least significant of a byte first.
#[derive(Debug, Default)]
pub struct BitBuilder {
    bytes: Vec<u8>,
    rows: usize,
}

impl BitBuilder {
    /// Adds one.
    #[inline]
    pub fn push(&mut self, value: bool) {
        let bit = u8::from(value) << (self.rows & 7);
        match self.bytes.last_mut() {
            Some(byte) if self.rows & 7 != 0 => *byte |= bit,
            _ => self.bytes.push(bit),
        }
        self.rows += 1;
    }
}

impl ColumnBuilder for BitBuilder {
    fn with_capacity(size: Size) -> Self {
        Self {
            bytes: Vec::with_capacity(size.rows.div_ceil(8)),
            rows: 0,
        }
    }

    fn push_blank(&mut self) {
        self.push(false);
    }

    fn truncate(&mut self, rows: usize) {
        self.rows = rows;
        self.bytes.truncate(rows.div_ceil(8));
        if let (Some(byte), 1..) = (self.bytes.last_mut(), rows & 7) {
            *byte &= (1 << (rows & 7)) - 1; // bits past the end are zero, `push` relies on it
        }
    }

    fn finish(self) -> Buffers {
        buffers(Vec::new(), self.bytes)
    }
}

/// Values that are `N` bytes wide.
#[derive(Debug)]
pub struct FixedBuilder<const N: usize> {
    values: Vec<[u8; N]>,
}

impl<const N: usize> FixedBuilder<N> {
    /// Adds one, little-endian.
    #[inline]
    pub fn push(&mut self, value: [u8; N]) {
        self.values.push(value);
    }
}

impl<const N: usize> ColumnBuilder for FixedBuilder<N> {
    fn with_capacity(size: Size) -> Self {
        Self {
            values: Vec::with_capacity(size.rows),
        }
    }

    fn push_blank(&mut self) {
        self.values.push([0; N]);
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
    }

    fn finish(self) -> Buffers {
        buffers(Vec::new(), self.values.into_flattened())
    }
}

/// Texts or byte strings.
#[derive(Debug)]
pub struct VaryingBuilder {
    /// The end of each value; the start of the first, 0, is there from the beginning.
    offsets: Vec<[u8; 4]>,
    data: Vec<u8>,
}

impl VaryingBuilder {
    /// Adds one.
    ///
    /// # Panics
    /// If the column grows beyond 4 GiB, which no memory of a plugin holds.
    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        append(&mut self.data, value);
        self.end_value();
    }

    /// Adds the first `length` of `bytes`. Up to 16 go as one load and one store, whatever the length: in WebAssembly
    /// a copy of unknown length is a call into the host's runtime that costs more than a word is long.
    #[inline]
    pub fn push_prefix(&mut self, bytes: &[u8], length: usize) {
        let end = self.data.len() + length;
        match bytes.first_chunk::<16>() {
            Some(piece) if length <= piece.len() => {
                self.data.extend_from_slice(piece);
                self.data.truncate(end);
            }
            _ => append(&mut self.data, &bytes[..length]),
        }
        self.end_value();
    }

    /// Adds one that `write` appends to the column's bytes, without a copy of its own.
    #[inline]
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.data);
        self.end_value();
    }

    #[inline]
    fn end_value(&mut self) {
        let end = u32::try_from(self.data.len()).expect("a wasm32 memory is no larger than 4 GiB");
        self.offsets.push(end.to_le_bytes());
    }
}

impl ColumnBuilder for VaryingBuilder {
    fn with_capacity(size: Size) -> Self {
        let mut offsets = Vec::with_capacity(size.rows + 1);
        offsets.push([0; 4]);
        Self {
            offsets,
            data: Vec::with_capacity(size.bytes),
        }
    }

    fn push_blank(&mut self) {
        self.end_value();
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        let end = self
            .offsets
            .last()
            .map_or(0, |end| u32::from_le_bytes(*end));
        self.data.truncate(end as usize);
    }

    fn finish(self) -> Buffers {
        buffers(self.offsets.into_flattened(), self.data)
    }
}

/// Appends a mostly short text as two overlapping pieces of fixed length, for the reason of `push_prefix`.
#[inline]
fn append(data: &mut Vec<u8>, value: &[u8]) {
    let end = data.len() + value.len();
    if let (true, Some(head), Some(tail)) = (
        value.len() <= 16,
        value.first_chunk::<8>(),
        value.last_chunk::<8>(),
    ) {
        data.extend_from_slice(head);
        data.truncate(end - 8);
        data.extend_from_slice(tail);
    } else if let (true, Some(head), Some(tail)) = (
        value.len() < 8,
        value.first_chunk::<4>(),
        value.last_chunk::<4>(),
    ) {
        data.extend_from_slice(head);
        data.truncate(end - 4);
        data.extend_from_slice(tail);
    } else if value.len() < 4 {
        for byte in value {
            data.push(*byte);
        }
    } else {
        data.extend_from_slice(value);
    }
}

/// Values that may be missing.
#[derive(Debug)]
pub struct Nullable<B> {
    values: B,
    validity: BitBuilder,
    nulls: usize,
}

impl<B: ColumnBuilder> Nullable<B> {
    /// Adds one that is there; `push` adds it to the values.
    #[inline]
    pub fn push_with(&mut self, push: impl FnOnce(&mut B)) {
        push(&mut self.values);
        self.validity.push(true);
    }

    /// Adds a missing one.
    #[inline]
    pub fn push_null(&mut self) {
        self.values.push_blank();
        self.validity.push(false);
        self.nulls += 1;
    }
}

impl<B: ColumnBuilder> ColumnBuilder for Nullable<B> {
    fn with_capacity(size: Size) -> Self {
        Self {
            values: B::with_capacity(size),
            validity: BitBuilder::with_capacity(size),
            nulls: 0,
        }
    }

    fn push_blank(&mut self) {
        self.push_null();
    }

    fn truncate(&mut self, rows: usize) {
        let gone = rows..self.validity.rows;
        self.nulls -= gone
            .filter(|row| !crate::read::bit(&self.validity.bytes, *row))
            .count();
        self.values.truncate(rows);
        self.validity.truncate(rows);
    }

    fn finish(self) -> Buffers {
        let mut buffers = self.values.finish();
        if self.nulls > 0 {
            buffers.validity = self.validity.bytes;
        }
        buffers
    }
}
