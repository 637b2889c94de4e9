//! What the steps of a pipeline remember after an epoch, and how it differs from what they remember after another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Value, json};

use crate::checkpoint::storage::Location;
use crate::checkpoint::{NodeState, Records};
use crate::config::did_you_mean;
use crate::error::Failure;
use crate::ids::{Epoch, NodeName};

/// What the steps remember after an epoch.
pub struct Remembered {
    records: Records,
    /// The epoch; none before the first.
    pub epoch: Option<Epoch>,
    /// Every step that remembers something.
    pub steps: BTreeMap<NodeName, NodeState>,
}

impl Remembered {
    /// After an epoch of a checkpoint, the last committed one unless said.
    ///
    /// # Errors
    /// When the checkpoint does not hold it.
    pub fn at(checkpoint: &Location, epoch: Option<u64>) -> Result<Self, Failure> {
        let records = Records::open(checkpoint)?;
        let committed = records.committed()?;
        let epoch = match epoch.map(Epoch) {
            Some(epoch) if committed.contains(&epoch) => Some(epoch),
            Some(epoch) => return Err(no_state_after(&records, epoch, &committed)),
            None => committed.last().copied(),
        };
        Self::after(records, epoch)
    }

    /// After an epoch that is committed in these records.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn after(records: Records, epoch: Option<Epoch>) -> Result<Self, Failure> {
        let (_, steps) = records.state_after(epoch)?;
        Ok(Self {
            records,
            epoch,
            steps,
        })
    }

    /// A step by its name.
    ///
    /// # Errors
    /// When it remembers nothing.
    pub fn step(&self, name: &str) -> Result<(NodeName, &NodeState), Failure> {
        let wanted = NodeName::from(name);
        if let Some(state) = self.steps.get(&wanted) {
            return Ok((wanted, state));
        }
        let failure = Failure::user(format!("no step `{name}` remembers anything here"));
        let known = self.steps.keys().map(NodeName::as_str);
        Err(match did_you_mean(name, known) {
            Some(help) => failure.help(help),
            None => failure,
        })
    }

    /// The rows of a step, each with the values of its key as text.
    ///
    /// # Errors
    /// When it remembers nothing, or what it remembers cannot be read.
    pub fn rows(&self, name: &str) -> Result<Vec<(Vec<String>, Value)>, Failure> {
        let (node, state) = self.step(name)?;
        let store = self.records.store();
        let is_window = state.keys.first().is_some_and(|key| key.name == "pane");
        let keys = state.keys.len() - usize::from(is_window);
        let mut rows = Vec::new();
        for (partition, kept) in &state.partitions {
            for (segment, batch) in store.rows((&node, *partition), kept, keys)? {
                // Of a table the timer stands before the key.
                let first = usize::from(segment.pane.is_none());
                let mut of_segment = as_rows(&batch, first, keys)?;
                if let Some(pane) = segment.pane {
                    for (_, row) in &mut of_segment {
                        row["pane"] = pane.into();
                    }
                }
                rows.extend(of_segment);
            }
        }
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(rows)
    }

    /// What there is of each key; nothing at all of a step that remembers nothing.
    fn by_key(&self, name: &str) -> Result<BTreeMap<Vec<String>, Value>, Failure> {
        let mut keys = BTreeMap::<_, Vec<Value>>::new();
        if self.steps.contains_key(&NodeName::from(name)) {
            for (key, row) in self.rows(name)? {
                keys.entry(key).or_default().push(row);
            }
        }
        let keys = keys.into_iter().map(|(key, mut rows)| match rows.len() {
            1 => (key, rows.remove(0)),
            _ => (key, Value::Array(rows)),
        });
        Ok(keys.collect())
    }
}

fn no_state_after(records: &Records, epoch: Epoch, committed: &BTreeSet<Epoch>) -> Failure {
    let message = format!("the checkpoint does not hold the state after epoch {epoch}");
    let after = committed.range(epoch..).next();
    let covering = after.and_then(|after| records.commit(*after).ok());
    let help = match covering.filter(|commit| commit.first <= epoch) {
        Some(commit) => {
            let (first, last) = (commit.first, commit.epoch);
            format!(
                "one commit covers epochs {first} to {last}, with the state after the last: say --epoch {last}"
            )
        }
        None => {
            "`wasmill epoch ls` lists what it holds; state is there after epochs that are committed"
                .to_owned()
        }
    };
    Failure::user(message).help(help)
}

/// The rows of a batch as JSON, each with its key's values as text.
fn as_rows(
    batch: &RecordBatch,
    first: usize,
    keys: usize,
) -> Result<Vec<(Vec<String>, Value)>, Failure> {
    let bug = |error: arrow::error::ArrowError| {
        Failure::internal(format!("state could not be shown: {error}"))
    };
    let mut bytes = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut bytes);
    writer.write(batch).map_err(bug)?;
    writer.finish().map_err(bug)?;
    drop(writer);
    let options = FormatOptions::default().with_null("null");
    let columns = &batch.columns()[first..first + keys];
    let formatters = columns
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let formatters: Vec<_> = formatters.collect::<Result<_, _>>().map_err(bug)?;
    let text = String::from_utf8_lossy(&bytes);
    let rows = text.lines().enumerate().map(|(row, line)| {
        let key = formatters
            .iter()
            .map(|column| column.value(row).to_string());
        let value = serde_json::from_str(line)
            .map_err(|error| Failure::internal(format!("state could not be shown: {error}")))?;
        Ok((key.collect(), value))
    });
    rows.collect()
}

/// A key of which something else is remembered.
pub struct Change {
    key: Vec<String>,
    /// What was remembered, a row or, over windows, several; nothing of a key that is new.
    was: Option<Value>,
    /// What is; nothing of a key that is forgotten.
    is: Option<Value>,
}

/// How what a step remembers differs, in the order of its keys.
///
/// # Errors
/// When either cannot be read.
pub fn changes(
    before: &Remembered,
    after: &Remembered,
    step: &str,
) -> Result<Vec<Change>, Failure> {
    let (mut before, mut after) = (before.by_key(step)?, after.by_key(step)?);
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
    let changes = keys.into_iter().map(|key| Change {
        was: before.remove(&key),
        is: after.remove(&key),
        key,
    });
    Ok(changes.filter(|change| change.was != change.is).collect())
}

impl Change {
    /// For programs.
    pub fn as_json(&self) -> Value {
        json!({ "key": self.key, "before": self.was, "after": self.is })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (&self.was, &self.is) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        let shown =
            |row: &Option<Value>| row.as_ref().map_or("nothing".to_owned(), Value::to_string);
        let (key, was, is) = (self.key.join(", "), shown(&self.was), shown(&self.is));
        write!(f, "{sign} {key}: {was} -> {is}")
    }
}
