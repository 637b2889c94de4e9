//! The `table` source: rows of no epoch, read whole and held in memory for a join to look up.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use toml::Spanned;

use super::files::FilesReader;
use super::{Range, Reader};
use crate::config::Table;
use crate::error::Failure;
use crate::format::RecordFormat;

/// A checked `table` source.
#[derive(Clone, Debug)]
pub struct TableSource {
    path: PathBuf,
    format: RecordFormat,
    refresh: Option<Duration>,
}

/// What tells one state of a file from another: when it was written, and its size.
pub type FileState = (SystemTime, u64);

impl TableSource {
    /// Reads its settings.
    pub fn from_table(table: &mut Table) -> Option<Self> {
        let path = table.required_path("path", "the file of its rows");
        let refresh = table.duration("refresh");
        let format = RecordFormat::from_table(table);
        Some(Self {
            path: path?.into_inner(),
            format: format?,
            refresh: refresh.map(Spanned::into_inner),
        })
    }

    /// Its columns.
    pub fn schema(&self) -> SchemaRef {
        self.format.schema()
    }

    /// How often to look whether the file has changed, if at all.
    pub fn refresh(&self) -> Option<Duration> {
        self.refresh
    }

    /// The state of the file now.
    pub fn state(&self) -> Result<FileState, Failure> {
        let metadata = std::fs::metadata(&self.path);
        metadata
            .and_then(|metadata| Ok((metadata.modified()?, metadata.len())))
            .map_err(|error| self.unreadable(&error))
    }

    /// All rows of the file, which has this state. A line that is no row is an error: a table is right as a whole.
    pub fn read(&self, state: FileState) -> Result<RecordBatch, Failure> {
        let (_, size) = state;
        let range = Range::File {
            path: self.path.to_string_lossy().into_owned(),
            start: 0,
            end: size,
            size,
        };
        let mut parts = Vec::new();
        for part in FilesReader::new(self.format.clone(), false).read(&range)? {
            let part = part?;
            if let Some(bad) = part.bad.into_iter().next() {
                return Err(Failure::user(bad.reason)
                    .from_origin(bad.origin)
                    .help("mend the file: every line of a table must be a row"));
            }
            parts.push(part.rows);
        }
        concat_batches(&self.schema(), &parts)
            .map_err(|error| Failure::user(format!("the table is too large to be held: {error}")))
    }

    fn unreadable(&self, error: &std::io::Error) -> Failure {
        Failure::external(format!("cannot read `{}`: {error}", self.path.display()))
    }
}
