//! What there is to say of a replay.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use crate::checkpoint::{EpochRecord, Records};
use crate::cli::remembered::{self, Change, Remembered};
use crate::error::Failure;
use crate::ids::NodeName;
use crate::replay::Replayed;

/// What was run.
#[derive(PartialEq)]
enum Ran {
    /// The epoch as it was.
    AsItWas,
    /// The epoch with a change; as it was, it fails for this reason.
    Mended(String),
    /// Both, to be compared.
    Both,
}

/// What there is to say of a replay.
pub struct Shown {
    epoch: EpochRecord,
    ran: Ran,
    /// By which steps remember something else than is recorded, though nothing was changed.
    unlike: BTreeMap<NodeName, Vec<Change>>,
    /// Of each sink its rows as it was and as it is.
    sinks: BTreeMap<NodeName, [String; 2]>,
    /// What the epoch has changed, or with a change, what it would have changed otherwise.
    state: BTreeMap<NodeName, Vec<Change>>,
    /// What was dropped, as it was and as it is: node, kind, counts.
    dropped: Vec<(NodeName, &'static str, [u64; 2])>,
}

impl Shown {
    /// As it was, beside what is recorded of it.
    pub fn alone(records: &Records, epoch: &EpochRecord, then: Replayed) -> Result<Self, Failure> {
        let number = Some(epoch.epoch);
        let base = records
            .committed()?
            .range(..epoch.epoch)
            .next_back()
            .copied();
        let before = Remembered::after(records.clone(), base)?;
        let after = Remembered::after(then.records.clone(), number)?;
        Ok(Self {
            epoch: epoch.clone(),
            ran: Ran::AsItWas,
            unlike: unlike(records, &after)?,
            state: all_changes(&before, &after)?,
            dropped: dropped([&then, &then]),
            sinks: rows([BTreeMap::new(), then.outputs]),
        })
    }

    /// With a change, where it could not run as it was.
    pub fn mended(
        records: &Records,
        epoch: &EpochRecord,
        then: &Failure,
        now: Replayed,
    ) -> Result<Self, Failure> {
        let shown = Self::alone(records, epoch, now)?;
        Ok(Self {
            ran: Ran::Mended(then.to_string()),
            unlike: BTreeMap::new(),
            ..shown
        })
    }

    /// As it was, and with a change.
    pub fn both(
        records: &Records,
        epoch: &EpochRecord,
        then: Replayed,
        now: Replayed,
    ) -> Result<Self, Failure> {
        let number = Some(epoch.epoch);
        let before = Remembered::after(then.records.clone(), number)?;
        let after = Remembered::after(now.records.clone(), number)?;
        Ok(Self {
            epoch: epoch.clone(),
            ran: Ran::Both,
            unlike: unlike(records, &before)?,
            state: all_changes(&before, &after)?,
            dropped: dropped([&then, &now]),
            sinks: rows([then.outputs, now.outputs]),
        })
    }

    /// Whether anything does, or the pipeline is not deterministic.
    pub fn differs(&self) -> bool {
        let differs = |[then, now]: &[String; 2]| then != now;
        let counts = |(_, _, [then, now]): &(_, _, [u64; 2])| then != now;
        !self.unlike.is_empty()
            || self.ran == Ran::Both
                && (self.sinks.values().any(differs)
                    || !self.state.is_empty()
                    || self.dropped.iter().any(counts))
    }

    /// For people.
    pub fn text(&self) -> String {
        let (number, partitions) = (self.epoch.epoch, self.epoch.reads.len());
        let mut text = format!(
            "epoch {number} of {}, input partitions: {partitions}\n",
            self.epoch.time.as_date()
        );
        // Writing to a String cannot fail, here and below.
        match &self.ran {
            Ran::Mended(failure) => writeln!(text, "as it was, it fails: {failure}").ok(),
            _ if self.unlike.is_empty() => writeln!(text, "as it was, it gives the same again").ok(),
            _ => writeln!(text, "as it was, it does not give the same again: what is remembered after it differs from what was, so the pipeline is not deterministic").ok(),
        };
        write_changes(&mut text, "recorded and again", &self.unlike);
        let is_compared = self.ran == Ran::Both;
        for (sink, [then, now]) in &self.sinks {
            let (before, after) = (then.lines().count(), now.lines().count());
            if is_compared && then == now {
                writeln!(
                    text,
                    "\nsink {sink}: {before} rows, the same with the change"
                )
                .ok();
            } else if is_compared {
                writeln!(
                    text,
                    "\nsink {sink}: {before} rows, with the change {after}"
                )
                .ok();
                let diff = TextDiff::from_lines(then, now);
                write!(text, "{}", diff.unified_diff()).ok();
            } else {
                writeln!(text, "\nsink {sink}: {after} rows").ok();
                text.push_str(now);
            }
        }
        let what = match is_compared {
            true => "as it was and with the change",
            false => "before and after",
        };
        write_changes(&mut text, what, &self.state);
        for (node, kind, [then, now]) in &self.dropped {
            match is_compared {
                true => writeln!(text, "\n{node}: {then} {kind}, with the change {now}").ok(),
                false => writeln!(text, "\n{node}: {now} {kind}").ok(),
            };
        }
        text
    }

