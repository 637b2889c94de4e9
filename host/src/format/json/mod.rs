//! The JSON format: a line is an object, whose members are the columns of a declared schema.
//!
//! Members that the schema does not name are skipped; of two with the same name the last counts; blank lines are skipped.
//! A value must be what its column says, and nothing is guessed: `"12"` is not an int64, `1.5` neither.

#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder,
    Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{Schema, SchemaRef};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use toml::Spanned;

use value::{date, decimal, float, hex, timestamp};

use crate::batch::{ColumnType, UTC};
use crate::config::Table;

/// Reads `schema = { user = "utf8", bytes = "int64?" }`; a type that ends in `?` allows null and absence.
pub fn schema(table: &mut Table) -> Option<SchemaRef> {
    if !table.has("schema") {
        let help = "for example `schema = { user = \"utf8\", bytes = \"int64?\" }`; a column that may be null or absent has a `?`";
        let wanted = "the columns to read from each JSON object";
        table.missing("schema", wanted, Some(help.into()));
    }
    let pairs = table.pairs("schema")?;
    if pairs.get_ref().is_empty() {
        table.problem(pairs.span(), "`schema` names no columns", None);
        return None;
    }
    let field = |(name, kind): &(Spanned<String>, Spanned<String>)| {
        let text = kind.get_ref();
        let (text, nullable) = text
            .strip_suffix('?')
            .map_or((text.as_str(), false), |text| (text, true));
        match text.parse::<ColumnType>() {
            Ok(kind) => Some(kind.field(name.get_ref(), nullable)),
            Err(error) => {
                table.problem(kind.span(), error.to_string(), None);
                None
            }
        }
    };
    let fields: Vec<_> = pairs.get_ref().iter().map(field).collect();
    let fields: Option<Vec<_>> = fields.into_iter().collect();
    Some(Arc::new(Schema::new(fields?)))
}

struct Column {
    name: String,
    kind: ColumnType,
    nullable: bool,
}

/// A value of a column, decoded.
enum Value<'a> {
    Missing,
    Null,
    Boolean(bool),
    Int64(i64),
    Float64(f64),
    Decimal(i128),
    Date(i32),
    Timestamp(i64),
    Text(Cow<'a, str>),
    Binary(Vec<u8>),
}

/// Rows of a part in the making.
pub struct JsonRows {
    columns: Vec<Column>,
    builders: Vec<Builder>,
}

impl JsonRows {
    /// For a schema that [`schema`] has made.
    pub fn new(schema: &Schema) -> Self {
        let column = |field: &Arc<arrow::datatypes::Field>| Column {
            name: field.name().clone(),
            kind: ColumnType::of(field).expect("a declared column has one of our types"),
            nullable: field.is_nullable(),
        };
        let columns: Vec<_> = schema.fields().iter().map(column).collect();
        let builders = columns
            .iter()
            .map(|column| Builder::new(column.kind))
            .collect();
        Self { columns, builders }
    }

    /// Adds a line; false if it is blank.
    pub fn push(&mut self, line: &str) -> Result<bool, String> {
        if line.trim_ascii().is_empty() {
            return Ok(false);
        }
        let mut values: Vec<Value> = self.columns.iter().map(|_| Value::Missing).collect();
        let mut at = None;
        let mut input = serde_json::Deserializer::from_str(line);
        let row = Row {
            columns: &self.columns,
            values: &mut values,
            at: &mut at,
        };
        let read = row.deserialize(&mut input).and_then(|()| input.end());
        if let Err(error) = read {
            return Err(explain(&error, at.map(|index| &self.columns[index])));
        }
        for (column, value) in self.columns.iter().zip(&values) {
            let what = match value {
                Value::Missing => "missing",
                Value::Null => "null",
                _ => continue,
            };
            if !column.nullable {
                let Column { name, kind, .. } = column;
                return Err(format!(
                    "column `{name}` is {what}, which only type \"{kind}?\" allows"
                ));
            }
        }
        for (builder, value) in self.builders.iter_mut().zip(values) {
            builder.append(value);
        }
        Ok(true)
    }

    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.builders.iter_mut().map(Builder::finish).collect()
    }
}

/// serde_json says "at line 1 column 17", but here the column is what the user named one, and the line is the record.
fn explain(error: &serde_json::Error, column: Option<&Column>) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = text.strip_suffix(&place).unwrap_or(&text);
    let byte = error.column();
    match column {
        Some(column) => format!(
            "column `{}`: {what}, at byte {byte} of the record",
            column.name
        ),
        None => format!("{what}, at byte {byte} of the record"),
    }
}

/// Reads an object into `values`; `at` is the column being read.
struct Row<'s, 'de> {
    columns: &'s [Column],
    values: &'s mut [Value<'de>],
    at: &'s mut Option<usize>,
}

