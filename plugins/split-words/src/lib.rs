//! Splits lines into words.

use wasmill_sdk::prelude::*;
use wasmill_sdk::text;

#[derive(Deserialize)]
struct Config {
    /// Whether the words keep the other columns of their line.
    #[serde(default)]
    carry: bool,
}

#[derive(Record)]
struct Line<'a> {
    #[record(setting = "column", or_first)]
    line: &'a str,
}

#[derive(Record)]
struct Word<'a> {
    word: &'a str,
}

fn split(_: &Config, row: Line, out: &mut Emit<Word>) {
    for word in text::words(row.line) {
        out.emit(Word { word });
    }
}

export_transform! {
    config: Config,
    carry: |config| config.carry,
    flat_map: split,
}
