//! The `generate` source: rows made up at a rate, as Spark's rate source does, with more columns if wanted.
//!
//! A row is a function of the seed and its number alone, so any worker can make any row and a replay makes the same.

#[cfg(test)]
mod tests;

use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringBuilder, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Schema, SchemaRef};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use toml::Spanned;

use super::{
    Budget, Offer, OpenOptions, PART_BYTES, PART_ROWS, Parts, Range, Read, Reader, Receiver,
    Source, Waiting, foreign_position,
};
use crate::batch::ColumnType;
use crate::config::Table;
use crate::error::Failure;
use crate::ids::NodeName;

/// What a row is counted as before it is made, the same as [`Range::bytes`] says.
const ROW_BYTES: u64 = 64;
const DEFAULT_PARTITIONS: u64 = 4;
/// A row stays far smaller than a part.
const MAX_WORDS: u64 = 1000;

/// Words of the `text` column. A short list, with lengths and beginnings that vary as in a language.
const WORDS: [&str; 32] = [
    "a", "stream", "of", "rows", "is", "made", "from", "nothing", "but", "its", "seed", "and",
    "number", "every", "worker", "can", "make", "any", "row", "again", "epoch", "window", "key",
    "count", "river", "mill", "stone", "grain", "flour", "bread", "wheel", "water",
];

/// A checked `generate` source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateSource {
    rows_per_second: u64,
    rows: Option<u64>,
    keys: Option<u64>,
    words: Option<u64>,
    seed: u64,
    partitions: u64,
}

impl GenerateSource {
    /// Reads its settings.
    pub fn from_table(table: &mut Table) -> Option<Self> {
        let words = table.integer("words", 1);
        if let Some(words) = words.as_ref().filter(|words| *words.get_ref() > MAX_WORDS) {
            table.problem(
                words.span(),
                format!("`words` can be at most {MAX_WORDS}"),
                None,
            );
        }
        let mut number = |key, least| table.integer(key, least).map(Spanned::into_inner);
        let source = Self {
            rows_per_second: number("rows_per_second", 1).unwrap_or(1),
            rows: number("rows", 0),
            keys: number("keys", 1),
            words: words.map(Spanned::into_inner),
            seed: number("seed", 0).unwrap_or(0),
            partitions: number("partitions", 1).unwrap_or(DEFAULT_PARTITIONS),
        };
        Some(source)
    }

    /// Columns of its rows: `timestamp`, `value`, and as settings ask `key` and `text`.
    pub fn schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = vec![
            ColumnType::Timestamp.field("timestamp", false),
            ColumnType::Int64.field("value", false),
        ];
        fields.extend(self.keys.map(|_| ColumnType::Int64.field("key", false)));
        fields.extend(self.words.map(|_| ColumnType::Utf8.field("text", false)));
        Arc::new(Schema::new(fields))
    }

    /// Whether it has no last row.
    pub fn is_endless(&self) -> bool {
        self.rows.is_none()
    }

    /// Makes it ready to run in this process.
    pub fn open(&self, options: OpenOptions) -> Result<Source, Failure> {
        if options.available_now && self.rows.is_none() {
            let message = "a `generate` source without `rows` has no end, and `trigger = \"available-now\"` reads to the end";
            return Err(Failure::user(message)
                .help("set `rows`")
                .at_node(&options.node));
        }
        let receiver = options.coordinator.then(|| {
            let receiver = GenerateReceiver {
                config: self.clone(),
                begun: Instant::now(),
                since: now_micros(),
                at_once: options.available_now,
                restored: 0,
                taken: 0,
                stopped: false,
                node: options.node.clone(),
            };
            Box::new(receiver) as Box<dyn Receiver>
        });
        let reader = Arc::new(GenerateReader {
            schema: self.schema(),
            config: self.clone(),
            provenance: options.provenance,
        });
        Ok(Source { receiver, reader })
    }
}

fn now_micros() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Rows that have come due after `elapsed` at a rate.
fn due(elapsed: Duration, rows_per_second: u64) -> u64 {
    let rows = elapsed.as_micros() * u128::from(rows_per_second) / 1_000_000;
    u64::try_from(rows).unwrap_or(u64::MAX)
}

struct GenerateReceiver {
    config: GenerateSource,
    begun: Instant,
    since: i64,
    /// Whether all rows are there from the start.
    at_once: bool,
    /// Rows that an earlier process has made: at the rate, others come on top of them.
    restored: u64,
    taken: u64,
    stopped: bool,
    node: NodeName,
}

/// What a checkpoint holds of a source.
#[derive(Serialize, Deserialize)]
struct Position {
    taken: u64,
    since: i64,
}

impl GenerateReceiver {
    fn due(&self) -> u64 {
        let all = self.config.rows.unwrap_or(u64::MAX);
        let due = match (self.stopped, self.at_once) {
            (true, _) => 0,
            (false, true) => all,
            (false, false) => due(self.begun.elapsed(), self.config.rows_per_second)
                .saturating_add(self.restored)
                .min(all),
        };
        due.saturating_sub(self.taken)
    }

