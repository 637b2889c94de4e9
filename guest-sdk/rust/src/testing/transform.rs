//! The test of a transform.

use std::marker::PhantomData;
use std::rc::Rc;

use super::check;
use super::input::Input;
use super::test::Test;
use crate::record::Row;
use crate::wit::{Buffers, Context, Origin, Output, Produced, TransformPlan};
use crate::{Batch, Column, Result, Transform};

/// A transform with its input; see [`transform`](super::transform()).
pub type TransformTest<T> = Test<TransformUnderTest<T>>;

/// A transform, and what its calls are given.
#[derive(Debug)]
pub struct TransformUnderTest<T> {
    context: Context,
    transform: PhantomData<T>,
}

impl<T: Transform> TransformTest<T> {
    pub(super) fn new() -> Self {
        Self::of(TransformUnderTest {
            context: crate::context(),
            transform: PhantomData,
        })
    }

    /// What [`context`](crate::context()) answers during the run.
    pub fn context(mut self, context: Context) -> Self {
        self.plugin.context = context;
        self
    }

    /// What `describe` answers.
    ///
    /// # Errors
    /// The plugin's own.
    pub fn describe(&self) -> Result<TransformPlan> {
        T::describe(&self.config, &self.input.fields())
    }

    /// Describes, opens, and processes all rows in one call.
    ///
    /// # Errors
    /// The plugin's own.
    ///
    /// # Panics
    /// If what comes back breaks the contract.
    pub fn run(self) -> Result<Run> {
        let plan = self.describe()?;
        let (fields, buffers) = self.input.planned(&plan.columns);
        let mut open = T::open(&self.config, &fields)?;
        let produced = open.process(self.plugin.context, self.input.rows, buffers)?;
        Ok(Run::checked(plan, self.input, produced))
    }
}

/// What a transform made.
#[derive(Debug)]
pub struct Run {
    plan: TransformPlan,
    input: Batch,
    ports: Vec<PortRows>,
    rejected: Batch,
    rejected_rows: Vec<u32>,
}

#[derive(Debug)]
struct PortRows {
    made: Batch,
    origin: Origin,
}

impl Run {
    fn checked(plan: TransformPlan, input: Input, produced: Produced) -> Self {
        let rows = input.rows;
        assert!(
            produced.rejected.rows.is_sorted(),
            "rejected rows are in ascending order"
        );
        check::row_numbers("a reject", &produced.rejected.rows, rows);
        let ports = produced
            .outputs
            .into_iter()
            .map(|output| PortRows::checked(&plan, output, rows))
            .collect();
        Self {
            plan,
            ports,
            input: input.into_batch(),
            rejected: reasons(produced.rejected.rows.len(), produced.rejected.reasons),
            rejected_rows: produced.rejected.rows,
        }
    }

    /// What `describe` answered.
    pub fn plan(&self) -> &TransformPlan {
        &self.plan
    }

    fn port(&self, name: &str) -> (&PortRows, bool) {
        let at = self
            .plan
            .ports
            .iter()
            .position(|port| port.name == name)
            .unwrap_or_else(|| panic!("the plan has no port `{name}`"));
        (&self.ports[at], self.plan.ports[at].carry)
    }

    /// What the plugin made for a port, as records.
    ///
    /// # Panics
    /// If there is no such port, or the record's columns are not those of the port.
    pub fn rows<'a, R: Row<'a>>(&'a self, port: &str) -> Vec<R> {
        let (port, _) = self.port(port);
        assert_eq!(
            port.made.columns(),
            R::columns(&[]),
            "the columns of the port and of the record"
        );
        let readers = R::readers(&port.made);
        (0..port.made.rows())
            .map(|row| {
                R::read(&readers, row)
                    .unwrap_or_else(|column| panic!("row {row}: column {column} is null"))
            })
            .collect()
    }

    /// The rows of a port as the next step sees them, as JSON objects: the carried columns, then what the plugin made.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn json(&self, port: &str) -> Vec<String> {
        let (port, carry) = self.port(port);
        let made = port.made.columns();
        let carried: Vec<usize> = (0..self.input.columns().len())
            .filter(|at| {
                carry
                    && made
                        .iter()
                        .all(|column| column.name != self.input.columns()[*at].name)
            })
            .collect();
        (0..port.made.rows())
            .map(|row| {
                let parent = port.parent(row);
                let carried = carried.iter().map(|at| {
                    (
                        &self.input,
                        *at,
                        parent.expect("a port that carries has parents"),
                    )
                });
                let made = (0..made.len()).map(|at| (&port.made, at, row));
                let fields: Vec<String> = carried
                    .chain(made)
                    .map(|(batch, column, row)| {
                        let name = serde_json::to_string(&batch.columns()[column].name);
                        let value = serde_json::to_string(&batch.cell(column, row));
                        format!(
                            "{}:{}",
                            name.expect("a text is JSON"),
                            value.expect("a cell is JSON")
                        )
                    })
                    .collect();
                format!("{{{}}}", fields.join(","))
            })
            .collect()
    }

    /// The input row that each row of a port came from.
    ///
    /// # Panics
    /// If there is no such port, or its rows have no parents.
    pub fn parents(&self, port: &str) -> Vec<usize> {
        let (port, _) = self.port(port);
        (0..port.made.rows())
            .map(|row| port.parent(row).expect("the rows have parents"))
            .collect()
    }

    /// The rows turned away, each with its reason.
    ///
    /// # Panics
    /// If a reason is null.
    pub fn rejected(&self) -> Vec<(u32, &str)> {
        let reader = crate::read::Varying::new(self.rejected.buffers(0));
        let reason = |at| reader.str(at).expect("a reason is never null");
        self.rejected_rows
            .iter()
            .enumerate()
            .map(|(at, row)| (*row, reason(at)))
            .collect()
    }
}

impl PortRows {
    fn checked(plan: &TransformPlan, output: Output, input_rows: u32) -> Self {
        let port = &plan.ports[output.port as usize];
        match &output.origin {
            Origin::Same => assert_eq!(output.rows, input_rows, "rows of the same origin"),
            Origin::Parents(parents) => {
                assert_eq!(
                    parents.len(),
                    output.rows as usize,
                    "parents of port `{}`",
                    port.name
                );
                check::row_numbers("a parent", parents, input_rows);
            }
            Origin::None => assert!(
                !port.carry,
                "port `{}` carries and has no parents",
                port.name
            ),
        }
        let columns: Rc<[Column]> = port
            .columns
            .iter()
            .map(|field| Column::try_from(field).expect("the plan names known types"))
            .collect();
        for (column, buffers) in columns.iter().zip(&output.columns) {
            check::column(column, buffers, output.rows as usize);
        }
        Self {
            made: Batch::new(columns, output.rows, output.columns),
            origin: output.origin,
        }
    }

    fn parent(&self, row: usize) -> Option<usize> {
        match &self.origin {
            Origin::Same => Some(row),
            Origin::Parents(parents) => Some(parents[row] as usize),
            Origin::None => None,
        }
    }
}

/// The reasons of rejects, checked, as a batch of one column.
pub(super) fn reasons(rows: usize, reasons: Buffers) -> Batch {
    let column = Column::new("reason", crate::DataType::Utf8, false);
    if rows > 0 {
        check::column(&column, &reasons, rows);
    }
    Batch::new(
        Rc::from([column]),
        u32::try_from(rows).expect("rows are numbered by u32"),
        vec![reasons],
    )
}
