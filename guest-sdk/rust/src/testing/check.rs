//! What the host checks of the buffers that a plugin gives back.

use crate::read::Varying;
use crate::wit::{Buffers, Field, Rejects};
use crate::{Column, DataType};

/// # Panics
/// If the buffers do not hold `rows` values of the column's type.
pub(super) fn column(column: &Column, buffers: &Buffers, rows: usize) {
    let name = &column.name;
    let missing = (0..rows)
        .filter(|row| !crate::read::Validity(&buffers.validity).is_valid(*row))
        .count();
    assert!(
        buffers.validity.is_empty() || buffers.validity.len() == rows.div_ceil(8),
        "`{name}` has {} bytes of validity for {rows} rows",
        buffers.validity.len()
    );
    assert!(
        column.nullable || missing == 0,
        "`{name}` has {missing} nulls and declares none"
    );
    let width = match column.data_type {
        DataType::Boolean => {
            return assert_eq!(buffers.data.len(), rows.div_ceil(8), "bytes of `{name}`");
        }
        DataType::Date => 4,
        DataType::Int64 | DataType::Float64 | DataType::Timestamp => 8,
        DataType::Decimal { .. } => 16,
        DataType::Utf8 | DataType::Json | DataType::Binary => {
            return varying(column, buffers, rows);
        }
    };
    assert_eq!(buffers.data.len(), rows * width, "bytes of `{name}`");
    assert!(
        buffers.offsets.is_empty(),
        "`{name}` is of fixed width and has offsets"
    );
}

fn varying(column: &Column, buffers: &Buffers, rows: usize) {
    let name = &column.name;
    let (offsets, rest) = buffers.offsets.as_chunks::<4>();
    let offsets: Vec<usize> = offsets
        .iter()
        .map(|offset| u32::from_le_bytes(*offset) as usize)
        .collect();
    assert!(
        rest.is_empty() && offsets.len() == rows + 1,
        "`{name}` has {} offsets for {rows} rows",
        offsets.len()
    );
    assert_eq!(offsets[0], 0, "the first offset of `{name}`");
    assert_eq!(
        offsets[rows],
        buffers.data.len(),
        "the last offset of `{name}`"
    );
    assert!(offsets.is_sorted(), "the offsets of `{name}` go backwards");
    if column.data_type != DataType::Binary {
        let text = std::str::from_utf8(&buffers.data)
            .unwrap_or_else(|error| panic!("`{name}` is not UTF-8: {error}"));
        assert!(
            offsets.iter().all(|offset| text.is_char_boundary(*offset)),
            "`{name}` is cut within a character"
        );
    }
}

/// # Panics
/// If a row number is not below `rows`.
pub(super) fn row_numbers(what: &str, numbers: &[u32], rows: u32) {
    for number in numbers {
        assert!(*number < rows, "{what} names row {number} of {rows}");
    }
}

/// The rejects with their reasons.
///
/// # Panics
/// If a row is none of `rows`, or has no reason.
pub(super) fn rejects(rejects: Rejects, rows: u32) -> Vec<(u32, String)> {
    row_numbers("a reject", &rejects.rows, rows);
    let count = rejects.rows.len();
    if count > 0 {
        let reasons = Column::new("reason", DataType::Utf8, false);
        column(&reasons, &rejects.reasons, count);
    }
    let reasons = Varying::new(&rejects.reasons);
    let reason = |at| reasons.str(at).expect("a reason is never null").to_owned();
    let rows = rejects.rows.iter().enumerate();
    rows.map(|(at, row)| (*row, reason(at))).collect()
}

/// The columns of a schema.
///
/// # Panics
/// If there is no type of a name.
pub(super) fn schema(fields: &[Field]) -> Vec<Column> {
    fields
        .iter()
        .map(|field| Column::try_from(field).expect("the plan names known types"))
        .collect()
}

/// The columns of a schema, whose values are given back.
///
/// # Panics
/// If the buffers do not hold `rows` values of each.
pub(super) fn columns(fields: &[Field], buffers: &[Buffers], rows: usize) -> Vec<Column> {
    assert_eq!(buffers.len(), fields.len(), "columns given back");
    let columns = schema(fields);
    for (at, buffers) in columns.iter().zip(buffers) {
        column(at, buffers, rows);
    }
    columns
}
