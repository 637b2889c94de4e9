//! `min` and `max`.
//!
//! Floats are in IEEE 754's total order, as everywhere in Arrow: -0.0 below 0.0, NaN above infinity. Text and binary are in the order of
//! their bytes, and false is below true.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray,
    new_empty_array,
};
use arrow::datatypes::{ArrowNativeTypeOp, ArrowPrimitiveType, DataType};
use arrow::downcast_primitive_array;

use super::accumulate::{Accumulator, DoesNotFit, each_valid};

/// The accumulator of the smallest or the largest value of an ordered type.
pub(super) fn extreme(values: &DataType, largest: bool) -> Box<dyn Accumulator> {
    let better = if largest {
        Ordering::Greater
    } else {
        Ordering::Less
    };
    // An empty array of the type lets the compiler pick `Number`'s parameter.
    let sample: &dyn Array = &new_empty_array(values);
    downcast_primitive_array! {
        sample => Box::new(Number::like(sample, better)),
        DataType::Boolean => Box::new(Flag { best: Vec::new(), better }),
        // Of the ordered types only text and binary are left.
        _ => Box::new(Bytes { best: Vec::new(), better, text: *values == DataType::Utf8 }),
    }
}

struct Number<T: ArrowPrimitiveType> {
    best: Vec<Option<T::Native>>,
    better: Ordering,
    data_type: DataType,
}

impl<T: ArrowPrimitiveType> Number<T> {
    fn like(sample: &PrimitiveArray<T>, better: Ordering) -> Self {
        Self {
            best: Vec::new(),
            better,
            data_type: sample.data_type().clone(),
        }
    }
}

impl<T: ArrowPrimitiveType> Accumulator for Number<T> {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, None);
    }

    fn update(&mut self, groups: &[u32], values: &ArrayRef) {
        let column = values.as_primitive::<T>();
        let values = column.values();
        each_valid(groups, column.nulls(), |row, group| {
            let best = &mut self.best[group];
            if best.is_none_or(|best| values[row].compare(best) == self.better) {
                *best = Some(values[row]);
            }
        });
    }

    fn merge(&mut self, groups: &[u32], partial: &[ArrayRef]) {
        self.update(groups, &partial[0]);
    }

    fn partial(&self) -> Vec<ArrayRef> {
        let best: PrimitiveArray<T> = self.best.iter().copied().collect();
        vec![Arc::new(best.with_data_type(self.data_type.clone()))]
    }

    fn finish(&self, _: &DataType) -> Result<ArrayRef, DoesNotFit> {
        Ok(self.partial().remove(0))
    }

    fn clear(&mut self) {
        self.best.clear();
    }
}

struct Flag {
    best: Vec<Option<bool>>,
    better: Ordering,
}

impl Accumulator for Flag {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, None);
    }

    fn update(&mut self, groups: &[u32], values: &ArrayRef) {
        let column = values.as_boolean();
        each_valid(groups, column.nulls(), |row, group| {
            let (best, value) = (&mut self.best[group], column.value(row));
            if best.is_none_or(|best| value.cmp(&best) == self.better) {
                *best = Some(value);
            }
        });
    }

    fn merge(&mut self, groups: &[u32], partial: &[ArrayRef]) {
        self.update(groups, &partial[0]);
    }

    fn partial(&self) -> Vec<ArrayRef> {
        vec![Arc::new(BooleanArray::from(self.best.clone()))]
    }

    fn finish(&self, _: &DataType) -> Result<ArrayRef, DoesNotFit> {
        Ok(self.partial().remove(0))
    }

    fn clear(&mut self) {
        self.best.clear();
    }
}

struct Bytes {
    best: Vec<Option<Vec<u8>>>,
    better: Ordering,
    text: bool,
}

impl Bytes {
    fn offer(&mut self, group: usize, value: &[u8]) {
        match &mut self.best[group] {
            Some(best) if value.cmp(best) == self.better => {
                best.clear();
                best.extend_from_slice(value);
            }
            Some(_) => {}
            none => *none = Some(value.to_vec()),
        }
    }
}

impl Accumulator for Bytes {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, None);
    }

    fn update(&mut self, groups: &[u32], values: &ArrayRef) {
        if self.text {
            let column = values.as_string::<i32>();
            each_valid(groups, column.nulls(), |row, group| {
                self.offer(group, column.value(row).as_bytes());
            });
        } else {
            let column = values.as_binary::<i32>();
            each_valid(groups, column.nulls(), |row, group| {
                self.offer(group, column.value(row))
            });
        }
    }

    fn merge(&mut self, groups: &[u32], partial: &[ArrayRef]) {
        self.update(groups, &partial[0]);
    }

    fn partial(&self) -> Vec<ArrayRef> {
        let best: BinaryArray = self.best.iter().map(Option::as_ref).collect();
        if self.text {
            let text = StringArray::try_from_binary(best).expect("what was best came in as text");
            return vec![Arc::new(text)];
        }
        vec![Arc::new(best)]
    }

    fn finish(&self, _: &DataType) -> Result<ArrayRef, DoesNotFit> {
        Ok(self.partial().remove(0))
    }

    fn clear(&mut self) {
        self.best.clear();
    }
}
