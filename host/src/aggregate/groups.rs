//! Key columns to group numbers, and back.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::table::{KeyTable, Keys};

/// How keys become byte strings.
enum Encoding {
    /// No key columns: everything is one group.
    Whole { rows: i64 },
    /// A single utf8 column as it is.
    Text(KeyTable),
    /// A single binary column as it is.
    Bytes(KeyTable),
    /// Any other keys as Arrow rows, whose order as bytes is the order of the keys, nulls first.
    Rows(KeyTable, RowConverter),
}

/// The groups so far, numbered from 0 in order of appearance.
pub(super) struct Groups(Encoding);

impl Groups {
    /// Groups for the key columns `keys` of `schema`.
    pub fn new(keys: &[usize], schema: &Schema) -> Result<Self, ArrowError> {
        let types: Vec<_> = keys
            .iter()
            .map(|&at| schema.field(at).data_type())
            .collect();
        Ok(Self(match types[..] {
            [] => Encoding::Whole { rows: 0 },
            [DataType::Utf8] => Encoding::Text(KeyTable::new()),
            [DataType::Binary] => Encoding::Bytes(KeyTable::new()),
            _ => {
                let fields = types.iter().map(|&kind| SortField::new(kind.clone()));
                Encoding::Rows(KeyTable::new(), RowConverter::new(fields.collect())?)
            }
        }))
    }

    /// Counts `rows` rows in their groups and tells `each` the groups, row by row.
    pub fn assign(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
        each: impl FnMut(u32),
    ) -> Result<(), ArrowError> {
        match &mut self.0 {
            Encoding::Whole { rows: counted } => {
                *counted += rows as i64;
                std::iter::repeat_n(0, rows).for_each(each);
            }
            Encoding::Text(table) => table.assign(Keys::from(keys[0].as_string::<i32>()), each),
            Encoding::Bytes(table) => table.assign(Keys::from(keys[0].as_binary::<i32>()), each),
            Encoding::Rows(table, converter) => {
                let keys: Vec<_> = keys.iter().map(one_zero_one_nan).collect();
                let encoded = converter.convert_columns(&keys)?.try_into_binary()?;
                table.assign(Keys::from(&encoded), each);
            }
        }
        Ok(())
    }

    /// Makes room for so many more groups.
    pub fn reserve(&mut self, groups: usize) {
        match &mut self.0 {
            Encoding::Whole { .. } => {}
            Encoding::Text(table) | Encoding::Bytes(table) | Encoding::Rows(table, _) => {
                table.reserve(groups);
            }
        }
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Encoding::Whole { rows } => usize::from(*rows > 0),
            Encoding::Text(table) | Encoding::Bytes(table) | Encoding::Rows(table, _) => {
                table.len()
            }
        }
    }

    /// Rows of each group.
    pub fn counts(&self) -> Vec<i64> {
        match &self.0 {
            Encoding::Whole { rows } => vec![*rows],
            Encoding::Text(table) | Encoding::Bytes(table) | Encoding::Rows(table, _) => {
                table.counts()
            }
        }
    }

    /// The key columns, one row a group.
    pub fn columns(&self) -> Result<Vec<ArrayRef>, ArrowError> {
        match &self.0 {
            Encoding::Whole { .. } => Ok(Vec::new()),
            Encoding::Text(table) => {
                let (offsets, bytes, nulls) = buffers(table)?;
                Ok(vec![Arc::new(StringArray::try_new(offsets, bytes, nulls)?)])
            }
            Encoding::Bytes(table) => {
                let (offsets, bytes, nulls) = buffers(table)?;
                Ok(vec![Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)])
            }
            Encoding::Rows(table, converter) => {
                let parser = converter.parser();
                let keys = (0..table.len()).filter_map(|group| table.key(group));
                converter.convert_rows(keys.map(|key| parser.parse(key)))
            }
        }
    }

    /// The groups in the order of their keys, nulls first.
    pub fn sorted(&self) -> Vec<u32> {
        let (Encoding::Text(table) | Encoding::Bytes(table) | Encoding::Rows(table, _)) = &self.0
        else {
            return vec![0];
        };
        // Most keys differ in their first eight bytes, and numbers compare faster than what they stand for.
        let mut order: Vec<_> = (0..table.len())
            .map(|group| (table.key(group).map(first_eight), group as u32))
            .collect();
        order.sort_unstable_by(|(a, a_group), (b, b_group)| {
            let whole = |group: u32| table.key(group as usize);
            a.cmp(b).then_with(|| whole(*a_group).cmp(&whole(*b_group)))
        });
        order.into_iter().map(|(_, group)| group).collect()
    }

    /// Forgets all groups, keeps the memory.
    pub fn clear(&mut self) {
        match &mut self.0 {
            Encoding::Whole { rows } => *rows = 0,
            Encoding::Text(table) | Encoding::Bytes(table) | Encoding::Rows(table, _) => {
                table.clear()
            }
        }
    }
}

/// The first eight bytes as a number that sorts as they do.
fn first_eight(key: &[u8]) -> u64 {
    let mut padded = [0; 8];
    let length = key.len().min(8);
    padded[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(padded)
}

type Buffers = (OffsetBuffer<i32>, Buffer, Option<NullBuffer>);

fn buffers(table: &KeyTable) -> Result<Buffers, ArrowError> {
    let (bytes, ends) = table.keys();
    if i32::try_from(bytes.len()).is_err() {
        return Err(ArrowError::OffsetOverflowError(bytes.len()));
    }
    let offsets = std::iter::once(0).chain(ends.iter().map(|&end| end as i32));
    let nulls = table.null().map(|null| {
        let valid: Vec<_> = (0..ends.len()).map(|group| group != null).collect();
        NullBuffer::from(valid)
    });
    let offsets = OffsetBuffer::new(offsets.collect());
    Ok((offsets, Buffer::from(bytes), nulls))
}

/// A column in which equal numbers have equal bytes: -0.0 groups with 0.0, and any NaN with any other.
pub fn one_zero_one_nan(column: &ArrayRef) -> ArrayRef {
    fn normal<T: ArrowPrimitiveType>(column: &ArrayRef, nan: T::Native) -> ArrayRef
    where
        T::Native: std::ops::Add<Output = T::Native> + PartialOrd,
    {
        let normal = |value: T::Native| match value.partial_cmp(&value) {
            Some(_) => value + T::Native::default(), // -0.0 + 0.0 is 0.0
            None => nan,
        };
        Arc::new(column.as_primitive::<T>().unary::<_, T>(normal))
    }
    match column.data_type() {
        DataType::Float32 => normal::<Float32Type>(column, f32::NAN),
        DataType::Float64 => normal::<Float64Type>(column, f64::NAN),
        _ => Arc::clone(column),
    }
}
