//! `sum` and `avg`.
//!
//! Totals of integers and decimals are kept in a type with room for any number of rows, so they are exact, and whether a sum fits its
//! result is decided once, at the end: it cannot depend on how rows were cut into batches and partitions.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, PrimitiveArray,
};
use arrow::datatypes::{
    ArrowNativeTypeOp, ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, Float64Type,
    Int64Type, i256,
};

use super::accumulate::{Accumulator, DoesNotFit, each_valid};

/// A type in which totals are kept.
pub(super) trait Total: ArrowPrimitiveType {
    /// The type that holds totals of values with so many digits behind the point.
    fn data_type(scale: i8) -> DataType;

    /// The sums as an array of the type of the result.
    fn sums(totals: Vec<Option<Self::Native>>, result: &DataType) -> Result<ArrayRef, DoesNotFit>;

    /// The nearest float64 to a total as it is stored, without its scale.
    fn to_f64(total: Self::Native) -> f64;
}

/// Totals, of type `T`, of values of type `V`.
pub(super) struct Totals<V, T: ArrowPrimitiveType> {
    /// Total and count of the non-null values.
    totals: Vec<(T::Native, i64)>,
    average: bool,
    scale: i8,
    values: PhantomData<fn(V)>,
}

impl<V: ArrowPrimitiveType, T: Total> Totals<V, T> {
    /// Totals for `sum`, or for `avg`, of values with `scale` digits behind the point.
    pub fn new(average: bool, scale: i8) -> Self {
        Self {
            totals: Vec::new(),
            average,
            scale,
            values: PhantomData,
        }
    }

    fn counts(&self) -> Int64Array {
        self.totals.iter().map(|(_, count)| Some(*count)).collect()
    }
}

impl<V: ArrowPrimitiveType, T: Total> Accumulator for Totals<V, T>
where
    T::Native: From<V::Native>,
{
    fn resize(&mut self, groups: usize) {
        self.totals.resize(groups, (T::Native::ZERO, 0));
    }

    fn update(&mut self, groups: &[u32], values: &ArrayRef) {
        let column = values.as_primitive::<V>();
        let values = column.values();
        each_valid(groups, column.nulls(), |row, group| {
            let (total, count) = &mut self.totals[group];
            *total = total.add_wrapping(values[row].into());
            *count += 1;
        });
    }

    fn merge(&mut self, groups: &[u32], partial: &[ArrayRef]) {
        let column = partial[0].as_primitive::<T>();
        let (totals, counts) = (column.values(), partial.get(1));
        let counts = counts.map(|counts| counts.as_primitive::<Int64Type>().values());
        each_valid(groups, column.nulls(), |row, group| {
            let (total, count) = &mut self.totals[group];
            *total = total.add_wrapping(totals[row]);
            *count += counts.map_or(1, |counts| counts[row]);
        });
    }

    fn partial(&self) -> Vec<ArrayRef> {
        let totals = self
            .totals
            .iter()
            .map(|(total, count)| (*count > 0).then_some(*total));
        let totals: PrimitiveArray<T> = totals.collect();
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(totals.with_data_type(T::data_type(self.scale)))];
        if self.average {
            columns.push(Arc::new(self.counts()));
        }
        columns
    }

    fn finish(&self, data_type: &DataType) -> Result<ArrayRef, DoesNotFit> {
        let totals = self.totals.iter().copied();
        if self.average {
            let unit = 10_f64.powi(self.scale.into());
            let average =
                |(total, count)| (count > 0).then(|| T::to_f64(total) / unit / count as f64);
            return Ok(Arc::new(totals.map(average).collect::<Float64Array>()));
        }
        T::sums(
            totals
                .map(|(total, count)| (count > 0).then_some(total))
                .collect(),
            data_type,
        )
    }

    fn clear(&mut self) {
        self.totals.clear();
    }
}

/// Totals of integers: 2^63 values of 64 bits fit.
impl Total for Decimal128Type {
    fn data_type(scale: i8) -> DataType {
        DataType::Decimal128(38, scale)
    }

    fn sums(totals: Vec<Option<i128>>, _: &DataType) -> Result<ArrayRef, DoesNotFit> {
        let fit = |total: Option<i128>| total.map(i64::try_from).transpose();
        let sums: Result<Int64Array, _> = totals.into_iter().map(fit).collect();
        Ok(Arc::new(sums.map_err(|_| DoesNotFit)?))
    }

    fn to_f64(total: i128) -> f64 {
        total as f64
    }
}

/// Totals of decimals: 2^127 values of 128 bits fit.
impl Total for Decimal256Type {
    fn data_type(scale: i8) -> DataType {
        DataType::Decimal256(76, scale)
    }

    fn sums(totals: Vec<Option<i256>>, result: &DataType) -> Result<ArrayRef, DoesNotFit> {
        let fit = |total: Option<i256>| {
            total
                .map(|total| total.to_i128().ok_or(DoesNotFit))
                .transpose()
        };
        let sums: Result<Decimal128Array, _> = totals.into_iter().map(fit).collect();
        let sums = sums?.with_data_type(result.clone());
        sums.validate_decimal_precision(sums.precision())
            .map_err(|_| DoesNotFit)?;
        Ok(Arc::new(sums))
    }

    fn to_f64(total: i256) -> f64 {
        match total.to_i128() {
            Some(total) => total as f64,
            None => {
                let (low, high) = total.to_parts();
                high as f64 * 2_f64.powi(128) + low as f64
            }
        }
    }
}

/// Totals of floats, added one after the other in the order given.
impl Total for Float64Type {
    fn data_type(_: i8) -> DataType {
        DataType::Float64
    }

    fn sums(totals: Vec<Option<f64>>, _: &DataType) -> Result<ArrayRef, DoesNotFit> {
        Ok(Arc::new(Float64Array::from(totals)))
    }

    fn to_f64(total: f64) -> f64 {
        total
    }
}
