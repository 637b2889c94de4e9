//! JSON lines, good and bad.

use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, Int64Type};
use proptest::prelude::*;

use super::*;
use crate::config::{Problems, parse};
use crate::format::{BadRecord, Decoder, FileFormat, Format, Kept, Numbering, RecordFormat};

/// Reads a schema as a pipeline file spells it.
fn declared(schema: &str) -> Result<SchemaRef, Vec<String>> {
    let problems = Problems::default();
    let text = format!("schema = {schema}");
    let mut table = parse(&text, Path::new("."), &problems).expect("TOML");
    let schema = super::schema(&mut table);
    let found: Vec<_> = problems
        .take()
        .into_iter()
        .map(|problem| problem.message)
        .collect();
    if found.is_empty() {
        Ok(schema.expect("no problem"))
    } else {
        Err(found)
    }
}

fn decode(schema: &SchemaRef, input: &str) -> (RecordBatch, Vec<BadRecord>) {
    let format = RecordFormat {
        format: Format::Json(schema.clone()),
        max_record: 1 << 20,
    };
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    let origin = |line: u64| format!("line {line}");
    let mut decoder = Decoder::new(&format, input.len() as u64, true, Box::new(origin));
    decoder.lines(input.as_bytes(), Numbering::Lines(1));
    decoder.finish();
    while let Some(part) = decoder.part() {
        rows.push(part.rows);
        bad.extend(part.bad);
    }
    (concat_batches(schema, &rows).expect("equal schemas"), bad)
}

/// What is wrong with a line that should be bad.
fn reason(schema: &str, line: &str) -> String {
    let (rows, bad) = decode(&declared(schema).expect("a schema"), line);
    assert_eq!((rows.num_rows(), bad.len()), (0, 1), "{line}");
    bad.into_iter().next().expect("one").reason
}

