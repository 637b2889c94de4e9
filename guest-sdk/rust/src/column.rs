//! Columns of a schema: a name, a type, and whether values may be missing.

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::bindings::transform::wasmill::plugin::types::Field;

/// The type of a column. The contract spells it as a text; `docs/plugins/abi.md` gives the layout of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `boolean`
    Boolean,
    /// `int64`
    Int64,
    /// `float64`
    Float64,
    /// `decimal(p,s)`: up to `precision` digits, `scale` of them after the point.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, 0 to `precision`.
        scale: u8,
    },
    /// `date`: days since 1970-01-01.
    Date,
    /// `timestamp`: microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// `utf8`
    Utf8,
    /// `binary`
    Binary,
    /// `json`: a text that is valid JSON.
    Json,
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Int64 => f.write_str("int64"),
            Self::Float64 => f.write_str("float64"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Utf8 => f.write_str("utf8"),
            Self::Binary => f.write_str("binary"),
            Self::Json => f.write_str("json"),
        }
    }
}

impl FromStr for DataType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "boolean" => Self::Boolean,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "utf8" => Self::Utf8,
            "binary" => Self::Binary,
            "json" => Self::Json,
            _ => decimal(text).ok_or_else(|| {
                Error::fatal(format!(
                    "`{text}` is not a type; there are boolean, int64, float64, decimal(p,s), date, timestamp, \
                     utf8, binary and json"
                ))
            })?,
        })
    }
}

fn decimal(text: &str) -> Option<DataType> {
    let (precision, scale) = text
        .strip_prefix("decimal(")?
        .strip_suffix(')')?
        .split_once(',')?;
    let precision = precision.trim().parse().ok()?;
    let scale = scale.trim().parse().ok()?;
    ((1..=38).contains(&precision) && scale <= precision)
        .then_some(DataType::Decimal { precision, scale })
}

/// A column of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether a value may be missing.
    pub nullable: bool,
}

impl Column {
    /// A column of that name and type.
    pub fn new(name: impl Into<String>, data_type: DataType, nullable: bool) -> Self {
        Self {
            name: name.into(),
            data_type,
            nullable,
        }
    }
}

impl From<Column> for Field {
    fn from(column: Column) -> Self {
        Self {
            name: column.name,
            data_type: column.data_type.to_string(),
            nullable: column.nullable,
        }
    }
}

impl TryFrom<&Field> for Column {
    type Error = Error;

    fn try_from(field: &Field) -> Result<Self, Error> {
        Ok(Self::new(
            &field.name,
            field.data_type.parse()?,
            field.nullable,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_as_it_is_written() {
        for text in [
            "boolean",
            "int64",
            "float64",
            "decimal(38,10)",
            "date",
            "timestamp",
            "utf8",
            "binary",
            "json",
        ] {
            let parsed: DataType = text.parse().expect(text);
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_type_is_named() {
        for text in [
            "int32",
            "decimal(39,2)",
            "decimal(4,5)",
            "decimal(0,0)",
            "decimal",
        ] {
            let error = text.parse::<DataType>().expect_err(text);
            assert!(error.message.contains(text), "{}", error.message);
        }
    }
}
