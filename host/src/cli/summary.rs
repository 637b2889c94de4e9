//! What a run came to: one row a node, with all that was dropped.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::progress::time;
use crate::ids::NodeName;
use crate::run::Summary;
use crate::telemetry::NodeCounts;

/// How the run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The input came to its end.
    Done,
    /// On request.
    Drained,
}

/// For people, without a line end. Nodes are listed in the plan's order.
pub fn text(pipeline: &str, ending: Ending, summary: &Summary, order: &[NodeName]) -> String {
    let ended = match ending {
        Ending::Done => "done",
        Ending::Drained => "drained",
    };
    let mut text = format!(
        "{pipeline}: {ended} after {}, {} epochs, at most {} bytes alive",
        time(summary.elapsed),
        summary.epochs,
        thousands(summary.peak_live_bytes)
    );
    let nodes = order
        .iter()
        .filter_map(|name| summary.nodes.get_key_value(name));
    let rows: Vec<[String; 7]> = nodes.map(|(name, counts)| row(name, counts)).collect();
    let header = [
        "",
        "rows in",
        "rows out",
        "skipped",
        "rejected",
        "traps",
        "in plugin",
    ];
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([header[column].len()]).max().unwrap_or(0)
        })
        .collect();
    for row in std::iter::once(&header.map(str::to_owned)).chain(&rows) {
        let mut line = format!("  {:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            // Writing to a String cannot fail, here and below.
            write!(line, "  {cell:>width$}").ok();
        }
        write!(text, "\n{}", line.trim_end()).ok();
    }
    text
}

fn row(name: &NodeName, counts: &NodeCounts) -> [String; 7] {
    let busy = std::time::Duration::from_nanos(counts.busy_nanos);
    [
        name.to_string(),
        thousands(counts.rows_in),
        thousands(counts.rows_out),
        thousands(counts.skipped),
        thousands(counts.rejected),
        thousands(counts.traps),
        match counts.calls {
            0 => String::new(),
            _ => time(busy),
        },
    ]
}

/// "1,234,567".
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// For programs.
pub fn as_json(pipeline: &str, ending: Ending, summary: &Summary) -> Value {
    json!({
        "pipeline": pipeline,
        "drained": ending == Ending::Drained,
        "epochs": summary.epochs,
        "elapsed_ms": summary.elapsed.as_secs_f64() * 1e3,
        "peak_live_bytes": summary.peak_live_bytes,
        "nodes": summary.nodes,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_node_has_a_row_with_what_was_dropped() {
        let words = NodeCounts {
            rows_in: 1_000_000,
            rows_out: 8_000_000,
            calls: 40,
            busy_nanos: 1_500_000_000,
            skipped: 3,
            traps: 1,
            ..NodeCounts::default()
        };
        let lines = NodeCounts {
            rows_in: 1_000_000,
            rows_out: 1_000_000,
            ..NodeCounts::default()
        };
        let summary = Summary {
            epochs: 12,
            elapsed: Duration::from_millis(12_300),
            peak_live_bytes: 70_000,
            nodes: [("words".into(), words), ("lines".into(), lines)].into(),
        };
        let order = ["lines".into(), "words".into()];
        let text = text("word-count", Ending::Drained, &summary, &order);
        assert_eq!(
            text,
            "word-count: drained after 12.3 s, 12 epochs, at most 70,000 bytes alive
           rows in   rows out  skipped  rejected  traps  in plugin
  lines  1,000,000  1,000,000        0         0      0
  words  1,000,000  8,000,000        3         0      1      1.5 s"
        );
    }

    #[test]
    fn numbers_are_grouped_in_thousands() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), expected);
        }
    }
}
