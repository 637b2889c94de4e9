//! Arrow arrays as the buffers a guest gets.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Field, Float64Type, Int64Type,
    Schema, TimeUnit, TimestampMicrosecondType,
};

use crate::batch::ColumnType;
use crate::plugin::bindings::wasmill::plugin::types::BuffersParam;
use crate::plugin::call::{CallError, ErrorKind};

/// A column that a plugin asked for, and how it gets there.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Asked {
    /// Index into the input's schema.
    index: usize,
    name: String,
    column_type: ColumnType,
    /// The Arrow type to convert to first: narrower numbers, dictionaries, other units or offsets.
    convert: Option<DataType>,
}

impl Asked {
    /// The column at `index`; `None` if the contract has no type for it.
    pub fn new(index: usize, field: &Field) -> Option<Self> {
        let column_type = ColumnType::of(field)?;
        let as_it_is = match field.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => true,
            other => *other == column_type.data_type(),
        };
        Some(Self {
            index,
            name: field.name().clone(),
            column_type,
            convert: (!as_it_is).then(|| column_type.data_type()),
        })
    }

    /// Moves to where the column of the same name is in another schema; answers where that is.
    pub fn found_in(&mut self, schema: &Schema) -> Option<usize> {
        self.index = schema.index_of(&self.name).ok()?;
        Some(self.index)
    }

    fn array<'a>(&self, batch: &'a RecordBatch) -> Result<Cow<'a, ArrayRef>, CallError> {
        let array = batch.column(self.index);
        let Some(to) = &self.convert else {
            return Ok(Cow::Borrowed(array));
        };
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        match cast_with_options(array, to, &strict) {
            Ok(converted) => Ok(Cow::Owned(converted)),
            // A value out of range: a fault of the rows. Which one it is shows when the batch is split.
            Err(error) => Err(CallError::Refused {
                kind: ErrorKind::Rejected,
                message: format!(
                    "column `{}` cannot be given as {}: {error}",
                    self.name, self.column_type
                ),
                rows: Vec::new(),
                after: None,
            }),
        }
    }
}

/// The columns of one call: borrowed from the batch wherever its memory is laid out as the contract wants it.
pub(in crate::plugin) struct Views<'a> {
    arrays: Vec<(Cow<'a, ArrayRef>, ColumnType)>,
}

impl<'a> Views<'a> {
    /// The asked columns of `batch`.
    pub fn new(asked: &[Asked], batch: &'a RecordBatch) -> Result<Self, CallError> {
        let arrays = asked
            .iter()
            .map(|asked| Ok((asked.array(batch)?, asked.column_type)));
        Ok(Self {
            arrays: arrays.collect::<Result<_, _>>()?,
        })
    }

    /// Runs `call` with the buffers of all columns.
    pub fn with<R>(&self, call: impl FnOnce(&[BuffersParam<'_>]) -> R) -> R {
        call(&params(&self.views()))
    }

    /// The columns as buffers, for [`params`].
    pub fn views(&self) -> Vec<View<'_>> {
        let arrays = self.arrays.iter();
        arrays
            .map(|(array, column_type)| view(array, *column_type))
            .collect()
    }
}

/// Columns in the contract's words.
pub(in crate::plugin) fn params<'a>(views: &'a [View<'_>]) -> Vec<BuffersParam<'a>> {
    views.iter().map(View::param).collect()
}

/// The three buffers of one column.
pub(in crate::plugin) struct View<'a> {
    validity: Cow<'a, [u8]>,
    offsets: Cow<'a, [u8]>,
    data: Cow<'a, [u8]>,
}

impl View<'_> {
    fn param(&self) -> BuffersParam<'_> {
        BuffersParam {
            validity: &self.validity,
            offsets: &self.offsets,
            data: &self.data,
        }
    }
}

fn view(array: &ArrayRef, column_type: ColumnType) -> View<'_> {
    let validity = validity(array.nulls());
    match column_type {
        ColumnType::Boolean => {
            let data = bits(array.as_boolean().values());
            View {
                validity,
                offsets: Cow::Borrowed(&[]),
                data,
            }
        }
        ColumnType::Int64 => fixed::<Int64Type>(array, validity),
        ColumnType::Float64 => fixed::<Float64Type>(array, validity),
        ColumnType::Decimal { .. } => fixed::<Decimal128Type>(array, validity),
        ColumnType::Date => fixed::<Date32Type>(array, validity),
        ColumnType::Timestamp => fixed::<TimestampMicrosecondType>(array, validity),
        ColumnType::Utf8 | ColumnType::Json => {
            let array = array.as_string::<i32>();
            variable(array.offsets(), array.values(), validity)
        }
        ColumnType::Binary => {
            let array = array.as_binary::<i32>();
            variable(array.offsets(), array.values(), validity)
        }
    }
}

fn fixed<'a, T: ArrowPrimitiveType>(array: &'a ArrayRef, validity: Cow<'a, [u8]>) -> View<'a> {
    let data = array.as_primitive::<T>().values().inner().as_slice();
    View {
        validity,
        offsets: Cow::Borrowed(&[]),
        data: Cow::Borrowed(data),
    }
}

/// A slice of a batch has offsets that begin anywhere: they are counted from its own first byte, and only its bytes go in.
fn variable<'a>(
    offsets: &'a OffsetBuffer<i32>,
    values: &'a [u8],
    validity: Cow<'a, [u8]>,
) -> View<'a> {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let data = Cow::Borrowed(&values[first as usize..last as usize]);
    let offsets = if first == 0 {
        Cow::Borrowed(offsets.inner().inner().as_slice())
    } else {
        Cow::Owned(
            offsets
                .iter()
                .flat_map(|offset| (offset - first).to_le_bytes())
                .collect(),
        )
    };
    View {
        validity,
        offsets,
        data,
    }
}

fn validity(nulls: Option<&NullBuffer>) -> Cow<'_, [u8]> {
    match nulls {
        Some(nulls) if nulls.null_count() > 0 => bits(nulls.inner()),
        _ => Cow::Borrowed(&[]),
    }
}

/// Bits that begin at the first bit of the first byte. Bits behind the last row are whatever was there.
fn bits(bits: &BooleanBuffer) -> Cow<'_, [u8]> {
    let bytes = bits.len().div_ceil(8);
    match bits.offset() % 8 {
        0 => Cow::Borrowed(&bits.values()[bits.offset() / 8..][..bytes]),
        _ => Cow::Owned(bits.sliced()[..bytes].to_vec()),
    }
}
