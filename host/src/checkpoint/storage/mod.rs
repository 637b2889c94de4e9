//! Where records are kept: a few operations that a disk ([`disk`]) and an object store ([`s3`]) both can do.

mod disk;
mod s3;
mod scratch;

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

pub use disk::LocalDisk;
pub use s3::{Bucket, S3};
pub use scratch::Scratch;

use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// Named bytes. A write that has returned survives the machine's crash; a write that has not leaves all or nothing.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Keeps other processes from writing here as far as the storage can do that; [`io::ErrorKind::WouldBlock`] if another one writes.
    fn claim(&self) -> io::Result<Claim>;
    /// Writes what must not be there yet; [`io::ErrorKind::AlreadyExists`] if it is. The bytes must be none that another process would
    /// write under this name: that is how a write whose answer was lost is known again.
    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Writes it, whether it is there or not.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Reads it, if it is there.
    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Reads these bytes of it, as far as it has them.
    fn get_range(&self, name: &str, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let at = |at| usize::try_from(at).unwrap_or(usize::MAX);
        let part = |mut all: Vec<u8>| {
            all.truncate(at(range.end));
            all.drain(..at(range.start).min(all.len()));
            all
        };
        Ok(self.get(name)?.map(part))
    }
    /// What there is directly below a folder, without the folder's name, sorted; nothing if there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Removes it, if it is there.
    fn delete(&self, name: &str) -> io::Result<()>;
}

/// That no other process of this machine writes where it was claimed; ends with the process. An object store has no such thing.
#[derive(Debug, Default)]
pub struct Claim {
    _locked: Option<File>,
}

/// Where a pipeline's records are. Written down, it is what the command line takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Location {
    /// A folder on a disk.
    Folder(PathBuf),
    /// A part of a bucket.
    Bucket(Bucket),
}

impl Location {
    /// Gets ready to read and write there.
    ///
    /// # Errors
    /// When the bucket's settings or the credentials are not such that they could work.
    pub fn open(&self) -> Result<Arc<dyn Storage>, Failure> {
        Ok(match self {
            Self::Folder(path) => Arc::new(LocalDisk::new(path)),
            Self::Bucket(bucket) => {
                let texts = std::env::vars_os().filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                });
                Arc::new(bucket.open(texts)?)
            }
        })
    }

    /// Says what has gone wrong there.
    pub(super) fn failure(&self, error: &io::Error) -> Failure {
        let failure = Failure::external(format!("the checkpoint in `{self}`: {error}"));
        match (self, error.kind()) {
            (Self::Folder(_), _) => failure,
            (Self::Bucket(_), io::ErrorKind::PermissionDenied) => failure.help(
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be of someone who may read, write, list and delete there",
            ),
            (Self::Bucket(_), _) => {
                failure.help("is the server up, and are `endpoint` and `region` its own?")
            }
        }
    }
}

impl From<String> for Location {
    fn from(text: String) -> Self {
        match Bucket::parse(&text) {
            Some(bucket) => Self::Bucket(bucket),
            None => Self::Folder(text.into()),
        }
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.to_string()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

/// As on the command line: `s3://BUCKET/PREFIX`, whose settings are those of the environment, or a folder.
impl FromStr for Location {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.to_owned().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_bucket_and_all_else_a_folder() {
        let read = |text: &str| {
            text.parse::<Location>()
                .unwrap_or_else(|never| match never {})
        };
        for (text, shown) in [
            ("s3://bucket/some/prefix", "s3://bucket/some/prefix"),
            ("s3://bucket/prefix/", "s3://bucket/prefix"),
            ("s3://bucket", "s3://bucket"),
        ] {
            assert!(matches!(read(text), Location::Bucket(_)), "{text}");
            assert_eq!(read(text).to_string(), shown);
        }
        for text in ["checkpoint", "/s3/checkpoint", "s3:/bucket"] {
            assert_eq!(read(text), Location::Folder(text.into()));
        }
    }
}
