//! Arrow helpers shared by every area, first of all the names of column types.
//!
//! [`ColumnType`] is the one place that knows how a type is spelled in a plugin's schema, in a pipeline file and in
//! what `wasmill check` prints, and which Arrow type it stands for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;

/// A column type that plugins and pipeline files can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `boolean`
    Boolean,
    /// `int64`
    Int64,
    /// `float64`
    Float64,
    /// `decimal(p,s)`: `p` digits, `s` of them behind the point.
    Decimal {
        /// Digits, 1 to 38.
        precision: u8,
        /// Digits behind the point, 0 to `precision`.
        scale: u8,
    },
    /// `date`: days since 1970.
    Date,
    /// `timestamp`: microseconds since 1970, UTC.
    Timestamp,
    /// `utf8`
    Utf8,
    /// `binary`
    Binary,
    /// `json`: utf8 that holds one JSON value; Arrow's extension type `arrow.json`.
    Json,
}

/// The time zone of every timestamp column. Arrow cannot format the name "UTC" without a database of time zones.
pub const UTC: &str = "+00:00";

/// Arrow's metadata key for the name of an extension type; `arrow` does not export the constant of `arrow-schema`.
const EXTENSION_NAME: &str = "ARROW:extension:name";
const JSON_EXTENSION: &str = "arrow.json";
const MAX_PRECISION: u8 = 38;

impl ColumnType {
    /// The type as which a plugin sees a column: smaller integers and floats widen, dictionaries give their values.
    /// `None` for an Arrow type that has no lossless counterpart here (lists, structs, uint64, nanoseconds).
    pub fn of(field: &Field) -> Option<Self> {
        let is_json = field.extension_type_name() == Some(JSON_EXTENSION);
        match Self::of_data_type(field.data_type())? {
            Self::Utf8 if is_json => Some(Self::Json),
            other => Some(other),
        }
    }

    fn of_data_type(data_type: &DataType) -> Option<Self> {
        use DataType as D;
        Some(match data_type {
            D::Boolean => Self::Boolean,
            D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::UInt8 | D::UInt16 | D::UInt32 => {
                Self::Int64
            }
            D::Float16 | D::Float32 | D::Float64 => Self::Float64,
            D::Decimal32(p, s) | D::Decimal64(p, s) | D::Decimal128(p, s) => Self::Decimal {
                precision: *p,
                scale: u8::try_from(*s).ok()?,
            },
            D::Date32 => Self::Date,
            D::Timestamp(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond, _) => {
                Self::Timestamp
            }
            D::Utf8 | D::LargeUtf8 | D::Utf8View => Self::Utf8,
            D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => Self::Binary,
            D::Dictionary(_, values) => Self::of_data_type(values)?,
            _ => return None,
        })
    }

    /// The Arrow type in which the host keeps such a column.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(
                precision,
                i8::try_from(scale).expect("a scale is at most the precision, which is at most 38"),
            ),
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from(UTC))),
            Self::Utf8 | Self::Json => DataType::Utf8,
            Self::Binary => DataType::Binary,
        }
    }

    /// A column of this type.
    pub fn field(self, name: impl Into<String>, nullable: bool) -> Field {
        let field = Field::new(name, self.data_type(), nullable);
        match self {
            Self::Json => {
                field.with_metadata([(EXTENSION_NAME.into(), JSON_EXTENSION.into())].into())
            }
            _ => field,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.pad("boolean"),
            Self::Int64 => f.pad("int64"),
            Self::Float64 => f.pad("float64"),
            Self::Decimal { precision, scale } => f.pad(&format!("decimal({precision},{scale})")),
            Self::Date => f.pad("date"),
            Self::Timestamp => f.pad("timestamp"),
            Self::Utf8 => f.pad("utf8"),
            Self::Binary => f.pad("binary"),
            Self::Json => f.pad("json"),
        }
    }
}

/// A text that names no column type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a column type; there are boolean, int64, float64, decimal(p,s), date, timestamp, utf8, binary and json"
)]
pub struct UnknownType(String);

impl FromStr for ColumnType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        Ok(match text {
            "boolean" => Self::Boolean,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "utf8" => Self::Utf8,
            "binary" => Self::Binary,
            "json" => Self::Json,
            _ => return decimal(text).ok_or_else(|| UnknownType(text.to_owned())),
        })
    }
}

fn decimal(text: &str) -> Option<ColumnType> {
    let (precision, scale) = text
        .strip_prefix("decimal(")?
        .strip_suffix(')')?
        .split_once(',')?;
    let (precision, scale) = (digits(precision)?, digits(scale)?);
    ((1..=MAX_PRECISION).contains(&precision) && scale <= precision)
        .then_some(ColumnType::Decimal { precision, scale })
}

fn digits(text: &str) -> Option<u8> {
    let text = text.trim();
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    text.parse().ok()
}

/// How messages and plugins name a column's type: a [`ColumnType`], or for any other Arrow type Arrow's own words.
pub fn name_of(field: &Field) -> String {
    match ColumnType::of(field) {
        Some(known) => known.to_string(),
        None => field.data_type().to_string(),
    }
}

/// A batch as bytes: a stream of Arrow's IPC format.
///
/// # Errors
/// When a column is of a type that has no form there.
pub fn encode(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(batch)?;
    writer.into_inner()
}

/// The batch in some bytes, which its columns keep and do not copy.
///
/// # Errors
/// When there is none.
pub fn decode(bytes: Vec<u8>) -> Result<RecordBatch, ArrowError> {
    let missing = || ArrowError::IpcError("there is no batch".to_owned());
    let batch = StreamDecoder::new().decode(&mut Buffer::from_vec(bytes))?;
    batch.ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_as_the_type_that_printed_it() {
        let decimals = (1..=MAX_PRECISION).flat_map(|precision| {
            (0..=precision).map(move |scale| ColumnType::Decimal { precision, scale })
        });
        let others = [
            ColumnType::Boolean,
            ColumnType::Int64,
            ColumnType::Float64,
            ColumnType::Date,
            ColumnType::Timestamp,
            ColumnType::Utf8,
            ColumnType::Binary,
            ColumnType::Json,
        ];
        for column_type in decimals.chain(others) {
            assert_eq!(column_type.to_string().parse(), Ok(column_type));
            assert_eq!(
                ColumnType::of(&column_type.field("c", true)),
                Some(column_type)
            );
        }
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in [
            "",
            "Int64",
            "int32",
            "decimal",
            "decimal(0,0)",
            "decimal(39,2)",
            "decimal(5,6)",
            "decimal(+5,2)",
            "decimal(5,-2)",
            "decimal(5)",
            "utf8 ",
        ] {
            assert!(text.parse::<ColumnType>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn smaller_types_widen_and_dictionaries_give_their_values() {
        let of = |data_type| ColumnType::of(&Field::new("c", data_type, true));
        assert_eq!(of(DataType::UInt32), Some(ColumnType::Int64));
        assert_eq!(of(DataType::Float32), Some(ColumnType::Float64));
        let dictionary = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
        assert_eq!(of(dictionary), Some(ColumnType::Utf8));
        assert_eq!(of(DataType::UInt64), None);
    }

    #[test]
    fn a_type_without_a_name_here_is_shown_in_arrows_words() {
        assert_eq!(name_of(&Field::new("c", DataType::UInt64, true)), "UInt64");
        assert_eq!(name_of(&ColumnType::Json.field("c", true)), "json");
    }
}
