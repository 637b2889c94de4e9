//! Typed rows: what `#[derive(Record)]` implements, and how a record finds its columns.

use serde_json::{Map, Value};

use crate::bindings::transform::wasmill::plugin::types::{Buffers, Field};
use crate::builder::{ColumnBuilder, Size};
use crate::{Batch, Cell, Column, DataType, Error, Reject, suggest};

/// A row type that can be emitted. Derive it.
pub trait Record: Sized {
    /// A builder for each column.
    type Builders: Builders;

    /// Its columns. A record whose columns are only known from the configuration takes them from `declared`.
    fn columns(declared: &[Column]) -> Vec<Column>;

    /// Writes the row.
    fn write(self, builders: &mut Self::Builders);
}

/// The columns of an output in the making.
pub trait Builders: Sized {
    /// Empty columns, with room for so much in each.
    fn new(declared: &[Column], size: Size) -> Self;
    /// Takes back all rows from `rows` on.
    fn truncate(&mut self, rows: usize);
    /// The finished buffers, in the order of the columns.
    fn finish(self) -> Vec<Buffers>;
}

/// A row type that can be read from buffers that live for `'a`. Derive it with [`Record`].
pub trait Row<'a>: Record {
    /// A view of each column.
    type Readers;

    /// The input columns that it wants, field by field.
    fn wanted() -> Vec<Wanted>;

    /// Views of the columns, which are in the order of the fields.
    fn readers(batch: &'a Batch) -> Self::Readers;

    /// Reads a row.
    ///
    /// # Errors
    /// The position of the first field whose value is missing and whose type has no room for that.
    fn read(readers: &Self::Readers, row: usize) -> Result<Self, usize>;
}

/// A row type that can be read, whatever lifetime its name was written with: a function takes `Rows<Line>` of a
/// `Line<'a>`, and gets lines that live as long as the batch. Derive it with [`Record`].
pub trait Readable: Record {
    /// The same row, read from buffers that live for `'buffers`.
    type In<'buffers>: Row<'buffers, Builders = Self::Builders>;
}

/// Nothing: a key that does not matter, rows that are only counted, a key of which nothing is remembered.
impl Record for () {
    type Builders = ();

    fn columns(_: &[Column]) -> Vec<Column> {
        Vec::new()
    }

    fn write(self, (): &mut ()) {}
}

impl Builders for () {
    fn new(_: &[Column], _: Size) {}

    fn truncate(&mut self, _: usize) {}

    fn finish(self) -> Vec<Buffers> {
        Vec::new()
    }
}

impl<'a> Row<'a> for () {
    type Readers = ();

    fn wanted() -> Vec<Wanted> {
        Vec::new()
    }

    fn readers(_: &'a Batch) {}

    fn read((): &(), _: usize) -> Result<(), usize> {
        Ok(())
    }
}

impl Readable for () {
    type In<'buffers> = ();
}

/// What a function answers that must make a record: the record, or a `Result` of it whose error fails the whole call.
pub trait Made {
    /// The record.
    type Output: Record;

    /// As a `Result`.
    ///
    /// # Errors
    /// The call fails.
    fn made(self) -> Result<Self::Output, Error>;
}

impl<R: Record> Made for R {
    type Output = R;

    #[inline]
    fn made(self) -> Result<R, Error> {
        Ok(self)
    }
}

impl<R: Record, E: Into<Error>> Made for Result<R, E> {
    type Output = R;

    #[inline]
    fn made(self) -> Result<R, Error> {
        self.map_err(Into::into)
    }
}

/// An input column that a field wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The column's name, unless the configuration gives another.
    pub name: &'static str,
    /// The key of the configuration that gives the column's name.
    pub setting: Option<&'static str>,
    /// Whether the first column of a fitting type will do.
    pub or_first: bool,
    /// The field's own type.
    pub data_type: DataType,
    /// Whether it can read columns of a type.
    pub reads: fn(DataType) -> bool,
}

impl Wanted {
    fn fits(&self, field: &Field) -> bool {
        field.data_type.parse().is_ok_and(self.reads)
    }
}

/// The settings that name columns.
pub(crate) fn settings<'w>(wanted: impl IntoIterator<Item = &'w Wanted>) -> Vec<&'static str> {
    wanted
        .into_iter()
        .filter_map(|wanted| wanted.setting)
        .collect()
}

