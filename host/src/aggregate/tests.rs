//! The aggregates against a slow [`twin`].

mod twin;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use twin::{Float, Value, one_nan, pieces, rows, twin, value};

use super::{Aggregate, Combiner, Function, Measure, Merger};
use crate::error::Failure;

/// Columns of every type; values come from small pools, so that groups and ties occur.
fn input() -> impl Strategy<Value = RecordBatch> {
    let texts = [
        "",
        "a",
        "a\0",
        "word",
        "fifteen bytes..",
        "sixteen bytes...",
        "sixteen bytes,,,",
        "seventeen bytes..",
    ];
    let floats = [
        0.0,
        -0.0,
        1.5,
        0.1,
        1e300,
        -1e300,
        1e-9,
        f64::NAN,
        f64::INFINITY,
    ];
    let row = (
        proptest::option::of(any::<bool>()),
        proptest::option::of(-2..3_i32),
        proptest::option::of(-1_000_000..1_000_000_i64),
        proptest::option::of(select(&[0, 7, u64::MAX / 1000][..])),
        proptest::option::of(select(floats.to_vec())),
        proptest::option::of(-9_999_999..9_999_999_i128),
        proptest::option::of(0..3_i32),
        proptest::option::of(0..3_i64),
        proptest::option::of(select(texts.to_vec())),
        proptest::option::of(vec(0..2_u8, 0..3)),
    );
    vec(row, 0..60).prop_map(|rows| {
        let texts: StringArray = rows.iter().map(|row| row.8).collect();
        let blobs: BinaryArray = rows.iter().map(|row| row.9.clone()).collect();
        let decimals: Decimal128Array = rows.iter().map(|row| row.5).collect();
        let times: TimestampMicrosecondArray = rows.iter().map(|row| row.7).collect();
        let columns: [(&str, ArrayRef); 10] = [
            (
                "flag",
                Arc::new(rows.iter().map(|row| row.0).collect::<BooleanArray>()),
            ),
            (
                "small",
                Arc::new(rows.iter().map(|row| row.1).collect::<Int32Array>()),
            ),
            (
                "whole",
                Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
            ),
            (
                "natural",
                Arc::new(rows.iter().map(|row| row.3).collect::<UInt64Array>()),
            ),
            (
                "float",
                Arc::new(rows.iter().map(|row| row.4).collect::<Float64Array>()),
            ),
            (
                "decimal",
                Arc::new(decimals.with_precision_and_scale(10, 2).unwrap()),
            ),
            (
                "date",
                Arc::new(rows.iter().map(|row| row.6).collect::<Date32Array>()),
            ),
            ("time", Arc::new(times.with_timezone("UTC"))),
            ("text", Arc::new(texts)),
            ("blob", Arc::new(blobs)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .unwrap()
    })
}

const COLUMNS: usize = 10;

/// `count()`, and every function over every column that it takes.
fn measures(input: &Schema) -> Vec<Measure> {
    let over = |column: usize| {
        let kind = input.field(column).data_type();
        let takes = move |function: &Function| function.data_type(Some(kind)).is_ok();
        Function::ALL
            .into_iter()
            .filter(takes)
            .map(move |function| (function, Some(column)))
    };
    std::iter::once((Function::Count, None))
        .chain((0..input.fields().len()).flat_map(over))
        .map(|(function, column)| Measure {
            name: format!("{function} {column:?}"),
            function,
            column,
        })
        .collect()
}

/// Where the rows are cut: into batches at `batches`, into flushes at `flushes`, by target into `partitions`.
#[derive(Debug)]
struct Cuts {
    batches: Vec<usize>,
    flushes: Vec<usize>,
    partitions: u32,
}

fn cuts() -> impl Strategy<Value = Cuts> {
    (
        vec(0..60_usize, 0..6),
        vec(0..60_usize, 0..4),
        select(&[1, 2, 7, 8, 256][..]),
    )
        .prop_map(|(batches, flushes, partitions)| Cuts {
            batches,
            flushes,
            partitions,
        })
}

/// Combines and merges as the data plane does; the results of all partitions.
fn aggregate(
    aggregate: &Aggregate,
    input: &RecordBatch,
    cuts: &Cuts,
) -> Result<Vec<RecordBatch>, Failure> {
    let schema = input.schema();
    let mut combiner = Combiner::new(aggregate, &schema)?;
    let mut mergers = BTreeMap::new();
    for partition in 0..if aggregate.keys.is_empty() {
        1
    } else {
        cuts.partitions
    } {
        mergers.insert(partition, Merger::new(aggregate, &schema)?);
    }
    for flush in pieces(input.num_rows(), &cuts.flushes) {
        let part = input.slice(flush.start, flush.len());
        for batch in pieces(part.num_rows(), &cuts.batches) {
            combiner.update(&part.slice(batch.start, batch.len()))?;
        }
        for (partition, partial) in combiner.flush(cuts.partitions)? {
            assert_eq!(partial.schema(), aggregate.partial_schema(&schema).unwrap());
            mergers.get_mut(&partition.0).unwrap().merge(&partial)?;
        }
        assert_eq!(combiner.groups(), 0);
    }
    mergers.into_values().map(Merger::finish).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_aggregate_of_any_cut_of_any_rows_is_what_its_definition_says(
        input in input(),
        keys in subsequence((0..COLUMNS).collect::<Vec<_>>(), 0..3),
        cuts in cuts(),
    ) {
        let step = Aggregate { keys, measures: measures(&input.schema()) };
        let results = aggregate(&step, &input, &cuts).unwrap();
        let output = step.output_schema(&input.schema()).unwrap();
        let mut all = Vec::new();
        for result in results {
            prop_assert_eq!(result.schema(), Arc::clone(&output));
            let result = rows(&result);
            let key = |row: &Vec<Value>| row[..step.keys.len()].to_vec();
            prop_assert!(result.windows(2).all(|pair| key(&pair[0]) < key(&pair[1])), "not in key order");
            all.extend(result);
        }
        all.sort();
        prop_assert_eq!(one_nan(all), one_nan(twin(&step, &input, &cuts.flushes)));
    }

    #[test]
    fn a_float_sum_is_the_same_to_the_bit_however_an_ordered_stream_is_cut_into_batches(
        floats in vec(any::<f64>().prop_filter("finite", |float| float.is_finite()), 1..50),
        batches in vec(0..50_usize, 0..8),
        partitions in 1..=8_u32,
    ) {
        let input = one_column("x", Float64Array::from(floats.clone()));
        let step = Aggregate { keys: vec![], measures: vec![measure(Function::Sum, 0)] };
        let cuts = Cuts { batches, flushes: vec![], partitions };
        let result = aggregate(&step, &input, &cuts).unwrap();
        let sum = result[0].column(0).as_primitive::<Float64Type>().value(0);
        prop_assert_eq!(sum.to_bits(), floats.iter().fold(0.0, |a, b| a + b).to_bits());
    }
}

fn one_column(name: &str, column: impl Array + 'static) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([(name, Arc::new(column) as ArrayRef, true)]).unwrap()
}

fn measure(function: Function, column: usize) -> Measure {
    Measure {
        name: "result".into(),
        function,
        column: Some(column),
    }
}

fn whole_of(input: &RecordBatch, function: Function) -> Result<Value, Failure> {
    let step = Aggregate {
        keys: vec![],
        measures: vec![measure(function, 0)],
    };
    let cuts = Cuts {
        batches: vec![],
        flushes: vec![1],
        partitions: 4,
    };
    aggregate(&step, input, &cuts).map(|results| value(results[0].column(0), 0))
}

#[test]
fn without_keys_there_is_one_row_even_for_no_rows() {
    let input = one_column("x", Int64Array::from(Vec::<i64>::new()));
    assert_eq!(whole_of(&input, Function::Count).unwrap(), Value::Whole(0));
    assert_eq!(whole_of(&input, Function::Sum).unwrap(), Value::Null);
}

#[test]
fn with_keys_no_rows_give_no_rows() {
    let input = one_column("x", Int64Array::from(Vec::<i64>::new()));
    let step = Aggregate {
        keys: vec![0],
        measures: vec![measure(Function::Max, 0)],
    };
    let cuts = Cuts {
        batches: vec![],
        flushes: vec![],
        partitions: 2,
    };
    let results = aggregate(&step, &input, &cuts).unwrap();
    assert!(results.iter().all(|result| result.num_rows() == 0));
}

#[test]
fn a_sum_that_int64_cannot_hold_is_an_error_that_names_the_column() {
    let input = one_column("bytes", Int64Array::from(vec![i64::MAX, 1]));
    let failure = whole_of(&input, Function::Sum).unwrap_err();
    assert_eq!(
        failure.message,
        "`result`, the sum of `bytes`, does not fit into int64"
    );
}

#[test]
fn a_sum_that_is_too_large_only_on_the_way_is_right() {
    let input = one_column("bytes", Int64Array::from(vec![i64::MAX, 1, -2]));
    assert_eq!(
        whole_of(&input, Function::Sum).unwrap(),
        Value::Whole(i128::from(i64::MAX) - 1)
    );
}

#[test]
fn a_sum_of_decimals_with_more_than_38_digits_is_an_error_that_names_the_column() {
    let most = 10_i128.pow(38) - 1;
    let column = Decimal128Array::from(vec![most, most, most])
        .with_precision_and_scale(38, 0)
        .unwrap();
    let failure = whole_of(&one_column("price", column), Function::Sum).unwrap_err();
    assert_eq!(
        failure.message,
        "`result`, the sum of `price`, does not fit into decimal(38,0)"
    );
}

#[test]
fn an_average_of_decimals_that_no_decimal_can_sum_is_still_right() {
    let most = 10_i128.pow(38) - 1;
    let column = Decimal128Array::from(vec![most; 8])
        .with_precision_and_scale(38, 3)
        .unwrap();
    let Value::Float(Float(average)) =
        whole_of(&one_column("price", column), Function::Avg).unwrap()
    else {
        panic!("an average is a float");
    };
    assert!((average / 1e35 - 1.0).abs() < 1e-15, "{average}");
}

#[test]
fn a_function_says_which_types_it_takes() {
    assert_eq!(
        Function::Sum.data_type(Some(&DataType::Utf8)).unwrap_err(),
        "`sum` takes integers, floats and decimals, not utf8"
    );
    assert_eq!(
        Function::Max.data_type(None).unwrap_err(),
        "`max` needs a column, as in `max(bytes)`"
    );
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let input = Schema::new(vec![Field::new("result", DataType::Int64, false)]);
    let step = Aggregate {
        keys: vec![0],
        measures: vec![measure(Function::Max, 0)],
    };
    assert_eq!(
        step.output_schema(&input).unwrap_err(),
        "two columns of the result are named `result`"
    );
}

#[test]
fn json_stays_json_as_a_key_and_as_an_extreme() {
    let json = crate::batch::ColumnType::Json.field("doc", true);
    let input: SchemaRef = Arc::new(Schema::new(vec![json]));
    let step = Aggregate {
        keys: vec![0],
        measures: vec![measure(Function::Min, 0)],
    };
    let output = step.output_schema(&input).unwrap();
    for field in output.fields() {
        assert_eq!(
            crate::batch::ColumnType::of(field),
            Some(crate::batch::ColumnType::Json)
        );
    }
}

#[test]
fn a_combiner_can_be_used_again_after_a_flush() {
    let input = one_column("word", StringArray::from(vec!["a", "b", "a"]));
    let step = Aggregate {
        keys: vec![0],
        measures: vec![Measure {
            name: "n".into(),
            function: Function::Count,
            column: None,
        }],
    };
    let mut combiner = Combiner::new(&step, &input.schema()).unwrap();
    let mut flushes = Vec::new();
    for _ in 0..2 {
        combiner.update(&input).unwrap();
        let batches = combiner
            .flush(1)
            .unwrap()
            .into_iter()
            .map(|(_, batch)| batch);
        let batches: Vec<_> = batches.collect();
        flushes.push(rows(
            &concat_batches(&batches[0].schema(), &batches).unwrap(),
        ));
    }
    let word = |word: &str| Value::Bytes(word.into());
    assert_eq!(
        flushes[0],
        [[word("a"), Value::Whole(2)], [word("b"), Value::Whole(1)]]
    );
    assert_eq!(flushes[0], flushes[1]);
}