    fn has_ended(&self) -> bool {
        self.stopped || self.config.rows.is_some_and(|rows| self.taken >= rows)
    }
}

impl Receiver for GenerateReceiver {
    fn poll(&mut self, budget: Budget) -> Result<Offer, Failure> {
        let waiting = self.due();
        let rows = waiting.min(budget.rows).min(budget.bytes / ROW_BYTES);
        let partitions = self.config.partitions.min(rows);
        let mut ranges = Vec::with_capacity(partitions as usize);
        for partition in 0..partitions {
            let bound = |n: u64| (u128::from(rows) * u128::from(n) / u128::from(partitions)) as u64;
            ranges.push(Range::Rows {
                first: self.taken + bound(partition),
                count: bound(partition + 1) - bound(partition),
                since: self.since,
            });
        }
        self.taken += rows;
        Ok(Offer { ranges, rows })
    }

    fn waiting(&mut self) -> Result<Waiting, Failure> {
        Ok(Waiting {
            bytes: self.due().saturating_mul(ROW_BYTES),
            ended: self.has_ended(),
            time: None,
            quiet: Duration::ZERO,
        })
    }

    /// Rows not yet taken are never made.
    fn stop(&mut self) {
        self.stopped = true;
    }

    fn position(&self) -> Value {
        serde_json::json!(Position {
            taken: self.taken,
            since: self.since,
        })
    }

    fn restore(&mut self, position: &Value) -> Result<(), Failure> {
        let Position { taken, since } = Position::deserialize(position)
            .map_err(|error| foreign_position(&self.node, &error))?;
        (self.restored, self.taken, self.since) = (taken, taken, since);
        Ok(())
    }
}

#[derive(Clone)]
struct GenerateReader {
    config: GenerateSource,
    schema: SchemaRef,
    provenance: bool,
}

impl GenerateReader {
    /// Makes rows from `first` on, to `end` or until the part is full.
    fn part(&self, first: u64, end: u64, since: i64) -> (u64, RecordBatch) {
        let fixed = 16 + 8 * usize::from(self.config.keys.is_some());
        let mut text = StringBuilder::new();
        let mut size = 0;
        let mut next = first;
        while next < end && next - first < PART_ROWS as u64 {
            let line = self
                .config
                .words
                .map(|words| random_text(self.config.seed, next, words));
            size += fixed + line.as_ref().map_or(0, String::len);
            if size > PART_BYTES && next > first {
                break;
            }
            if let Some(line) = line {
                text.append_value(line);
            }
            next += 1;
        }
        let rows = first..next;
        let rate = u128::from(self.config.rows_per_second);
        let time = |row: u64| since.saturating_add((u128::from(row) * 1_000_000 / rate) as i64);
        let times = TimestampMicrosecondArray::from_iter_values(rows.clone().map(time));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(times.with_timezone(crate::batch::UTC)),
            Arc::new(Int64Array::from_iter_values(
                rows.clone().map(|row| row as i64),
            )),
        ];
        if let Some(keys) = self.config.keys {
            let key = |row| (random(self.config.seed, row, 0) % keys) as i64;
            columns.push(Arc::new(Int64Array::from_iter_values(rows.map(key))));
        }
        if self.config.words.is_some() {
            columns.push(Arc::new(text.finish()));
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .expect("the columns are those of the schema, a row each");
        (next, batch)
    }
}

impl Reader for GenerateReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn read(&self, range: &Range) -> Result<Parts, Failure> {
        let Range::Rows {
            first,
            count,
            since,
        } = *range
        else {
            return Err(Failure::internal(format!(
                "a generate source was given {range:?} to read"
            )));
        };
        let (maker, mut at, end) = (self.clone(), first, first + count);
        Ok(Box::new(iter::from_fn(move || {
            (at < end).then(|| {
                let (next, rows) = maker.part(at, end, since);
                let positions = maker
                    .provenance
                    .then(|| Arc::new(UInt64Array::from_iter_values(at..next)) as ArrayRef);
                let bytes = (next - at) * ROW_BYTES;
                at = next;
                Ok(Read {
                    rows,
                    positions,
                    bad: Vec::new(),
                    bytes,
                })
            })
        })))
    }

    fn origin(&self, _range: &Range, position: u64) -> String {
        format!("generated row {position}")
    }
}

/// Words that somebody might write, the same for the same arguments on any machine.
pub fn random_text(seed: u64, row: u64, words: u64) -> String {
    let mut line = String::new();
    for nth in 1..=words {
        if nth > 1 {
            line.push(' ');
        }
        // The product of two uniform numbers makes some words far more frequent than others, as in a language.
        let pick = random(seed, row, nth);
        let (a, b) = (pick & 0xffff, (pick >> 16) & 0xffff);
        line.push_str(WORDS[((a * b * WORDS.len() as u64) >> 32) as usize]);
    }
    line
}

/// A number that looks random, the same for the same arguments on any machine.
pub fn random(seed: u64, row: u64, nth: u64) -> u64 {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&row.to_le_bytes());
    bytes[16..].copy_from_slice(&nth.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}
