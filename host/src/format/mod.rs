//! From bytes to rows and back.
//!
//! Reading: a source pushes bytes as they come into a [`Framer`], which cuts them into whole lines without buffering
//! more than one unfinished line; a [`Decoder`] turns lines into Arrow batches, one [`Read`] after another, and names
//! every record that is not what the format says. Writing: a [`FileFormat`] turns a batch into the bytes of a file.

mod decode;
mod encode;
mod json;
mod line_ends;
mod lines;
mod text;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

pub use decode::{Decoder, Numbering, Origin};
pub use encode::{FileFormat, Unwritable};
pub use lines::{Frame, Framer};

use crate::config::Table;

/// Data bytes of one part: big enough to hide the cost of a plugin call (1 us), small enough to stay in a core's cache
/// between decoder, guest and aggregate.
pub const PART_BYTES: usize = 256 << 10;
/// Rows of one part.
pub const PART_ROWS: usize = 32 << 10;
/// The largest bad record that is kept whole.
pub const KEPT_BYTES: usize = 1 << 20;
/// How much is kept of one that is larger, or longer than a source takes.
pub const BEGINNING_BYTES: usize = 4 << 10;
/// The longest record that is read unless a source says otherwise.
const DEFAULT_MAX_RECORD: u64 = 1 << 20;
/// A record must fit the offsets of a column (i32) together with a part of others.
const LARGEST_MAX_RECORD: u64 = 1 << 30;

/// A part of a source's range, decoded.
#[derive(Debug)]
pub struct Read {
    /// The rows.
    pub rows: RecordBatch,
    /// Where each row begins in the source's own count (byte offset, row number, line number), only when the
    /// reader was built with `provenance`; one uint64 a row.
    pub positions: Option<ArrayRef>,
    /// Records that could not be decoded; the source's `on_error` decides about them.
    pub bad: Vec<BadRecord>,
    /// Input bytes consumed for this part.
    pub bytes: u64,
}

/// A record that is not what the format says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Where it came from, as a person finds it (`logs/a.txt at byte 1024`, `127.0.0.1:9999 line 12`).
    pub origin: String,
    /// What is wrong with it.
    pub reason: String,
    /// What is kept of it; nothing if there was no record to keep.
    pub kept: Option<Kept>,
}

/// What is kept of a bad record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The record, with U+FFFD for what is not UTF-8.
    pub text: String,
    /// Of one that is not UTF-8, and is kept whole, the bytes in base64.
    pub bytes: Option<String>,
    /// Whether the text is the beginning alone.
    pub cut: bool,
}

impl Kept {
    /// All of a record, unless it is larger than [`KEPT_BYTES`].
    pub fn record(bytes: &[u8]) -> Self {
        if bytes.len() > KEPT_BYTES {
            return Self::beginning(bytes);
        }
        let text = String::from_utf8_lossy(bytes);
        Self {
            bytes: matches!(text, Cow::Owned(_)).then(|| BASE64_STANDARD.encode(bytes)),
            text: text.into_owned(),
            cut: false,
        }
    }

    /// The first of these bytes, of a record that is not kept whole.
    pub fn beginning(bytes: &[u8]) -> Self {
        let first = &bytes[..bytes.len().min(BEGINNING_BYTES)];
        Self {
            text: String::from_utf8_lossy(first).into_owned(),
            bytes: None,
            cut: true,
        }
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        self.text.len() + self.bytes.as_ref().map_or(0, String::len)
    }
}

/// What a line holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A row of one text column, `line`.
    Text,
    /// A JSON object with these columns.
    Json(SchemaRef),
}

/// How a source's bytes become rows: the settings `format`, `schema` and `max_record`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFormat {
    /// What a line holds.
    pub format: Format,
    /// Longest record in bytes, its line end not counted; a longer one is a [`BadRecord`].
    pub max_record: usize,
}

impl RecordFormat {
    /// Text lines with the default limit.
    pub fn text() -> Self {
        Self {
            format: Format::Text,
            max_record: DEFAULT_MAX_RECORD as usize,
        }
    }

    /// A row a line, as [`FileFormat::Json`] writes it.
    pub fn rows(schema: SchemaRef) -> Self {
        Self {
            format: Format::Json(schema),
            max_record: LARGEST_MAX_RECORD as usize,
        }
    }

    /// Reads the settings from a source's table.
    pub fn from_table(table: &mut Table) -> Option<Self> {
        let is_json = table.one_of("format", &[("text", false), ("json", true)], false);
        let format = if is_json {
            json::schema(table).map(Format::Json)
        } else {
            Some(Format::Text)
        };
        let max_record = max_record(table);
        Some(Self {
            format: format?,
            max_record: max_record?,
        })
    }

    /// Columns of the rows.
    pub fn schema(&self) -> SchemaRef {
        match &self.format {
            Format::Text => Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, false)])),
            Format::Json(schema) => schema.clone(),
        }
    }
}

fn max_record(table: &mut Table) -> Option<usize> {
    let Some(size) = table.size("max_record") else {
        return Some(DEFAULT_MAX_RECORD as usize);
    };
    if *size.get_ref() > LARGEST_MAX_RECORD {
        table.problem(
            size.span(),
            "`max_record` can be at most 1GiB",
            Some("a record is held in memory whole".into()),
        );
        return None;
    }
    Some(usize::try_from(size.into_inner()).expect("at most 1 GiB"))
}
