//! The `[checkpoint]` table.

use toml::Spanned;

use super::Records;
use super::storage::{Bucket, Location};
use crate::config::Table;
use crate::error::Failure;

/// Committed epochs whose records are kept by default: enough to look at what has just happened.
const DEFAULT_RETAIN: u64 = 100;

/// A checked `[checkpoint]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointConfig {
    location: Location,
    retain: u64,
    commit_every: u32,
}

impl CheckpointConfig {
    /// Reads its settings, of a pipeline that has at most so many epochs in flight.
    pub fn from_table(table: &mut Table, max_in_flight: u32) -> Option<Self> {
        let location = location(table);
        let retain = table.integer("retain", 1);
        let commit_every = commit_every(table, max_in_flight);
        Some(Self {
            location: location?,
            retain: retain.map_or(DEFAULT_RETAIN, Spanned::into_inner),
            commit_every,
        })
    }

    /// The same rules, or those by default, at a place that whoever runs the pipeline gives it.
    pub fn moved_to(rules: Option<Self>, location: Location) -> Self {
        let (retain, commit_every) = rules.map_or((DEFAULT_RETAIN, 1), |rules| {
            (rules.retain, rules.commit_every)
        });
        Self {
            location,
            retain,
            commit_every,
        }
    }

    /// Of so many committed epochs the records stay.
    pub fn retain(&self) -> u64 {
        self.retain
    }

    /// A commit record covers so many epochs.
    pub fn commit_every(&self) -> u32 {
        self.commit_every
    }

    /// Where the records are.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The records, which may not be there yet.
    ///
    /// # Errors
    /// When there can be none.
    pub fn records(&self) -> Result<Records, Failure> {
        Records::at(&self.location)
    }
}

/// How many epochs a commit covers.
fn commit_every(table: &mut Table, max_in_flight: u32) -> u32 {
    let Some(written) = table.integer("commit_every", 1) else {
        return 1;
    };
    let every = u32::try_from(*written.get_ref()).unwrap_or(u32::MAX);
    if every > max_in_flight {
        let message = format!(
            "`commit_every` is {every}, and only {max_in_flight} epochs can be in flight until they are committed"
        );
        let help = format!("write a smaller one, or max_in_flight = {every} in `[epoch]`");
        table.problem(written.span(), message, Some(help));
    }
    every
}

/// Where `path` says that the records are.
fn location(table: &mut Table) -> Option<Location> {
    let wanted = "the directory or the S3 address to keep records in";
    let path = table.required_string("path", wanted);
    let spans = ["endpoint", "region", "allow_http"].map(|key| (key, table.span_of(key)));
    let endpoint = table.string("endpoint");
    let region = table.string("region");
    let allow_http = table.boolean("allow_http", false);
    let path = path?;
    let Some(bucket) = Bucket::parse(path.get_ref()) else {
        for (key, span) in spans {
            if let Some(span) = span {
                let message = format!("`{key}` is for a checkpoint on S3, and `path` is a folder");
                let help = "remove it, or write path = \"s3://BUCKET/PREFIX\"";
                table.problem(span, message, Some(help.to_owned()));
            }
        }
        return Some(Location::Folder(table.resolve(&path)));
    };
    if bucket.name.is_empty() {
        let help = "write path = \"s3://BUCKET/PREFIX\"";
        table.problem(path.span(), "`path` names no bucket", Some(help.to_owned()));
        return None;
    }
    Some(Location::Bucket(Bucket {
        endpoint: endpoint.map(Spanned::into_inner),
        region: region.map(Spanned::into_inner),
        allow_http,
        ..bucket
    }))
}
