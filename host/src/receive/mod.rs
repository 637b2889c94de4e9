//! Where rows enter.
//!
//! A source has two halves. Its [`Receiver`] lives at process 0 and says which input there is, as plain
//! [`Range`]s; the plan of an epoch is a list of them. Its [`Reader`] lives in every process and turns one range
//! into Arrow batches, part by part, in the worker that the range was given to. So data moves only
//! where it is worked on, and an epoch can be read again.

mod files;
mod generate;
mod queue;
mod table;
mod tcp;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{Table, did_you_mean};
use crate::error::Failure;
use crate::ids::{BatchTime, NodeName};
use crate::telemetry::NodeCounters;

use crate::format::RecordFormat;
pub use crate::format::{BadRecord, PART_BYTES, PART_ROWS, Read};
pub use files::FilesSource;
pub use generate::{GenerateSource, random, random_text};
pub use queue::QueueSource;
pub use table::{FileState, TableSource};
pub use tcp::TcpSource;

/// A piece of a source's input that one worker reads; serialised into the epoch's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Range {
    /// The records of a file that *start* in `start..end` (bytes).
    File {
        /// Path as the source spelled it.
        path: String,
        /// First byte.
        start: u64,
        /// One past the last byte at which a record may start.
        end: u64,
        /// Bytes the file had when it was listed; what it grows later is not read.
        size: u64,
    },
    /// Generated rows `first..first + count`.
    Rows {
        /// Number of the first row.
        first: u64,
        /// How many.
        count: u64,
        /// Time of row 0 in microseconds since 1970; the same for all ranges of a run.
        since: i64,
    },
    /// Rows that a push source of process 0 holds in memory; must be read in process 0, once.
    Held {
        /// Number of the block, counted by its receiver.
        block: u64,
        /// Rows in it.
        rows: u64,
        /// Bytes in it.
        bytes: u64,
    },
}

impl Range {
    /// Bytes to read as far as known, for balancing work and for limits.
    pub fn bytes(&self) -> u64 {
        match self {
            Range::File { start, end, .. } => end - start,
            Range::Rows { count, .. } => count * 64,
            Range::Held { bytes, .. } => *bytes,
        }
    }

    /// Names a file as it is seen from elsewhere, if it was named as seen from `folder`.
    pub fn see_from(&mut self, folder: &Path) {
        if let Range::File { path, .. } = self {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
    }

    /// The block, if it is one that only process 0 can read.
    pub fn block(&self) -> Option<u64> {
        match self {
            Range::Held { block, .. } => Some(*block),
            _ => None,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::File {
                path,
                start,
                end,
                size,
            } => write!(f, "{path}, bytes {start} to {end} of {size}"),
            Range::Rows { first, count, .. } => write!(f, "rows {first} to {}", first + count),
            Range::Held { block, rows, bytes } => {
                write!(f, "block {block}: {rows} rows, {bytes} bytes")
            }
        }
    }
}

/// How much an epoch may still take in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Rows; `u64::MAX` for no limit.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Budget {
    /// Whether rows have to be counted. No limit, less what other sources have taken of it, is still none.
    pub fn limits_rows(&self) -> bool {
        self.rows < u64::MAX / 2
    }
}

/// What a receiver has to offer when an epoch is cut.
#[derive(Debug, Default)]
pub struct Offer {
    /// Input for this epoch, within the budget, in the source's order. Taken: not offered again.
    pub ranges: Vec<Range>,
    /// Rows in them, where the receiver knows (0 where it does not, as for files without `max_rows`).
    pub rows: u64,
}

/// What a receiver has that it has not offered yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Bytes, at least 1 if there is anything at all.
    pub bytes: u64,
    /// Nothing more will ever come beyond them (under `trigger = "available-now"`: nothing more was there at the start; after
    /// [`Receiver::stop`]: nothing more is on its way).
    pub ended: bool,
    /// The time of the epoch that its next input belongs to, if the input itself says so. [`Receiver::poll`] gives that epoch's input alone.
    pub time: Option<BatchTime>,
    /// If there is nothing: for how long nothing will come without the thread that asked being unparked.
    pub quiet: Duration,
}

/// The half of a source that knows what input there is. One per source, on the epoch driver's thread of process 0;
/// a push source runs its own I/O thread behind it.
pub trait Receiver: Send {
    /// Takes up to `budget` of what is there now. Never blocks longer than a directory listing or a peek at a file.
    fn poll(&mut self, budget: Budget) -> Result<Offer, Failure>;