impl<'de> DeserializeSeed<'de> for Row<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut next = 0;
        while let Some(found) = map.next_key_seed(Key {
            columns: self.columns,
            next,
        })? {
            match found {
                Some(index) => {
                    *self.at = Some(index);
                    self.values[index] = map.next_value_seed(Typed(self.columns[index].kind))?;
                    *self.at = None;
                    next = index + 1;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Finds the column of a member's name, first where it stood in the schema.
struct Key<'s> {
    columns: &'s [Column],
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Option<usize>, D::Error> {
        input.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        let is_it = |column: &Column| column.name == name;
        if self.columns.get(self.next).is_some_and(is_it) {
            return Ok(Some(self.next));
        }
        Ok(self.columns.iter().position(is_it))
    }
}

/// Reads a value of a type.
struct Typed(ColumnType);

impl<'de> DeserializeSeed<'de> for Typed {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value<'de>, D::Error> {
        // Numbers with a fraction are taken as written: the JSON parser's own floats are off by one in the last digit.
        match self.0 {
            ColumnType::Json => Ok(match raw(input)? {
                "null" => Value::Null,
                text => Value::Text(text.into()),
            }),
            ColumnType::Decimal { precision, scale } => match raw(input)? {
                "null" => Ok(Value::Null),
                text => {
                    let value = decimal(text, precision, scale);
                    value.map(Value::Decimal).map_err(D::Error::custom)
                }
            },
            ColumnType::Float64 => match raw(input)? {
                "null" => Ok(Value::Null),
                text => {
                    let value = float(text).map(Value::Float64);
                    value.ok_or_else(|| D::Error::custom(format_args!("{text} is not a float64")))
                }
            },
            _ => input.deserialize_any(Scalar(self.0)),
        }
    }
}

fn raw<'de, D: Deserializer<'de>>(input: D) -> Result<&'de str, D::Error> {
    <&RawValue as serde::Deserialize>::deserialize(input).map(RawValue::get)
}

/// Takes what JSON has a form of its own for, or a string that stands for it.
struct Scalar(ColumnType);

impl<'de> Visitor<'de> for Scalar {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ColumnType::Boolean => "true or false",
            ColumnType::Int64 => "an int64, a whole number",
            ColumnType::Date => "a date, a string like \"2026-01-31\"",
            ColumnType::Timestamp => "a timestamp, a string like \"2026-01-31T12:00:00Z\"",
            ColumnType::Binary => "a binary, a string of hex digits",
            _ => "a string",
        })
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
        match self.0 {
            ColumnType::Boolean => Ok(Value::Boolean(value)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value<'de>, E> {
        match self.0 {
            ColumnType::Int64 => Ok(Value::Int64(value)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Signed(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'de>, E> {
        match (self.0, i64::try_from(value)) {
            (ColumnType::Int64, Ok(value)) => Ok(Value::Int64(value)),
            (ColumnType::Int64, Err(_)) => {
                Err(E::custom(format_args!("{value} is too large for an int64")))
            }
            _ => Err(E::invalid_type(
                serde::de::Unexpected::Unsigned(value),
                &self,
            )),
        }
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        match self.0 {
            ColumnType::Utf8 => Ok(Value::Text(text.into())),
            _ => self.visit_str(text),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        let value = match self.0 {
            ColumnType::Utf8 => Some(Value::Text(text.to_owned().into())),
            ColumnType::Date => date(text).map(Value::Date),
            ColumnType::Timestamp => timestamp(text).map(Value::Timestamp),
            ColumnType::Binary => hex(text).map(Value::Binary),
            _ => None,
        };
        value.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

enum Builder {
    Boolean(BooleanBuilder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
}

macro_rules! each_builder {
    ($self:expr, $builder:ident => $body:expr) => {
        match $self {
            Builder::Boolean($builder) => $body,
            Builder::Int64($builder) => $body,
            Builder::Float64($builder) => $body,
            Builder::Decimal($builder) => $body,
            Builder::Date($builder) => $body,
            Builder::Timestamp($builder) => $body,
            Builder::Text($builder) => $body,
            Builder::Binary($builder) => $body,
        }
    };
}

impl Builder {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Int64 => Self::Int64(Int64Builder::new()),
            ColumnType::Float64 => Self::Float64(Float64Builder::new()),
            ColumnType::Decimal { .. } => {
                Self::Decimal(Decimal128Builder::new().with_data_type(kind.data_type()))
            }
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Timestamp => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone(UTC))
            }
            ColumnType::Utf8 | ColumnType::Json => Self::Text(StringBuilder::new()),
            ColumnType::Binary => Self::Binary(BinaryBuilder::new()),
        }
    }

    fn append(&mut self, value: Value<'_>) {
        match (self, value) {
            (Self::Boolean(builder), Value::Boolean(value)) => builder.append_value(value),
            (Self::Int64(builder), Value::Int64(value)) => builder.append_value(value),
            (Self::Float64(builder), Value::Float64(value)) => builder.append_value(value),
            (Self::Decimal(builder), Value::Decimal(value)) => builder.append_value(value),
            (Self::Date(builder), Value::Date(value)) => builder.append_value(value),
            (Self::Timestamp(builder), Value::Timestamp(value)) => builder.append_value(value),
            (Self::Text(builder), Value::Text(value)) => builder.append_value(value),
            (Self::Binary(builder), Value::Binary(value)) => builder.append_value(value),
            // A value was decoded for this column's type, so what is left is null or missing.
            (builder, _) => each_builder!(builder, builder => builder.append_null()),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        each_builder!(self, builder => Arc::new(builder.finish()))
    }
}
