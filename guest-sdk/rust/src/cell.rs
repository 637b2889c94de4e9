//! Values whose type is only known when the plugin runs: reading any column, building any column, as JSON or as a Rust enum.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::bindings::transform::wasmill::plugin::types::Buffers;
use crate::builder::{BitBuilder, ColumnBuilder, FixedBuilder, Nullable, Size, VaryingBuilder};
use crate::types::{Date, Timestamp, read_decimal, write_decimal};
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
                get(buffers, row, |number: crate::Decimal<38, 0>| {
                    Cell::Decimal {
                        unscaled: number.0,
                        scale,
                    }
                })
            }
        }
    }

    /// A row that serde writes as a map from column name to value: `{"word": "a", "n": 1}`.
    pub fn row(&self, row: usize) -> RowMap<'_> {
        RowMap { batch: self, row }
    }
}

impl<'a> Cell<'a> {
    /// Reads JSON text as a value of that type, exactly or not at all: no number is rounded but to a float, no text is
    /// read as a number. Dates and timestamps are ISO 8601 texts, bytes are hexadecimal digits.
    ///
    /// # Errors
    /// What was there instead.
    pub fn from_json(json: &'a str, data_type: DataType) -> Result<Self, String> {
        let json = json.trim();
        if json == "null" {
            return Ok(Self::Null);
        }
        let cell = match data_type {
            DataType::Boolean => json.parse().ok().map(Self::Boolean),
            DataType::Int64 => number(json).map(Self::Int64),
            DataType::Float64 => number(json).map(Self::Float64),
            DataType::Decimal { precision, scale } => {
                let text = unquote(json).unwrap_or(json.into());
                read_decimal(&text, precision, scale)
                    .map(|unscaled| Self::Decimal { unscaled, scale })
            }
            DataType::Date => unquote(json)
                .and_then(|text| text.parse().ok())
                .map(Self::Date),
            DataType::Timestamp => unquote(json)
                .and_then(|text| text.parse().ok())
                .map(Self::Timestamp),
            DataType::Utf8 => unquote(json).map(Self::Utf8),
            DataType::Binary => unquote(json)
                .and_then(|text| from_hex(&text))
                .map(|bytes| Self::Binary(bytes.into())),
            DataType::Json => serde_json::from_str::<&RawValue>(json)
                .ok()
                .map(|raw| Self::Json(raw.get().into())),
        };
        cell.ok_or_else(|| format!("{} is not {data_type}", shortened(json)))
    }
}

impl Cell<'_> {
    /// The same value, with bytes of its own.
    pub fn into_owned(self) -> Cell<'static> {
        match self {
            Self::Null => Cell::Null,
            Self::Boolean(value) => Cell::Boolean(value),
            Self::Int64(value) => Cell::Int64(value),
            Self::Float64(value) => Cell::Float64(value),
            Self::Decimal { unscaled, scale } => Cell::Decimal { unscaled, scale },
            Self::Date(date) => Cell::Date(date),
            Self::Timestamp(time) => Cell::Timestamp(time),
            Self::Utf8(text) => Cell::Utf8(text.into_owned().into()),
            Self::Binary(bytes) => Cell::Binary(bytes.into_owned().into()),
            Self::Json(text) => Cell::Json(text.into_owned().into()),
        }
    }
}

// What is plainly of another kind is not given to serde, whose errors take longer to word than a value to read.

fn number<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    let looks_like_one = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    looks_like_one.then(|| serde_json::from_str(json).ok())?
}

/// The text of a JSON string, in place unless it has escapes.
fn unquote(json: &str) -> Option<Cow<'_, str>> {
    match (json.starts_with('"'), json.contains('\\')) {
        (false, _) => None,
        (true, false) => serde_json::from_str(json).ok().map(Cow::Borrowed),
        (true, true) => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

/// A value as messages quote it: its first characters.
fn shortened(text: &str) -> Cow<'_, str> {
    const LENGTH: usize = 40;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}...", &text[..end]).into(),
        None => text.into(),
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
        let raw = |text| {
            serde_json::from_str::<&RawValue>(text).map_err(<S::Error as serde::ser::Error>::custom)
        };
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Int64(value) => serializer.serialize_i64(*value),
            Self::Float64(value) => serializer.serialize_f64(*value),
            Self::Decimal { .. } => raw(&self.to_string())?.serialize(serializer),
            Self::Date(_) | Self::Timestamp(_) | Self::Binary(_) => serializer.collect_str(self),
            Self::Utf8(text) => serializer.serialize_str(text),
            Self::Json(text) => raw(text)?.serialize(serializer),
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

    fn truncate(&mut self, rows: usize) {
        each!(self, builder => builder.truncate(rows));
    }

    fn finish(self) -> Buffers {
        each!(self, builder => builder.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_json() {
        for (text, data_type) in [
            ("true", "boolean"),
            ("-9223372036854775808", "int64"),
            ("0.1", "float64"),
            ("-12.30", "decimal(10,2)"),
            ("99999999999999999999999999999999999.999", "decimal(38,3)"),
            ("\"2024-02-29\"", "date"),
            ("\"2024-02-29T23:59:59.000001Z\"", "timestamp"),
            (r#""a \"quoted\" text""#, "utf8"),
            ("\"00ff\"", "binary"),
            (r#"{"a":[1,2.50]}"#, "json"),
            ("null", "int64"),
        ] {
            let cell = Cell::from_json(text, data_type.parse().expect(data_type)).expect(text);
            let written = serde_json::to_string(&cell).expect("a cell is JSON");
            assert_eq!(written, text, "{data_type}");
        }
    }

    #[test]
    fn what_does_not_fit_exactly_is_refused() {
        for (text, data_type) in [
            ("1", "boolean"),
            ("1.5", "int64"),
            ("01", "int64"),
            ("+1", "int64"),
            ("\"1\"", "float64"),
            ("9223372036854775808", "int64"),
            ("\"1\"", "int64"),
            ("1.234", "decimal(10,2)"),
            ("\"2023-02-29\"", "date"),
            ("7", "utf8"),
            (r#""a"#, "utf8"),
            (r#""\x""#, "utf8"),
            ("\"0\"", "binary"),
        ] {
            let error = Cell::from_json(text, data_type.parse().expect(data_type)).expect_err(text);
            assert_eq!(error, format!("{text} is not {data_type}"));
        }
    }
}
