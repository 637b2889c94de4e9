//! Values whose type is only known when the plugin runs: reading any column, building any column, as JSON or as a Rust enum.

use std::borrow::Cow;
use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::bindings::transform::wasmill::plugin::types::Buffers;
use crate::builder::{
    BitBuilder, ColumnBuilder, FixedBuilder, Nullable, Size, VaryingBuilder,
};
use crate::types::{Date, Timestamp, write_decimal};
use crate::value::ReadValue;
use crate::{Batch, DataType};

/// One value of any type.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Missing.
    Null,
    /// Of a `boolean` column.
    Boolean(bool),
    /// Of an `int64` column.
    Int64(i64),
    /// Of a `float64` column.
    Float64(f64),
    /// Of a `decimal` column: the number times 10 to the power of the scale.
    Decimal {
        /// The number without its point.
        unscaled: i128,
        /// Digits after the point.
        scale: u8,
    },
    /// Of a `date` column.
    Date(Date),
    /// Of a `timestamp` column.
    Timestamp(Timestamp),
    /// Of a `utf8` column.
    Utf8(Cow<'a, str>),
    /// Of a `binary` column.
    Binary(Cow<'a, [u8]>),
    /// Of a `json` column: valid JSON.
    Json(Cow<'a, str>),
}

impl Batch {
    /// The value at a row of a column, by the column's position in [`Batch::columns`].
    pub fn cell(&self, column: usize, row: usize) -> Cell<'_> {
        let buffers = self.buffers(column);
        match self.columns()[column].data_type {
            DataType::Boolean => get(buffers, row, Cell::Boolean),
            DataType::Int64 => get(buffers, row, Cell::Int64),
            DataType::Float64 => get(buffers, row, Cell::Float64),
            DataType::Date => get(buffers, row, Cell::Date),
            DataType::Timestamp => get(buffers, row, Cell::Timestamp),
            DataType::Utf8 => get(buffers, row, Cell::Utf8),
            DataType::Json => get(buffers, row, Cell::Json),
            DataType::Binary => get(buffers, row, |bytes: &[u8]| Cell::Binary(bytes.into())),
            DataType::Decimal { scale, .. } => {
                get(buffers, row, |number: crate::Decimal<38, 0>| Cell::Decimal {
                    unscaled: number.0,
                    scale,
                })
            }
        }
    }

    /// A row that serde writes as a map from column name to value: `{"word": "a", "n": 1}`.
    pub fn row(&self, row: usize) -> RowMap<'_> {
        RowMap { batch: self, row }
    }
}

fn get<'a, T: ReadValue<'a>>(
    buffers: &'a Buffers,
    row: usize,
    cell: impl FnOnce(T) -> Cell<'a>,
) -> Cell<'a> {
    T::get(&T::reader(buffers), row).map_or(Cell::Null, cell)
}

/// See [`Batch::row`].
#[derive(Clone, Copy, Debug)]
pub struct RowMap<'a> {
    batch: &'a Batch,
    row: usize,
}

impl Serialize for RowMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.batch.columns();
        let mut map = serializer.serialize_map(Some(columns.len()))?;
        for (at, column) in columns.iter().enumerate() {
            map.serialize_entry(&column.name, &self.batch.cell(at, self.row))?;
        }
        map.end()
    }
}