    /// For programs.
    pub fn as_json(&self) -> Value {
        let is_compared = self.ran == Ran::Both;
        let failure = match &self.ran {
            Ran::Mended(failure) => Some(failure),
            _ => None,
        };
        let changes = |changes: &BTreeMap<NodeName, Vec<Change>>| {
            let steps = changes.iter().map(|(step, changes)| {
                let changes = changes.iter().map(Change::as_json).collect();
                (step.to_string(), changes)
            });
            Value::Object(steps.collect())
        };
        let sinks = self.sinks.iter().map(|(sink, [then, now])| {
            let rows = match is_compared {
                true => json!({
                    "rows_before": then.lines().count(),
                    "rows_after": now.lines().count(),
                    "diff": lines_of_diff(then, now),
                }),
                false => json!({ "rows": now.lines().map(row).collect::<Vec<_>>() }),
            };
            (sink.to_string(), rows)
        });
        let dropped = self
            .dropped
            .iter()
            .map(|(node, kind, [then, now])| match is_compared {
                true => json!({ "node": node, "kind": kind, "before": then, "after": now }),
                false => json!({ "node": node, "kind": kind, "count": now }),
            });
        json!({
            "epoch": self.epoch.epoch,
            "time": self.epoch.time.as_date(),
            "partitions": self.epoch.reads.len(),
            "failed_before": failure,
            "is_compared": is_compared,
            "differs": self.differs(),
            "not_reproduced": changes(&self.unlike),
            "sinks": sinks.collect::<serde_json::Map<_, _>>(),
            "state": changes(&self.state),
            "dropped": dropped.collect::<Vec<_>>(),
        })
    }
}

/// What is remembered after a replay and is not what is recorded, if it is recorded.
fn unlike(
    records: &Records,
    after: &Remembered,
) -> Result<BTreeMap<NodeName, Vec<Change>>, Failure> {
    match after.epoch {
        Some(epoch) if records.committed()?.contains(&epoch) => {
            all_changes(&Remembered::after(records.clone(), Some(epoch))?, after)
        }
        _ => Ok(BTreeMap::new()),
    }
}

/// Of each step that remembers something else.
fn all_changes(
    before: &Remembered,
    after: &Remembered,
) -> Result<BTreeMap<NodeName, Vec<Change>>, Failure> {
    let mut all = BTreeMap::new();
    for step in before.steps.keys().chain(after.steps.keys()) {
        let changes = remembered::changes(before, after, step.as_str())?;
        if !changes.is_empty() {
            all.insert(step.clone(), changes);
        }
    }
    Ok(all)
}

fn write_changes(text: &mut String, what: &str, changes: &BTreeMap<NodeName, Vec<Change>>) {
    for (step, changes) in changes {
        writeln!(text, "\nstate of {step}, {what}").ok();
        for change in changes {
            writeln!(text, "{change}").ok();
        }
    }
}

fn rows([then, mut now]: [BTreeMap<NodeName, String>; 2]) -> BTreeMap<NodeName, [String; 2]> {
    let mut rows: BTreeMap<_, _> = then
        .into_iter()
        .map(|(sink, then)| {
            let now = now.remove(&sink).unwrap_or_default();
            (sink, [then, now])
        })
        .collect();
    // Sinks that are new.
    rows.extend(
        now.into_iter()
            .map(|(sink, now)| (sink, [String::new(), now])),
    );
    rows
}

fn dropped([then, now]: [&Replayed; 2]) -> Vec<(NodeName, &'static str, [u64; 2])> {
    let mut names: Vec<_> = then.nodes.keys().chain(now.nodes.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let mut dropped = Vec::new();
    for name in names {
        let counts = [then, now].map(|run| run.nodes.get(name).cloned().unwrap_or_default());
        let kinds = [
            ("skipped", [0, 1].map(|run| counts[run].skipped)),
            ("rejected", [0, 1].map(|run| counts[run].rejected)),
            ("traps", [0, 1].map(|run| counts[run].traps)),
        ];
        let counted = kinds.into_iter().filter(|(_, counts)| *counts != [0, 0]);
        dropped.extend(counted.map(|(kind, counts)| (name.clone(), kind, counts)));
    }
    dropped
}

/// A row as it was written.
fn row(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| line.into())
}

fn lines_of_diff(then: &str, now: &str) -> Vec<Value> {
    let diff = TextDiff::from_lines(then, now);
    let changes = diff.iter_all_changes().filter_map(|change| {
        let op = match change.tag() {
            ChangeTag::Equal => return None,
            ChangeTag::Delete => "-",
            ChangeTag::Insert => "+",
        };
        Some(json!({ "op": op, "row": row(change.value().trim_end()) }))
    });
    changes.collect()
}
