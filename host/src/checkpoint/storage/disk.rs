//! Records on a local or shared disk: files that are written aside, synced and named at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Claim, Storage};
use crate::error::unless_missing;

/// A folder on a disk.
#[derive(Debug)]
pub struct LocalDisk {
    root: PathBuf,
}

/// What is being written, below the folder it is for; no name begins so.
const UNFINISHED: &str = ".unfinished";

impl LocalDisk {
    /// A folder that is made when it is first written to.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Writes a file aside, and has `place` give it its name.
    fn write(
        &self,
        name: &str,
        bytes: &[u8],
        place: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let target = self.root.join(name);
        let folder = target.parent().expect("every name is below the root");
        // One writer, so one file aside is enough.
        let aside = folder.join(UNFINISHED);
        // A crash may have left it as a second name of a record that is whole: never write into it.
        unless_missing(fs::remove_file(&aside))?;
        let (mut file, made) = loop {
            let missing = folder.ancestors().take_while(|folder| !folder.exists());
            let missing: Vec<&Path> = missing.collect();
            if !missing.is_empty() {
                fs::create_dir_all(folder)?;
            }
            // Meanwhile it may have gone with its last file; with this one in it, it stays.
            if let Some(file) = unless_missing(File::create_new(&aside))? {
                break (file, missing);
            }
        };
        let above = made.iter().filter_map(|folder| folder.parent());
        above.rev().try_for_each(sync_folder)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        drop(file);
        place(&aside, &target)?;
        sync_folder(folder)
    }
}

impl Storage for LocalDisk {
    fn claim(&self) -> io::Result<Claim> {
        fs::create_dir_all(&self.root)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.root.join(".lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Claim {
                _locked: Some(file),
            }),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(name, bytes, |aside, target| {
            // Unlike a rename, a link never replaces what is there.
            fs::hard_link(aside, target)?;
            fs::remove_file(aside)
        })
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(name, bytes, |aside, target| fs::rename(aside, target))
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        unless_missing(fs::read(self.root.join(name)))
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let Some(mut file) = unless_missing(File::open(self.root.join(name)))? else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(range.start))?;
        let mut part = Vec::new();
        file.take(range.end.saturating_sub(range.start))
            .read_to_end(&mut part)?;
        Ok(Some(part))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let Some(entries) = unless_missing(fs::read_dir(self.root.join(folder)))? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            names.extend(
                name.to_str()
                    .filter(|name| *name != UNFINISHED)
                    .map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let path = self.root.join(name);
        unless_missing(fs::remove_file(&path))?;
        if let Some(folder) = path.parent().filter(|folder| *folder != self.root) {
            // Goes with its last file; refused as long as there are others.
            fs::remove_dir(folder).ok();
        }
        Ok(())
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn the_folder_of_what_was_removed_goes_even_if_a_crash_has_left_it() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path());
        disk.put("a/2", b"").unwrap();
        disk.delete("a/2").unwrap();
        assert!(!disk.root.join("a").exists());
        fs::create_dir(disk.root.join("a")).unwrap();
        disk.delete("a/2").unwrap();
        assert!(!disk.root.join("a").exists());
    }

    #[test]
    fn a_folder_that_goes_with_its_last_file_is_no_trouble_to_who_writes_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path());
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    disk.delete("a/1").unwrap();
                }
            });
            let written = (0..300).try_for_each(|_| {
                disk.put("a/2", b"")?;
                disk.delete("a/2")
            });
            is_over.store(true, Ordering::Relaxed);
            written.unwrap();
        });
    }

    #[test]
    fn a_folder_has_one_writer_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path());
        let first = disk.claim().unwrap();
        let second = disk.claim().unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        disk.claim().unwrap();
    }
}