    /// What [`Self::poll`] could offer; cheap, called many times a second so that an epoch opens as soon as it is due, except where it says
    /// how long it is [`Waiting::quiet`].
    fn waiting(&mut self) -> Result<Waiting, Failure>;

    /// Stop taking input from outside; what was received stays available to `poll`, and once all of it has come [`Self::waiting`]
    /// says `ended`, which the drain waits for. Called once, at drain.
    fn stop(&mut self);

    /// Where it stands after all it has offered, for [`Self::restore`] to go on from in another process.
    fn position(&self) -> Value;

    /// Goes on from a position of the same source. Called at most once, before anything is offered.
    fn restore(&mut self, position: &Value) -> Result<(), Failure>;

    /// What must be kept of a range just offered so that another process can read it ([`Reader::load`]); `None` if nothing.
    fn save(&self, _range: &Range) -> Option<Vec<u8>> {
        None
    }
}

/// The receiver of a run that takes no input but what was planned before.
pub struct NoInput;

impl Receiver for NoInput {
    fn poll(&mut self, _budget: Budget) -> Result<Offer, Failure> {
        Ok(Offer::default())
    }

    fn waiting(&mut self) -> Result<Waiting, Failure> {
        Ok(Waiting {
            ended: true,
            ..Waiting::default()
        })
    }

    fn stop(&mut self) {}

    fn position(&self) -> Value {
        Value::Null
    }

    fn restore(&mut self, _position: &Value) -> Result<(), Failure> {
        Ok(())
    }
}

/// What is said of a position that this version cannot read.
fn foreign_position(node: &NodeName, error: &serde_json::Error) -> Failure {
    Failure::external(format!(
        "the checkpoint says where the source stands in words of another version: {error}"
    ))
    .at_node(node)
}

/// The reader of each source, by its index in the plan.
pub type Readers = BTreeMap<usize, Arc<dyn Reader>>;

/// The parts of a range in order, each decoded when it is asked for. After an error there are no more.
pub type Parts = Box<dyn Iterator<Item = Result<Read, Failure>>>;

/// The half of a source that decodes a range; shared by the workers of a process.
pub trait Reader: Send + Sync {
    /// Columns of every batch.
    fn schema(&self) -> SchemaRef;

    /// Begins to read `range`: parts of at most [`PART_BYTES`] of data and [`PART_ROWS`] rows (a single larger record
    /// excepted), whose bounds are a pure function of the range's content.
    fn read(&self, range: &Range) -> Result<Parts, Failure>;

    /// Makes a range readable from what another process has saved of it.
    fn load(&self, range: &Range, _saved: &[u8]) -> Result<(), Failure> {
        Err(Failure::internal(format!("nothing is saved of {range:?}")))
    }

    /// A person's name of a row's place, for errors and rejected rows: the range and the row's `position`.
    fn origin(&self, range: &Range, position: u64) -> String;
}

/// A source ready to run in this process.
pub struct Source {
    /// Present in process 0 only.
    pub receiver: Option<Box<dyn Receiver>>,
    /// Present everywhere.
    pub reader: Arc<dyn Reader>,
}

/// What a source needs to know when it is opened in a process.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The source's name.
    pub node: NodeName,
    /// Where it counts what only it can see (reconnects, files it passed over). Rows and bytes are counted by the data plane.
    pub counters: Arc<NodeCounters>,
    /// Whether this is process 0, which gets the [`Receiver`].
    pub coordinator: bool,
    /// Whether the run ends when all that is there now has been read.
    pub available_now: bool,
    /// Whether parts carry the position of each row.
    pub provenance: bool,
}

/// A checked `[sources.NAME]` table of any type but `table`, whose rows are in no epoch ([`TableSource`]). Adding a kind of source is one file, one variant, and one line in [`SourceConfig::from_table`].
#[derive(Clone, Debug)]
pub enum SourceConfig {
    /// `type = "files"`
    Files(FilesSource),
    /// `type = "generate"`
    Generate(GenerateSource),
    /// `type = "queue"`
    Queue(QueueSource),
    /// `type = "tcp"`
    Tcp(TcpSource),
}

impl SourceConfig {
    /// Reads `type` and the settings of that kind. Problems are collected in the table; `None` if there were any that
    /// leave nothing to check further. The caller takes its own keys and calls [`Table::finish`].
    pub fn from_table(table: &mut Table) -> Option<Self> {
        const KINDS: [&str; 5] = ["files", "generate", "queue", "table", "tcp"];
        let wanted = format!(
            "the kind of source: {}",
            KINDS.map(|kind| format!("\"{kind}\"")).join(", ")
        );
        let Some(kind) = table.required_string("type", &wanted) else {
            table.ignore_rest();
            return None;
        };
        match kind.get_ref().as_str() {
            "files" => FilesSource::from_table(table).map(Self::Files),
            "generate" => GenerateSource::from_table(table).map(Self::Generate),
            "queue" => QueueSource::from_table(table).map(Self::Queue),
            "tcp" => TcpSource::from_table(table).map(Self::Tcp),
            other => {
                let message = format!("there is no source of type `{other}`");
                table.problem(kind.span(), message, did_you_mean(other, KINDS));
                table.ignore_rest();
                None
            }
        }
    }

