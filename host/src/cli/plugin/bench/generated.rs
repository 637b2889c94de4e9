//! Rows made up for the columns of a fixture: all different, and the same in each run.

use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, SchemaRef};

use crate::batch::{ColumnType, UTC};
use crate::receive::{random, random_text};

const SEED: u64 = 1;
/// Of a text.
const WORDS: u64 = 8;
/// Of so many values one is missing, where one may be.
const MISSING: u64 = 8;
/// Whole numbers are below it.
const MOST: u64 = 1_000_000;
/// From 1970 to 2026.
const DAYS: u64 = 20_454;
const MICROS_PER_DAY: u64 = 86_400_000_000;

/// So many rows.
///
/// # Errors
/// When plugins cannot read a column.
pub fn rows(schema: &SchemaRef, count: usize) -> anyhow::Result<RecordBatch> {
    let columns = schema.fields().iter().enumerate();
    let columns = columns.map(|(at, field)| column(at as u64, field, count as u64));
    Ok(RecordBatch::try_new(
        schema.clone(),
        columns.collect::<Result<_, _>>()?,
    )?)
}

fn column(at: u64, field: &Field, count: u64) -> anyhow::Result<ArrayRef> {
    let name = field.name();
    let column_type = ColumnType::of(field)
        .with_context(|| format!("plugins cannot read the type of the column `{name}`"))?;
    // What is random of a row, unless its value is missing.
    let numbers = (0..count).map(|row| {
        let is_missing = field.is_nullable() && random(SEED, row, 2 * at).is_multiple_of(MISSING);
        (!is_missing).then(|| random(SEED, row, 2 * at + 1))
    });
    let texts = || {
        let numbers = numbers.clone();
        numbers.map(|number| number.map(|number| random_text(SEED, number, WORDS)))
    };
    Ok(match column_type {
        ColumnType::Boolean => {
            let values = numbers.map(|number| number.map(|number| number % 2 == 0));
            Arc::new(values.collect::<BooleanArray>())
        }
        ColumnType::Int64 => {
            let values = numbers.map(|number| number.map(|number| (number % MOST) as i64));
            Arc::new(values.collect::<Int64Array>())
        }
        ColumnType::Float64 => {
            let values = numbers.map(|number| number.map(|number| (number % MOST) as f64 / 7.0));
            Arc::new(values.collect::<Float64Array>())
        }
        ColumnType::Decimal { precision, scale } => {
            let most = 10_u64.pow(u32::from(precision).min(18));
            let values = numbers.map(|number| number.map(|number| i128::from(number % most)));
            let values = values.collect::<Decimal128Array>();
            Arc::new(values.with_precision_and_scale(precision, i8::try_from(scale)?)?)
        }
        ColumnType::Date => {
            let values = numbers.map(|number| number.map(|number| (number % DAYS) as i32));
            Arc::new(values.collect::<Date32Array>())
        }
        ColumnType::Timestamp => {
            let most = DAYS * MICROS_PER_DAY;
            let values = numbers.map(|number| number.map(|number| (number % most) as i64));
            let values = values.collect::<TimestampMicrosecondArray>();
            Arc::new(values.with_timezone(UTC))
        }
        ColumnType::Utf8 => Arc::new(texts().collect::<StringArray>()),
        ColumnType::Binary => {
            let values = texts().map(|text| text.map(String::into_bytes));
            Arc::new(values.collect::<BinaryArray>())
        }
        ColumnType::Json => {
            let values = texts().map(|text| text.map(|text| format!("{{\"text\":\"{text}\"}}")));
            Arc::new(values.collect::<StringArray>())
        }
    })
}
