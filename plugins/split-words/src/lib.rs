//! Splits lines into words: one row in, any number of rows out.
//!
//! ```toml
//! [steps.words]
//! input = "lines"
//! plugin = "split-words"
//! config = { column = "message", carry = true }   # both may be left out
//! ```
//!
//! It reads the column that `column` names, else `line`, else the first text column, and gives the column `word`. With
//! `carry` each word keeps the other columns of its line.
//!
//! First lesson: a row type in, a row type out, and a function between them. `word` points into the line, the line
//! into the batch that the host wrote: nothing is copied until `emit` writes the word to its column.

use wasmill_sdk::prelude::*;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    carry: bool,
}

#[derive(Record)]
struct Line<'a> {
    #[record(setting = "column", or_first)]
    line: Text<'a>,
}

#[derive(Record, Debug, PartialEq)]
struct Word<'a> {
    word: Text<'a>,
}

fn split(_: &Config, row: Line, out: &mut Emit<Word>) {
    for word in row.line.words() {
        out.emit(Word { word });
    }
}

export_transform! {
    config: Config,
    carry: |config| config.carry,
    flat_map: split,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wasmill_sdk::testing;

    use super::*;

    #[test]
    fn every_word_knows_its_line() {
        let run = testing::transform::<Plugin>()
            .rows(["to be or", "", "  not\tto be "].map(|line| Line { line: line.into() }))
            .run()
            .expect("the input has a text column");
        let words = ["to", "be", "or", "not", "to", "be"].map(|word| Word { word: word.into() });
        assert_eq!(run.rows::<Word>("out"), words);
        assert_eq!(run.parents("out"), [0, 0, 0, 2, 2, 2]);
    }

    #[test]
    fn words_keep_the_other_columns_when_asked() {
        let run = testing::transform::<Plugin>()
            .config(json!({"column": "message", "carry": true}))
            .json(
                &[("id", "int64"), ("message", "utf8?")],
                [r#"{"id": 7, "message": "a b"}"#],
            )
            .run()
            .expect("the input has the column");
        assert_eq!(
            run.json("out"),
            [
                r#"{"id":7,"message":"a b","word":"a"}"#,
                r#"{"id":7,"message":"a b","word":"b"}"#
            ]
        );
    }

    #[test]
    fn a_line_that_is_null_is_rejected() {
        let run = testing::transform::<Plugin>()
            .json(
                &[("line", "utf8?")],
                [r#"{"line": null}"#, r#"{"line": "a"}"#],
            )
            .run()
            .expect("the input has the column");
        assert_eq!(run.rejected(), [(0, "column `line` is null")]);
        assert_eq!(run.parents("out"), [1]);
    }

    #[test]
    fn a_column_that_is_not_there_is_named() {
        let test = testing::transform::<Plugin>()
            .config(json!({"column": "mesage"}))
            .json(&[("message", "utf8")], []);
        let error = test.describe().expect_err("a typo");
        assert_eq!(
            error.message,
            "`column` names column `mesage`, which the input does not have; did you mean `message`?"
        );
        let test = testing::transform::<Plugin>().json(&[("n", "int64")], []);
        let error = test.describe().expect_err("no text");
        assert_eq!(
            error.message,
            "the plugin reads a column of type utf8, and the input has none: `n` int64"
        );
    }
}
