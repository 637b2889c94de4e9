//! Turns batches into the bytes of a file: text, JSON lines or CSV.
//!
//! What a format cannot express faithfully is turned away by row, never written in another form.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{
    DataType, Date32Type, FieldRef, Schema, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use arrow::json::writer::{LineDelimited, NullableEncoder, WriterBuilder};
use arrow::json::{Encoder, EncoderFactory, EncoderOptions};

use crate::batch::ColumnType;

/// Years that a written date can have, 0 to 9999, as days and as microseconds since 1970.
const DAYS: RangeInclusive<i32> = -719_528..=2_932_896;
const MICROS_OF_A_DAY: i64 = 86_400_000_000;

/// How rows are written to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// One text column, a row a line.
    Text,
    /// An object a line.
    Json,
    /// Comma-separated values as RFC 4180 has them.
    Csv {
        /// Whether the first line names the columns.
        header: bool,
    },
}

/// A row that a format cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritable {
    /// Row of the batch given.
    pub row: u32,
    /// Why.
    pub reason: String,
}

impl FileFormat {
    /// What a file's name ends in, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            FileFormat::Text => "txt",
            FileFormat::Json => "json",
            FileFormat::Csv { .. } => "csv",
        }
    }

    /// Whether rows with these columns can be written; if not, why.
    pub fn check(self, schema: &Schema) -> Result<(), String> {
        if self == FileFormat::Text {
            return match schema.fields().as_ref() {
                [only] if *only.data_type() == DataType::Utf8 => Ok(()),
                fields => Err(format!(
                    "format `text` writes one utf8 column, and {} come in; use `json` or `csv`, or select one column first",
                    columns(fields),
                )),
            };
        }
        match schema
            .fields()
            .iter()
            .find(|field| ColumnType::of(field).is_none())
        {
            None => Ok(()),
            Some(field) => Err(format!(
                "column `{}` has type {}, which cannot be written",
                field.name(),
                field.data_type()
            )),
        }
    }

    /// Appends the rows of `batch` to `out`, but for those it returns. `first` says that a file begins with them.
    pub fn encode(
        self,
        batch: &RecordBatch,
        first: bool,
        out: &mut Vec<u8>,
    ) -> Result<Vec<Unwritable>, ArrowError> {
        let unwritable = self.unwritable(batch);
        if unwritable.is_empty() {
            self.encode_all(batch, first, out)?;
        } else {
            let mut keep = vec![true; batch.num_rows()];
            for bad in &unwritable {
                keep[bad.row as usize] = false;
            }
            let writable = filter_record_batch(batch, &BooleanArray::from(keep))?;
            self.encode_all(&writable, first, out)?;
        }
        Ok(unwritable)
    }

    fn encode_all(
        self,
        batch: &RecordBatch,
        first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), ArrowError> {
        match self {
            FileFormat::Text => {
                for line in batch.column(0).as_string::<i32>() {
                    out.extend_from_slice(line.unwrap_or_default().as_bytes());
                    out.push(b'\n');
                }
                Ok(())
            }
            FileFormat::Json => WriterBuilder::new()
                .with_encoder_factory(Arc::new(JsonColumns))
                .build::<_, LineDelimited>(out)
                .write(batch),
            FileFormat::Csv { header } => arrow::csv::WriterBuilder::new()
                .with_header(header && first)
                .build(out)
                .write(batch),
        }
    }

    /// The rows that cannot be written, ascending, each once.
    fn unwritable(self, batch: &RecordBatch) -> Vec<Unwritable> {
        let mut all = Vec::new();
        let schema = batch.schema();
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let reason = match (self, ColumnType::of(field)) {
                (FileFormat::Text, _) => rows_where(column.as_string(), |line| {
                    memchr::memchr2(b'\n', b'\r', line.as_bytes()).map(|_| {
                        "holds a line break, which `text` cannot; use `json` or `csv`".into()
                    })
                }),
                (FileFormat::Json, Some(ColumnType::Json)) => {
                    rows_where(column.as_string(), |value| {
                        serde_json::from_str::<serde::de::IgnoredAny>(value)
                            .err()
                            .map(|error| format!("is not JSON: {error}"))
                    })
                }
                (_, Some(ColumnType::Date | ColumnType::Timestamp)) => out_of_years(column),
                _ => Vec::new(),
            };
            all.extend(reason.into_iter().map(|(row, reason)| Unwritable {
                row,
                reason: format!("column `{}` {reason}", field.name()),
            }));
        }
        all.sort_by_key(|bad| bad.row);
        all.dedup_by_key(|bad| bad.row);
        all
    }
}

fn columns(fields: &[FieldRef]) -> String {
    let names: Vec<_> = fields
        .iter()
        .map(|field| {
            let kind = ColumnType::of(field)
                .map_or_else(|| field.data_type().to_string(), |kind| kind.to_string());
            format!("`{}` ({kind})", field.name())
        })
        .collect();
    match names.as_slice() {
        [] => "no columns".into(),
        _ => names.join(", "),
    }
}

fn rows_where(column: &StringArray, wrong: impl Fn(&str) -> Option<String>) -> Vec<(u32, String)> {
    (0u32..)
        .zip(column)
        .filter_map(|(row, value)| Some((row, wrong(value?)?)))
        .collect()
}

fn out_of_years(column: &ArrayRef) -> Vec<(u32, String)> {
    let reason = || "lies outside the years 0 to 9999, which can be written".to_owned();
    let found = |row: usize| (row as u32, reason());
    let rows = 0..column.len();
    match column.data_type() {
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>();
            let out = |row: &usize| days.is_valid(*row) && !DAYS.contains(&days.value(*row));
            rows.filter(out).map(found).collect()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let times = column.as_primitive::<TimestampMicrosecondType>();
            let day = |row: usize| times.value(row).div_euclid(MICROS_OF_A_DAY) as i32;
            let out = |row: &usize| times.is_valid(*row) && !DAYS.contains(&day(*row));
            rows.filter(out).map(found).collect()
        }
        _ => Vec::new(),
    }
}

/// Writes what Arrow's own writer would not: JSON columns as JSON, and floats that JSON has no number for as the strings
/// that readers of JSON lines know.
#[derive(Debug)]
struct JsonColumns;

impl EncoderFactory for JsonColumns {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Utf8 if ColumnType::of(field) == Some(ColumnType::Json) => {
                Box::new(RawJson(array.as_string()))
            }
            DataType::Float64 => Box::new(Float(array.as_primitive())),
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct RawJson<'a>(&'a StringArray);

impl Encoder for RawJson<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        // In valid JSON a raw line break is only ever space between tokens.
        let bytes = self.0.value(row).bytes();
        out.extend(bytes.map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                b' '
            } else {
                byte
            }
        }));
    }
}

struct Float<'a>(&'a Float64Array);

impl Encoder for Float<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let number = self.0.value(row);
        let name: &[u8] = if number.is_nan() {
            b"\"NaN\""
        } else if number == f64::INFINITY {
            b"\"Infinity\""
        } else if number == f64::NEG_INFINITY {
            b"\"-Infinity\""
        } else {
            return serde_json::to_writer(out, &number).expect("memory takes every write");
        };
        out.extend_from_slice(name);
    }
}
