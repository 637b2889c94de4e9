//! The rows that a plugin made for a port.

use std::rc::Rc;

use super::check;
use crate::record::Row;
use crate::wit::{Origin, Output, Port};
use crate::{Batch, Cell, Column};

/// Rows of one output, checked.
#[derive(Debug)]
pub(super) struct PortRows {
    made: Batch,
    origin: Origin,
}

impl PortRows {
    /// # Panics
    /// If the output is not as the plan says; `parents` is how many rows, or keys, its rows may have come from.
    pub(super) fn checked(ports: &[Port], output: Output, parents: u32) -> Self {
        let port = &ports[output.port as usize];
        match &output.origin {
            Origin::Same => assert_eq!(output.rows, parents, "rows of the same origin"),
            Origin::Parents(rows) => {
                assert_eq!(
                    rows.len(),
                    output.rows as usize,
                    "parents of port `{}`",
                    port.name
                );
                check::row_numbers("a parent", rows, parents);
            }
            Origin::None => assert!(
                !port.carry,
                "port `{}` carries and has no parents",
                port.name
            ),
        }
        let columns = check::columns(&port.columns, &output.columns, output.rows as usize);
        Self {
            made: Batch::new(Rc::from(columns), output.rows, output.columns),
            origin: output.origin,
        }
    }

    /// The rows as records.
    pub(super) fn rows<'a, R: Row<'a>>(&'a self) -> Vec<R> {
        assert_eq!(
            self.made.columns(),
            R::columns(&[]),
            "the columns of the port and of the record"
        );
        records(&self.made)
    }

    /// The rows as JSON objects: with `carry` the other columns of their parents, then what the plugin made.
    pub(super) fn json(&self, parents: &Batch, carry: bool) -> Vec<String> {
        let made = self.made.columns();
        let replaced = |column: &Column| made.iter().any(|made| made.name == column.name);
        let carried: Vec<usize> = (0..parents.columns().len())
            .filter(|at| carry && !replaced(&parents.columns()[*at]))
            .collect();
        (0..self.made.rows())
            .map(|row| {
                let carried = carried.iter().map(|at| {
                    let parent = self.parent(row).expect("a port that carries has parents");
                    (&parents.columns()[*at], parents.cell(*at, parent))
                });
                let made = (0..made.len()).map(|at| (&made[at], self.made.cell(at, row)));
                object(carried.chain(made))
            })
            .collect()
    }

    /// The input row that each row came from.
    pub(super) fn parents(&self) -> Vec<usize> {
        (0..self.made.rows())
            .map(|row| self.parent(row).expect("the rows have parents"))
            .collect()
    }

    fn parent(&self, row: usize) -> Option<usize> {
        match &self.origin {
            Origin::Same => Some(row),
            Origin::Parents(parents) => Some(parents[row] as usize),
            Origin::None => None,
        }
    }
}

/// The rows of a batch as records.
///
/// # Panics
/// If a value is null and its field has no room for that.
pub(super) fn records<'a, R: Row<'a>>(batch: &'a Batch) -> Vec<R> {
    let readers = R::readers(batch);
    (0..batch.rows())
        .map(|row| {
            R::read(&readers, row)
                .unwrap_or_else(|column| panic!("row {row}: column {column} is null"))
        })
        .collect()
}

/// A JSON object of values under the names of their columns.
pub(super) fn object<'a>(cells: impl Iterator<Item = (&'a Column, Cell<'a>)>) -> String {
    let fields: Vec<String> = cells
        .map(|(column, cell)| {
            let name = serde_json::to_string(&column.name).expect("a text is JSON");
            let value = serde_json::to_string(&cell).expect("a cell is JSON");
            format!("{name}:{value}")
        })
        .collect();
    format!("{{{}}}", fields.join(","))
}
