//! The rows of a key, read in place.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use crate::emit::Rejected;
use crate::read::Ends;
use crate::record::{self, Readable, Row, Wanted};
use crate::wit::Rejects;
use crate::{Batch, Reject};

/// The rows of one input, of all keys of a call.
#[derive(Debug)]
pub struct Group {
    rows: Batch,
    ends: Vec<u8>,
    rejected: RefCell<BTreeMap<usize, Reject>>,
}

impl Group {
    pub(super) fn new(rows: Batch, ends: Vec<u8>) -> Self {
        Self {
            rows,
            ends,
            rejected: RefCell::default(),
        }
    }

    pub(super) fn rows_of(&self, key: usize) -> Range<usize> {
        Ends::new(&self.ends).group(key)
    }

    /// Turns rows away that were not yet.
    pub(super) fn reject(&self, rows: Range<usize>, reject: &Reject) {
        let mut rejected = self.rejected.borrow_mut();
        for row in rows {
            rejected.entry(row).or_insert_with(|| reject.clone());
        }
    }

    /// Views of the columns. Rows with a null in a field without room for one are turned away, once for all readings.
    fn readers<'a, R: Row<'a>>(&'a self) -> R::Readers {
        let readers = R::readers(&self.rows);
        let columns = 0..self.rows.columns().len();
        let nulls = columns
            .map(|column| self.rows.buffers(column))
            .any(|buffers| !buffers.validity.is_empty());
        for row in 0..if nulls { self.rows.rows() } else { 0 } {
            if let Err(column) = R::read(&readers, row) {
                let reason = record::null_in(&self.rows.columns()[column]);
                self.reject(row..row + 1, &reason);
            }
        }
        readers
    }
}

/// What was turned away of each input; nothing at all if nothing was.
pub(super) fn rejects(groups: &[Group]) -> Vec<Rejects> {
    if groups
        .iter()
        .all(|group| group.rejected.borrow().is_empty())
    {
        return Vec::new();
    }
    groups
        .iter()
        .map(|group| {
            let mut rejected = Rejected::default();
            for (row, reject) in group.rejected.take() {
                rejected.push(row, reject);
            }
            rejected.finish()
        })
        .collect()
}

/// The rows of a key: an iterator of records, each read in place when it is its turn. A clone reads them again. A row
/// with a null in a field that is not an `Option` is turned away, and not among them.
pub struct Rows<'a, R: Readable> {
    readers: Rc<<R::In<'a> as Row<'a>>::Readers>,
    group: &'a Group,
    ahead: Range<usize>,
}

impl<'a, R: Readable> Rows<'a, R> {
    /// Whether none are left.
    pub fn is_empty(&self) -> bool {
        self.clone().next().is_none()
    }

    /// Calls `each` with every row; those that it refuses are turned away, and the others go on.
    ///
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Record)] struct Order { amount: i64 }
    /// # #[derive(Record)] struct Account { spent: i64 }
    /// fn update(_: (), orders: Rows<Order>, state: &mut State<Account>, _: &mut Emit<Account>) {
    ///     let mut spent = state.get().map_or(0, |account| account.spent);
    ///     orders.each(|order| {
    ///         if order.amount < 0 {
    ///             return reject("the amount is negative");
    ///         }
    ///         spent += order.amount;
    ///         Ok(())
    ///     });
    ///     state.put(Account { spent });
    /// }
    /// # export_keyed!(update: update);
    /// # fn main() {}
    /// ```
    pub fn each(mut self, mut each: impl FnMut(R::In<'a>) -> Result<(), Reject>) {
        while let Some(row) = self.next() {
            if let Err(reject) = each(row) {
                let at = self.ahead.start - 1;
                self.group.reject(at..at + 1, &reject);
            }
        }
    }
}

impl<'a, R: Readable> Iterator for Rows<'a, R> {
    type Item = R::In<'a>;

    #[inline]
    fn next(&mut self) -> Option<R::In<'a>> {
        self.ahead
            .find_map(|row| <R::In<'a>>::read(&self.readers, row).ok())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.ahead.len()))
    }
}

impl<R: Readable> Clone for Rows<'_, R> {
    fn clone(&self) -> Self {
        Self {
            readers: Rc::clone(&self.readers),
            group: self.group,
            ahead: self.ahead.clone(),
        }
    }
}

impl<R: Readable> fmt::Debug for Rows<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("ahead", &self.ahead)
            .finish_non_exhaustive()
    }
}

/// The rows of a key in every input: [`Rows`] of the only one, or a tuple with the [`Rows`] of each.
pub trait Inputs<'a>: Sized {
    /// Views of the columns of all inputs.
    type Readers;

    /// The columns that it wants, input by input.
    fn wanted() -> Vec<Vec<Wanted>>;

    /// Views of the columns of all inputs.
    fn readers(groups: &'a [Group]) -> Self::Readers;

    /// The rows of a key.
    fn rows(readers: &Self::Readers, groups: &'a [Group], key: usize) -> Self;
}

impl<'a, R: Readable> Inputs<'a> for Rows<'a, R> {
    type Readers = Rc<<R::In<'a> as Row<'a>>::Readers>;

    fn wanted() -> Vec<Vec<Wanted>> {
        vec![<R::In<'a>>::wanted()]
    }

    fn readers(groups: &'a [Group]) -> Self::Readers {
        Rc::new(groups[0].readers::<R::In<'a>>())
    }

    #[inline]
    fn rows(readers: &Self::Readers, groups: &'a [Group], key: usize) -> Self {
        let group = &groups[0];
        Self {
            readers: Rc::clone(readers),
            group,
            ahead: group.rows_of(key),
        }
    }
}

macro_rules! inputs {
    ($($input:ident $at:tt),*) => {
        impl<'a, $($input: Readable),*> Inputs<'a> for ($(Rows<'a, $input>,)*) {
            type Readers = ($(<Rows<'a, $input> as Inputs<'a>>::Readers,)*);

            fn wanted() -> Vec<Vec<Wanted>> {
                vec![$(<$input::In<'a>>::wanted()),*]
            }

            fn readers(groups: &'a [Group]) -> Self::Readers {
                ($(<Rows<'a, $input>>::readers(&groups[$at..]),)*)
            }

            #[inline]
            fn rows(readers: &Self::Readers, groups: &'a [Group], key: usize) -> Self {
                ($(<Rows<'a, $input>>::rows(&readers.$at, &groups[$at..], key),)*)
            }
        }
    };
}

inputs!(A 0, B 1);
inputs!(A 0, B 1, C 2);
inputs!(A 0, B 1, C 2, D 3);
