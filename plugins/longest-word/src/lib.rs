//! Reduces words to the longest, of several the first.
//!
//! ```toml
//! [steps.longest]
//! input = "words"
//! plugin = "longest-word"
//! group_by = ["line"]
//! ```
//!
//! It reads the column that `column` names, else `word`, else the first text column; the result has that column. Length is
//! counted in characters.
//!
//! First lesson on reducers: a function of two rows that gives one, and does not care where the rows are cut. The word that
//! comes out is a piece of the batch that came in, so the record borrows, and says so with one lifetime. There is no
//! inverse: when the longest word is gone, nobody knows the second.

use wasmill_sdk::prelude::*;

#[derive(Record, Clone, Copy, Debug, PartialEq)]
struct Word<'a> {
    #[record(setting = "column", or_first)]
    word: Text<'a>,
}

fn longer<'a>(a: Word<'a>, b: Word<'a>) -> Word<'a> {
    if b.word.characters() > a.word.characters() {
        b
    } else {
        a
    }
}

export_reducer!(reduce: longer);

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wasmill_sdk::testing;

    use super::*;

    #[test]
    fn the_first_of_the_longest_words_is_kept() {
        // Of five bytes, four bytes, four bytes: what counts are characters.
        let words = ["\u{e9}t\u{e9}", "four", "be", "five", "or", ""];
        let words = words.map(|word| Word { word: word.into() });
        let run = testing::reducer::<Plugin>()
            .rows(words)
            .groups([4, 1, 1])
            .run()
            .expect("the input has a text column");
        assert_eq!(run.rows::<Word>(), [words[1], words[4], words[5]]);
        assert!(!run.plan().invertible);
    }

    #[test]
    fn the_result_has_the_column_of_the_input() {
        let run = testing::reducer::<Plugin>()
            .config(json!({"column": "name"}))
            .json(
                &[("word", "utf8"), ("name", "utf8")],
                [
                    r#"{"word": "long", "name": "a"}"#,
                    r#"{"word": "x", "name": "bc"}"#,
                ],
            )
            .run()
            .expect("the input has the column");
        assert_eq!(run.json(), [r#"{"name":"bc"}"#]);
    }
}
