//! A batch whose rows are found by key: the static side of a join, prepared once.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::{Join, Keys, Pairs};

/// The right side of a join, by key.
#[derive(Debug)]
pub struct Lookup {
    batch: RecordBatch,
    rows: HashMap<Box<[u8]>, Vec<u32>>,
}

impl Lookup {
    /// Prepares `batch` as the right side of `join`.
    pub fn new(join: &Join, batch: RecordBatch) -> Result<Self, ArrowError> {
        let keys = Keys::of(&batch, &join.keys[1])?;
        let mut rows: HashMap<Box<[u8]>, Vec<u32>> = HashMap::new();
        for row in (0..batch.num_rows() as u32).filter(|row| !keys.has_null(*row)) {
            let key = keys.row(row).as_ref().into();
            rows.entry(key).or_default().push(row);
        }
        Ok(Self { batch, rows })
    }

    /// The rows themselves.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Which rows belong to those of a left batch, in its order and then in theirs. The join is one that keeps no right
    /// rows alone.
    pub fn pairs(&self, join: &Join, left: &RecordBatch) -> Result<Pairs, ArrowError> {
        let keys = Keys::of(left, &join.keys[0])?;
        let mut pairs = Pairs::default();
        for row in 0..left.num_rows() as u32 {
            let found = match keys.has_null(row) {
                true => None,
                false => self.rows.get(keys.row(row).as_ref()),
            };
            match found {
                Some(found) => found
                    .iter()
                    .for_each(|other| pairs.push(Some(row), Some(*other))),
                None if join.kind.keeps_left() => pairs.push(Some(row), None),
                None => {}
            }
        }
        Ok(pairs)
    }
}
