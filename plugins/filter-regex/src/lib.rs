//! Keeps the rows whose text matches a pattern.
//!
//! ```toml
//! [steps.errors]
//! input = "lines"
//! plugin = "filter-regex"
//! config = { column = "line", pattern = "ERROR|FATAL", invert = false }   # only the pattern is needed
//! ```
//!
//! It reads the column that `column` names, else `line`, else the first text column. The pattern is of the `regex` crate's
//! syntax and matches anywhere in the text. With `invert` the rows that do not match are kept. A missing text matches
//! nothing.
//!
//! Third lesson: a filter answers with true or false, and the host keeps the rows whole. It copies no data: only row
//! numbers leave the plugin. What is costly to make, the compiled pattern, is made once, in `open`.

use regex::Regex;
use wasmill_sdk::prelude::*;

#[derive(Deserialize)]
struct Config {
    pattern: String,
    #[serde(default)]
    invert: bool,
}

struct Filter {
    pattern: Regex,
    invert: bool,
}

impl Filter {
    fn new(config: Config) -> Result<Self, Error> {
        let pattern = Regex::new(&config.pattern)
            .map_err(|error| format!("`pattern` is not a regular expression: {error}"))?;
        Ok(Self {
            pattern,
            invert: config.invert,
        })
    }
}

#[derive(Record)]
struct Line<'a> {
    #[record(setting = "column", or_first)]
    line: Option<&'a str>,
}

fn keep(filter: &Filter, row: Line) -> bool {
    let matches = row.line.is_some_and(|line| filter.pattern.is_match(line));
    matches != filter.invert
}

export_transform! {
    config: Config,
    open: Filter::new,
    filter: keep,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wasmill_sdk::testing::{self, TransformTest};

    use super::*;

    fn test(config: serde_json::Value) -> TransformTest<Plugin> {
        testing::transform::<Plugin>().config(config).json(
            &[("n", "int64"), ("message", "utf8?")],
            [
                r#"{"n": 1, "message": "GET / 200"}"#,
                r#"{"n": 2, "message": "GET / 503"}"#,
                r#"{"n": 3}"#,
                r#"{"n": 4, "message": "PUT / 500"}"#,
            ],
        )
    }

    #[test]
    fn matching_rows_are_kept_whole() {
        let run = test(json!({"pattern": r" 5\d\d$"}))
            .run()
            .expect("a good pattern");
        assert_eq!(
            run.json("out"),
            [
                r#"{"n":2,"message":"GET / 503"}"#,
                r#"{"n":4,"message":"PUT / 500"}"#
            ]
        );
        assert!(run.plan().ports[0].columns.is_empty());
    }

    #[test]
    fn inverted_it_keeps_the_rest() {
        let run = test(json!({"pattern": "^GET", "invert": true}))
            .run()
            .expect("a good pattern");
        assert_eq!(run.parents("out"), [2, 3]);
    }

    #[test]
    fn what_is_no_pattern_and_what_is_no_setting_is_told() {
        let error = test(json!({"pattern": "("}))
            .describe()
            .expect_err("a bad pattern");
        assert!(error.message.contains("unclosed group"), "{error}");
        let error = test(json!({"regex": "x"}))
            .describe()
            .expect_err("no such setting");
        assert!(
            error
                .message
                .contains("there are `pattern`, `invert`, `column`"),
            "{error}"
        );
        let error = test(json!({"pattern": "x", "column": "n"}))
            .describe()
            .expect_err("a number");
        assert_eq!(
            error.message,
            "column `n` is int64, and the plugin reads it as utf8"
        );
    }
}
