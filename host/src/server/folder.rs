//! The data folder of a server.
//!
//! ```text
//! catalog.db                                    what there is and what should run
//! components/HEX.wasm                           what was pushed, named by its SHA-256
//! cache/                                        compiled plugins
//! runners/                                      what runner processes leave
//! staging/                                      what is not finished; emptied at each start
//! tenants/T/files/                              the only local files that T's pipelines reach
//! tenants/T/pipelines/P/versions/N/             pipeline.toml, and its plugins in plugins/
//! tenants/T/pipelines/P/checkpoint/             kept over all versions
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::checkpoint::storage::{Claim, LocalDisk, Storage as _};
use crate::error::Failure;
use crate::ids::{Digest, PipelineName, TenantId};

/// A data folder that is this process's alone.
#[derive(Debug)]
pub struct DataFolder {
    root: PathBuf,
    components: Mutex<Components>,
    _claim: Claim,
}

/// The components. Who has them to himself can be sure that what is there stays until he lets go.
#[derive(Debug)]
pub struct Components {
    disk: LocalDisk,
    root: PathBuf,
}

impl DataFolder {
    /// Opens it, or makes it, for this user alone.
    ///
    /// # Errors
    /// When it cannot be written, or another server has it.
    pub fn open(root: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::external(format!(
                "the data folder {} cannot be used: {error}",
                root.display()
            ))
        };
        let root = std::path::absolute(root).map_err(failed)?;
        make_private(&root).map_err(failed)?;
        let disk = LocalDisk::new(&root);
        let claim = disk.claim().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                let message = format!("another server uses the data folder {}", root.display());
                Failure::user(message).help("end it first, or name another folder with --data")
            }
            _ => failed(error),
        })?;
        let folder = Self {
            components: Mutex::new(Components {
                disk,
                root: root.clone(),
            }),
            root,
            _claim: claim,
        };
        // What a crash has left.
        match fs::remove_dir_all(folder.staging()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => fs::create_dir_all(folder.staging()).map_err(failed)?,
        }
        Ok(folder)
    }

    /// The catalog's file.
    pub fn catalog(&self) -> PathBuf {
        self.root.join("catalog.db")
    }

    /// Compiled plugins.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// The folder itself, in which jobs have `runners/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a component is, if it was pushed.
    pub fn component(&self, digest: Digest) -> PathBuf {
        self.root.join(name(digest))
    }

    /// The components, to oneself.
    pub fn components(&self) -> MutexGuard<'_, Components> {
        self.components
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The local files of a tenant; makes the folder if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn files(&self, tenant: &TenantId) -> io::Result<PathBuf> {
        let files = self.tenant(tenant).join("files");
        fs::create_dir_all(&files)?;
        Ok(files)
    }

    /// A version of a pipeline.
    pub fn version(&self, tenant: &TenantId, pipeline: &PipelineName, version: u32) -> PathBuf {
        self.pipeline(tenant, pipeline)
            .join("versions")
            .join(version.to_string())
    }

    /// What a pipeline remembers.
    pub fn checkpoint(&self, tenant: &TenantId, pipeline: &PipelineName) -> PathBuf {
        self.pipeline(tenant, pipeline).join("checkpoint")
    }

    /// A folder for what is not finished, on the same disk; it goes when it is dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn stage(&self) -> io::Result<TempDir> {
        tempfile::tempdir_in(self.staging())
    }

    /// Gives a finished folder its place as a version, durably. One that is there is of a change that was never kept.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn place(&self, staged: &Path, version: &Path) -> io::Result<()> {
        let versions = version.parent().unwrap_or(&self.root);
        fs::create_dir_all(versions)?;
        if version.exists() {
            fs::remove_dir_all(version)?;
        }
        fs::rename(staged, version)?;
        sync(versions)
    }

    /// Removes a pipeline's versions and all that it remembers.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove_pipeline(&self, tenant: &TenantId, pipeline: &PipelineName) -> io::Result<()> {
        let gone = self.stage()?;
        match fs::rename(
            self.pipeline(tenant, pipeline),
            gone.path().join("pipeline"),
        ) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => gone.close(),
        }
    }

    fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    fn tenant(&self, tenant: &TenantId) -> PathBuf {
        self.root.join("tenants").join(tenant.as_str())
    }

    fn pipeline(&self, tenant: &TenantId, pipeline: &PipelineName) -> PathBuf {
        self.tenant(tenant)
            .join("pipelines")
            .join(pipeline.as_str())
    }
}

fn name(digest: Digest) -> String {
    format!("components/{}.wasm", digest.hex())
}

impl Components {
    /// Keeps a component, durably.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep(&mut self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        let name = name(digest);
        // It got its name when it was whole.
        match self.root.join(&name).exists() {
            true => Ok(()),
            false => self.disk.put(&name, bytes),
        }
    }

    /// Removes one that nobody names any more. Pipelines made of it have it by another name.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&mut self, digest: Digest) -> io::Result<()> {
        self.disk.delete(&name(digest))
    }
}

/// Writes a file, durably once its folder is synced.
///
/// # Errors
/// When the disk refuses.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    File::open(path)?.sync_all()
}

/// Makes the names in a folder durable.
///
/// # Errors
/// When the disk refuses.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Tenants' rows lie in it: nobody else on the machine reads them.
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_never_share_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let first = DataFolder::open(root.path()).unwrap();
        let failure = DataFolder::open(root.path()).unwrap_err();
        assert!(failure.message.contains("another server"), "{failure}");
        drop(first);
        DataFolder::open(root.path()).unwrap();
    }

    #[test]
    fn what_was_not_finished_is_gone_after_a_start() {
        let root = tempfile::tempdir().unwrap();
        let left = DataFolder::open(root.path())
            .unwrap()
            .stage()
            .unwrap()
            .keep();
        DataFolder::open(root.path()).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn a_component_is_kept_by_its_digest_and_stays_in_pipelines_when_it_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(root.path()).unwrap();
        let digest = Digest::of(b"component");
        folder.components().keep(digest, b"component").unwrap();
        let linked = folder.stage().unwrap();
        let link = linked.path().join("words.wasm");
        fs::hard_link(folder.component(digest), &link).unwrap();
        folder.components().remove(digest).unwrap();
        assert!(!folder.component(digest).exists());
        assert_eq!(fs::read(&link).unwrap(), b"component");
    }
}
