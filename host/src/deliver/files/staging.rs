//! What is written and not visible yet: the files `PATH/.wasmill-tmp/SINK/GENERATION-EPOCH-PARTITION`, each with the rows of one partition of one
//! epoch. All processes write there, and process 0 sees to what is left over.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::checkpoint::{Prepared, Token};
use crate::error::{Failure, unless_missing};
use crate::ids::{Epoch, Generation, NodeName, PartitionId};

/// Readers of a folder pass over names that begin so.
const FOLDER: &str = ".wasmill-tmp";

/// The folder of one sink.
#[derive(Clone, Debug)]
pub struct Staging(PathBuf);

impl Staging {
    /// That of a sink that writes below `root`.
    pub fn of(root: &Path, node: &NodeName) -> Self {
        Self(root.join(FOLDER).join(node.as_str()))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Where a start of the pipeline writes a partition. What an older one may still be writing is in another file.
    pub fn file(&self, generation: Generation, epoch: Epoch, partition: PartitionId) -> PathBuf {
        self.0.join(format!("{generation}-{epoch}-{partition}"))
    }

    /// Where process 0 makes further files.
    pub fn aside(&self) -> PathBuf {
        self.0.join("aside")
    }

    /// A new file there.
    pub fn new_aside(&self) -> io::Result<File> {
        let aside = self.aside();
        // What was there may have a second name by which readers know it: never write into it.
        unless_missing(fs::remove_file(&aside))?;
        File::create_new(aside)
    }

    /// The files of some epochs.
    pub fn files(&self, epochs: &[Prepared]) -> Result<BTreeSet<PathBuf>, Failure> {
        let tokens = epochs.iter().flat_map(|prepared| {
            let tokens = prepared.tokens.iter();
            tokens.map(|(partition, token)| (prepared.epoch, *partition, token))
        });
        let files = tokens.map(|(epoch, partition, token)| {
            let staged = Staged::read(token)?;
            Ok(self.file(staged.generation, epoch, partition))
        });
        files.collect()
    }

    /// Removes all files but these.
    pub fn keep(&self, kept: &BTreeSet<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            if !kept.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Removes the folder if there is nothing in it.
    pub fn remove_if_empty(&self) {
        // Refused while there are files of this or of other sinks, as it should be.
        fs::remove_dir(&self.0).ok();
        self.0.parent().map(fs::remove_dir);
    }
}

/// A file that is complete: what the sink's token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// The start that wrote it.
    pub generation: Generation,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The hash of its bytes.
    pub xxh3: String,
}

impl Staged {
    /// As a token.
    pub fn token(&self) -> Token {
        let json = serde_json::to_vec(self);
        Token(json.expect("numbers and a text are always JSON"))
    }

    /// The file of a token.
    pub fn read(token: &Token) -> Result<Self, Failure> {
        serde_json::from_slice(&token.0).map_err(|error| {
            Failure::user(format!("what the checkpoint holds of this sink is not of a `files` sink: {error}"))
                .help("has the sink become another kind of sink? run the pipeline as it was until it has ended")
        })
    }
}

/// The size and the hash of bytes that come piece by piece.
#[derive(Default)]
pub struct Sum {
    hash: Xxh3,
    bytes: u64,
}

impl Sum {
    /// Counts further bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// How many there were.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Their hash in hex digits, as `xxhsum -H3` shows it.
    pub fn xxh3(&self) -> String {
        format!("{:016x}", self.hash.digest())
    }
}
