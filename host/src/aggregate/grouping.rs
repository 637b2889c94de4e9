//! Brings the rows of one epoch's partition together by key, in the order of the keys.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;

use super::bug;
use super::groups::Groups;
use crate::error::Failure;

/// Keys that have rows, or are asked for, and which rows each has.
#[derive(Debug)]
pub struct Grouping {
    /// The key columns, a row a key, in the order of the keys.
    pub keys: Vec<ArrayRef>,
    /// Of each input, its rows by key.
    pub inputs: Vec<ByKey>,
}

/// The rows of one input by key.
#[derive(Debug)]
pub struct ByKey {
    /// Row numbers: those of the first key in their order, then those of the second.
    pub rows: UInt32Array,
    /// Where the rows of each key end.
    pub ends: Vec<u32>,
}

/// Groups inputs by their key columns, which are of the types in `schema`. Every key of `asked` is there, even one without rows.
///
/// # Errors
/// Only for a bug: the columns are not those of the schema.
pub fn group(
    schema: &Schema,
    inputs: &[Vec<ArrayRef>],
    asked: &[ArrayRef],
) -> Result<Grouping, Failure> {
    try_group(schema, inputs, asked).map_err(bug)
}

fn try_group(
    schema: &Schema,
    inputs: &[Vec<ArrayRef>],
    asked: &[ArrayRef],
) -> Result<Grouping, ArrowError> {
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    let mut groups = Groups::new(&columns, schema)?;
    let mut found = Vec::with_capacity(inputs.len());
    for input in inputs {
        let mut of_rows = Vec::new();
        groups.assign(input, rows_of(input), |group| of_rows.push(group))?;
        found.push(of_rows);
    }
    groups.assign(asked, rows_of(asked), |_| ())?;
    let order = UInt32Array::from(groups.sorted());
    let order = order.slice(0, groups.len());
    let keys = groups.columns()?;
    let keys = keys.iter().map(|column| take(column, &order, None));
    let mut place = vec![0; groups.len()];
    for (sorted, group) in (0..).zip(order.values()) {
        place[*group as usize] = sorted;
    }
    Ok(Grouping {
        keys: keys.collect::<Result<_, _>>()?,
        inputs: found.iter().map(|rows| by_key(rows, &place)).collect(),
    })
}

fn rows_of(columns: &[ArrayRef]) -> usize {
    columns.first().map_or(0, |column| column.len())
}

/// Counts, sums up, and puts every row in its place: rows of a key keep their order.
fn by_key(group_of_row: &[u32], place: &[u32]) -> ByKey {
    let mut ends = vec![0u32; place.len()];
    for group in group_of_row {
        ends[place[*group as usize] as usize] += 1;
    }
    let mut next = Vec::with_capacity(ends.len());
    let mut sum = 0;
    for end in &mut ends {
        next.push(sum);
        sum += *end;
        *end = sum;
    }
    let mut rows = vec![0u32; group_of_row.len()];
    for (row, group) in (0..).zip(group_of_row) {
        let at = &mut next[place[*group as usize] as usize];
        rows[*at as usize] = row;
        *at += 1;
    }
    ByKey {
        rows: UInt32Array::from(rows),
        ends,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type};
    use proptest::prelude::*;

    use super::*;

    type Keys = Vec<Option<i64>>;

    fn column(keys: &Keys) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from(keys.clone()))]
    }

    proptest! {
        #[test]
        fn rows_are_where_a_map_of_lists_has_them(
            left in prop::collection::vec(prop::option::of(-3i64..3), 0..20),
            right in prop::collection::vec(prop::option::of(-3i64..3), 0..20),
            asked in prop::collection::vec(prop::option::of(-5i64..5), 0..4),
        ) {
            let mut twin: BTreeMap<Option<i64>, [Vec<u32>; 2]> = BTreeMap::new();
            for (input, keys) in [&left, &right].into_iter().enumerate() {
                for (row, key) in (0..).zip(keys) {
                    twin.entry(*key).or_default()[input].push(row);
                }
            }
            for key in &asked {
                twin.entry(*key).or_default();
            }
            let schema = Schema::new(vec![Field::new("k", DataType::Int64, true)]);
            let grouped = group(&schema, &[column(&left), column(&right)], &column(&asked)[..]).unwrap();
            let keys: Keys = grouped.keys[0].as_primitive::<Int64Type>().iter().collect();
            prop_assert_eq!(keys, twin.keys().copied().collect::<Vec<_>>());
            for (input, by_key) in grouped.inputs.iter().enumerate() {
                let mut start = 0;
                for (end, rows) in by_key.ends.iter().zip(twin.values()) {
                    let found = &by_key.rows.values()[start..*end as usize];
                    prop_assert_eq!(found, &rows[input][..]);
                    start = *end as usize;
                }
            }
        }
    }
}
