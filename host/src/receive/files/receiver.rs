//! Cuts listed files into ranges, epoch by epoch, and looks for new files.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::listing::{Found, Listing};
use crate::error::Failure;
use crate::receive::{Budget, Offer, OpenOptions, Range, Receiver, Waiting, foreign_position};
use crate::telemetry::count;

/// A range shorter than this is cut only where a file or the whole budget is: opening a file for less does not pay.
const LEAST_RANGE: u64 = 64 << 10;
const LOOK_AHEAD: usize = 256 << 10;

/// The receiver of a `files` source.
#[derive(Debug)]
pub struct FilesReceiver {
    options: OpenOptions,
    listing: Listing,
    split: u64,
    /// How often to look for new files; `None` after the one and only listing.
    interval: Option<Duration>,
    listed: Instant,
    /// Files taken, with what they were then. Names that have gone from the listing are forgotten.
    seen: HashMap<String, (u64, SystemTime)>,
    pending: VecDeque<Pending>,
    pending_bytes: u64,
    stopped: bool,
}

/// What a checkpoint holds of a source.
#[derive(Serialize, Deserialize)]
struct Position<'a> {
    seen: Cow<'a, HashMap<String, (u64, SystemTime)>>,
    pending: Cow<'a, VecDeque<Pending>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    path: String,
    size: u64,
    next: u64,
}

impl FilesReceiver {
    /// Lists once. What is found is taken if `existing`; later listings come every `interval`, if given.
    pub fn new(
        listing: Listing,
        split: u64,
        interval: Option<Duration>,
        existing: bool,
        options: OpenOptions,
    ) -> Result<Self, Failure> {
        let mut receiver = Self {
            options,
            listing,
            split,
            interval,
            listed: Instant::now(),
            seen: HashMap::new(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            stopped: false,
        };
        receiver.list()?;
        if !existing {
            receiver.pending.clear();
            receiver.pending_bytes = 0;
        }
        Ok(receiver)
    }

    fn list_if_due(&mut self) -> Result<(), Failure> {
        if self
            .interval
            .is_some_and(|interval| self.listed.elapsed() >= interval)
        {
            self.list()?;
        }
        Ok(())
    }

    fn list(&mut self) -> Result<(), Failure> {
        let found = self
            .listing
            .list()
            .map_err(|failure| failure.at_node(&self.options.node))?;
        self.listed = Instant::now();
        let mut seen = HashMap::with_capacity(found.len());
        for file in found {
            let Found {
                path,
                modified,
                size,
            } = file;
            // A file that was empty when it was seen has not been read.
            let before = self.seen.remove(&path).filter(|(size, _)| *size > 0);
            match before {
                None if size > 0 => {
                    self.pending_bytes += size;
                    self.pending.push_back(Pending {
                        path: path.clone(),
                        size,
                        next: 0,
                    });
                }
                Some(before) if before != (size, modified) => {
                    count(&self.options.counters.skipped, 1);
                    tracing::warn!(
                        source = %self.options.node,
                        "`{path}` has changed since it was read: what is new in it is not read; write a file aside and rename it when it is whole"
                    );
                }
                _ => {}
            }
            seen.insert(path, (size, modified));
        }
        self.seen = seen;
        Ok(())
    }

    /// The next range, at most `budget`, and its rows if the budget counts them.
    fn cut(&mut self, budget: Budget) -> Option<(Range, u64)> {
        let file = self.pending.front_mut()?;
        let start = file.next;
        let most = start + self.split.min(budget.bytes.max(1));
        let mut end = most.min(file.size);
        let mut rows = 0;
        if budget.limits_rows() {
            // A file that cannot be read is offered as it is: its reader says what is wrong, under the source's `on_error`.
            if let Ok((records, cut)) = count_records(file, end, budget.rows) {
                (rows, end) = (records, cut);
            }
        }
        file.next = end;
        self.pending_bytes -= end - start;
        let range = Range::File {
            path: file.path.clone(),
            start,
            end,
            size: file.size,
        };
        if file.next == file.size {
            self.pending.pop_front();
        }
        Some((range, rows))
    }
}

impl Receiver for FilesReceiver {
    fn poll(&mut self, budget: Budget) -> Result<Offer, Failure> {
        self.list_if_due()?;
        let mut offer = Offer::default();
        let mut left = budget;
        while let Some(file) = self.pending.front().filter(|_| !self.stopped) {
            let worthwhile = left.bytes >= LEAST_RANGE.min(file.size - file.next);
            let first = offer.ranges.is_empty();
            if left.rows == 0 || left.bytes == 0 || !(first || worthwhile) {
                break;
            }
            let Some((range, rows)) = self.cut(left) else {
                break;
            };
            left.bytes = left.bytes.saturating_sub(range.bytes());
            left.rows = left.rows.saturating_sub(rows);
            offer.rows += rows;
            offer.ranges.push(range);
        }
        Ok(offer)
    }

    fn waiting(&mut self) -> Result<Waiting, Failure> {
        self.list_if_due()?;
        let interval = self.interval.unwrap_or_default();
        Ok(Waiting {
            bytes: if self.stopped { 0 } else { self.pending_bytes },
            ended: self.interval.is_none(),
            time: None,
            quiet: interval.saturating_sub(self.listed.elapsed()),
        })
    }

    /// Files stay where they are: those not yet offered are left for the next run.
    fn stop(&mut self) {
        self.interval = None;
        self.stopped = true;
    }

    fn position(&self) -> Value {
        let position = Position {
            seen: Cow::Borrowed(&self.seen),
            pending: Cow::Borrowed(&self.pending),
        };
        serde_json::to_value(position).expect("names and numbers are JSON")
    }

    fn restore(&mut self, position: &Value) -> Result<(), Failure> {
        let position = Position::deserialize(position)
            .map_err(|error| foreign_position(&self.options.node, &error))?;
        self.seen = position.seen.into_owned();
        self.pending = position.pending.into_owned();
        self.pending_bytes = self.pending.iter().map(|file| file.size - file.next).sum();
        // What has come in the meantime.
        self.list()
    }
}

/// Whether a position is one behind all of a file.
pub fn has_read(position: &Value, file: &Path) -> bool {
    let Ok(position) = Position::deserialize(position) else {
        return false;
    };
    let name = file.to_string_lossy();
    let waits = position.pending.iter().any(|pending| pending.path == name);
    position.seen.contains_key(&*name) && !waits
}

/// Counts the records that start in `file.next..end`, up to `most`; also says where the one after them starts, at most `end`.
fn count_records(file: &Pending, end: u64, most: u64) -> io::Result<(u64, u64)> {
    let opened = File::open(&file.path)?;
    let mut records = u64::from(file.next == 0);
    // A record starts after a line end, so line ends are looked for one byte before.
    let mut at = file.next.saturating_sub(1);
    let last = end - 1;
    let mut buffer = vec![0; LOOK_AHEAD];
    while at < last {
        let wanted = buffer.len().min((last - at) as usize);
        let read = opened.read_at(&mut buffer[..wanted], at)?;
        if read == 0 {
            break;
        }
        for line_end in memchr::memchr_iter(b'\n', &buffer[..read]) {
            if records == most {
                return Ok((records, at + line_end as u64 + 1));
            }
            records += 1;
        }
        at += read as u64;
    }
    Ok((records, end))
}
