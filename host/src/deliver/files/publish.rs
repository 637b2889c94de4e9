//! Makes files visible, in process 0: gives what all processes have staged its names, and lists it in a manifest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::FilesSink;
use super::manifest::{self, EpochManifest, Listed};
use super::roll::Rolling;
use super::staging::{Staged, Staging, Sum};
use crate::checkpoint::Prepared;
use crate::deliver::HeldBack;
use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, PartitionId};
use crate::thread::SideBySide;

/// Bytes that are copied at once.
const COPY_BUFFER: usize = 256 << 10;

/// An epoch that is committed and not visible.
struct Waiting {
    epoch: Epoch,
    time: BatchTime,
    parts: BTreeMap<PartitionId, Staged>,
}

/// Publishes the epochs of one sink.
pub struct Publisher {
    config: FilesSink,
    staging: Staging,
    /// Bytes that every file begins with.
    header: u64,
    /// Epochs up to this one are published, as a manifest of theirs says.
    published: Option<Epoch>,
    /// Epochs up to this one were committed by an earlier run, which may have given some of them names.
    earlier: Option<Epoch>,
    /// The epochs of the roll that has not ended.
    rolling: Vec<Waiting>,
}

impl Publisher {
    /// Goes on after an earlier run, which has committed epochs up to `earlier` and published those up to `published`.
    pub fn new(
        config: &FilesSink,
        staging: Staging,
        schema: SchemaRef,
        published: Option<Epoch>,
        earlier: Option<Epoch>,
    ) -> Result<Self, Failure> {
        let mut header = Vec::new();
        config
            .format
            .encode(&RecordBatch::new_empty(schema), true, &mut header)
            .map_err(|error| Failure::internal(format!("cannot encode no rows: {error}")))?;
        Ok(Self {
            config: config.clone(),
            staging,
            header: header.len() as u64,
            published,
            earlier,
            rolling: Vec::new(),
        })
    }

    /// Takes up an epoch, and publishes the roll if that ends with it.
    pub fn commit(&mut self, prepared: &Prepared) -> Result<Option<HeldBack>, Failure> {
        if Some(prepared.epoch) > self.published {
            if !prepared.tokens.is_empty() {
                let parts = prepared.tokens.iter();
                let parts = parts.map(|(partition, token)| Ok((*partition, Staged::read(token)?)));
                self.rolling.push(Waiting {
                    epoch: prepared.epoch,
                    time: prepared.time,
                    parts: parts.collect::<Result<_, Failure>>()?,
                });
            }
            if let Some(rolling) = self.rolling()
                && self.config.roll.is_over(rolling, prepared.time)
            {
                self.publish()?;
            }
        }
        Ok(self.rolling.first().map(|first| HeldBack {
            since: first.epoch,
            due: self.config.roll.due(first.time),
        }))
    }

    fn rolling(&self) -> Option<Rolling> {
        let mut sizes = BTreeMap::<PartitionId, u64>::new();
        for (partition, part) in self.rolling.iter().flat_map(|epoch| &epoch.parts) {
            *sizes.entry(*partition).or_default() += part.bytes;
        }
        Some(Rolling {
            epochs: self.rolling.len() as u64,
            bytes: sizes.into_values().max().unwrap_or_default(),
            since: self.rolling.first()?.time,
        })
    }

    /// Ends the roll, if there is one.
    pub fn publish(&mut self) -> Result<(), Failure> {
        let rolling = std::mem::take(&mut self.rolling);
        let (Some(first), Some(last)) = (rolling.first(), rolling.last()) else {
            return Ok(());
        };
        let mut pieces = BTreeMap::<PartitionId, Vec<Piece>>::new();
        for waiting in &rolling {
            for (partition, part) in &waiting.parts {
                let file = self
                    .staging
                    .file(part.generation, waiting.epoch, *partition);
                let part = part.clone();
                pieces
                    .entry(*partition)
                    .or_default()
                    .push(Piece { file, part });
            }
        }
        let folder = self.config.folder(last.epoch);
        fs::create_dir_all(&folder).map_err(|error| self.config.failure(&error))?;
        let mut files = Vec::with_capacity(pieces.len());
        for (partition, pieces) in &pieces {
            crate::abort::crash_point!("publish");
            let name = self.config.file_name(*partition);
            let (file, bytes, xxh3) = self.whole(pieces)?;
            self.name(&file, &folder.join(&name), last.epoch)?;
            files.push(Listed {
                path: format!("{}/{name}", super::name_of(last.epoch)),
                rows: pieces.iter().map(|piece| piece.part.rows).sum(),
                bytes,
                xxh3,
            });
        }
        self.list(&folder, &EpochManifest::of(first.epoch, last.epoch, files))?;
        let mut staged = pieces.values().flatten();
        let removed = staged.try_for_each(|piece| fs::remove_file(&piece.file));
        removed.map_err(|error| self.config.failure(&error))
    }

