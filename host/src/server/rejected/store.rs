//! The files of a pipeline's rejected rows, as its `[rejected]` sink has listed them. They are only ever read whole, and removed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::PathBuf;

use super::row::{FileId, Written};
use crate::deliver::manifest;
use crate::error::unless_missing;
use crate::ids::Epoch;

/// What a file and its manifest take beside its bytes: a block each.
const BESIDE: u64 = 8 << 10;

/// The files of one pipeline, and what is known of them: a manifest is read once.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    known: BTreeMap<Epoch, Vec<StoredFile>>,
}

/// A file of rejected rows.
#[derive(Clone, Debug)]
pub struct StoredFile {
    /// Which.
    pub id: FileId,
    /// Rows in it.
    pub rows: u64,
    /// The room that it takes.
    pub bytes: u64,
    /// Its path below the sink's.
    path: String,
}

impl Store {
    /// Those below a folder, which need not be there.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            known: BTreeMap::new(),
        }
    }

    /// All files, the oldest first.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn files(&mut self) -> io::Result<Vec<StoredFile>> {
        let epochs = manifest::epochs(&self.root)?;
        self.known.retain(|epoch, _| epochs.contains(epoch));
        for epoch in epochs {
            if !self.known.contains_key(&epoch) {
                let files = self.listed(epoch)?;
                self.known.insert(epoch, files);
            }
        }
        Ok(self.known.values().flatten().cloned().collect())
    }

    fn listed(&self, epoch: Epoch) -> io::Result<Vec<StoredFile>> {
        let listed = manifest::read(&self.root, epoch)?.files.into_iter();
        let files = listed.filter_map(|file| {
            // One that was removed stays listed until its manifest goes.
            let is_there = self.root.join(&file.path).exists();
            is_there.then_some(StoredFile {
                id: (epoch, file.partition()?),
                rows: file.rows,
                bytes: file.bytes + BESIDE,
                path: file.path,
            })
        });
        Ok(files.collect())
    }

    /// Gives each row of a file with its line, until `each` has seen enough.
    ///
    /// # Errors
    /// When it cannot be read, or `each` fails.
    pub fn read<E: From<io::Error>>(
        &self,
        file: &StoredFile,
        mut each: impl FnMut(u64, Written) -> Result<(), E>,
    ) -> Result<(), E> {
        let reader = BufReader::new(File::open(self.root.join(&file.path))?);
        for (line, text) in (0..).zip(reader.lines()) {
            let row = serde_json::from_str(&text?).map_err(io::Error::from)?;
            each(line, row)?;
        }
        Ok(())
    }

    /// Removes files. The newest manifest stays: by it the sink knows which epochs it has published.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&mut self, files: &[StoredFile]) -> io::Result<()> {
        for file in files {
            unless_missing(fs::remove_file(self.root.join(&file.path)))?;
            if let Some(left) = self.known.get_mut(&file.id.0) {
                left.retain(|other| other.id != file.id);
            }
        }
        let newest = self.known.last_key_value().map(|(epoch, _)| *epoch);
        let is_empty =
            |(epoch, left): &(&Epoch, &Vec<_>)| left.is_empty() && Some(**epoch) != newest;
        let empty: Vec<Epoch> = self
            .known
            .iter()
            .filter(is_empty)
            .map(|(epoch, _)| *epoch)
            .collect();
        for epoch in empty {
            unless_missing(fs::remove_dir_all(
                self.root.join(manifest::epoch_folder(epoch)),
            ))?;
            unless_missing(fs::remove_file(manifest::path(&self.root, epoch)))?;
            self.known.remove(&epoch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::manifest::{EpochManifest, Listed};
    use crate::ids::PartitionId;

    /// As the sink writes an epoch.
    fn publish(root: &std::path::Path, epoch: u64, rows: &[&str]) {
        let epoch = Epoch(epoch);
        let folder = manifest::epoch_folder(epoch);
        fs::create_dir_all(root.join(&folder)).unwrap();
        fs::create_dir_all(manifest::folder(root)).unwrap();
        let lines = rows.iter().map(|reason| {
            format!("{{\"epoch\":{epoch},\"batch_time\":\"2026-01-01T00:00:00Z\",\"partition\":0,\"node\":\"n\",\"origin\":\"o\",\"reason\":\"{reason}\"}}\n")
        });
        let text: String = lines.collect();
        let path = format!("{folder}/part-00002.json");
        fs::write(root.join(&path), &text).unwrap();
        let listed = Listed {
            path,
            rows: rows.len() as u64,
            bytes: text.len() as u64,
            xxh3: String::new(),
        };
        let manifest = EpochManifest::of(epoch, epoch, vec![listed]);
        fs::write(manifest::path(root, epoch), manifest.text().unwrap()).unwrap();
    }

    fn reasons(store: &mut Store) -> Vec<(FileId, u64, String)> {
        let mut all = Vec::new();
        for file in store.files().unwrap() {
            let each = |line, row: Written| {
                all.push((file.id, line, row.reason));
                Ok::<_, io::Error>(())
            };
            store.read(&file, each).unwrap();
        }
        all
    }

    #[test]
    fn rows_are_those_of_listed_files_and_the_newest_manifest_stays() {
        let root = tempfile::tempdir().unwrap();
        let mut store = Store::new(root.path().join("rejected"));
        assert_eq!(reasons(&mut store), []);
        publish(&store.root, 3, &["a", "b"]);
        publish(&store.root, 5, &["c"]);
        let id = |epoch| (Epoch(epoch), PartitionId(2));
        let row = |epoch, line, reason: &str| (id(epoch), line, reason.to_owned());
        let all = [row(3, 0, "a"), row(3, 1, "b"), row(5, 0, "c")];
        assert_eq!(reasons(&mut store), all);
        let files = store.files().unwrap();
        store.remove(&files).unwrap();
        assert_eq!(reasons(&mut store), []);
        let left = manifest::epochs(&store.root).unwrap();
        assert_eq!(left.into_iter().collect::<Vec<_>>(), [Epoch(5)]);
        // Another server finds the same, and the next epoch lets the older one go.
        let mut store = Store::new(store.root);
        assert_eq!(reasons(&mut store), []);
        publish(&store.root, 6, &["d"]);
        assert_eq!(reasons(&mut store), [row(6, 0, "d")]);
        store.remove(&[]).unwrap();
        let left = manifest::epochs(&store.root).unwrap();
        assert_eq!(left.into_iter().collect::<Vec<_>>(), [Epoch(6)]);
    }
}
