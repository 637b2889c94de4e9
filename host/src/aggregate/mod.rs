//! Native grouping: `count`, `sum`, `min`, `max`, `avg` over any key columns.
//!
//! Pure: batches in, batches out. The data plane combines per source partition with [`Combiner`], ships partial results
//! and merges them with [`Merger`] in (partition, sequence) order, so that float sums are equal on any number of workers.
//!
//! [`grouping`] brings whole rows together for those who need them all.
//!
//! All are a group table ([`groups`] over [`table`]) beside one accumulator a measure ([`accumulate`]); [`key_group`] says which partition a key
//! belongs to.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::batch::ColumnType;
use crate::error::Failure;

mod accumulate;
mod combine;
mod extreme;
pub mod grouping;
mod groups;
pub mod key_group;
mod merge;
mod table;
#[cfg(test)]
mod tests;
mod total;

pub use combine::Combiner;
pub use groups::one_zero_one_nan;
pub use merge::Merger;

/// A checked `aggregate` step.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Key columns, indices into the node's input schema; empty for one group over all rows.
    pub keys: Vec<usize>,
    /// What is computed, in the order of the output columns after the keys.
    pub measures: Vec<Measure>,
}

/// One computed column.
#[derive(Clone, Debug)]
pub struct Measure {
    /// Output column.
    pub name: String,
    /// What.
    pub function: Function,
    /// Of which input column; `None` for `count()`.
    pub column: Option<usize>,
}

/// The native aggregate functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Rows, or with a column its non-null values. int64.
    Count,
    /// int64 of integers (a total that does not fit is an error), float64 of floats, decimal of decimals. Null for no values.
    Sum,
    /// Smallest value of any ordered type. Null for no values.
    Min,
    /// Largest value.
    Max,
    /// float64. Null for no values.
    Avg,
}

impl Function {
    /// Every function, for messages and for parsing.
    pub const ALL: [Self; 5] = [Self::Count, Self::Sum, Self::Min, Self::Max, Self::Avg];

