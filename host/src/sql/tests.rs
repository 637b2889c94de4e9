//! What expressions give, and what is said of wrong ones.

use arrow::array::{Array, Float64Array, Int64Array, StringArray};
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;

use super::*;
use crate::batch::ColumnType;

const TIME: BatchTime = BatchTime(1_700_000_000_123);

fn schema() -> Schema {
    Schema::new(vec![
        ColumnType::Int64.field("n", true),
        ColumnType::Utf8.field("user", true),
        ColumnType::Float64.field("Score", false),
        ColumnType::Json.field("extra", true),
        ColumnType::Int64.field("a.b", false),
    ])
}

fn batch() -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), None, Some(i64::MAX)])),
        Arc::new(StringArray::from(vec![Some("ann"), Some("Bob"), None])),
        Arc::new(Float64Array::from(vec![0.5, 1.5, -2.0])),
        Arc::new(StringArray::from(vec![Some("{}"), None, Some("[1]")])),
        Arc::new(Int64Array::from(vec![10, 20, 30])),
    ];
    RecordBatch::try_new(Arc::new(schema()), columns).unwrap()
}

/// The values as text, with the type.
fn values(text: &str) -> (String, Vec<String>) {
    let expression = Expression::new(text, &schema()).unwrap_or_else(|mistakes| {
        panic!("{text}: {mistakes:?}");
    });
    let field = expression.field("x");
    let column = expression.evaluate(&batch(), TIME).unwrap();
    assert_eq!(column.data_type(), field.data_type(), "{text}");
    assert!(field.is_nullable() || column.null_count() == 0, "{text}");
    let shown = |row| match column.is_null(row) {
        true => "null".to_owned(),
        false => array_value_to_string(&column, row).unwrap(),
    };
    let shown = (0..column.len()).map(shown).collect();
    (crate::batch::name_of(&field), shown)
}

fn gives(text: &str, name: &str, expected: [&str; 3]) {
    let (given_name, given) = values(text);
    assert_eq!(given, expected, "{text}");
    assert_eq!(given_name, name, "{text}");
}

#[test]
fn expressions_give_columns_of_the_hosts_types() {
    gives("n", "int64", ["1", "null", "9223372036854775807"]);
    gives("\"a.b\" * 2 + 1", "int64", ["21", "41", "61"]);
    gives("Score > 0", "boolean", ["true", "true", "false"]);
    gives("upper(user) || '!'", "utf8", ["ANN!", "BOB!", "null"]);
    gives("coalesce(user, 'nobody')", "utf8", ["ann", "Bob", "nobody"]);
    gives("char_length(user)", "int64", ["3", "3", "null"]);
    gives("substring(user, 2)", "utf8", ["nn", "ob", "null"]);
    gives("user LIKE '%o%'", "boolean", ["false", "true", "null"]);
    gives(
        "regexp_like(user, '^[a-z]+$')",
        "boolean",
        ["true", "false", "null"],
    );
    gives("CAST(Score AS BIGINT)", "int64", ["0", "1", "-2"]);
    gives(
        "CAST(n AS VARCHAR)",
        "utf8",
        ["1", "null", "9223372036854775807"],
    );
    gives("CAST('2024-02-01' AS DATE)", "date", ["2024-02-01"; 3]);
    gives(
        "CASE WHEN user IS NULL THEN 'none' WHEN user = 'Bob' THEN 'b' ELSE 'other' END",
        "utf8",
        ["other", "b", "none"],
    );
    gives("CAST(1.25 AS DECIMAL(5,2))", "decimal(5,2)", ["1.25"; 3]);
}

#[test]
fn timestamps_come_as_the_hosts_whatever_their_unit_was() {
    let whole = "2023-11-14T22:13:20Z";
    gives("to_timestamp(1700000000)", "timestamp", [whole; 3]);
    gives(
        "CAST('2023-11-14 22:13:20' AS TIMESTAMP)",
        "timestamp",
        [whole; 3],
    );
    gives("batch_time()", "timestamp", ["2023-11-14T22:13:20.123Z"; 3]);
    gives(
        "date_trunc('second', batch_time())",
        "timestamp",
        [whole; 3],
    );
}

#[test]
fn a_column_named_alone_stays_json_and_anything_computed_of_it_is_text() {
    assert_eq!(values("extra").0, "json");
    assert_eq!(values("lower(extra)").0, "utf8");
    assert_eq!(values("coalesce(extra, '')").0, "utf8");
}

