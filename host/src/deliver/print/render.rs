//! Rows as text.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;

use super::PrintFormat;
use crate::deliver::Refused;
use crate::format::FileFormat;

/// Appends rows to `out`, but for those it returns.
pub fn render(
    format: PrintFormat,
    batch: &RecordBatch,
    out: &mut Vec<u8>,
) -> Result<Vec<Refused>, ArrowError> {
    match format {
        PrintFormat::Spark => render_tuples(batch, out).map(|()| Vec::new()),
        PrintFormat::Table => {
            let table = pretty_format_batches(std::slice::from_ref(batch))?;
            out.extend_from_slice(format!("{table}\n").as_bytes());
            Ok(Vec::new())
        }
        PrintFormat::Json => {
            let unwritable = FileFormat::Json.encode(batch, false, out)?;
            Ok(unwritable.into_iter().map(Refused::from).collect())
        }
    }
}

/// A row as Scala shows a tuple; a row of one column as its value.
fn render_tuples(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let options = FormatOptions::new()
        .with_null("null")
        .with_display_error(true);
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<_, _>>()?;
    for row in 0..batch.num_rows() {
        if let [only] = columns.as_slice() {
            writeln!(out, "{}", only.value(row))?;
            continue;
        }
        out.push(b'(');
        for (index, column) in columns.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(out, "{comma}{}", column.value(row))?;
        }
        out.extend_from_slice(b")\n");
    }
    Ok(())
}