#[test]
fn a_line_gives_the_declared_columns_in_their_order() {
    let schema = declared(r#"{ user = "utf8", n = "int64", score = "float64?", more = "json?" }"#)
        .expect("a schema");
    let input = concat!(
        r#"{"n": 1, "user": "ann \u00e9", "other": [1, {"x": 2}], "score": 2, "more": {"a": [1]}}"#,
        "\r\n  \n\n",
        r#"{"user":"bob","n":-2,"score":null}"#,
    );
    let (rows, bad) = decode(&schema, input);
    assert_eq!(bad, []);
    assert_eq!(
        rows.column(0)
            .as_string::<i32>()
            .iter()
            .flatten()
            .collect::<Vec<_>>(),
        ["ann \u{e9}", "bob"]
    );
    assert_eq!(
        rows.column(1).as_primitive::<Int64Type>().values(),
        &[1, -2]
    );
    assert_eq!(
        rows.column(2)
            .as_primitive::<Float64Type>()
            .iter()
            .collect::<Vec<_>>(),
        [Some(2.0), None]
    );
    assert_eq!(
        rows.column(3).as_string::<i32>().iter().collect::<Vec<_>>(),
        [Some(r#"{"a": [1]}"#), None]
    );
}

#[test]
fn each_bad_line_is_named_and_the_others_survive() {
    let schema = declared(r#"{ n = "int64" }"#).expect("a schema");
    let input = "{\"n\":1}\n{\"n\":\"2\"}\nnot json\n{\"n\":4}\n{\"n\":5} {}\n[6]\n{\"n\":7";
    let (rows, bad) = decode(&schema, input);
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[1, 4]);
    let origins: Vec<_> = bad.iter().map(|bad| bad.origin.as_str()).collect();
    assert_eq!(origins, ["line 2", "line 3", "line 5", "line 6", "line 7"]);
    assert_eq!(
        bad[0].reason,
        "column `n`: invalid value: string \"2\", expected an int64, a whole number, at byte 8 of the record"
    );
    let kept = bad[0].kept.as_ref().expect("a record");
    assert_eq!(*kept, Kept::record(b"{\"n\":\"2\"}"));
    assert!(
        bad[2].reason.starts_with("trailing characters, at byte 9"),
        "{}",
        bad[2].reason
    );
    assert!(
        bad[3].reason.contains("expected a JSON object"),
        "{}",
        bad[3].reason
    );
}

#[test]
fn a_value_that_is_not_what_its_column_says_is_bad() {
    for (kind, value) in [
        ("int64", "1.0"),
        ("int64", "9223372036854775808"),
        ("int64", "true"),
        ("float64", "\"1\""),
        ("float64", "1e999"),
        ("float64", "true"),
        ("boolean", "1"),
        ("utf8", "1"),
        ("date", "\"2026-13-01\""),
        ("timestamp", "1700000000"),
        ("binary", "\"xyz\""),
        ("decimal(4,2)", "0.123"),
        ("utf8", "[\"a\"]"),
    ] {
        let reason = reason(
            &format!("{{ c = \"{kind}\" }}"),
            &format!("{{\"c\":{value}}}"),
        );
        assert!(
            reason.starts_with("column `c`: "),
            "{kind} {value}: {reason}"
        );
    }
}

#[test]
fn null_and_absence_need_a_nullable_column() {
    assert_eq!(
        reason(r#"{ n = "int64" }"#, "{}"),
        "column `n` is missing, which only type \"int64?\" allows"
    );
    assert_eq!(
        reason(r#"{ j = "json" }"#, r#"{"j":null}"#),
        "column `j` is null, which only type \"json?\" allows"
    );
    let kinds = [
        "boolean",
        "int64",
        "float64",
        "decimal(4,2)",
        "date",
        "timestamp",
        "utf8",
        "binary",
        "json",
    ];
    for kind in kinds {
        let schema = declared(&format!("{{ c = \"{kind}?\" }}")).expect("a schema");
        let (rows, bad) = decode(&schema, "{\"c\":null}\n{}");
        assert_eq!((rows.column(0).null_count(), bad.len()), (2, 0), "{kind}");
    }
}

#[test]
fn of_two_members_of_a_name_the_last_counts() {
    let (rows, _) = decode(
        &declared(r#"{ n = "int64" }"#).expect("a schema"),
        r#"{"n":1,"n":2}"#,
    );
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[2]);
}

#[test]
fn a_schema_that_is_wrong_says_where() {
    assert_eq!(
        declared("{}").expect_err("empty"),
        ["`schema` names no columns"]
    );
    let wrong = declared(r#"{ a = "int", b = "utf8", c = "text?" }"#).expect_err("two types");
    assert_eq!(wrong.len(), 2);
    assert!(
        wrong[0].contains("`int` is not a column type") && wrong[1].contains("`text`"),
        "{wrong:?}"
    );
}

#[test]
fn a_row_of_absent_values_does_not_make_parts_without_bound() {
    let columns: Vec<_> = (0..100).map(|n| format!("c{n} = \"int64?\"")).collect();
    let schema = declared(&format!("{{ {} }}", columns.join(", "))).expect("a schema");
    let format = RecordFormat {
        format: Format::Json(schema),
        max_record: 100,
    };
    let mut decoder = Decoder::new(&format, 0, false, Box::new(|_| String::new()));
    decoder.lines("{}\n".repeat(2000).as_bytes(), Numbering::Lines(1));
    decoder.finish();
    let parts = std::iter::from_fn(|| decoder.part());
    let largest = parts.map(|part| part.rows.num_rows() * 800).max().unwrap();
    assert!(largest <= crate::format::PART_BYTES, "{largest}");
}

fn any_row() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof![any::<String>(), "[a-z\"\\\\\n]{0,9}"];
    (
        any::<bool>(),
        any::<i64>(),
        prop::option::of(any::<f64>()),
        text,
        prop::option::of(-719_528i32..2_932_896),
        prop::option::of(-62_167_219_200_000_000i64..253_402_300_799_999_999),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
    )
        .prop_map(|(boolean, int, float, text, days, micros, bytes)| {
            let epoch = jiff::civil::date(1970, 1, 1);
            let date = days.map(|days| (epoch + jiff::Span::new().days(days)).to_string());
            let time = micros.map(|micros| jiff::Timestamp::from_microsecond(micros).expect("in range").to_string());
            let hex = bytes.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            let float = float.map(|float| match float {
                _ if float.is_finite() => serde_json::json!(float),
                _ if float.is_nan() => "NaN".into(),
                _ if float > 0.0 => "Infinity".into(),
                _ => "-Infinity".into(),
            });
            serde_json::json!({ "b": boolean, "i": int, "f": float, "t": text, "d": date, "s": time, "x": hex })
        })
}

proptest! {
    #[test]
    fn rows_read_and_written_again_are_the_same(rows in prop::collection::vec(any_row(), 1..20)) {
        let kinds = r#"{ b = "boolean", i = "int64", f = "float64?", t = "utf8", d = "date?", s = "timestamp?", x = "binary?" }"#;
        let schema = declared(kinds).expect("a schema");
        let input: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let (batch, bad) = decode(&schema, &input);
        prop_assert_eq!(bad, vec![]);
        let mut written = Vec::new();
        prop_assert_eq!(FileFormat::Json.encode(&batch, true, &mut written).expect("encodes"), vec![]);
        let (again, bad) = decode(&schema, std::str::from_utf8(&written).expect("UTF-8"));
        prop_assert_eq!(bad, vec![]);
        // As texts, for NaN is not equal to itself.
        prop_assert_eq!(format!("{batch:?}"), format!("{again:?}"));
        prop_assert_eq!(batch.schema(), again.schema());
        // Beside our own reading back: the numbers and texts are those that went in.
        for (row, expected) in rows.iter().enumerate() {
            prop_assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(row), expected["i"].as_i64().expect("an int64"));
            prop_assert_eq!(batch.column(3).as_string::<i32>().value(row), expected["t"].as_str().expect("a text"));
        }
    }

    #[test]
    fn no_line_makes_the_reader_panic_or_disappears(lines in prop::collection::vec("[{}\\[\\]\":,0-9a-e\\\\u.\\- ]{0,30}", 1..20)) {
        let schema = declared(r#"{ a = "int64?", b = "decimal(9,3)?", c = "json?", d = "utf8?" }"#).expect("a schema");
        let (rows, bad) = decode(&schema, &lines.join("\n"));
        let blank = lines.iter().filter(|line| line.trim().is_empty()).count();
        prop_assert_eq!(rows.num_rows() + bad.len() + blank, lines.len());
    }
}