/// As the host's own JSON sinks write it: dates and timestamps as ISO 8601 texts, decimals as numbers, bytes as
/// hexadecimal digits; a float that JSON has no number for is null.
impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = |text: String| {
            RawValue::from_string(text).map_err(<S::Error as serde::ser::Error>::custom)
        };
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Int64(value) => serializer.serialize_i64(*value),
            Self::Float64(value) => serializer.serialize_f64(*value),
            Self::Decimal { .. } => raw(self.to_string())?.serialize(serializer),
            Self::Date(_) | Self::Timestamp(_) | Self::Binary(_) => serializer.collect_str(self),
            Self::Utf8(text) => serializer.serialize_str(text),
            Self::Json(text) => raw(text.clone().into_owned())?.serialize(serializer),
        }
    }
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => value.fmt(f),
            Self::Int64(value) => value.fmt(f),
            Self::Float64(value) => value.fmt(f),
            Self::Decimal { unscaled, scale } => write_decimal(f, *unscaled, *scale),
            Self::Date(date) => date.fmt(f),
            Self::Timestamp(time) => time.fmt(f),
            Self::Utf8(text) | Self::Json(text) => f.write_str(text),
            Self::Binary(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// A column in the making whose type is only known when the plugin runs. Every value may be null.
#[derive(Debug)]
pub enum CellBuilder {
    /// `boolean`
    Bits(Nullable<BitBuilder>),
    /// `date`
    Four(Nullable<FixedBuilder<4>>),
    /// `int64`, `float64`, `timestamp`
    Eight(Nullable<FixedBuilder<8>>),
    /// `decimal`
    Sixteen(Nullable<FixedBuilder<16>>),
    /// `utf8`, `binary`, `json`
    Varying(Nullable<VaryingBuilder>),
}

macro_rules! each {
    ($self:expr, $builder:ident => $result:expr) => {
        match $self {
            CellBuilder::Bits($builder) => $result,
            CellBuilder::Four($builder) => $result,
            CellBuilder::Eight($builder) => $result,
            CellBuilder::Sixteen($builder) => $result,
            CellBuilder::Varying($builder) => $result,
        }
    };
}

impl CellBuilder {
    /// An empty column of that type.
    pub fn new(data_type: DataType, size: Size) -> Self {
        match data_type {
            DataType::Boolean => Self::Bits(Nullable::with_capacity(size)),
            DataType::Date => Self::Four(Nullable::with_capacity(size)),
            DataType::Int64 | DataType::Float64 | DataType::Timestamp => {
                Self::Eight(Nullable::with_capacity(size))
            }
            DataType::Decimal { .. } => Self::Sixteen(Nullable::with_capacity(size)),
            DataType::Utf8 | DataType::Binary | DataType::Json => {
                Self::Varying(Nullable::with_capacity(size))
            }
        }
    }

    /// Adds a value.
    ///
    /// # Panics
    /// If the value is of another type than the column.
    pub fn push(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (builder, Cell::Null) => each!(builder, builder => builder.push_null()),
            (Self::Bits(builder), Cell::Boolean(value)) => {
                builder.push_with(|bits| bits.push(*value));
            }
            (Self::Four(builder), Cell::Date(date)) => {
                builder.push_with(|values| values.push(date.0.to_le_bytes()));
            }
            (Self::Eight(builder), Cell::Int64(value)) => {
                builder.push_with(|values| values.push(value.to_le_bytes()));
            }
            (Self::Eight(builder), Cell::Float64(value)) => {
                builder.push_with(|values| values.push(value.to_le_bytes()));
            }
            (Self::Eight(builder), Cell::Timestamp(time)) => {
                builder.push_with(|values| values.push(time.0.to_le_bytes()));
            }
            (Self::Sixteen(builder), Cell::Decimal { unscaled, .. }) => {
                builder.push_with(|values| values.push(unscaled.to_le_bytes()));
            }
            (Self::Varying(builder), Cell::Utf8(text) | Cell::Json(text)) => {
                builder.push_with(|values| values.push(text.as_bytes()));
            }
            (Self::Varying(builder), Cell::Binary(bytes)) => {
                builder.push_with(|values| values.push(bytes));
            }
            (_, cell) => panic!("{cell:?} was written to a column of another type"),
        }
    }
}

impl ColumnBuilder for CellBuilder {
    /// A text column.
    fn with_capacity(size: Size) -> Self {
        Self::new(DataType::Utf8, size)
    }

    fn push_blank(&mut self) {
        each!(self, builder => builder.push_null());
    }

    fn size(&self) -> Size {
        each!(self, builder => builder.size())
    }

    fn truncate(&mut self, rows: usize) {
        each!(self, builder => builder.truncate(rows));
    }

    fn finish(self) -> Buffers {
        each!(self, builder => builder.finish())
    }
}