    /// The file with all rows of a partition, its size and its hash.
    fn whole(&self, pieces: &[Piece]) -> Result<(PathBuf, u64, String), Failure> {
        pieces.iter().try_for_each(Piece::check)?;
        if let [Piece { file, part }] = pieces {
            return Ok((file.clone(), part.bytes, part.xxh3.clone()));
        }
        let sum = self.join(pieces);
        let sum = sum.map_err(|error| self.config.failure(&error))?;
        Ok((self.staging.aside(), sum.bytes(), sum.xxh3()))
    }

    /// Writes files as one, of which only the first keeps its header.
    fn join(&self, pieces: &[Piece]) -> io::Result<Sum> {
        let mut whole = self.staging.new_aside()?;
        let mut sum = Sum::default();
        let mut buffer = vec![0; COPY_BUFFER];
        for (index, piece) in pieces.iter().enumerate() {
            let mut file = File::open(&piece.file)?;
            if index > 0 {
                file.seek(SeekFrom::Start(self.header))?;
            }
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                whole.write_all(&buffer[..read])?;
                sum.add(&buffer[..read]);
            }
        }
        if self.config.sync {
            whole.sync_data()?;
        }
        Ok(sum)
    }

    /// Gives a file its name, beside the one that it has.
    fn name(&self, file: &Path, target: &Path, last: Epoch) -> Result<(), Failure> {
        let link = || fs::hard_link(file, target);
        let named = match link() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if Some(last) > self.earlier {
                    let message = format!("`{}` is there already", target.display());
                    return Err(Failure::user(message).help(
                        "give every `files` sink and every pipeline a directory of its own",
                    ));
                }
                // An earlier run has come so far, and no manifest lists it.
                fs::remove_file(target).and_then(|()| link())
            }
            named => named,
        };
        named.map_err(|error| self.config.failure(&error))
    }

    /// Makes the names durable, and then the list of them.
    fn list(&self, folder: &Path, manifest: &EpochManifest) -> Result<(), Failure> {
        let root = &self.config.path;
        let aside = self.staging.aside();
        let write = || {
            let mut file = self.staging.new_aside()?;
            file.write_all(manifest.text()?.as_bytes())?;
            self.sync([file, File::open(folder)?, File::open(root)?])?;
            crate::abort::crash_point!("manifest-before");
            fs::create_dir_all(manifest::folder(root))
        };
        write().map_err(|error| self.config.failure(&error))?;
        self.name(&aside, &manifest::path(root, manifest.last), manifest.last)?;
        let sync = || self.sync([File::open(manifest::folder(root))?, File::open(root)?]);
        let synced = sync();
        crate::abort::crash_point!("manifest-after");
        synced
            .and_then(|()| fs::remove_file(&aside))
            .map_err(|error| self.config.failure(&error))
    }

    /// Has files and folders on the disk for good.
    fn sync<const N: usize>(&self, files: [File; N]) -> io::Result<()> {
        if !self.config.sync {
            return Ok(());
        }
        let mut syncing = SideBySide::new(N);
        for file in files {
            syncing.start((), "sync", move || file.sync_all());
        }
        syncing.wait_for(|()| true).into_iter().collect()
    }
}

/// The rows of one epoch in a file.
struct Piece {
    file: PathBuf,
    part: Staged,
}

impl Piece {
    /// Whether it is there as it was committed.
    fn check(&self) -> Result<(), Failure> {
        let file = self.file.display();
        let wrong = match fs::metadata(&self.file) {
            Ok(there) if there.len() == self.part.bytes => return Ok(()),
            Ok(there) => format!(
                "`{file}` has {} bytes, and had {} when its epoch was committed",
                there.len(),
                self.part.bytes
            ),
            Err(error) => format!("`{file}`, of an epoch that is committed: {error}"),
        };
        Err(Failure::external(wrong)
            .help("all processes must see the sink's `path` under the same name, and nobody else may change what is below it"))
    }
}