    /// The function's name as a pipeline file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
        }
    }

    /// The type of the result over a column of type `input`; the message says which types the function takes.
    pub fn data_type(self, input: Option<&DataType>) -> Result<DataType, String> {
        let Some(input) = input else {
            return match self {
                Self::Count => Ok(DataType::Int64),
                _ => Err(format!("`{self}` needs a column, as in `{self}(bytes)`")),
            };
        };
        match (self, input) {
            (Self::Count, _) => Ok(DataType::Int64),
            (Self::Sum, input) if input.is_integer() => Ok(DataType::Int64),
            (Self::Sum | Self::Avg, DataType::Float32 | DataType::Float64) => Ok(DataType::Float64),
            (Self::Sum, DataType::Decimal128(precision, scale)) => {
                Ok(sum_of_decimals(*precision, *scale))
            }
            (Self::Avg, DataType::Decimal128(..)) => Ok(DataType::Float64),
            (Self::Avg, input) if input.is_integer() => Ok(DataType::Float64),
            (Self::Sum | Self::Avg, _) => Err(format!(
                "`{self}` takes integers, floats and decimals, not {}",
                in_words(input)
            )),
            (Self::Min | Self::Max, input) if is_key(input) => Ok(input.clone()),
            (Self::Min | Self::Max, _) => Err(format!(
                "`{self}` takes booleans, numbers, dates, timestamps, utf8 and binary, not {}",
                in_words(input)
            )),
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Measure {
    /// Columns of a partial result.
    fn partial_width(&self) -> usize {
        if self.function == Function::Avg { 2 } else { 1 }
    }
}

impl Aggregate {
    /// The columns of the result: the keys in order, then the measures. Says what is wrong if a key or measure cannot be computed.
    pub fn output_schema(&self, input: &Schema) -> Result<SchemaRef, String> {
        let mut fields = self.key_fields(input)?;
        for measure in &self.measures {
            let source = measure.column.map(|at| field(input, at)).transpose()?;
            let data_type = measure.function.data_type(source.map(Field::data_type))?;
            let field = match (measure.function, source) {
                // A smallest json value is still json: what the field says beyond its type stays.
                (Function::Min | Function::Max, Some(source)) => {
                    source.clone().with_name(&measure.name).with_nullable(true)
                }
                (function, _) => Field::new(&measure.name, data_type, function != Function::Count),
            };
            fields.push(field);
        }
        for (at, field) in fields.iter().enumerate() {
            if fields[..at]
                .iter()
                .any(|earlier| earlier.name() == field.name())
            {
                return Err(format!(
                    "two columns of the result are named `{}`",
                    field.name()
                ));
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The columns of what a [`Combiner`] gives and a [`Merger`] takes: the keys, then one or two columns a measure.
    pub fn partial_schema(&self, input: &Schema) -> Result<SchemaRef, String> {
        let mut fields = self.key_fields(input)?;
        for measure in &self.measures {
            let source = measure.column.map(|at| field(input, at)).transpose()?;
            let source = source.map(Field::data_type);
            measure.function.data_type(source)?;
            let name = |part| format!("{}.{part}", measure.name);
            let mut add =
                |part, data_type: DataType| fields.push(Field::new(name(part), data_type, true));
            match (measure.function, source) {
                (Function::Count, _) | (_, None) => add("count", DataType::Int64),
                (Function::Sum, Some(source)) => add("sum", total_type(source)),
                (Function::Avg, Some(source)) => {
                    add("sum", total_type(source));
                    add("count", DataType::Int64);
                }
                (Function::Min | Function::Max, Some(source)) => add("best", source.clone()),
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn key_fields(&self, input: &Schema) -> Result<Vec<Field>, String> {
        self.keys
            .iter()
            .map(|&at| {
                let field = field(input, at)?;
                if !is_key(field.data_type()) {
                    return Err(format!(
                        "rows cannot be grouped by `{}`, which is {}: a key is a boolean, a number, a date, a timestamp, utf8 or binary",
                        field.name(),
                        in_words(field.data_type())
                    ));
                }
                Ok(field.clone())
            })
            .collect()
    }
}

fn field(input: &Schema, at: usize) -> Result<&Field, String> {
    input
        .fields()
        .get(at)
        .map(AsRef::as_ref)
        .ok_or_else(|| format!("the input has no column {at}"))
}

/// Ten more digits than the values have are room for 10^10 of them; Spark's rule too.
fn sum_of_decimals(precision: u8, scale: i8) -> DataType {
    DataType::Decimal128((precision + 10).min(38), scale)
}

/// A running total has room for any number of rows, so whether it overflows is decided once, on the final result, and
/// cannot depend on how rows were cut into batches and partitions.
fn total_type(values: &DataType) -> DataType {
    match values {
        DataType::Decimal128(_, scale) => DataType::Decimal256(76, *scale),
        values if values.is_integer() => DataType::Decimal128(38, 0),
        _ => DataType::Float64,
    }
}

/// Whether values of a type can be keys: whether they have an order, and a key group.
pub fn is_key(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Float32
                | DataType::Float64
                | DataType::Decimal128(..)
                | DataType::Date32
                | DataType::Timestamp(..)
                | DataType::Utf8
                | DataType::Binary
        )
}

/// A type's name in messages, as a pipeline file would write it.
fn in_words(data_type: &DataType) -> String {
    match ColumnType::of(&Field::new("", data_type.clone(), true)) {
        Some(known) if known.data_type() == *data_type => known.to_string(),
        _ => data_type.to_string().to_lowercase(),
    }
}

/// Arrow refuses what we built: batches that break the schemas checked before, or more than 2 GiB of keys in one batch.
fn bug(error: ArrowError) -> Failure {
    Failure::internal(format!("an aggregate could not be computed: {error}"))
}