/// The first mistake: what is marked, what is said, and the help.
fn mistake(text: &str) -> (String, String, String) {
    let mistakes = Expression::new(text, &schema()).expect_err(text);
    let first = mistakes.into_iter().next().expect("a reason");
    let marked = text[first.span].to_owned();
    (marked, first.message, first.help.unwrap_or_default())
}

#[test]
fn wrong_names_are_marked_where_they_stand() {
    let (marked, message, help) = mistake("1 + score");
    assert_eq!(marked, "score");
    assert_eq!(message, "the input has no column `score`");
    assert_eq!(help, "did you mean `Score`?");
    assert_eq!(
        mistake("user = \"ann\"").2,
        "a text stands in single quotes: 'ann'"
    );
    assert_eq!(mistake("uper(user)").0, "uper");
    assert_eq!(mistake("uper(user)").2, "did you mean `upper`?");
    assert_eq!(mistake("é + 1 > 0 OR ys = 2").0, "é");
    assert_eq!(mistake("a.b > 2").0, "a.b");
    assert!(mistake("sum(n)").2.contains("aggregate"));
}

#[test]
fn what_would_differ_in_a_replay_is_refused() {
    for text in [
        "now()",
        "random()",
        "uuid()",
        "current_date",
        "current_timestamp",
    ] {
        let (marked, message, help) = mistake(text);
        assert!(
            message.contains("does not give the same again"),
            "{text}: {message}"
        );
        assert!(help.contains("batch_time()"), "{text}: {help}");
        assert_eq!(marked, text.trim_end_matches("()"));
    }
}

#[test]
fn what_is_no_expression_or_gives_no_column_is_refused() {
    assert!(
        mistake("n +")
            .1
            .starts_with("this is not an SQL expression")
    );
    assert_eq!(mistake("n > 1 n").0, "n");
    assert!(mistake("(SELECT 1)").1.contains("no queries"));
    assert!(
        mistake("n + user").1.contains("Int64"),
        "{:?}",
        mistake("n + user")
    );
    assert!(mistake("INTERVAL '1 day'").1.contains("no column can hold"));
    assert!(mistake("NULL").1.contains("no column can hold"));
    assert!(mistake("n > 1 / 0").1.to_lowercase().contains("divide"));
}

#[test]
fn every_row_that_has_no_value_is_found_with_its_reason() {
    let sql = |text: &str| {
        let expression = Expression::new(text, &schema()).unwrap();
        Sql::Select(vec![("x".into(), expression)])
    };
    let bad = |text: &str| {
        let batch = batch();
        assert!(sql(text).compute(&batch, TIME).is_err(), "{text}");
        sql(text).bad_rows(&batch, TIME, 0..3)
    };
    let rows = |text: &str| bad(text).iter().map(|(row, _)| *row).collect::<Vec<_>>();
    assert_eq!(rows("n + 1"), [2]);
    assert_eq!(rows("n * 2"), [2]);
    assert_eq!(rows("-n - 2"), [2]);
    assert_eq!(rows("1 / (\"a.b\" - 20)"), [1]);
    assert_eq!(rows("CAST(user AS BIGINT)"), [0, 1]);
    let reason = &bad("n + 1")[0].1;
    assert!(reason.contains("verflow"), "{reason}");
}

#[test]
fn a_filter_keeps_rows_that_are_true_and_not_those_that_are_null() {
    let condition = Expression::new("n > 0", &schema()).unwrap();
    let Ok(Computed::Rows(rows)) = Sql::Filter(condition).compute(&batch(), TIME) else {
        panic!("a filter gives rows");
    };
    assert_eq!(rows.values(), &[0, 2]);
}

#[test]
fn an_expression_over_fewer_columns_gives_the_same() {
    let expression = Expression::new("upper(user)", &schema()).unwrap();
    assert_eq!(expression.columns(), [1]);
    let narrow = batch().project(&[1]).unwrap();
    let narrowed = expression.over(narrow.schema_ref());
    assert_eq!(narrowed.columns(), [0]);
    let (one, other) = (
        expression.evaluate(&batch(), TIME),
        narrowed.evaluate(&narrow, TIME),
    );
    assert_eq!(one.unwrap().to_data(), other.unwrap().to_data());
}

proptest! {
    #[test]
    fn any_text_is_an_expression_or_a_mistake_within_it(text in "[a-z0-9 +*/()<>='\".,é-]{0,24}") {
        if let Err(mistakes) = Expression::new(&text, &schema()) {
            prop_assert!(!mistakes.is_empty());
            for mistake in mistakes {
                prop_assert!(text.get(mistake.span).is_some(), "{text:?}");
            }
        }
    }
}
