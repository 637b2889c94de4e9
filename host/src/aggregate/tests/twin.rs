//! The aggregates from their definitions: every row kept, in sorted maps, one value at a time.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt64Type,
};

use crate::aggregate::{Aggregate, Function, Measure};

/// A value of any type, ordered as keys are; nulls first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Null,
    Flag(bool),
    Whole(i128),
    Float(Float),
    Bytes(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Float(pub f64);

impl Ord for Float {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Float {}

pub(super) fn value(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => Value::Flag(column.as_boolean().value(row)),
        DataType::Int32 => Value::Whole(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Whole(column.as_primitive::<Int64Type>().value(row).into()),
        DataType::UInt64 => Value::Whole(column.as_primitive::<UInt64Type>().value(row).into()),
        DataType::Date32 => Value::Whole(column.as_primitive::<Date32Type>().value(row).into()),
        DataType::Timestamp(..) => Value::Whole(
            column
                .as_primitive::<TimestampMicrosecondType>()
                .value(row)
                .into(),
        ),
        DataType::Decimal128(..) => {
            Value::Whole(column.as_primitive::<Decimal128Type>().value(row))
        }
        DataType::Float64 => Value::Float(Float(column.as_primitive::<Float64Type>().value(row))),
        DataType::Utf8 => Value::Bytes(column.as_string::<i32>().value(row).into()),
        DataType::Binary => Value::Bytes(column.as_binary::<i32>().value(row).into()),
        other => panic!("no {other} here"),
    }
}

pub(super) fn rows(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let row = |row| {
        batch
            .columns()
            .iter()
            .map(|column| value(column, row))
            .collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

pub(super) fn pieces(length: usize, cuts: &[usize]) -> Vec<std::ops::Range<usize>> {
    let mut bounds: Vec<_> = cuts.iter().map(|cut| (*cut).min(length)).collect();
    bounds.extend([0, length]);
    bounds.sort_unstable();
    bounds.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// The same from the definitions: `flushes` holds the rows of each flush.
pub(super) fn twin(
    aggregate: &Aggregate,
    input: &RecordBatch,
    flushes: &[usize],
) -> Vec<Vec<Value>> {
    let mut groups: BTreeMap<Vec<Value>, Vec<Vec<usize>>> = BTreeMap::new();
    let flushes = pieces(input.num_rows(), flushes);
    if aggregate.keys.is_empty() {
        groups.insert(Vec::new(), vec![Vec::new(); flushes.len()]);
    }
    for (flush, rows) in flushes.iter().enumerate() {
        for row in rows.clone() {
            let key = aggregate
                .keys
                .iter()
                .map(|&at| normal(value(input.column(at), row)));
            let group = groups
                .entry(key.collect())
                .or_insert_with(|| vec![Vec::new(); flushes.len()]);
            group[flush].push(row);
        }
    }
    let result = |(mut key, flushes): (Vec<Value>, Vec<Vec<usize>>)| {
        key.extend(
            aggregate
                .measures
                .iter()
                .map(|measure| slowly(measure, input, &flushes)),
        );
        key
    };
    groups.into_iter().map(result).collect()
}

fn normal(value: Value) -> Value {
    match value {
        Value::Float(Float(0.0)) => Value::Float(Float(0.0)),
        Value::Float(Float(nan)) if nan.is_nan() => Value::Float(Float(f64::NAN)),
        other => other,
    }
}

fn slowly(measure: &Measure, input: &RecordBatch, flushes: &[Vec<usize>]) -> Value {
    let Some(column) = measure.column else {
        return Value::Whole(flushes.concat().len() as i128);
    };
    let of = |rows: &[usize]| -> Vec<Value> {
        let values = rows.iter().map(|&row| value(input.column(column), row));
        values.filter(|value| *value != Value::Null).collect()
    };
    let values = of(&flushes.concat());
    let float = |value: &Value| match value {
        Value::Float(Float(float)) => *float,
        other => panic!("{other:?} is no float"),
    };
    let total = || match values.first() {
        Some(Value::Whole(_)) => Value::Whole(values.iter().map(whole).sum()),
        Some(_) => {
            let mut partial = flushes
                .iter()
                .map(|rows| of(rows))
                .filter(|values| !values.is_empty());
            // Not `sum()`, which starts with -0.0.
            let add = |values: Vec<Value>| values.iter().map(float).fold(0.0, |a, b| a + b);
            Value::Float(Float(partial.by_ref().map(add).fold(0.0, |a, b| a + b)))
        }
        None => Value::Null,
    };
    match measure.function {
        Function::Count => Value::Whole(values.len() as i128),
        Function::Min => values.into_iter().min().unwrap_or(Value::Null),
        Function::Max => values.into_iter().max().unwrap_or(Value::Null),
        Function::Sum => total(),
        Function::Avg => match total() {
            Value::Whole(total) => {
                let unit = match input.column(column).data_type() {
                    DataType::Decimal128(_, scale) => 10_f64.powi((*scale).into()),
                    _ => 1.0,
                };
                Value::Float(Float(total as f64 / unit / values.len() as f64))
            }
            Value::Float(Float(total)) => Value::Float(Float(total / values.len() as f64)),
            other => other,
        },
    }
}

fn whole(value: &Value) -> i128 {
    match value {
        Value::Whole(whole) => *whole,
        other => panic!("{other:?} is no whole number"),
    }
}

/// Any NaN is as good as any other in a result.
pub(super) fn one_nan(rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    let one = |value| match value {
        Value::Float(Float(nan)) if nan.is_nan() => Value::Float(Float(f64::NAN)),
        other => other,
    };
    rows.into_iter()
        .map(|row| row.into_iter().map(one).collect())
        .collect()
}
