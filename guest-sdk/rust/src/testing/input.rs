//! The rows that a test gives a plugin, as the host would send them.

use std::rc::Rc;

use crate::builder::Size;
use crate::cell::CellBuilder;
use crate::record::{Builders, Record};
use crate::wit::{Buffers, Field};
use crate::{Batch, Cell, Column};

/// Rows with their schema.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) columns: Vec<Column>,
    pub(super) buffers: Vec<Buffers>,
    pub(super) rows: u32,
}

impl Input {
    pub(super) fn of_records<R: Record>(records: impl IntoIterator<Item = R>) -> Self {
        let mut builders = R::Builders::new(&[], Size::default());
        let mut rows = 0;
        for record in records {
            record.write(&mut builders);
            rows += 1;
        }
        Self {
            columns: R::columns(&[]),
            buffers: builders.finish(),
            rows,
        }
    }

    /// # Panics
    /// If a row is not JSON, or a value not of its column's type: a mistake in the test.
    pub(super) fn of_json<'a>(
        schema: &[(&str, &str)],
        json: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let columns = columns(schema);
        let rows: Vec<_> = json.into_iter().map(|line| row(&columns, line)).collect();
        Self::of_cells(&columns, rows.iter().map(Vec::as_slice))
    }

    pub(super) fn of_cells<'r>(
        columns: &[Column],
        cells: impl IntoIterator<Item = &'r [Cell<'static>]>,
    ) -> Self {
        let mut builders = <Vec<CellBuilder> as Builders>::new(columns, Size::default());
        let mut rows = 0;
        for row in cells {
            for (cell, builder) in row.iter().zip(&mut builders) {
                builder.push(cell);
            }
            rows += 1;
        }
        Self {
            columns: columns.to_vec(),
            buffers: builders.finish(),
            rows,
        }
    }

    pub(super) fn fields(&self) -> Vec<Field> {
        self.columns.iter().cloned().map(Into::into).collect()
    }

    /// The columns that a plan asks for: their fields and buffers.
    ///
    /// # Panics
    /// If there is none of a name: the plugin broke the contract.
    pub(super) fn planned(&self, names: &[String]) -> (Vec<Field>, Vec<Buffers>) {
        names
            .iter()
            .map(|name| {
                let at = self.position(name).unwrap_or_else(|| {
                    panic!("the plan asks for column `{name}`, which the input does not have")
                });
                (self.columns[at].clone().into(), self.buffers[at].clone())
            })
            .unzip()
    }

    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub(super) fn into_batch(self) -> Batch {
        Batch::new(Rc::from(self.columns), self.rows, self.buffers)
    }
}

/// The values of a batch, row by row.
pub(super) fn cells(batch: &Batch) -> Vec<Vec<Cell<'static>>> {
    let columns = 0..batch.columns().len();
    (0..batch.rows())
        .map(|row| {
            columns
                .clone()
                .map(|column| batch.cell(column, row).into_owned())
                .collect()
        })
        .collect()
}

/// A row as a JSON object.
///
/// # Panics
/// If it is not JSON, or a value not of its column's type: a mistake in the test.
pub(super) fn row(columns: &[Column], line: &str) -> Vec<Cell<'static>> {
    let row: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    columns
        .iter()
        .map(|column| {
            let value = row
                .get(&column.name)
                .map_or("null".to_owned(), ToString::to_string);
            let cell = Cell::from_json(&value, column.data_type)
                .unwrap_or_else(|error| panic!("{line}: `{}`: {error}", column.name));
            assert!(
                column.nullable || cell != Cell::Null,
                "{line}: `{}` is missing; a type as `utf8?` allows that",
                column.name
            );
            cell.into_owned()
        })
        .collect()
}

/// Columns written as `("n", "int64?")`; the question mark allows nulls.
pub(super) fn columns(schema: &[(&str, &str)]) -> Vec<Column> {
    schema
        .iter()
        .map(|(name, text)| column(name, text))
        .collect()
}

fn column(name: &str, text: &str) -> Column {
    let (data_type, nullable) = match text.strip_suffix('?') {
        Some(data_type) => (data_type, true),
        None => (text, false),
    };
    let data_type = data_type
        .parse()
        .unwrap_or_else(|error| panic!("`{name}`: {error}"));
    Column::new(name, data_type, nullable)
}
