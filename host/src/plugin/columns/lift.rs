//! What a guest handed back as Arrow arrays, once it is checked.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Decimal128Array, PrimitiveArray,
    StringArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowNativeType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType,
};

use crate::batch::ColumnType;
use crate::plugin::bindings::wasmill::plugin::types::BuffersResult;

/// A column that a plugin promised to make.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Made {
    /// Its name, for messages.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether its values may be null.
    pub nullable: bool,
}

/// The array of `rows` values in `buffers`, or what is wrong with them.
pub(in crate::plugin) fn lift(
    made: &Made,
    rows: usize,
    buffers: BuffersResult,
) -> Result<ArrayRef, String> {
    array(made.column_type, made.nullable, rows, buffers).map_err(|wrong| {
        format!(
            "column `{}` ({}, {rows} rows) {wrong}",
            made.name, made.column_type
        )
    })
}

/// The texts that say why rows were rejected.
pub(in crate::plugin) fn reasons(
    rows: usize,
    buffers: BuffersResult,
) -> Result<StringArray, String> {
    let nulls = validity(buffers.validity, rows, false);
    nulls
        .and_then(|nulls| texts(rows, nulls, buffers.offsets, buffers.data))
        .map_err(|wrong| format!("the column of reasons ({rows} rows) {wrong}"))
}

fn array(
    column_type: ColumnType,
    nullable: bool,
    rows: usize,
    buffers: BuffersResult,
) -> Result<ArrayRef, String> {
    let BuffersResult {
        validity: validity_bits,
        offsets,
        data,
    } = buffers;
    let nulls = validity(validity_bits, rows, nullable)?;
    match column_type {
        ColumnType::Utf8 | ColumnType::Json => {
            return Ok(Arc::new(texts(rows, nulls, offsets, data)?));
        }
        ColumnType::Binary => {
            let offsets = offsets_of(rows, offsets, &data)?;
            return Ok(Arc::new(BinaryArray::new(
                offsets,
                Buffer::from_vec(data),
                nulls,
            )));
        }
        _ if !offsets.is_empty() => return Err("has offsets, which its type does not have".into()),
        _ => {}
    }
    Ok(match column_type {
        ColumnType::Boolean => {
            length("data", data.len(), rows.div_ceil(8))?;
            let values = BooleanBuffer::new(Buffer::from_vec(data), 0, rows);
            Arc::new(BooleanArray::new(values, nulls))
        }
        ColumnType::Int64 => Arc::new(fixed::<Int64Type>(rows, nulls, data)?),
        ColumnType::Float64 => Arc::new(fixed::<Float64Type>(rows, nulls, data)?),
        ColumnType::Date => Arc::new(fixed::<Date32Type>(rows, nulls, data)?),
        ColumnType::Timestamp => {
            let values = fixed::<TimestampMicrosecondType>(rows, nulls, data)?;
            Arc::new(values.with_data_type(column_type.data_type()))
        }
        ColumnType::Decimal { precision, .. } => {
            let values: Decimal128Array = fixed(rows, nulls, data)?;
            let values = values.with_data_type(column_type.data_type());
            let checked = values.validate_decimal_precision(precision);
            checked.map_err(|_| format!("holds a number of more than {precision} digits"))?;
            Arc::new(values)
        }
        ColumnType::Utf8 | ColumnType::Json | ColumnType::Binary => unreachable!("returned above"),
    })
}

fn length(what: &str, found: usize, wanted: usize) -> Result<(), String> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!(
            "has {found} bytes of {what} where its rows take {wanted}"
        )),
    }
}

fn validity(bits: Vec<u8>, rows: usize, nullable: bool) -> Result<Option<NullBuffer>, String> {
    if bits.is_empty() {
        return Ok(None);
    }
    length("validity", bits.len(), rows.div_ceil(8))?;
    let nulls = NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows));
    match nulls.null_count() {
        0 => Ok(None),
        count if !nullable => Err(format!(
            "has {count} nulls, but the plugin's plan says that it has none"
        )),
        _ => Ok(Some(nulls)),
    }
}

