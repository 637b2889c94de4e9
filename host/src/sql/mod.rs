//! SQL expressions over the columns of a step: what `filter` and `select` compute.
//!
//! DataFusion parses, types and evaluates them. What is ours is what a stream needs beyond that: [`names`] finds
//! the columns and functions in the parsed text, so that a wrong one is shown where it stands, and refuses what
//! would not be the same in a replay; [`compile`] makes arithmetic checked and results fit the data plane.
//!
//! Pure: batches in, columns out.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion_physical_expr::PhysicalExpr;

use crate::batch::UTC;
use crate::ids::BatchTime;

mod compile;
mod functions;
mod names;
#[cfg(test)]
mod tests;

/// How an expression asks for the time of its epoch: as a function, which becomes a column of this name.
const BATCH_TIME: &str = "batch_time()";

/// What is wrong with an expression, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What, one sentence without a full stop.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// A checked expression.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    physical: Arc<dyn PhysicalExpr>,
    columns: Vec<usize>,
    asks_time: bool,
    field: Field,
}

impl Expression {
    /// Checks `text` over the columns of `input`.
    pub fn new(text: &str, input: &Schema) -> Result<Self, Vec<Mistake>> {
        let mut parsed = names::parse(text)?;
        let named = names::resolve(&mut parsed, text, input)?;
        let compiled = compile::compile(parsed, input).map_err(|message| {
            vec![Mistake {
                span: 0..text.len(),
                message,
                help: None,
            }]
        })?;
        Ok(Self {
            text: text.to_owned(),
            physical: compiled.physical,
            columns: named.columns,
            asks_time: named.asks_time,
            field: compiled.field,
        })
    }

    /// The same expression over other columns, among which are all it names, of the same types.
    pub fn over(&self, input: &Schema) -> Self {
        Self::new(&self.text, input).expect("it is right over a schema with these columns")
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The columns of the input that it names.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Whether it says yes or no of a row.
    pub fn is_condition(&self) -> bool {
        *self.field.data_type() == DataType::Boolean
    }

    /// What it gives, as a column of this name.
    pub fn field(&self, name: &str) -> Field {
        self.field.clone().with_name(name)
    }

    /// Its value for each row; the error is that of one of the rows.
    pub fn evaluate(&self, batch: &RecordBatch, time: BatchTime) -> Result<ArrayRef, String> {
        let timed;
        let batch = match self.asks_time {
            true => {
                timed = with_time(batch, time);
                &timed
            }
            false => batch,
        };
        let value = self.physical.evaluate(batch);
        value
            .and_then(|value| value.into_array(batch.num_rows()))
            .map_err(|error| compile::in_words(&error))
    }
}

/// The batch with the epoch's time beside its columns, under the name by which an expression asks for it.
fn with_time(batch: &RecordBatch, time: BatchTime) -> RecordBatch {
    let times = TimestampMicrosecondArray::from(vec![time.0 * 1000; batch.num_rows()]);
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(times.with_timezone(UTC)));
    let schema = names::schema_with_time(batch.schema_ref());
    RecordBatch::try_new(Arc::new(schema), columns).expect("one column more, of as many rows")
}

/// What a step computes of its rows.
#[derive(Clone, Debug)]
pub enum Sql {
    /// Which of them go on.
    Filter(Expression),
    /// Columns, by name.
    Select(Vec<(String, Expression)>),
}

/// What [`Sql`] makes of a batch.
#[derive(Debug)]
pub enum Computed {
    /// The rows that go on.
    Rows(UInt32Array),
    /// The columns, a value for every row.
    Columns(Vec<ArrayRef>),
}

impl Sql {
    /// The columns of the input that it names.
    pub fn columns(&self) -> Vec<usize> {
        let columns = self
            .expressions()
            .flat_map(|expression| &expression.columns);
        columns.copied().collect()
    }

    fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let (condition, columns) = match self {
            Self::Filter(condition) => (Some(condition), [].as_slice()),
            Self::Select(columns) => (None, columns.as_slice()),
        };
        let columns = columns.iter().map(|(_, expression)| expression);
        condition.into_iter().chain(columns)
    }

    /// The same over other columns, among which are all it names, of the same types.
    pub fn over(&self, input: &Schema) -> Self {
        match self {
            Self::Filter(condition) => Self::Filter(condition.over(input)),
            Self::Select(columns) => {
                let columns = columns.iter();
                let columns = columns.map(|(name, column)| (name.clone(), column.over(input)));
                Self::Select(columns.collect())
            }
        }
    }

    /// Computes a batch; the error is that of one of its rows.
    pub fn compute(&self, batch: &RecordBatch, time: BatchTime) -> Result<Computed, String> {
        match self {
            Self::Filter(condition) => {
                let holds = condition.evaluate(batch, time)?;
                // Null is no.
                let holds = holds.as_boolean().iter().enumerate();
                let rows = holds.filter(|(_, holds)| *holds == Some(true));
                let rows = UInt32Array::from_iter_values(rows.map(|(row, _)| row as u32));
                Ok(Computed::Rows(rows))
            }
            Self::Select(columns) => {
                let columns = columns.iter();
                let columns = columns.map(|(_, column)| column.evaluate(batch, time));
                Ok(Computed::Columns(columns.collect::<Result<_, _>>()?))
            }
        }
    }

    /// Every row of `rows` that it cannot be computed for, with the reason: a batch fails as a whole, so by halves.
    pub fn bad_rows(
        &self,
        batch: &RecordBatch,
        time: BatchTime,
        rows: Range<usize>,
    ) -> Vec<(usize, String)> {
        let Err(reason) = self.compute(&batch.slice(rows.start, rows.len()), time) else {
            return Vec::new();
        };
        if rows.len() == 1 {
            return vec![(rows.start, reason)];
        }
        let middle = rows.start + rows.len() / 2;
        let mut bad = self.bad_rows(batch, time, rows.start..middle);
        bad.extend(self.bad_rows(batch, time, middle..rows.end));
        bad
    }
}
