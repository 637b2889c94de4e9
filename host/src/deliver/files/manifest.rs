//! What a reader of a `files` sink goes by: `PATH/_manifest/epoch-00000012.json` lists the files that came with that epoch.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::unless_missing;
use crate::ids::{Epoch, PartitionId};

/// Readers of a folder pass over names that begin so.
const FOLDER: &str = "_manifest";

/// A file that is there to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its path below the sink's.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The XXH3 hash, of 64 bits, of its bytes, in hex digits.
    pub xxh3: String,
}

/// All files of some epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochManifest {
    /// The first epoch whose rows are in them.
    pub first: Epoch,
    /// The last, by which the manifest is called.
    pub last: Epoch,
    /// Rows of all files.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// In the order of partitions.
    pub files: Vec<Listed>,
}

impl Listed {
    /// The partition that it has the rows of.
    pub fn partition(&self) -> Option<PartitionId> {
        super::partition_of(&self.path)
    }
}

impl EpochManifest {
    /// That of some files.
    pub fn of(first: Epoch, last: Epoch, files: Vec<Listed>) -> Self {
        Self {
            first,
            last,
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            files,
        }
    }

    /// As it is written.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        Ok(format!("{}\n", serde_json::to_string(self)?))
    }
}

/// The epochs that have manifests.
pub fn epochs(root: &Path) -> io::Result<BTreeSet<Epoch>> {
    let mut epochs = BTreeSet::new();
    for entry in unless_missing(fs::read_dir(folder(root)))?
        .into_iter()
        .flatten()
    {
        let name = entry?.file_name();
        let name = Path::new(&name).file_stem().and_then(OsStr::to_str);
        epochs.extend(name.and_then(super::epoch_of));
    }
    Ok(epochs)
}

/// The folder, below the sink's, of an epoch's files.
pub fn epoch_folder(epoch: Epoch) -> String {
    super::name_of(epoch)
}

/// The manifest of an epoch.
pub fn read(root: &Path, epoch: Epoch) -> io::Result<EpochManifest> {
    Ok(serde_json::from_slice(&fs::read(path(root, epoch))?)?)
}

/// The folder of all manifests.
pub fn folder(root: &Path) -> PathBuf {
    root.join(FOLDER)
}

/// Where the manifest of an epoch is.
pub fn path(root: &Path, epoch: Epoch) -> PathBuf {
    folder(root).join(format!("{}.json", super::name_of(epoch)))
}
