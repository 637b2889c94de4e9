//! A storage to try things on: what is written stays in memory, over another one that is only read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Claim, Storage};

/// A view of a storage with changes of its own, which end with it.
#[derive(Debug)]
pub struct Scratch {
    below: Arc<dyn Storage>,
    /// Folders as they were, with their names: what others write there since is not seen.
    frozen: BTreeMap<String, BTreeSet<String>>,
    /// What was written, or nothing for what was removed.
    changes: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
}

impl Scratch {
    /// Over what is there now; outside of the `frozen` folders also over what others write there.
    ///
    /// # Errors
    /// When one of these folders cannot be read.
    pub fn new(below: Arc<dyn Storage>, frozen: &[&str]) -> io::Result<Self> {
        let names = |folder: &&str| {
            let names = below.list(folder)?.into_iter().collect();
            Ok(((*folder).to_owned(), names))
        };
        Ok(Self {
            frozen: frozen.iter().map(names).collect::<io::Result<_>>()?,
            below,
            changes: Mutex::default(),
        })
    }

    /// Whether others have written it into a frozen folder since.
    fn is_later(&self, name: &str) -> bool {
        let place = name.split_once('/');
        place.is_some_and(|(folder, name)| {
            let frozen = self.frozen.get(folder);
            frozen.is_some_and(|names| !names.contains(name))
        })
    }

    fn changes(&self) -> MutexGuard<'_, BTreeMap<String, Option<Vec<u8>>>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Scratch {
    /// Nobody else sees it, so there is nothing to claim.
    fn claim(&self) -> io::Result<Claim> {
        Ok(Claim::default())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.get(name)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.put(name, bytes)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.changes().insert(name.to_owned(), Some(bytes.to_vec()));
        Ok(())
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        if let Some(own) = self.changes().get(name) {
            return Ok(own.clone());
        }
        if self.is_later(name) {
            return Ok(None);
        }
        self.below.get(name)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = match self.frozen.get(folder) {
            Some(names) => names.clone(),
            None => self.below.list(folder)?.into_iter().collect(),
        };
        for (name, own) in &*self.changes() {
            let below = name.strip_prefix(folder);
            let Some(below) = below.and_then(|below| below.strip_prefix('/')) else {
                continue;
            };
            match (below.split_once('/'), own) {
                (Some((deeper, _)), Some(_)) => drop(names.insert(deeper.to_owned())),
                // There may be others in that folder, and an empty one does no harm.
                (Some(_), None) => {}
                (None, Some(_)) => drop(names.insert(below.to_owned())),
                (None, None) => drop(names.remove(below)),
            }
        }
        Ok(names.into_iter().collect())
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        self.changes().insert(name.to_owned(), None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::storage::LocalDisk;

    #[test]
    fn what_is_changed_is_seen_here_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(LocalDisk::new(folder.path()));
        for name in ["plan/1", "plan/2", "state/s/0/a"] {
            disk.put(name, name.as_bytes()).unwrap();
        }
        let scratch = Scratch::new(disk.clone(), &[]).unwrap();
        scratch.delete("plan/2").unwrap();
        scratch.put_new("plan/3", b"three").unwrap();
        scratch.put("state/s/1/b", b"b").unwrap();
        scratch.put("state/s/0/a", b"changed").unwrap();

        assert_eq!(scratch.list("plan").unwrap(), ["1", "3"]);
        assert_eq!(scratch.list("state").unwrap(), ["s"]);
        assert_eq!(scratch.list("state/s").unwrap(), ["0", "1"]);
        assert_eq!(scratch.get("plan/1").unwrap().unwrap(), b"plan/1");
        assert_eq!(scratch.get("plan/2").unwrap(), None);
        assert_eq!(scratch.get("state/s/0/a").unwrap().unwrap(), b"changed");
        let again = scratch.put_new("plan/1", b"one").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        scratch.put_new("plan/2", b"two").unwrap();

        assert_eq!(disk.list("plan").unwrap(), ["1", "2"]);
        assert_eq!(disk.list("state/s").unwrap(), ["0"]);
        assert_eq!(disk.get("state/s/0/a").unwrap().unwrap(), b"state/s/0/a");
    }

    #[test]
    fn what_others_write_into_a_frozen_folder_is_not_seen_and_not_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(LocalDisk::new(folder.path()));
        disk.put("plan/1", b"one").unwrap();
        let scratch = Scratch::new(disk.clone(), &["plan"]).unwrap();
        disk.put("plan/2", b"theirs").unwrap();
        disk.put("input/2", b"theirs").unwrap();
        assert_eq!(scratch.list("plan").unwrap(), ["1"]);
        assert_eq!(scratch.get("plan/2").unwrap(), None);
        assert_eq!(scratch.get("input/2").unwrap().unwrap(), b"theirs");
        scratch.put_new("plan/2", b"ours").unwrap();
        assert_eq!(scratch.list("plan").unwrap(), ["1", "2"]);
        assert_eq!(scratch.get("plan/2").unwrap().unwrap(), b"ours");
        assert_eq!(disk.get("plan/2").unwrap().unwrap(), b"theirs");
    }
}
