//! Which Rust types are column values, and how each is read and written.

use std::borrow::Cow;

use crate::DataType;
use crate::bindings::transform::wasmill::plugin::types::Buffers;
use crate::builder::{BitBuilder, ColumnBuilder, FixedBuilder, Nullable, VaryingBuilder};
use crate::read::{Bits, Fixed, Varying};
use crate::text::Text;
use crate::types::{Date, Decimal, Json, Timestamp};

/// A type that a field of a record may have.
pub trait Value: Sized {
    /// Whether it can stand for a missing value.
    const NULLABLE: bool = false;
    /// Builds a column of it.
    type Builder: ColumnBuilder;

    /// Its column type.
    fn data_type() -> DataType;

    /// Whether a field of this type can read a column of that type.
    fn reads(data_type: DataType) -> bool {
        data_type == Self::data_type()
    }

    /// Adds it to a column.
    fn push(self, builder: &mut Self::Builder);
}

/// Reads a [`Value`] from buffers that live for `'a`.
pub trait ReadValue<'a>: Value {
    /// A view of a whole column.
    type Reader: Copy;

    /// The view of these buffers.
    fn reader(buffers: &'a Buffers) -> Self::Reader;

    /// The value of a row; `None` if it is missing and the type has no room for that.
    fn get(reader: &Self::Reader, row: usize) -> Option<Self>;
}

impl Value for bool {
    type Builder = BitBuilder;

    fn data_type() -> DataType {
        DataType::Boolean
    }

    #[inline]
    fn push(self, builder: &mut BitBuilder) {
        builder.push(self);
    }
}

impl<'a> ReadValue<'a> for bool {
    type Reader = Bits<'a>;

    fn reader(buffers: &'a Buffers) -> Bits<'a> {
        Bits::new(buffers)
    }

    #[inline]
    fn get(reader: &Bits<'a>, row: usize) -> Option<Self> {
        reader.get(row)
    }
}

macro_rules! fixed {
    ([$($generics:tt)*] $type:ty, $width:literal, $data_type:expr, $to:expr, $from:expr) => {
        impl<$($generics)*> Value for $type {
            type Builder = FixedBuilder<$width>;

            fn data_type() -> DataType {
                $data_type
            }

            #[inline]
            fn push(self, builder: &mut Self::Builder) {
                builder.push($to(self));
            }
        }

        impl<'a, $($generics)*> ReadValue<'a> for $type {
            type Reader = Fixed<'a, $width>;

            fn reader(buffers: &'a Buffers) -> Self::Reader {
                Fixed::new(buffers)
            }

            #[inline]
            fn get(reader: &Self::Reader, row: usize) -> Option<Self> {
                reader.get(row).map($from)
            }
        }
    };
}

fixed!([] i64, 8, DataType::Int64, i64::to_le_bytes, i64::from_le_bytes);
fixed!([] f64, 8, DataType::Float64, f64::to_le_bytes, f64::from_le_bytes);
fixed!([] Date, 4, DataType::Date, |date: Date| date.0.to_le_bytes(), |bytes| Date(i32::from_le_bytes(bytes)));
fixed!(
    [] Timestamp, 8, DataType::Timestamp,
    |time: Timestamp| time.0.to_le_bytes(), |bytes| Timestamp(i64::from_le_bytes(bytes))
);
fixed!(
    [const P: u8, const S: u8] Decimal<P, S>, 16, DataType::Decimal { precision: P, scale: S },
    |number: Decimal<P, S>| number.0.to_le_bytes(), |bytes| Decimal(i128::from_le_bytes(bytes))
);

macro_rules! varying {
    (
        $a:lifetime [$($life:lifetime)?] $type:ty, $data_type:expr, $reads:pat,
        |$value:ident| $bytes:expr, |$reader:ident, $row:ident| $get:expr
    ) => {
        impl<$($life)?> Value for $type {
            type Builder = VaryingBuilder;

            fn data_type() -> DataType {
                $data_type
            }

            fn reads(data_type: DataType) -> bool {
                matches!(data_type, $reads)
            }

            #[inline]
            fn push(self, builder: &mut VaryingBuilder) {
                let $value = &self;
                builder.push($bytes);
            }
        }

        impl<$a> ReadValue<$a> for $type {
            type Reader = Varying<$a>;

            fn reader(buffers: &$a Buffers) -> Varying<$a> {
                Varying::new(buffers)
            }

            #[inline]
            fn get($reader: &Varying<$a>, $row: usize) -> Option<Self> {
                $get
            }
        }
    };
}

/// A json text is a text, so a field that reads texts reads both.
macro_rules! text_column {
    () => {
        DataType::Utf8 | DataType::Json
    };
}

/// Any value of varying width can be read as its bytes.
macro_rules! byte_column {
    () => {
        DataType::Binary | DataType::Utf8 | DataType::Json
    };
}

varying!(
    'a ['a] &'a str, DataType::Utf8, text_column!(),
    |text| text.as_bytes(), |reader, row| reader.str(row)
);
impl Value for Text<'_> {
    type Builder = VaryingBuilder;

    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn reads(data_type: DataType) -> bool {
        <&str>::reads(data_type)
    }

    #[inline]
    fn push(self, builder: &mut VaryingBuilder) {
        let (bytes, length) = self.with_rest();
        builder.push_prefix(bytes, length);
    }
}

impl<'a> ReadValue<'a> for Text<'a> {
    type Reader = Varying<'a>;

    fn reader(buffers: &'a Buffers) -> Varying<'a> {
        Varying::new(buffers)
    }

    #[inline]
    fn get(reader: &Varying<'a>, row: usize) -> Option<Self> {
        reader.text(row)
    }
}

varying!(
    'a [] String, DataType::Utf8, text_column!(),
    |text| text.as_bytes(), |reader, row| reader.str(row).map(str::to_owned)
);
varying!(
    'a ['a] Cow<'a, str>, DataType::Utf8, text_column!(),
    |text| text.as_bytes(), |reader, row| reader.str(row).map(Cow::Borrowed)
);
varying!(
    'a ['a] Json<'a>, DataType::Json, DataType::Json,
    |json| json.0.as_bytes(), |reader, row| reader.str(row).map(|text| Json(text.into()))
);
varying!(
    'a ['a] &'a [u8], DataType::Binary, byte_column!(),
    |bytes| bytes, |reader, row| reader.bytes(row)
);
varying!(
    'a [] Vec<u8>, DataType::Binary, byte_column!(),
    |bytes| bytes, |reader, row| reader.bytes(row).map(<[u8]>::to_vec)
);

impl<T: Value> Value for Option<T> {
    const NULLABLE: bool = true;
    type Builder = Nullable<T::Builder>;

    fn data_type() -> DataType {
        T::data_type()
    }

    fn reads(data_type: DataType) -> bool {
        T::reads(data_type)
    }

    #[inline]
    fn push(self, builder: &mut Self::Builder) {
        match self {
            Some(value) => builder.push_with(|values| value.push(values)),
            None => builder.push_null(),
        }
    }
}

impl<'a, T: ReadValue<'a>> ReadValue<'a> for Option<T> {
    type Reader = T::Reader;

    fn reader(buffers: &'a Buffers) -> Self::Reader {
        T::reader(buffers)
    }

    #[inline]
    fn get(reader: &Self::Reader, row: usize) -> Option<Self> {
        Some(T::get(reader, row))
    }
}
