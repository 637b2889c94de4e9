//! Where records are kept: a few operations that a disk and an object store both can do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Named bytes. A write that has returned survives the machine's crash; a write that has not leaves all or nothing.
pub trait Storage {
    /// Writes what must not be there yet; [`io::ErrorKind::AlreadyExists`] if it is.
    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Writes it, whether it is there or not.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Reads it, if it is there.
    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// What there is directly below a folder, without the folder's name, sorted; nothing if there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Removes it, if it is there.
    fn delete(&self, name: &str) -> io::Result<()>;
}

/// A folder on a disk.
#[derive(Debug)]
pub struct LocalDisk {
    root: PathBuf,
}

/// That no other process of this machine writes here; ends with the process.
#[derive(Debug)]
pub struct Claim {
    _locked: File,
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

    /// Claims the folder; [`io::ErrorKind::WouldBlock`] if another process has it.
    pub fn claim(&self) -> io::Result<Claim> {
        fs::create_dir_all(&self.root)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.root.join(".lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Claim { _locked: file }),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
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
        if !folder.exists() {
            make_folder(folder)?;
        }
        // One writer, so one file aside is enough.
        let aside = folder.join(UNFINISHED);
        // A crash may have left it as a second name of a record that is whole: never write into it.
        unless_missing(fs::remove_file(&aside))?;
        let mut file = File::create_new(&aside)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        drop(file);
        place(&aside, &target)?;
        sync_folder(folder)
    }
}

impl Storage for LocalDisk {
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

fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Makes a folder, for good.
fn make_folder(folder: &Path) -> io::Result<()> {
    let above = folder.parent().filter(|above| !above.exists());
    if let Some(above) = above {
        make_folder(above)?;
    }
    fs::create_dir_all(folder)?;
    folder.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_written_again_and_what_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(&folder.path().join("not/yet/there"));
        assert_eq!(disk.get("a/1").unwrap(), None);
        assert_eq!(disk.list("a").unwrap(), Vec::<String>::new());
        disk.put_new("a/1", b"one").unwrap();
        let again = disk.put_new("a/1", b"two").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(disk.get("a/1").unwrap(), Some(b"one".to_vec()));
        disk.put("a/1", b"three").unwrap();
        disk.put_new("a/2", b"").unwrap();
        assert_eq!(disk.get("a/1").unwrap(), Some(b"three".to_vec()));
        assert_eq!(disk.list("a").unwrap(), ["1", "2"]);
        disk.delete("a/1").unwrap();
        disk.delete("a/1").unwrap();
        assert_eq!(disk.list("a").unwrap(), ["2"]);
        disk.delete("a/2").unwrap();
        assert!(!disk.root.join("a").exists());
        // As a crash between the two leaves it.
        fs::create_dir(disk.root.join("a")).unwrap();
        disk.delete("a/2").unwrap();
        assert!(!disk.root.join("a").exists());
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
