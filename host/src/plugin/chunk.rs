//! Cuts a batch into the pieces that one call of a transform or a sink may get: a pure function of the rows and the limits,
//! never of timing.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;

/// Rows of one call: enough of them to hide its fixed cost of some 2 us, and few enough for a guest that takes 60 us a row, as an
/// interpreted language may, to be done within the default deadline.
pub const CALL_ROWS: usize = 8 << 10;
/// Rows of one call that is for a key whose plugin wants all of them at once.
pub const WHOLE_KEY_ROWS: usize = 64 << 10;
/// Bytes of column data of one call: fits a guest's memory limit many times over.
pub const CALL_BYTES: usize = 4 << 20;

/// The pieces of `batch`, each small enough for one call of a plugin, in order, looking only at `columns` (those it asked for).
/// Halves until a piece has at most 4 MiB; a single row may be larger.
pub fn chunks(batch: &RecordBatch, columns: &[usize]) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < batch.num_rows() {
        let end = batch.num_rows().min(start + CALL_ROWS);
        halve(batch, columns, start..end, &mut pieces);
        start = end;
    }
    pieces
}

fn halve(
    batch: &RecordBatch,
    columns: &[usize],
    rows: Range<usize>,
    pieces: &mut Vec<Range<usize>>,
) {
    if rows.len() <= 1 || bytes(batch, columns, &rows) <= CALL_BYTES {
        pieces.push(rows);
        return;
    }
    let middle = rows.start + rows.len() / 2;
    halve(batch, columns, rows.start..middle, pieces);
    halve(batch, columns, middle..rows.end, pieces);
}

/// Bytes of column data in some rows of some columns.
pub fn bytes(batch: &RecordBatch, columns: &[usize], rows: &Range<usize>) -> usize {
    columns
        .iter()
        .map(|column| column_bytes(batch.column(*column), rows))
        .sum()
}

fn column_bytes(column: &ArrayRef, rows: &Range<usize>) -> usize {
    let span = |offsets: &[i32]| (offsets[rows.end] - offsets[rows.start]) as usize;
    match column.data_type() {
        DataType::Utf8 => span(column.as_string::<i32>().value_offsets()) + 4 * rows.len(),
        DataType::Binary => span(column.as_binary::<i32>().value_offsets()) + 4 * rows.len(),
        DataType::Boolean => rows.len().div_ceil(8),
        other => match other.primitive_width() {
            Some(width) => width * rows.len(),
            // A type that the boundary converts first: what it takes as it is.
            None => {
                let slice = column.slice(rows.start, rows.len()).to_data();
                let whole = |_| column.get_array_memory_size();
                slice.get_slice_memory_size().unwrap_or_else(whole)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;
    use proptest::prelude::*;

    use super::*;

    fn lines(lengths: &[usize]) -> RecordBatch {
        let lines: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
        RecordBatch::try_from_iter([("line", Arc::new(StringArray::from(lines)) as ArrayRef)])
            .unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn chunks_cover_every_row_once_and_fit(lengths in prop::collection::vec(
            prop_oneof![9 => 0usize..200, 1 => 100_000usize..6_000_000], 0..40)) {
            let batch = lines(&lengths);
            let chunks = chunks(&batch, &[0]);
            let mut next = 0;
            for chunk in &chunks {
                prop_assert_eq!(chunk.start, next);
                prop_assert!(!chunk.is_empty());
                prop_assert!(chunk.len() == 1 || bytes(&batch, &[0], chunk) <= CALL_BYTES);
                next = chunk.end;
            }
            prop_assert_eq!(next, lengths.len());
        }
    }

    #[test]
    fn a_chunk_has_at_most_8_ki_rows() {
        let batch = lines(&vec![0; CALL_ROWS * 2 + 1]);
        let sizes: Vec<usize> = chunks(&batch, &[0]).iter().map(|rows| rows.len()).collect();
        assert_eq!(sizes, [CALL_ROWS, CALL_ROWS, 1]);
    }
}
