//! The `queue` source: batches that are there already, each an epoch of its own with a time of its own, as Spark's
//! `queueStream`. It tries out windows and timers on exact input, and plays recorded input again at its recorded times.
//!
//! A batch is a file of the folder; its name, up to the first point, is the epoch's batch time in milliseconds since 1970.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use serde_json::Value;
use toml::Spanned;

use super::files::FilesReader;
use super::{Budget, Offer, OpenOptions, Range, Receiver, Source, Waiting, foreign_position};
use crate::config::Table;
use crate::error::Failure;
use crate::format::RecordFormat;
use crate::ids::{BatchTime, NodeName};

/// Bytes of a partition of a batch by default: one, unless the batch is large.
const DEFAULT_SPLIT: u64 = 16 << 20;

/// A checked `queue` source.
#[derive(Clone, Debug)]
pub struct QueueSource {
    path: PathBuf,
    format: RecordFormat,
    split: u64,
}

impl QueueSource {
    /// Reads its settings.
    pub fn from_table(table: &mut Table) -> Option<Self> {
        let path = table.required_path("path", "the folder of the batches");
        let split = table.size("split");
        let format = RecordFormat::from_table(table);
        Some(Self {
            path: path?.into_inner(),
            format: format?,
            split: split.map_or(DEFAULT_SPLIT, Spanned::into_inner),
        })
    }

    /// How its records are written.
    pub fn format(&self) -> &RecordFormat {
        &self.format
    }

    /// Columns of its rows.
    pub fn schema(&self) -> SchemaRef {
        self.format.schema()
    }

    /// Makes it ready to run in this process; process 0 lists the batches.
    pub fn open(&self, options: OpenOptions) -> Result<Source, Failure> {
        let reader = Arc::new(FilesReader::new(self.format.clone(), options.provenance));
        let receiver = match options.coordinator {
            true => Some(self.receiver(options.node)?),
            false => None,
        };
        Ok(Source { receiver, reader })
    }

    fn receiver(&self, node: NodeName) -> Result<Box<dyn Receiver>, Failure> {
        let batches = batches(&self.path).map_err(|failure| failure.at_node(&node))?;
        Ok(Box::new(Queue {
            node,
            split: self.split,
            batches: batches.into(),
            taken: None,
        }))
    }
}

/// A file that is an epoch.
struct Batch {
    time: BatchTime,
    path: String,
    size: u64,
}

/// The batches of a folder, in order of their times.
fn batches(folder: &Path) -> Result<Vec<Batch>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::external(format!("`{}` cannot be read: {error}", folder.display()))
    };
    let mut batches = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let time = name.to_str().and_then(|name| {
            let digits = name.split('.').next()?;
            digits.parse().ok()
        });
        let Some(time) = time else {
            let path = entry.path();
            let message = format!("`{}` is not named after a time", path.display());
            return Err(Failure::user(message).help(
                "a batch is named `TIME.jsonl` or the like, TIME in milliseconds since 1970",
            ));
        };
        batches.push(Batch {
            time: BatchTime(time),
            path: entry.path().to_string_lossy().into_owned(),
            size: entry.metadata().map_err(unreadable)?.len(),
        });
    }
    batches.sort_by_key(|batch| batch.time);
    match batches.windows(2).find(|pair| pair[0].time == pair[1].time) {
        Some([one, other]) => Err(Failure::user(format!(
            "`{}` and `{}` are batches of the same time",
            one.path, other.path
        ))),
        _ => Ok(batches),
    }
}

struct Queue {
    node: NodeName,
    split: u64,
    batches: VecDeque<Batch>,
    /// The time of the last batch that was offered.
    taken: Option<BatchTime>,
}

impl Receiver for Queue {
    /// One batch, whatever the budget: that is what it is for.
    fn poll(&mut self, _budget: Budget) -> Result<Offer, Failure> {
        let Some(batch) = self.batches.pop_front() else {
            return Ok(Offer::default());
        };
        self.taken = Some(batch.time);
        let starts = (0..batch.size).step_by(usize::try_from(self.split).unwrap_or(usize::MAX));
        let ranges = starts.map(|start| Range::File {
            path: batch.path.clone(),
            start,
            end: batch.size.min(start.saturating_add(self.split)),
            size: batch.size,
        });
        Ok(Offer {
            ranges: ranges.collect(),
            rows: 0,
        })
    }

    fn waiting(&mut self) -> Result<Waiting, Failure> {
        let bytes: u64 = self.batches.iter().map(|batch| batch.size).sum();
        Ok(Waiting {
            bytes: bytes.max(u64::from(!self.batches.is_empty())),
            ended: self.batches.is_empty(),
            time: self.batches.front().map(|batch| batch.time),
            quiet: Duration::ZERO,
        })
    }

    fn stop(&mut self) {
        self.batches.clear();
    }

    fn position(&self) -> Value {
        self.taken.map_or(Value::Null, |time| time.0.into())
    }

    fn restore(&mut self, position: &Value) -> Result<(), Failure> {
        let taken: Option<i64> = serde_json::from_value(position.clone())
            .map_err(|error| foreign_position(&self.node, &error))?;
        self.taken = taken.map(BatchTime);
        let taken = self.taken;
        self.batches.retain(|batch| Some(batch.time) > taken);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(folder: &Path) -> Result<Vec<i64>, Failure> {
        Ok(batches(folder)?.iter().map(|batch| batch.time.0).collect())
    }

    #[test]
    fn batches_come_in_the_order_of_their_times_and_go_on_after_the_last_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["1000.jsonl", "200.jsonl", "30.jsonl"] {
            std::fs::write(folder.path().join(name), "{}\n").unwrap();
        }
        assert_eq!(queue(folder.path()).unwrap(), [30, 200, 1000]);
        let open = || Queue {
            node: "q".into(),
            split: 2,
            batches: batches(folder.path()).unwrap().into(),
            taken: None,
        };
        let mut first = open();
        let budget = Budget { rows: 1, bytes: 1 };
        assert_eq!(first.poll(budget).unwrap().ranges.len(), 2);
        let mut second = open();
        second.restore(&first.position()).unwrap();
        assert_eq!(second.waiting().unwrap().time, Some(BatchTime(200)));
    }

    #[test]
    fn a_file_without_a_time_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("first.jsonl"), "").unwrap();
        let failure = queue(folder.path()).unwrap_err();
        assert!(failure.message.contains("first.jsonl"), "{failure}");
    }
}
