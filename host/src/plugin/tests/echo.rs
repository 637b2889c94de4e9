//! Whatever goes in comes back the same.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float64Array, Int16Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};
use proptest::prelude::*;

use super::super::{Origin, Transform};
use super::guests::Guest;
use super::{bind, load, process};
use crate::batch::ColumnType;

const DECIMAL: ColumnType = ColumnType::Decimal {
    precision: 12,
    scale: 3,
};
const TYPES: [ColumnType; 9] = [
    ColumnType::Boolean,
    ColumnType::Int64,
    ColumnType::Float64,
    DECIMAL,
    ColumnType::Date,
    ColumnType::Timestamp,
    ColumnType::Utf8,
    ColumnType::Binary,
    ColumnType::Json,
];

/// A value of every type at once; a column takes the part that it needs.
type Seed = (i64, String, Vec<u8>);

fn array(column_type: ColumnType, seeds: &[Option<Seed>]) -> ArrayRef {
    let numbers = || seeds.iter().map(|seed| seed.as_ref().map(|seed| seed.0));
    let texts = || {
        seeds
            .iter()
            .map(|seed| seed.as_ref().map(|seed| seed.1.clone()))
    };
    match column_type {
        ColumnType::Boolean => Arc::new(
            numbers()
                .map(|n| n.map(|n| n % 2 == 0))
                .collect::<BooleanArray>(),
        ),
        ColumnType::Int64 => Arc::new(numbers().collect::<Int64Array>()),
        ColumnType::Float64 => Arc::new(
            numbers()
                .map(|n| n.map(|n| n as f64 / 7.0))
                .collect::<Float64Array>(),
        ),
        ColumnType::Decimal { .. } => {
            let values = numbers()
                .map(|n| n.map(|n| i128::from(n % 1_000_000_000_000)))
                .collect::<Decimal128Array>();
            Arc::new(values.with_data_type(column_type.data_type()))
        }
        ColumnType::Date => Arc::new(
            numbers()
                .map(|n| n.map(|n| n as i32))
                .collect::<Date32Array>(),
        ),
        ColumnType::Timestamp => {
            let values = numbers().collect::<TimestampMicrosecondArray>();
            Arc::new(values.with_data_type(column_type.data_type()))
        }
        ColumnType::Utf8 | ColumnType::Json => Arc::new(texts().collect::<StringArray>()),
        ColumnType::Binary => Arc::new(
            seeds
                .iter()
                .map(|seed| seed.as_ref().map(|seed| seed.2.clone()))
                .collect::<BinaryArray>(),
        ),
    }
}

fn echo(batch: &RecordBatch) -> (Transform, RecordBatch) {
    let transform =
        bind(&load(&Guest::default().module()), &batch.schema()).expect("the echo takes any input");
    let mut produced = process(&transform, batch).expect("the echo gives back what it got");
    assert_eq!(produced.rejected, []);
    let output = produced.outputs.pop().expect("the echo makes one output");
    assert!(matches!(output.origin, Origin::Same));
    assert_eq!(
        (output.port, output.rows, produced.outputs.len()),
        (0, batch.num_rows(), 0)
    );
    let columns = transform.ports()[0].columns.clone();
    let back =
        RecordBatch::try_new(columns, output.columns).expect("the columns are of the port's types");
    (transform, back)
}

fn seeds() -> impl Strategy<Value = Vec<Vec<Option<Seed>>>> {
    let seed = prop::option::weighted(
        0.7,
        (
            any::<i64>(),
            ".{0,12}",
            prop::collection::vec(any::<u8>(), 0..9),
        ),
    );
    (0..70usize).prop_flat_map(move |rows| {
        prop::collection::vec(prop::collection::vec(seed.clone(), rows), TYPES.len())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_batch_survives_the_round_trip_and_so_does_any_slice(
        columns in seeds(), start in 0.0..1.0f64, length in 0.0..1.0f64
    ) {
        let fields: Vec<Field> =
            TYPES.iter().map(|column_type| column_type.field(column_type.to_string(), true)).collect();
        let arrays = TYPES.iter().zip(&columns).map(|(column_type, seeds)| array(*column_type, seeds)).collect();
        let whole = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let start = (whole.num_rows() as f64 * start) as usize;
        let length = ((whole.num_rows() - start) as f64 * length) as usize;
        for batch in [whole.slice(start, length), whole] {
            let (_, back) = echo(&batch);
            prop_assert_eq!(back, batch);
        }
    }
}

#[test]
fn narrow_numbers_widen_and_dictionaries_are_decoded() {
    let dictionary: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
    let seconds = cast(
        &Int64Array::from(vec![1, 2, 3]),
        &DataType::Timestamp(TimeUnit::Second, None),
    )
    .unwrap();
    let batch = RecordBatch::try_from_iter([
        (
            "small",
            Arc::new(Int16Array::from(vec![Some(-1), None, Some(3)])) as ArrayRef,
        ),
        ("word", Arc::new(dictionary)),
        ("time", seconds),
    ])
    .unwrap();
    let (_, back) = echo(&batch);
    let expected: [ArrayRef; 3] = [
        Arc::new(Int64Array::from(vec![Some(-1), None, Some(3)])),
        Arc::new(StringArray::from(vec!["a", "b", "a"])),
        Arc::new(
            TimestampMicrosecondArray::from(vec![1_000_000, 2_000_000, 3_000_000])
                .with_data_type(ColumnType::Timestamp.data_type()),
        ),
    ];
    assert_eq!(back.columns(), expected);
}

#[test]
fn a_value_that_does_not_fit_is_refused_and_not_made_null() {
    let seconds = cast(
        &Int64Array::from(vec![1, i64::MAX]),
        &DataType::Timestamp(TimeUnit::Second, None),
    )
    .unwrap();
    let batch = RecordBatch::try_from_iter([("time", seconds)]).unwrap();
    let transform = bind(&load(&Guest::default().module()), &batch.schema()).unwrap();
    let mut instance = transform.open(&super::context()).unwrap();
    let error = instance.process(&super::context(), &batch).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("column `time` cannot be given as timestamp"),
        "{error}"
    );
    // The plugin had no part in it.
    instance
        .process(&super::context(), &batch.slice(0, 1))
        .unwrap();
}

#[test]
fn a_narrowed_transform_finds_its_columns_where_they_are_now() {
    let batch = RecordBatch::try_from_iter([
        ("unread", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
        ("read", Arc::new(Int64Array::from(vec![3, 4]))),
    ])
    .unwrap();
    let only_second = Guest {
        describe: "(call $put (i32.add (local.get $answer) (i32.const 4)) (i32.add (local.get $names) (i32.const 8)) (i32.const 1))
            (call $put (i32.add (local.get $port) (i32.const 8)) (i32.add (local.get $fields) (i32.const 20)) (i32.const 1))",
        ..Guest::default()
    };
    let transform = bind(&load(&only_second.module()), &batch.schema()).unwrap();
    assert_eq!(transform.columns(), [1]);
    let narrow = batch.project(&[1]).unwrap();
    let transform = transform.narrowed(&narrow.schema());
    assert_eq!(transform.columns(), [0]);
    let produced = process(&transform, &narrow).unwrap();
    assert_eq!(&produced.outputs[0].columns[0], narrow.column(0));
}
