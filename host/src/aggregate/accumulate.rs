//! One measure's running values, a row a group. Every fold is strictly in the order in which rows are given.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float64Type, Int64Type, UInt64Type,
};
use arrow::error::ArrowError;

use super::Function;
use super::extreme::extreme;
use super::total::Totals;

/// The running values of one measure.
pub(super) trait Accumulator: Send {
    /// Makes room for so many groups; new ones start without values.
    fn resize(&mut self, groups: usize);

    /// Adds the values of an input column; `groups` holds the group of each row.
    fn update(&mut self, groups: &[u32], values: &ArrayRef);

    /// Adds partial results, the columns that [`Accumulator::partial`] made elsewhere.
    fn merge(&mut self, groups: &[u32], partial: &[ArrayRef]);

    /// What another accumulator needs to go on, as [`super::Aggregate::partial_schema`] types it.
    fn partial(&self) -> Vec<ArrayRef>;

    /// The results, of the type that [`Function::data_type`] says.
    fn finish(&self, data_type: &DataType) -> Result<ArrayRef, DoesNotFit>;

    /// Forgets all groups, keeps the memory.
    fn clear(&mut self);
}

/// A result is too large for its type.
#[derive(Debug)]
pub(super) struct DoesNotFit;

/// The accumulator of `function` over values of a type that the function takes.
pub(super) fn accumulator(function: Function, values: Option<&DataType>) -> Box<dyn Accumulator> {
    let Some(values) = values else {
        return Box::new(Count::default());
    };
    match function {
        Function::Count => Box::new(Count::default()),
        Function::Min => extreme(values, false),
        Function::Max => extreme(values, true),
        Function::Sum | Function::Avg => {
            let average = function == Function::Avg;
            match values {
                DataType::Decimal128(_, scale) => Box::new(
                    Totals::<Decimal128Type, Decimal256Type>::new(average, *scale),
                ),
                DataType::UInt64 => Box::new(Totals::<UInt64Type, Decimal128Type>::new(average, 0)),
                integer if integer.is_integer() => {
                    Box::new(Totals::<Int64Type, Decimal128Type>::new(average, 0))
                }
                _ => Box::new(Totals::<Float64Type, Float64Type>::new(average, 0)),
            }
        }
    }
}

/// Values as the accumulator of `function` takes them: sums know one signed integer and one float.
pub(super) fn widened(function: Function, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let wide = match (function, values.data_type()) {
        (Function::Sum | Function::Avg, DataType::Float32) => DataType::Float64,
        (Function::Sum | Function::Avg, other)
            if other.is_integer() && *other != DataType::UInt64 =>
        {
            DataType::Int64
        }
        _ => return Ok(Arc::clone(values)),
    };
    cast(values, &wide)
}

/// Non-null values.
#[derive(Default)]
struct Count(Vec<i64>);

impl Accumulator for Count {
    fn resize(&mut self, groups: usize) {
        self.0.resize(groups, 0);
    }

    fn update(&mut self, groups: &[u32], values: &ArrayRef) {
        let nulls = values.logical_nulls();
        each_valid(groups, nulls.as_ref(), |_, group| self.0[group] += 1);
    }

    fn merge(&mut self, groups: &[u32], partial: &[ArrayRef]) {
        let counts = partial[0].as_primitive::<Int64Type>().values();
        for (group, count) in groups.iter().zip(counts) {
            self.0[*group as usize] += count;
        }
    }

    fn partial(&self) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from(self.0.clone()))]
    }

    fn finish(&self, _: &DataType) -> Result<ArrayRef, DoesNotFit> {
        Ok(Arc::new(Int64Array::from(self.0.clone())))
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// Calls `each` with (row, group) for every row that is not null, in order.
pub(super) fn each_valid(
    groups: &[u32],
    nulls: Option<&NullBuffer>,
    mut each: impl FnMut(usize, usize),
) {
    match nulls.filter(|nulls| nulls.null_count() > 0) {
        Some(nulls) => {
            for row in nulls.valid_indices() {
                each(row, groups[row] as usize);
            }
        }
        None => {
            for (row, group) in groups.iter().enumerate() {
                each(row, *group as usize);
            }
        }
    }
}