/// Finds the input column of each field; the answer holds names, in the order of the fields.
pub(crate) fn resolve(
    wanted: &[Wanted],
    config: &Map<String, Value>,
    input: &[Field],
) -> Result<Vec<String>, Error> {
    wanted
        .iter()
        .map(|wanted| find(wanted, config, input))
        .collect()
}

/// The schema as the rest of the SDK has it.
pub(crate) fn columns<C: FromIterator<Column>>(input: &[Field]) -> Result<C, Error> {
    input.iter().map(Column::try_from).collect()
}

/// Why a row with a missing value in a field without room for one is turned away.
#[cold]
pub(crate) fn null_in(column: &Column) -> Reject {
    Reject::from(format!("column `{}` is null", column.name))
}

fn find(wanted: &Wanted, config: &Map<String, Value>, input: &[Field]) -> Result<String, Error> {
    let configured = wanted
        .setting
        .and_then(|key| config.get(key).map(|name| (key, name)));
    let (name, setting) = match configured {
        Some((key, name)) => match name.as_str() {
            Some(name) => (name, Some(key)),
            None => return Err(format!("`{key}` must be the name of a column, as a text").into()),
        },
        None => (wanted.name, None),
    };
    match input.iter().find(|field| field.name == name) {
        Some(field) if wanted.fits(field) => return Ok(field.name.clone()),
        Some(field) if setting.is_some() || !wanted.or_first => {
            return Err(format!(
                "column `{name}` is {}, and the plugin reads it as {}",
                field.data_type, wanted.data_type
            )
            .into());
        }
        Some(_) => {}
        None if setting.is_some() || !wanted.or_first => {
            return Err(missing(wanted, name, setting, input));
        }
        None => {}
    }
    input
        .iter()
        .find(|field| wanted.fits(field))
        .map(|field| field.name.clone())
        .ok_or_else(|| {
            Error::fatal(format!(
                "the plugin reads a column of type {}, and the input has none: {}",
                wanted.data_type,
                describe(input)
            ))
        })
}

fn missing(wanted: &Wanted, name: &str, setting: Option<&str>, input: &[Field]) -> Error {
    let asked = match (setting, wanted.setting) {
        (Some(key), _) => format!("`{key}` names column `{name}`, which the input does not have"),
        (None, Some(key)) => format!(
            "the plugin reads column `{name}` of type {}, which the input does not have; `{key}` may name another",
            wanted.data_type
        ),
        (None, None) => {
            format!(
                "the plugin reads column `{name}` of type {}, which the input does not have",
                wanted.data_type
            )
        }
    };
    let names = input.iter().map(|field| field.name.as_str());
    match suggest::nearest(name, names) {
        Some(near) => Error::fatal(format!("{asked}; did you mean `{near}`?")),
        None => Error::fatal(format!("{asked}; it has {}", describe(input))),
    }
}

fn describe(input: &[Field]) -> String {
    if input.is_empty() {
        return "no columns".to_owned();
    }
    let columns: Vec<_> = input
        .iter()
        .map(|field| format!("`{}` {}", field.name, field.data_type))
        .collect();
    columns.join(", ")
}

/// A row whose columns the configuration declares: a cell for each, in the order declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells<'a>(
    /// One for each declared column.
    pub Vec<Cell<'a>>,
);

impl Record for Cells<'_> {
    type Builders = Vec<crate::cell::CellBuilder>;

    fn columns(declared: &[Column]) -> Vec<Column> {
        declared.to_vec()
    }

    fn write(self, builders: &mut Self::Builders) {
        assert_eq!(
            self.0.len(),
            builders.len(),
            "a row has a cell for each declared column"
        );
        for (cell, builder) in self.0.iter().zip(builders) {
            builder.push(cell);
        }
    }
}

impl Builders for Vec<crate::cell::CellBuilder> {
    fn new(declared: &[Column], size: Size) -> Self {
        declared
            .iter()
            .map(|column| crate::cell::CellBuilder::new(column.data_type, size))
            .collect()
    }

    fn truncate(&mut self, rows: usize) {
        for builder in self {
            builder.truncate(rows);
        }
    }

    fn finish(self) -> Vec<Buffers> {
        self.into_iter().map(ColumnBuilder::finish).collect()
    }
}
