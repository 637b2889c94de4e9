//! The `files` source: the records of files, those of a directory as they appear in it or those that are there.
//!
//! At process 0 a [`listing`] finds files and the [`receiver`] cuts them into byte ranges; the [`reader`] of any process
//! decodes a range. A record belongs to the range in which it starts.

mod listing;
mod reader;
mod receiver;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

use super::{OpenOptions, Source};
use crate::config::Table;
use crate::error::Failure;
use crate::format::RecordFormat;
use listing::Listing;
use reader::FilesReader;
use receiver::FilesReceiver;

/// Big enough that opening a file costs nothing beside reading it, small enough that one file keeps all workers busy.
const DEFAULT_SPLIT: u64 = 16 << 20;
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A checked `files` source.
#[derive(Clone, Debug)]
pub struct FilesSource {
    path: String,
    glob: Option<String>,
    format: RecordFormat,
    watch: Option<bool>,
    existing: bool,
    poll_interval: Duration,
    split: u64,
}

impl FilesSource {
    /// Reads its settings.
    pub fn from_table(table: &mut Table) -> Option<Self> {
        let path = table.required_string(
            "path",
            "a directory, a file, or a pattern such as \"logs/*.txt\"",
        );
        let glob = table.string("glob");
        let has_watch = table.keys().iter().any(|(key, _)| key == "watch");
        let watch = table.boolean("watch", true);
        let existing = table.boolean("existing", true);
        let poll_interval = table.duration("poll_interval");
        let split = table.size("split");
        let format = RecordFormat::from_table(table);
        for pattern in path.iter().chain(&glob) {
            if let Err(error) = listing::check_pattern(pattern.get_ref()) {
                table.problem(pattern.span(), error, None);
            }
        }
        let path = path?.into_inner();
        if let Some(glob) = glob.as_ref().filter(|_| listing::is_pattern(&path)) {
            let help = "write the whole pattern in `path`, or a directory in `path` and the pattern in `glob`";
            table.problem(
                glob.span(),
                "`path` is a pattern already",
                Some(help.into()),
            );
        }
        Some(Self {
            path,
            glob: glob.map(toml::Spanned::into_inner),
            format: format?,
            watch: has_watch.then_some(watch),
            existing,
            poll_interval: poll_interval.map_or(DEFAULT_POLL_INTERVAL, toml::Spanned::into_inner),
            split: split.map_or(DEFAULT_SPLIT, toml::Spanned::into_inner),
        })
    }

    /// Columns of its rows.
    pub fn schema(&self) -> SchemaRef {
        self.format.schema()
    }

    /// Whether it waits for new files; a single file is read once unless `watch` says otherwise.
    pub fn is_endless(&self) -> bool {
        self.watch
            .unwrap_or_else(|| !Path::new(&self.path).is_file())
    }

    /// Makes it ready to run in this process; process 0 lists the files that are there.
    pub fn open(&self, options: OpenOptions) -> Result<Source, Failure> {
        let reader = Arc::new(FilesReader::new(self.format.clone(), options.provenance));
        if !options.coordinator {
            return Ok(Source {
                receiver: None,
                reader,
            });
        }
        if options.available_now && !self.existing {
            let message = "`existing = false` leaves out what is there, and `trigger = \"available-now\"` reads nothing else";
            return Err(Failure::user(message)
                .help("remove one of the two")
                .at_node(&options.node));
        }
        let listing = Listing::new(&self.path, self.glob.as_deref())
            .map_err(|failure| failure.at_node(&options.node))?;
        let interval = (self.is_endless() && !options.available_now).then_some(self.poll_interval);
        let receiver = FilesReceiver::new(listing, self.split, interval, self.existing, options)?;
        Ok(Source {
            receiver: Some(Box::new(receiver)),
            reader,
        })
    }
}
