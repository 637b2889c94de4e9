//! The test of a reducer.

use std::marker::PhantomData;
use std::rc::Rc;

use super::check;
use super::input::{Input, cells};
use super::port::{object, records};
use super::test::Test;
use crate::record::Row;
use crate::wit::{Field, ReducerPlan};
use crate::{Batch, Cell, Column, Reducer, Result};

/// A reducer with its input; see [`reducer`](super::reducer()).
pub type ReducerTest<R> = Test<ReducerUnderTest<R>>;

/// A reducer, and how its input is grouped.
#[derive(Debug)]
pub struct ReducerUnderTest<R> {
    /// How many rows each group has; all are one group unless set.
    groups: Option<Vec<usize>>,
    reducer: PhantomData<R>,
}

impl<R: Reducer> ReducerTest<R> {
    pub(super) fn new() -> Self {
        Self::of(ReducerUnderTest {
            groups: None,
            reducer: PhantomData,
        })
    }

    /// How many rows each group has; all rows are one group unless this is called.
    pub fn groups(mut self, lengths: impl IntoIterator<Item = usize>) -> Self {
        self.plugin.groups = Some(lengths.into_iter().collect());
        self
    }

    /// What `describe` answers.
    ///
    /// # Errors
    /// The reducer's own.
    pub fn describe(&self) -> Result<ReducerPlan> {
        R::describe(&self.config, &self.input.fields())
    }

    /// Describes, opens, and reduces each group: all rows at once, and again with a cut at each place and with cuts
    /// after each so many rows, which must not make a difference. If the reducer is invertible, what remains of the whole
    /// without its first part must be what its second part reduces to. Floats are compared with some tolerance.
    ///
    /// # Errors
    /// The reducer's own.
    ///
    /// # Panics
    /// If what comes back breaks the contract, or a cut makes a difference, or the groups are not of the input's rows.
    pub fn run(self) -> Result<ReducerRun> {
        let plan = self.describe()?;
        let (fields, buffers) = self.input.planned(&plan.columns);
        let columns = check::columns(&fields, &buffers, self.input.rows as usize);
        let rows = cells(&Batch::new(
            Rc::from(columns.clone()),
            self.input.rows,
            buffers,
        ));
        let lengths = self.plugin.groups.unwrap_or_else(|| vec![rows.len()]);
        let mut open = Open {
            reducer: R::open(&self.config, &fields)?,
            fields,
            columns,
        };
        let groups = split(&rows, &lengths);
        let reduced = open.reduce(&groups)?;
        for (group, total) in groups.iter().zip(cells(&reduced)) {
            open.check_cuts(group, &total)?;
            if plan.invertible {
                open.check_inverse(group, &total)?;
            }
        }
        Ok(ReducerRun { plan, reduced })
    }
}

type Cells = Vec<Cell<'static>>;

/// # Panics
/// If the lengths are not those of groups of all rows.
fn split<'r>(rows: &'r [Cells], lengths: &[usize]) -> Vec<&'r [Cells]> {
    assert_eq!(
        lengths.iter().sum::<usize>(),
        rows.len(),
        "the rows of all groups are the rows given"
    );
    assert!(!lengths.contains(&0), "no group is empty");
    let mut rest = rows;
    let next = |length: &usize| rest.split_off(..*length).expect("the lengths were checked");
    lengths.iter().map(next).collect()
}

/// An open reducer with the columns of its rows.
struct Open<R> {
    reducer: R,
    fields: Vec<Field>,
    columns: Vec<Column>,
}

impl<R: Reducer> Open<R> {
    fn reduce(&mut self, groups: &[&[Cells]]) -> Result<Batch> {
        let input = self.input(groups.iter().copied().flatten());
        let mut end = 0;
        let ends = groups.iter().flat_map(|group| {
            end += u32::try_from(group.len()).expect("rows are numbered by u32");
            end.to_le_bytes()
        });
        let reduced = self
            .reducer
            .reduce(crate::context(), ends.collect(), input.buffers)?;
        Ok(self.checked(groups.len(), reduced))
    }

    fn input<'r>(&self, rows: impl Iterator<Item = &'r Cells>) -> Input {
        Input::of_cells(&self.columns, rows.map(Vec::as_slice))
    }

    fn checked(&self, rows: usize, buffers: Vec<crate::wit::Buffers>) -> Batch {
        let columns = check::columns(&self.fields, &buffers, rows);
        let rows = u32::try_from(rows).expect("rows are numbered by u32");
        Batch::new(Rc::from(columns), rows, buffers)
    }

    fn check_cuts(&mut self, group: &[Cells], total: &Cells) -> Result<()> {
        let pieces = (1..group.len()).map(|length| group.chunks(length).collect());
        let halves = (1..group.len()).map(|at| <[_; 2]>::from(group.split_at(at)).to_vec());
        for parts in pieces.chain(halves).collect::<Vec<Vec<_>>>() {
            let reduced = cells(&self.reduce(&parts)?);
            let again = cells(&self.reduce(&[&reduced])?);
            let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
            assert!(
                same(&again[0], total),
                "reduced in parts of {lengths:?} rows, and the parts again, {} comes out instead of {}",
                self.json(&again[0]),
                self.json(total)
            );
        }
        Ok(())
    }

    fn check_inverse(&mut self, group: &[Cells], total: &Cells) -> Result<()> {
        for at in 1..group.len() {
            let (gone, left) = group.split_at(at);
            let parts = cells(&self.reduce(&[gone, left])?);
            let [total_input, gone_input] =
                [total, &parts[0]].map(|row| self.input(std::iter::once(row)).buffers);
            let inverse = self
                .reducer
                .inverse(crate::context(), 1, total_input, gone_input)?;
            let found = cells(&self.checked(1, inverse));
            assert!(
                same(&found[0], &parts[1]),
                "{} without the first {at} rows, {}, is {} instead of {}",
                self.json(total),
                self.json(&parts[0]),
                self.json(&found[0]),
                self.json(&parts[1])
            );
        }
        Ok(())
    }

    fn json(&self, row: &Cells) -> String {
        object(self.columns.iter().zip(row.iter().cloned()))
    }
}

fn same(a: &Cells, b: &Cells) -> bool {
    /// Sums of floats depend on their order in the last digits only.
    const TOLERANCE: f64 = 1e-9;
    a.iter().zip(b).all(|cells| match cells {
        (Cell::Float64(a), Cell::Float64(b)) => {
            a.total_cmp(b).is_eq() || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0)
        }
        (a, b) => a == b,
    })
}

/// What a reducer made: a row for each group.
#[derive(Debug)]
pub struct ReducerRun {
    plan: ReducerPlan,
    reduced: Batch,
}

impl ReducerRun {
    /// What `describe` answered.
    pub fn plan(&self) -> &ReducerPlan {
        &self.plan
    }

    /// A record for each group.
    ///
    /// # Panics
    /// If the record's types are not those of the columns.
    pub fn rows<'a, R: Row<'a>>(&'a self) -> Vec<R> {
        let types = |columns: &[Column]| -> Vec<_> {
            columns.iter().map(|column| column.data_type).collect()
        };
        assert_eq!(
            types(self.reduced.columns()),
            types(&R::columns(&[])),
            "the types of the result and of the record"
        );
        records(&self.reduced)
    }

    /// A JSON object for each group.
    pub fn json(&self) -> Vec<String> {
        let columns = self.reduced.columns();
        cells(&self.reduced)
            .into_iter()
            .map(|row| object(columns.iter().zip(row)))
            .collect()
    }
}