fn fixed<T: ArrowPrimitiveType>(
    rows: usize,
    nulls: Option<NullBuffer>,
    data: Vec<u8>,
) -> Result<PrimitiveArray<T>, String> {
    length("data", data.len(), rows * size_of::<T::Native>())?;
    Ok(PrimitiveArray::new(scalars(data, rows), nulls))
}

/// The bytes as numbers: as they are if the allocator happened to align them, which it nearly always does.
fn scalars<T: ArrowNativeType>(bytes: Vec<u8>, count: usize) -> ScalarBuffer<T> {
    let buffer = match bytes.as_ptr().align_offset(align_of::<T>()) {
        0 => Buffer::from_vec(bytes),
        _ => Buffer::from(bytes.as_slice()),
    };
    ScalarBuffer::new(buffer, 0, count)
}

fn offsets_of(rows: usize, offsets: Vec<u8>, data: &[u8]) -> Result<OffsetBuffer<i32>, String> {
    if rows == 0 && offsets.is_empty() && data.is_empty() {
        return Ok(OffsetBuffer::new_empty());
    }
    length("offsets", offsets.len(), (rows + 1) * size_of::<i32>())?;
    let offsets: ScalarBuffer<i32> = scalars(offsets, rows + 1);
    // Written without an early exit, so that it runs on whole vectors. Beginning at 0 and never falling, no offset is negative.
    let rising = offsets
        .iter()
        .zip(&offsets[1..])
        .fold(true, |rising, (a, b)| rising & (a <= b));
    let (first, last) = (offsets[0], offsets[rows]);
    if first != 0 || !rising {
        return Err("has offsets that do not rise from 0".into());
    }
    if last as usize != data.len() {
        return Err(format!(
            "has {} bytes of data where its offsets end at {last}",
            data.len()
        ));
    }
    #[expect(
        unsafe_code,
        reason = "Arrow's safe constructor checks the same, one offset at a time"
    )]
    // SAFETY: there is at least one offset, none is negative and none is less than the one before.
    let offsets = unsafe { OffsetBuffer::new_unchecked(offsets) };
    Ok(offsets)
}

fn texts(
    rows: usize,
    nulls: Option<NullBuffer>,
    offsets: Vec<u8>,
    data: Vec<u8>,
) -> Result<StringArray, String> {
    let offsets = offsets_of(rows, offsets, &data)?;
    if !data.is_ascii() {
        check_utf8(&offsets, &data)?;
    }
    #[expect(
        unsafe_code,
        reason = "Arrow's safe constructor checks all of it again, at several times the price"
    )]
    // SAFETY: the offsets rise from 0 to the data's length, and every stretch between two of them is UTF-8: the data is, as
    // a whole, and no offset is inside a character.
    let array = unsafe { StringArray::new_unchecked(offsets, Buffer::from_vec(data), nulls) };
    Ok(array)
}

fn check_utf8(offsets: &[i32], data: &[u8]) -> Result<(), String> {
    if simdutf8::basic::from_utf8(data).is_err() {
        let bad = std::str::from_utf8(data).map_or_else(|error| error.valid_up_to(), str::len);
        let row = offsets.partition_point(|offset| *offset as usize <= bad) - 1;
        return Err(format!("is not UTF-8 at its row {row}"));
    }
    let starts = |offset: usize| data.get(offset).is_none_or(|byte| (*byte as i8) >= -0x40);
    let whole = offsets
        .iter()
        .fold(true, |whole, offset| whole & starts(*offset as usize));
    if whole {
        return Ok(());
    }
    let row = offsets
        .iter()
        .position(|offset| !starts(*offset as usize))
        .unwrap_or_default();
    Err(format!("has its row {row} begin inside a UTF-8 character"))
}
