//! Which partition a key belongs to. State and plans are stored by it, so what is written here can never change.
//!
//! A key is hashed column by column: `h = xxh3_64(bytes of the value, seed = h)`, starting with 0; a null is
//! `h = xxh3_64(no bytes, seed = !h)`. The bytes of a value are, little-endian: integers, dates and timestamps as int64 (uint64: the
//! same eight bytes), floats as float64, decimals as 128-bit integers, booleans as one byte 0 or 1; utf8 and binary as
//! they are. The key group is the hash modulo [`KEY_GROUPS`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, ToByteSlice,
};
use arrow::error::ArrowError;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::{KEY_GROUPS, KeyGroup, PartitionId};

/// The key group of every row of the key columns, which have types that [`super::Aggregate::output_schema`] allows.
pub fn key_groups(keys: &[ArrayRef]) -> Result<Vec<KeyGroup>, ArrowError> {
    let rows = keys.first().map_or(0, |column| column.len());
    let mut hashes = vec![0; rows];
    for column in keys {
        fold(&mut hashes, column)?;
    }
    let group = |hash| KeyGroup((hash % u64::from(KEY_GROUPS)) as u16);
    Ok(hashes.into_iter().map(group).collect())
}

/// The partition that owns a key group when there are `partitions` of them (at most [`KEY_GROUPS`]).
pub fn partition_of(group: KeyGroup, partitions: u32) -> PartitionId {
    PartitionId(u32::from(group.0) * partitions / u32::from(KEY_GROUPS))
}

/// The rows of each partition, without partitions that have none; `keys` are the batch's keys. Rows without a key are all of partition 0.
pub fn by_partition(
    batch: &RecordBatch,
    keys: &[ArrayRef],
    partitions: u32,
) -> Result<Vec<(PartitionId, RecordBatch)>, ArrowError> {
    if keys.is_empty() || partitions == 1 {
        return Ok(vec![(PartitionId(0), batch.clone())]);
    }
    let mut rows = vec![Vec::new(); partitions as usize];
    for (row, group) in (0..).zip(key_groups(keys)?) {
        rows[partition_of(group, partitions).0 as usize].push(row);
    }
    let rows = (0..).map(PartitionId).zip(rows);
    rows.filter(|(_, rows)| !rows.is_empty())
        .map(|(partition, rows)| {
            Ok((
                partition,
                take_record_batch(batch, &UInt32Array::from(rows))?,
            ))
        })
        .collect()
}

fn fold(hashes: &mut [u64], column: &ArrayRef) -> Result<(), ArrowError> {
    match column.data_type() {
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            each(hashes, column, |row| column.value(row).as_bytes());
        }
        DataType::Binary => {
            let column = column.as_binary::<i32>();
            each(hashes, column, |row| column.value(row));
        }
        DataType::Boolean => {
            let column = column.as_boolean();
            each(
                hashes,
                column,
                |row| if column.value(row) { &[1] } else { &[0] },
            );
        }
        DataType::Decimal128(..) => primitives::<Decimal128Type>(hashes, column),
        DataType::Float32 | DataType::Float64 => {
            primitives::<Float64Type>(hashes, &cast(column, &DataType::Float64)?);
        }
        // A cast would refuse the upper half.
        DataType::UInt64 => primitives::<arrow::datatypes::UInt64Type>(hashes, column),
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>();
            let days: PrimitiveArray<Int64Type> = days.unary(i64::from);
            primitives::<Int64Type>(hashes, &(Arc::new(days) as ArrayRef));
        }
        _ => primitives::<Int64Type>(hashes, &cast(column, &DataType::Int64)?),
    }
    Ok(())
}

fn primitives<T: ArrowPrimitiveType>(hashes: &mut [u64], column: &ArrayRef) {
    let column = column.as_primitive::<T>();
    // The host is little-endian, as the contract's buffers are.
    each(hashes, column, |row| {
        column.values()[row..=row].to_byte_slice()
    });
}

fn each<'a>(hashes: &mut [u64], column: &'a dyn Array, value: impl Fn(usize) -> &'a [u8]) {
    for (row, hash) in hashes.iter_mut().enumerate() {
        *hash = match column.is_valid(row) {
            true => xxh3_64_with_seed(value(row), *hash),
            false => xxh3_64_with_seed(&[], !*hash),
        };
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Date32Array, Decimal128Array, Float32Array, Int16Array, Int64Array,
        StringArray,
    };

    use super::*;

    fn groups(keys: impl IntoIterator<Item = ArrayRef>) -> Vec<u16> {
        let keys: Vec<_> = keys.into_iter().collect();
        let groups = key_groups(&keys).expect("key types");
        groups.into_iter().map(|group| group.0).collect()
    }

    fn texts() -> ArrayRef {
        Arc::new(StringArray::from(vec![
            Some("the"),
            Some("of"),
            Some(""),
            None,
        ]))
    }

    /// The expected numbers come from another implementation of xxh3, the Python package `xxhash`.
    #[test]
    fn a_key_keeps_its_group_for_ever() {
        assert_eq!(groups([texts()]), [125, 80, 194, 85]);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, -1, 0]));
        assert_eq!(groups([texts(), Arc::clone(&numbers)]), [141, 37, 113, 75]);
        assert_eq!(groups([numbers, texts()]), [101, 238, 229, 72]);
        let others: [ArrayRef; 4] = [
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            Arc::new(Decimal128Array::from(vec![Some(1), Some(-1), None])),
            Arc::new(Date32Array::from(vec![Some(1), Some(-1), None])),
            Arc::new(Float32Array::from(vec![Some(0.5), Some(-2.0), None])),
        ];
        assert_eq!(
            others.map(|column| groups([column])),
            [[235, 219, 85], [17, 19, 85], [46, 19, 85], [49, 248, 85]]
        );
    }

    #[test]
    fn a_wider_type_of_the_same_number_is_in_the_same_group() {
        let narrow: ArrayRef = Arc::new(Int16Array::from(vec![Some(-7), None, Some(300)]));
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(-7), None, Some(300)]));
        assert_eq!(groups([narrow]), groups([wide]));
    }

    #[test]
    fn partitions_are_ranges_of_key_groups_and_cover_them() {
        for partitions in [1, 2, 7, 8, 256] {
            let owners: Vec<_> = (0..KEY_GROUPS)
                .map(|group| partition_of(KeyGroup(group), partitions).0)
                .collect();
            assert!(owners.is_sorted());
            assert_eq!((owners[0], owners[255]), (0, partitions - 1));
        }
    }
}
