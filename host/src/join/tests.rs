//! Joins against their definition: every pair of rows looked at.

use arrow::array::{AsArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use proptest::prelude::*;

use super::*;

type Row = (Option<i64>, Option<&'static str>);
/// A row of the result: the key, and the number of the row on either side.
type Joined = (Row, Option<i64>, Option<i64>);

/// A batch of keys of two columns beside the number of the row.
fn batch(rows: &[Row], name: &str) -> RecordBatch {
    let numbers: Int64Array = rows.iter().map(|(number, _)| *number).collect();
    let texts: StringArray = rows.iter().map(|(_, text)| *text).collect();
    let places = Int64Array::from_iter_values(0..rows.len() as i64);
    RecordBatch::try_from_iter_with_nullable([
        ("number", Arc::new(numbers) as ArrayRef, true),
        ("text", Arc::new(texts) as ArrayRef, true),
        (name, Arc::new(places) as ArrayRef, false),
    ])
    .unwrap()
}

fn join(kind: Kind) -> Join {
    Join {
        kind,
        keys: [vec![0, 1], vec![0, 1]],
        columns: vec![
            Column::Key(0),
            Column::Key(1),
            Column::Left(2),
            Column::Right(2),
        ],
    }
}

fn joined(batch: &RecordBatch) -> Vec<Joined> {
    let numbers = |column: usize| batch.column(column).as_primitive::<Int64Type>();
    let texts = batch.column(1).as_string::<i32>();
    let number = |column: usize, row: usize| {
        let column = numbers(column);
        column.is_valid(row).then(|| column.value(row))
    };
    let text = |row: usize| match texts.is_valid(row).then(|| texts.value(row)) {
        Some("a") => Some("a"),
        Some("b") => Some("b"),
        Some(_) => Some(""),
        None => None,
    };
    (0..batch.num_rows())
        .map(|row| ((number(0, row), text(row)), number(2, row), number(3, row)))
        .collect()
}

fn run(kind: Kind, left: &RecordBatch, right: &RecordBatch) -> Vec<Joined> {
    let join = join(kind);
    let schema = join.output_schema(left.schema_ref(), right.schema_ref());
    let pairs = join.pairs(left, right).unwrap();
    let all = join.rows(left, right, &pairs, 0..pairs.len(), &schema);
    joined(&all.unwrap())
}

/// The slow twin.
fn twin(kind: Kind, left: &[Row], right: &[Row]) -> Vec<Joined> {
    let equal = |one: &Row, other: &Row| one == other && one.0.is_some() && one.1.is_some();
    let mut rows = Vec::new();
    for (place, one) in left.iter().enumerate() {
        for (other_place, other) in right.iter().enumerate() {
            if equal(one, other) {
                rows.push((*one, Some(place as i64), Some(other_place as i64)));
            }
        }
        if kind.keeps_left() && !right.iter().any(|other| equal(one, other)) {
            rows.push((*one, Some(place as i64), None));
        }
    }
    for (place, one) in right.iter().enumerate() {
        if kind.keeps_right() && !left.iter().any(|other| equal(one, other)) {
            rows.push((*one, None, Some(place as i64)));
        }
    }
    rows.sort_by_key(|(key, one, other)| (*key, one.unwrap_or(i64::MAX), *other));
    rows
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let number = prop_oneof![Just(None), (-1_i64..3).prop_map(Some)];
    let text = prop::sample::select(vec![None, Some(""), Some("a"), Some("b")]);
    prop::collection::vec((number, text), 0..12)
}

proptest! {
    #[test]
    fn a_join_is_what_looking_at_every_pair_gives(left in rows(), right in rows()) {
        for (_, kind) in Kind::ALL {
            let given = run(kind, &batch(&left, "l"), &batch(&right, "r"));
            prop_assert_eq!(given, twin(kind, &left, &right), "{}", kind.name());
        }
    }

    #[test]
    fn a_lookup_gives_the_same_rows_in_the_order_of_the_left(left in rows(), right in rows()) {
        for kind in [Kind::Inner, Kind::Left] {
            let (join, left_batch) = (join(kind), batch(&left, "l"));
            let lookup = Lookup::new(&join, batch(&right, "r")).unwrap();
            let schema = join.output_schema(left_batch.schema_ref(), lookup.batch().schema_ref());
            let pairs = lookup.pairs(&join, &left_batch).unwrap();
            let all = join.rows(&left_batch, lookup.batch(), &pairs, 0..pairs.len(), &schema);
            let mut expected = twin(kind, &left, &right);
            expected.sort_by_key(|(_, one, other)| (*one, *other));
            prop_assert_eq!(joined(&all.unwrap()), expected, "{}", kind.name());
        }
    }
}

#[test]
fn zero_equals_zero_and_nan_equals_nan_whatever_their_bits() {
    let batch = |values: Vec<f64>| {
        let values = Arc::new(Float64Array::from(values)) as ArrayRef;
        RecordBatch::try_from_iter_with_nullable([("key", values, false)]).unwrap()
    };
    let join = Join {
        kind: Kind::Inner,
        keys: [vec![0], vec![0]],
        columns: vec![Column::Key(0)],
    };
    let pairs = join.pairs(&batch(vec![0.0, f64::NAN]), &batch(vec![-0.0, -f64::NAN]));
    assert_eq!(pairs.unwrap().len(), 2);
}

#[test]
fn a_column_can_be_null_where_its_side_can_be_without_a_row() {
    let (left, right) = (batch(&[], "l"), batch(&[], "r"));
    let nullable = |kind| {
        let schema = join(kind).output_schema(left.schema_ref(), right.schema_ref());
        let fields = schema.fields().iter();
        fields.map(|field| field.is_nullable()).collect::<Vec<_>>()
    };
    assert_eq!(nullable(Kind::Inner), [false, false, false, false]);
    assert_eq!(nullable(Kind::Left), [true, true, false, true]);
    assert_eq!(nullable(Kind::Right), [true, true, true, false]);
    assert_eq!(nullable(Kind::Full), [true, true, true, true]);
    assert_eq!(left.schema().field(0).data_type(), &DataType::Int64);
}
