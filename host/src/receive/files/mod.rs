//! The `files` source: the records of files, those of a directory as they appear in it or those that are there.
//!
//! At process 0 a [`listing`] finds files and the [`receiver`] cuts them into byte ranges; the [`reader`] of any process
//! decodes a range. A record belongs to the range in which it starts.

mod listing;
mod reader;
mod receiver;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use serde_json::Value;
use toml::Spanned;

use super::{OpenOptions, Source};
use crate::config::Table;
use crate::error::Failure;
use crate::format::RecordFormat;
use listing::Listing;
pub(super) use reader::FilesReader;
use receiver::FilesReceiver;

/// Big enough that opening a file costs nothing beside reading it, small enough that one file keeps all workers busy.
const DEFAULT_SPLIT: u64 = 16 << 20;
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A checked `files` source.
#[derive(Clone, Debug)]
pub struct FilesSource {
    /// A directory or a file.
    path: PathBuf,
    /// Which files of the directory.
    glob: Option<String>,
    format: RecordFormat,
    watch: Option<bool>,
    existing: bool,
    poll_interval: Duration,
    split: u64,
    /// Whether the directory is made if it is not there.
    makes_folder: bool,
}

impl FilesSource {
    /// Reads its settings.
    pub fn from_table(table: &mut Table) -> Option<Self> {
        let wanted = "a directory, a file, or a pattern such as \"logs/*.txt\"";
        let path = table.required_string("path", wanted);
        let glob = table.string("glob");
        let says_watch = table.has("watch");
        let watch = table.boolean("watch", true);
        let existing = table.boolean("existing", true);
        let poll_interval = table.duration("poll_interval");
        let split = table.size("split");
        let format = RecordFormat::from_table(table);
        let (path, glob) = place(table, path?, glob)?;
        Some(Self {
            path,
            glob,
            format: format?,
            watch: says_watch.then_some(watch),
            existing,
            poll_interval: poll_interval.map_or(DEFAULT_POLL_INTERVAL, Spanned::into_inner),
            split: split.map_or(DEFAULT_SPLIT, Spanned::into_inner),
            makes_folder: false,
        })
    }

    /// The files that someone will put into a folder, which is made if it is not there; `watch` waits for them.
    pub fn of_folder(path: PathBuf, format: RecordFormat, watch: bool) -> Self {
        Self {
            path,
            glob: None,
            format,
            watch: Some(watch),
            existing: true,
            poll_interval: DEFAULT_POLL_INTERVAL,
            split: DEFAULT_SPLIT,
            makes_folder: true,
        }
    }

    /// How its records are written.
    pub fn format(&self) -> &RecordFormat {
        &self.format
    }

    /// Columns of its rows.
    pub fn schema(&self) -> SchemaRef {
        self.format.schema()
    }

    /// Whether it waits for new files; a single file is read once unless `watch` says otherwise.
    pub fn is_endless(&self) -> bool {
        self.watch.unwrap_or_else(|| !self.path.is_file())
    }

    /// Whether a source that stands at `position` has taken all of a file that was there.
    pub fn has_read(position: &Value, file: &Path) -> bool {
        receiver::has_read(position, file)
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
        if self.makes_folder {
            fs::create_dir_all(&self.path).map_err(|error| {
                let folder = self.path.display();
                Failure::external(format!("cannot make `{folder}`: {error}")).at_node(&options.node)
            })?;
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

/// Takes `path` and `glob` apart into a directory or file and a pattern below it.
fn place(
    table: &Table,
    path: Spanned<String>,
    glob: Option<Spanned<String>>,
) -> Option<(PathBuf, Option<String>)> {
    let whole = table.resolve(&path);
    // What is there under that very name is no pattern, even if it looks like one.
    let (path, glob) = match listing::split_pattern(path.get_ref()) {
        Some((folder, pattern)) if !whole.exists() => {
            if let Some(glob) = glob {
                let help = "write the whole pattern in `path`, or a directory in `path` and the pattern in `glob`";
                table.problem(
                    glob.span(),
                    "`path` is a pattern already",
                    Some(help.into()),
                );
                return None;
            }
            let pattern = Spanned::new(path.span(), pattern.to_owned());
            {
                let folder = Spanned::new(path.span(), folder.to_owned());
                (table.resolve(&folder), Some(pattern))
            }
        }
        _ => (whole, glob),
    };
    if let Some(pattern) = &glob
        && let Err(error) = listing::matcher(pattern.get_ref())
    {
        table.problem(pattern.span(), error, None);
        return None;
    }
    // A pipeline file named without a folder stands in the empty path.
    let path = if path.as_os_str().is_empty() {
        ".".into()
    } else {
        path
    };
    Some((path, glob.map(Spanned::into_inner)))
}