    /// Its `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Files(_) => "files",
            Self::Generate(_) => "generate",
            Self::Queue(_) => "queue",
            Self::Tcp(_) => "tcp",
        }
    }

    /// Columns of its rows.
    pub fn schema(&self) -> SchemaRef {
        match self {
            Self::Files(source) => source.schema(),
            Self::Generate(source) => source.schema(),
            Self::Queue(source) => source.schema(),
            Self::Tcp(source) => source.schema(),
        }
    }

    /// Whether it goes on until it is stopped, unless the trigger is `available-now`.
    pub fn is_endless(&self) -> bool {
        match self {
            Self::Files(source) => source.is_endless(),
            Self::Generate(source) => source.is_endless(),
            Self::Queue(_) => false,
            Self::Tcp(source) => source.is_endless(),
        }
    }

    /// Whether `trigger = "available-now"` has an end to wait for.
    pub fn can_drain(&self) -> bool {
        match self {
            Self::Files(_) | Self::Queue(_) | Self::Tcp(_) => true,
            Self::Generate(source) => !source.is_endless(),
        }
    }

    /// How its records are written; `None` where rows are made here.
    pub fn format(&self) -> Option<&RecordFormat> {
        match self {
            Self::Files(source) => Some(source.format()),
            Self::Queue(source) => Some(source.format()),
            Self::Tcp(source) => Some(source.format()),
            Self::Generate(_) => None,
        }
    }

    /// Makes it ready to run in this process.
    pub fn open(&self, options: OpenOptions) -> Result<Source, Failure> {
        match self {
            Self::Files(source) => source.open(options),
            Self::Generate(source) => source.open(options),
            Self::Queue(source) => source.open(options),
            Self::Tcp(source) => source.open(options),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Problems, parse};

    fn configured(lines: &str) -> (Option<SourceConfig>, Vec<String>) {
        let problems = Problems::default();
        let mut table = parse(lines, Path::new("."), &problems).expect("TOML");
        let source = SourceConfig::from_table(&mut table);
        table.finish();
        let told = |problem: crate::config::Problem| {
            format!("{}; {}", problem.message, problem.help.unwrap_or_default())
        };
        (source, problems.take().into_iter().map(told).collect())
    }

    #[test]
    fn every_kind_reads_its_settings() {
        for lines in [
            "type = 'files'\npath = 'in'",
            "type = 'generate'\nrows_per_second = 5\nrows = 10\nkeys = 3\nwords = 2\nseed = 1\npartitions = 2",
            "type = 'tcp'\naddress = 'localhost:9999'\nretry_max = '5s'\nbuffer = '1MiB'\nformat = 'text'",
            "type = 'tcp'\nlisten = '[::1]:9999'\nmax_connections = 2",
        ] {
            let (source, problems) = configured(lines);
            assert_eq!(problems, Vec::<String>::new(), "{lines}");
            assert!(!source.expect(lines).schema().fields().is_empty());
        }
    }

    #[test]
    fn an_unknown_kind_is_one_problem_with_the_nearest_name() {
        let (source, problems) = configured("type = 'fils'\npath = 'in'");
        assert!(source.is_none());
        assert_eq!(
            problems,
            ["there is no source of type `fils`; did you mean `files`?"]
        );
    }

    #[test]
    fn wrong_settings_are_reported() {
        let first = |lines| configured(lines).1.remove(0);
        assert!(first("path = 'in'").contains("needs `type`, the kind of source: \"files\""));
        assert!(first("type = 'tcp'").contains("needs `address`"));
        assert!(
            first("type = 'tcp'\naddress = 'localhost'").contains("`localhost` is not an address")
        );
        assert!(
            first("type = 'tcp'\naddress = 'a:1'\nlisten = 'b:2'").contains("exclude each other")
        );
        assert!(
            first("type = 'tcp'\nlisten = 'b:2'\nretry_max = '1s'")
                .contains("no setting `retry_max`")
        );
        assert!(first("type = 'generate'\nwords = 100000").contains("at most 1000"));
    }
}
