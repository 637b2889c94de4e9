//! Parses a column of JSON objects into typed columns.
//!
//! ```toml
//! [steps.readings]
//! input = "lines"
//! plugin = "parse-json"
//! config = { schema = { sensor = "utf8", celsius = "float64", note = "utf8?" } }
//! ```
//!
//! It reads the column that `column` names, else `line`, else the first text column. Each entry of `schema` becomes a
//! column of that name and type; a type that ends in `?` allows nulls, as does a key that is missing then. Other keys
//! are left out. A row that is no JSON object, or whose values are not of their types, is rejected with the reason. With
//! `carry` the rows keep the input's other columns.
//!
//! Second lesson: an output whose columns only the configuration knows. `open` turns the configuration into the state
//! that `parse` works with; `columns` tells the host the schema; a row is a list of `Cell`s. The `Err` of a map rejects
//! its row, and the batch goes on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;
use wasmill_sdk::prelude::*;
use wasmill_sdk::{Cell, Cells, Column};

#[derive(Deserialize)]
struct Config {
    schema: BTreeMap<String, String>,
    #[serde(default)]
    carry: bool,
}

struct Parser {
    columns: Vec<Column>,
    carry: bool,
}

impl Parser {
    fn new(config: Config) -> Result<Self, Error> {
        let column = |(name, text): (String, String)| {
            let (data_type, nullable) = match text.strip_suffix('?') {
                Some(data_type) => (data_type, true),
                None => (text.as_str(), false),
            };
            Ok(Column::new(name, data_type.parse()?, nullable))
        };
        let columns: Result<_, Error> = config.schema.into_iter().map(column).collect();
        Ok(Self {
            columns: columns?,
            carry: config.carry,
        })
    }
}

#[derive(Record)]
struct Line<'a> {
    #[record(setting = "column", or_first)]
    line: &'a str,
}

/// A key of an object, in place unless it has escapes.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

fn parse<'a>(parser: &Parser, row: Line<'a>) -> Result<Cells<'a>, Reject> {
    let object: BTreeMap<Key, &RawValue> =
        serde_json::from_str(row.line).map_err(|error| format!("not a JSON object: {error}"))?;
    let cell = |column: &Column| {
        let name = &column.name;
        let cell = match object.get(&Key(name.into())) {
            Some(json) => Cell::from_json(json.get(), column.data_type)
                .map_err(|error| format!("`{name}`: {error}"))?,
            None => Cell::Null,
        };
        if cell == Cell::Null && !column.nullable {
            return reject(format!("`{name}` is missing"));
        }
        Ok(cell)
    };
    parser
        .columns
        .iter()
        .map(cell)
        .collect::<Result<_, _>>()
        .map(Cells)
}

export_transform! {
    config: Config,
    open: Parser::new,
    columns: |parser| parser.columns.clone(),
    carry: |parser| parser.carry,
    map: parse,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wasmill_sdk::testing::{self, Run};

    use super::*;

    fn run(schema: serde_json::Value, lines: &[&str]) -> Run {
        testing::transform::<Plugin>()
            .config(json!({ "schema": schema }))
            .rows(lines.iter().map(|line| Line { line }))
            .run()
            .expect("the schema is good")
    }

    #[test]
    fn every_type_is_parsed_exactly() {
        let schema = json!({
            "a": "boolean", "b": "int64", "c": "float64", "d": "decimal(20,2)", "e": "date", "f": "timestamp",
            "g": "utf8", "h": "binary", "i": "json",
        });
        let line = r#"{"a":true,"b":9007199254740993,"c":0.5,"d":123456789012345678.90,"e":"2024-02-29","f":"2024-02-29T01:02:03Z","g":"\u00e9","h":"00ff","i":{"x":[1.0]}}"#;
        let expected = line.replace("\\u00e9", "\u{e9}");
        assert_eq!(run(schema, &[line]).json("out"), [expected]);
    }

    #[test]
    fn a_float_is_the_nearest_there_is() {
        let schema = json!({"x": "float64"});
        // Read by way of fewer digits the first ends in 0848, the second in 67.
        let lines = [
            r#"{"x":-0.00036760762260408476}"#,
            r#"{"x":123456789012345680000}"#,
        ];
        let run = run(schema, &lines);
        let read = run.json("out").into_iter().map(|row| {
            let row: serde_json::Value = serde_json::from_str(&row).expect("JSON");
            row["x"].as_f64().expect("a number")
        });
        assert_eq!(
            read.collect::<Vec<_>>(),
            [-0.000_367_607_622_604_084_76, 123_456_789_012_345_680_000.0]
        );
    }

    #[test]
    fn bad_rows_are_rejected_and_the_others_go_on() {
        let schema = json!({"n": "int64", "note": "utf8?"});
        let lines = [
            r#"{"n": 1, "other": [1, 2]}"#,
            r#"{"n": 1"#,
            r#"{"n": "1"}"#,
            r#"{"note": "x"}"#,
            "[1]",
            r#"{"n": 2, "note": "x"}"#,
        ];
        let run = run(schema, &lines);
        assert_eq!(
            run.json("out"),
            [r#"{"n":1,"note":null}"#, r#"{"n":2,"note":"x"}"#]
        );
        assert_eq!(run.parents("out"), [0, 5]);
        let rejected = run.rejected();
        assert_eq!(
            rejected.iter().map(|(row, _)| *row).collect::<Vec<_>>(),
            [1, 2, 3, 4]
        );
        assert!(rejected[0].1.starts_with("not a JSON object: EOF"));
        assert_eq!(rejected[1].1, "`n`: \"1\" is not int64");
        assert_eq!(rejected[2].1, "`n` is missing");
        assert!(rejected[3].1.starts_with("not a JSON object: invalid type"));
    }

    #[test]
    fn a_type_that_does_not_exist_is_named() {
        let test = testing::transform::<Plugin>()
            .config(json!({"schema": {"n": "integer"}}))
            .json(&[("line", "utf8")], []);
        let error = test.describe().expect_err("no such type");
        assert!(
            error.message.starts_with("`integer` is not a type"),
            "{error}"
        );
    }
}
