//! Rejected rows, how they are named, chosen and counted. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::table::Rejecting;
use crate::ids::{Epoch, NodeName, PartitionId};

/// The file of rejected rows of one epoch and partition.
pub type FileId = (Epoch, PartitionId);

/// A rejected row for good: epoch and partition of its file, and its line there, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RowId {
    /// The file.
    pub file: FileId,
    /// The line.
    pub line: u64,
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (epoch, partition) = self.file;
        write!(f, "{epoch}-{partition}-{}", self.line)
    }
}

impl FromStr for RowId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` names no rejected row: a name is three numbers, as in 12-0-3");
        let numbers: Vec<u64> = text
            .split('-')
            .map(|part| part.parse().map_err(|_| wrong()))
            .collect::<Result<_, _>>()?;
        let [epoch, partition, line] = numbers[..] else {
            return Err(wrong());
        };
        let partition = u32::try_from(partition).map_err(|_| wrong())?;
        Ok(Self {
            file: (Epoch(epoch), PartitionId(partition)),
            line,
        })
    }
}

impl TryFrom<String> for RowId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RowId> for String {
    fn from(id: RowId) -> Self {
        id.to_string()
    }
}

/// What takes rows again: a node, or an input of one with several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taker {
    node: NodeName,
    input: Option<usize>,
}

impl Taker {
    /// The source that reads them for it.
    pub fn source(&self) -> NodeName {
        self.node.again(self.input)
    }
}

/// As the catalog has it, and where its files lie below the folder of those that come again: `NODE` or `NODE/INPUT`.
impl fmt::Display for Taker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.input {
            Some(input) => write!(f, "{}/{input}", self.node),
            None => write!(f, "{}", self.node),
        }
    }
}

impl From<&str> for Taker {
    fn from(text: &str) -> Self {
        let (node, input) = text.split_once('/').unwrap_or((text, ""));
        Self {
            node: node.into(),
            input: input.parse().ok(),
        }
    }
}

/// A row as its pipeline has written it.
#[derive(Debug, Deserialize)]
pub struct Written {
    /// When it was rejected.
    pub batch_time: Timestamp,
    /// By which source, step or sink.
    pub node: String,
    /// Which of its inputs it was of, if it has several.
    #[serde(default)]
    pub input: Option<usize>,
    /// Where it entered.
    pub origin: String,
    /// The digest of the plugin that rejected it, if one did.
    #[serde(default)]
    pub plugin: Option<String>,
    /// Why.
    pub reason: String,
    /// The row as an object, or a record as a text.
    #[serde(default)]
    pub row: Option<Box<RawValue>>,
    /// Of a record that is not UTF-8, its bytes in base64.
    #[serde(default)]
    pub bytes: Option<String>,
    /// Whether the text is but the beginning of the record.
    #[serde(default)]
    pub cut: bool,
}

impl Written {
    /// Who can take it again.
    ///
    /// # Errors
    /// Why nobody can.
    pub fn taker(&self, said: &Rejecting) -> Result<Taker, &'static str> {
        if said.has_own {
            return Err("the pipeline has a `[rejected]` of its own now");
        }
        let inputs = said.nodes.get(&self.node);
        let inputs = *inputs.ok_or("its node does not reject any more, or is gone")?;
        match self.input {
            None if inputs > 1 => {
                Err("its step has several inputs, and it is not known of which it is")
            }
            Some(_) if inputs == 1 => Err("its step had several inputs, and has one now"),
            Some(input) if input >= inputs => Err("its step has fewer inputs now"),
            input => Ok(Taker {
                node: self.node.as_str().into(),
                input,
            }),
        }
    }

    /// The line that its node reads as this row again.
    ///
    /// # Errors
    /// Why there is none.
    pub fn line(&self) -> Result<Vec<u8>, &'static str> {
        let nothing = "nothing of it was kept";
        let row = self.row.as_ref().ok_or(nothing)?.get();
        if !row.starts_with('"') {
            return Ok(row.into());
        }
        if self.cut {
            return Err("only its first 4 KiB were kept");
        }
        match &self.bytes {
            Some(bytes) => BASE64_STANDARD
                .decode(bytes)
                .map_err(|_| "its bytes are no base64"),
            None => serde_json::from_str(row)
                .map(String::into_bytes)
                .map_err(|_| nothing),
        }
    }
}

/// Whether a row waits for someone to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowState {
    /// It does.
    Open,
    /// It was given back to its node.
    GivenBack,
}

/// A rejected row with where it came from and why it was turned away.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RejectedRow {
    /// Its name, which stays.
    #[schema(value_type = String)]
    pub id: RowId,
    /// What was done about it.
    pub state: RowState,
    /// The batch time at which it was rejected.
    #[schema(value_type = String)]
    pub time: Timestamp,
    /// The source, step or sink that rejected it.
    pub node: String,
    /// Which of the step's `inputs` it was of, from 0; none if there is but one.
    pub input: Option<usize>,
    /// Where it entered: `in/a.txt at byte 1024`.
    pub origin: String,
    /// The digest of the plugin that rejected it; none if Wasmill did.
    pub plugin: Option<String>,
    /// Why.
    pub reason: String,
    /// The row as an object, or a record as a text; nothing if nothing of it was kept.
    #[schema(value_type = Option<Object>)]
    pub row: Option<Box<RawValue>>,
    /// Of a record that is not UTF-8, its bytes in base64.
    pub bytes: Option<String>,
    /// Whether the text is but the beginning of the record.
    pub cut: bool,
}

/// Which rows are meant: those of which all is true that is said here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// These rows.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub ids: BTreeSet<RowId>,
    /// Those of a source, step or sink.
    #[serde(default)]
    pub node: Option<String>,
    /// Those of before then.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub before: Option<Timestamp>,
    /// All, if nothing else is said.
    #[serde(default)]
    pub all: bool,
}

impl Choice {
    /// Whether it says anything.
    pub fn is_made(&self) -> bool {
        self.all || !self.ids.is_empty() || self.node.is_some() || self.before.is_some()
    }

    /// Whether a row of a file can be meant.
    pub fn may_be_in(&self, file: FileId) -> bool {
        let row = |line| RowId { file, line };
        self.ids.is_empty() || self.ids.range(row(0)..=row(u64::MAX)).next().is_some()
    }

    /// Whether a row is meant.
    pub fn means(&self, id: RowId, row: &Written) -> bool {
        (self.ids.is_empty() || self.ids.contains(&id))
            && self.node.as_ref().is_none_or(|node| *node == row.node)
            && self.before.is_none_or(|before| row.batch_time < before)
    }
}

/// Rows that were turned away by the same node and code for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Group {
    /// The source, step or sink.
    pub node: String,
    /// The digest of the plugin; none if Wasmill rejected them.
    pub plugin: Option<String>,
    /// Why.
    pub reason: String,
    /// How many wait.
    pub open: u64,
    /// How many were given back.
    pub given_back: u64,
    /// When the first was rejected.
    #[schema(value_type = String)]
    pub first: Timestamp,
    /// And the last.
    #[schema(value_type = String)]
    pub last: Timestamp,
}

/// Rows being counted by what they have in common.
#[derive(Debug, Default)]
pub struct Groups(BTreeMap<(String, Option<String>, String), Group>);

impl Groups {
    /// Counts a row.
    pub fn add(&mut self, row: Written, state: RowState) {
        let time = row.batch_time;
        let key = (row.node, row.plugin, row.reason);
        let group = self.0.entry(key).or_insert_with_key(|key| Group {
            node: key.0.clone(),
            plugin: key.1.clone(),
            reason: key.2.clone(),
            open: 0,
            given_back: 0,
            first: time,
            last: time,
        });
        match state {
            RowState::Open => group.open += 1,
            RowState::GivenBack => group.given_back += 1,
        }
        group.first = group.first.min(time);
        group.last = group.last.max(time);
    }

    /// The `most` that have the most open rows, and how many others there are.
    pub fn largest(self, most: usize) -> (Vec<Group>, u64) {
        let mut groups: Vec<Group> = self.0.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse((group.open, group.given_back)));
        let more = groups.len().saturating_sub(most);
        groups.truncate(most);
        (groups, more as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(row: &str) -> Written {
        let row = format!(
            r#"{{"epoch":1,"batch_time":"2026-01-01T00:00:00Z","partition":0,"node":"n","origin":"o","reason":"r"{row}}}"#
        );
        serde_json::from_str(&row).unwrap()
    }

    #[test]
    fn a_name_is_read_as_it_is_written_and_nothing_else_is_one() {
        let id: RowId = "12-0-3".parse().unwrap();
        assert_eq!((id.file, id.line), ((Epoch(12), PartitionId(0)), 3));
        assert_eq!(id.to_string(), "12-0-3");
        for wrong in [
            "",
            "1",
            "1-2",
            "1-2-3-4",
            "a-b-c",
            "1--3",
            "1-4294967296-1",
            "-1-2-3",
        ] {
            assert!(wrong.parse::<RowId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_row_comes_again_only_as_it_was() {
        for (row, line) in [
            (r#","row":{"n":1}"#, b"{\"n\":1}".as_slice()),
            (r#","row":"a \"b\"""#, b"a \"b\""),
            (r#","row":"a\ufffd""#, b"a\xef\xbf\xbd"),
            (r#","row":"a\ufffd","bytes":"Yf8=""#, b"a\xff"),
        ] {
            assert_eq!(written(row).line().unwrap(), line);
        }
        for (row, why) in [
            ("", "nothing"),
            (r#","row":"abc","cut":true"#, "4 KiB"),
            (r#","row":"?","bytes":"?""#, "no base64"),
        ] {
            let refused = written(row).line().unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn rows_are_counted_by_why_they_were_rejected() {
        let mut groups = Groups::default();
        for (reason, state) in [
            ("a", RowState::GivenBack),
            ("b", RowState::Open),
            ("b", RowState::Open),
            ("c", RowState::Open),
        ] {
            let row = Written {
                reason: reason.into(),
                ..written("")
            };
            groups.add(row, state);
        }
        let (groups, more) = groups.largest(2);
        let counts = groups
            .iter()
            .map(|group| (group.reason.as_str(), group.open));
        assert_eq!(counts.collect::<Vec<_>>(), [("b", 2), ("c", 1)]);
        assert_eq!(more, 1);
    }
}
