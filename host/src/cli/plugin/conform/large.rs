//! Many rows, and what they are to give, computed without a plugin.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::Suite;
use crate::cli::plugin::test::{Case, Given};

/// A plugin of a language that is interpreted takes its time over a full call.
const LIMITS: &str = "limits = { deadline = \"60s\" }\n";
const KEYS: u64 = 1000;

/// A case of so many rows, and its output.
pub fn case(suite: Suite, rows: u64, folder: &Path) -> anyhow::Result<(Case, Given)> {
    let (file, input, expected) = match suite {
        Suite::SplitWords => split_words(rows),
        Suite::ParseJson => parse_json(rows),
        Suite::RunningCount => running_count(rows),
        Suite::LongestWord => longest_word(rows),
        Suite::SinkLog => sink_log(rows),
    };
    let folder = folder.join(format!("{rows}-rows"));
    std::fs::create_dir_all(folder.join("input"))?;
    std::fs::write(folder.join("case.toml"), format!("{file}{LIMITS}"))?;
    std::fs::write(folder.join("input").join("1000.jsonl"), input)?;
    let mut given = Given::new();
    if !expected.is_empty() {
        given.insert("out/1000.jsonl".to_owned(), expected);
    }
    let case = Case::all(folder.parent().expect("it is below"), None)?.remove(0);
    Ok((case, given))
}

/// What of the output is not as expected: its rows in any order. What is logged of so many rows, the host does not show; what is
/// remembered, the fixtures tell.
pub fn differs(expected: &Given, given: &Given) -> String {
    let mut text = String::new();
    for (name, rows) in given {
        let is_known =
            expected.contains_key(name) || ["log.txt", "state.jsonl"].contains(&name.as_str());
        if !is_known {
            let first = rows.lines().next().unwrap_or_default();
            // Writing to a String cannot fail, here and below.
            writeln!(text, "{name}, not expected: {first}").ok();
        }
    }
    for (name, expected) in expected {
        let sorted = |rows: &str| {
            let mut rows: Vec<String> = rows.lines().map(str::to_owned).collect();
            rows.sort_unstable();
            rows
        };
        let given = sorted(given.get(name).map_or("", String::as_str));
        let expected = sorted(expected);
        if given != expected {
            let (is, was) = (given.len(), expected.len());
            writeln!(text, "{name}: {is} rows, and {was} are expected").ok();
            let pairs = expected.iter().zip(&given);
            if let Some((expected, given)) = pairs.into_iter().find(|(one, other)| one != other) {
                writeln!(
                    text,
                    "the first that differs, in sorted order:\n-{expected}\n+{given}"
                )
                .ok();
            }
        }
    }
    text
}

type Texts = (&'static str, String, String);

fn split_words(rows: u64) -> Texts {
    let (mut input, mut expected) = (String::new(), String::new());
    for row in 0..rows {
        let words = [
            format!("w{}", row % 7),
            format!("x{}", row % 13),
            "\u{fc}".to_owned(),
        ];
        let line = format!(" {}  {}\t{} ", words[0], words[1], words[2]);
        writeln!(input, "{}", json!({ "line": line })).ok();
        for word in words {
            writeln!(expected, "{}", json!({ "word": word })).ok();
        }
    }
    ("schema = { line = \"utf8\" }\n", input, expected)
}

fn parse_json(rows: u64) -> Texts {
    let (mut input, mut expected) = (String::new(), String::new());
    for row in 0..rows {
        let object = format!("{{\"n\":{row},\"s\":\"s{}\"}}", row % 7);
        writeln!(input, "{}", json!({ "line": object })).ok();
        writeln!(expected, "{object}").ok();
    }
    let file =
        "schema = { line = \"utf8\" }\nconfig = { schema = { n = \"int64\", s = \"utf8?\" } }\n";
    (file, input, expected)
}

fn running_count(rows: u64) -> Texts {
    let mut input = String::new();
    let mut counts = BTreeMap::<String, u64>::new();
    for row in 0..rows {
        let word = format!("k{}", row % KEYS);
        writeln!(input, "{}", json!({ "word": word })).ok();
        *counts.entry(word).or_default() += 1;
    }
    let counted = counts
        .iter()
        .map(|(word, n)| format!("{{\"word\":\"{word}\",\"n\":{n}}}\n"));
    (
        "schema = { word = \"utf8\" }\ngroup_by = [\"word\"]\n",
        input,
        counted.collect(),
    )
}

fn longest_word(rows: u64) -> Texts {
    let mut input = String::new();
    let mut longest = BTreeMap::<u64, String>::new();
    for row in 0..rows {
        let (line, length) = (row % KEYS, 1 + (row / KEYS) % 10);
        let word = format!("{}{row}", "\u{e9}".repeat(length as usize));
        writeln!(input, "{{\"line\":{line},\"word\":\"{word}\"}}").ok();
        let kept = longest.entry(line).or_default();
        if word.chars().count() > kept.chars().count() {
            *kept = word;
        }
    }
    let kept = longest
        .iter()
        .map(|(line, word)| format!("{{\"line\":{line},\"word\":\"{word}\"}}\n"));
    let file = "schema = { line = \"int64\", word = \"utf8\" }\ngroup_by = [\"line\"]\n";
    (file, input, kept.collect())
}

fn sink_log(rows: u64) -> Texts {
    let lines = (0..rows).map(|row| format!("{{\"n\":{row}}}\n"));
    (
        "schema = { n = \"int64\" }\n",
        lines.collect(),
        String::new(),
    )
}
