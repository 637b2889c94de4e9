//! The data folder of a server.
//!
//! ```text
//! catalog.db                                    what there is and what should run
//! components/HEX.wasm                           what was pushed, named by its SHA-256
//! cache/                                        compiled plugins
//! runners/                                      what runner processes leave
//! secrets.key                                   what secrets in the catalog are encrypted with
//! staging/                                      what is not finished; emptied at each start
//! tenants/T/files/                              the only local files that T's pipelines reach
//! tenants/T/pipelines/P/versions/N/             pipeline.toml, and its plugins in plugins/
//! tenants/T/pipelines/P/checkpoint/             kept over all versions, if it is not in a bucket
//! checkpoints                                   where they are
//! identity                                      by which a bucket knows whose it is
//! tenants/T/pipelines/P/rejected/               rejected rows, as a `files` sink writes them
//! tenants/T/pipelines/P/again/NODE/             rows that were given back to a node
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use super::catalog::Catalog;
use super::checkpoints::{self, Checkpoints};
use super::refusal::Refusal;
use crate::checkpoint::storage::{Bucket, Claim, LocalDisk, Location, Storage as _};
use crate::error::Failure;
use crate::ids::{Digest, PipelineName, TenantId};
use crate::key_file;

/// The catalog's file.
const CATALOG: &str = "catalog.db";

/// A data folder that is this process's alone.
#[derive(Debug)]
pub struct DataFolder {
    root: PathBuf,
    is_new: bool,
    components: Mutex<Components>,
    checkpoints: Checkpoints,
    _claim: Claim,
}

/// The components. Who has them to himself can be sure that what is there stays until he lets go.
#[derive(Debug)]
pub struct Components {
    disk: LocalDisk,
    root: PathBuf,
}

impl DataFolder {
    /// Opens it, or makes it, for this user alone; checkpoints are in it unless there is a bucket for them.
    ///
    /// # Errors
    /// When it cannot be written, or another server has it.
    pub fn open(root: &Path, checkpoints: Option<Bucket>) -> Result<Self, Failure> {
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
        let is_new = !root.join(CATALOG).exists();
        let checkpoints = Checkpoints::open(&root, is_new, checkpoints)?;
        let folder = Self {
            checkpoints,
            is_new,
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
        self.root.join(CATALOG)
    }

    /// Whether there was no catalog when it was opened.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Which folder it is, wherever it is moved to.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn identity(&self) -> io::Result<String> {
        Ok(Digest::of(&key_file::open(&self.root.join("identity"))?).hex())
    }

    /// Gives a copy of a catalog its place in a new folder, once it has been changed.
    ///
    /// # Errors
    /// When it is no catalog, or the disk refuses.
    pub fn take_catalog(
        &self,
        bytes: &[u8],
        change: impl FnOnce(&Catalog) -> Result<(), Refusal>,
    ) -> Result<(), Failure> {
        let failed =
            |error: io::Error| Failure::external(format!("{}: {error}", self.root.display()));
        let staging = self.stage().map_err(failed)?;
        let copy = staging.path().join(CATALOG);
        write(&copy, bytes).map_err(failed)?;
        let catalog = Catalog::open(&copy)?;
        change(&catalog).map_err(|refusal| Failure::external(refusal.message))?;
        // With its last connection it is one file again.
        drop(catalog);
        fs::rename(&copy, self.catalog()).map_err(failed)?;
        sync(&self.root).map_err(failed)
    }

    /// The key of secrets, unless another file was named.
    pub fn secrets_key(&self) -> PathBuf {
        self.root.join("secrets.key")
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

    /// What a tenant's paths begin with, the longest first: where its things lie on this machine is not its business.
    pub fn shown_without(&self, tenant: &TenantId) -> Vec<String> {
        let own = self.tenant(tenant);
        let folders = [own.join("files"), own, self.root.clone()];
        let folders = folders
            .iter()
            .map(|folder| format!("{}/", folder.display()));
        folders.collect()
    }

    /// A version of a pipeline.
    pub fn version(&self, tenant: &TenantId, pipeline: &PipelineName, version: u32) -> PathBuf {
        self.pipeline(tenant, pipeline)
            .join("versions")
            .join(version.to_string())
    }

    /// The versions of a pipeline that have a folder.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn versions(&self, tenant: &TenantId, pipeline: &PipelineName) -> io::Result<Vec<u32>> {
        let files = match fs::read_dir(self.pipeline(tenant, pipeline).join("versions")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files?,
        };
        let mut versions = Vec::new();
        for file in files {
            versions.extend(
                file?
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse::<u32>().ok()),
            );
        }
        Ok(versions)
    }

    /// What a pipeline remembers.
    pub fn checkpoint(&self, tenant: &TenantId, pipeline: &PipelineName) -> Location {
        let folder = self.pipeline(tenant, pipeline);
        self.checkpoints.of(&folder, tenant, pipeline)
    }

    /// Removes what a pipeline remembers, where that could not be taken away with its folder. Nothing may run it.
    ///
    /// # Errors
    /// When the bucket cannot be reached.
    pub fn empty_bucket(&self, tenant: &TenantId, pipeline: &PipelineName) -> Result<(), Failure> {
        self.checkpoints.empty(tenant, pipeline)
    }

    /// What a pipeline has rejected.
    pub fn rejected(&self, tenant: &TenantId, pipeline: &PipelineName) -> PathBuf {
        self.pipeline(tenant, pipeline).join("rejected")
    }

    /// What was given back to a pipeline.
    pub fn again(&self, tenant: &TenantId, pipeline: &PipelineName) -> PathBuf {
        self.pipeline(tenant, pipeline).join("again")
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

    /// Takes away a pipeline's versions and all that it remembers: deleted with what this gives.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when a process still runs it, as one that a killed server has left does for a moment; or when the disk
    /// refuses.
    pub fn take_pipeline(&self, tenant: &TenantId, pipeline: &PipelineName) -> io::Result<TempDir> {
        let gone = self.stage()?;
        let folder = self.pipeline(tenant, pipeline);
        let checkpoint = checkpoints::here(&folder);
        let _claim = match checkpoint.exists() {
            true => Some(LocalDisk::new(&checkpoint).claim()?),
            false => None,
        };
        self.take(&folder, &gone)?;
        Ok(gone)
    }

    /// Takes away all files of a tenant: deleted with what this gives.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn take_tenant(&self, tenant: &TenantId) -> io::Result<TempDir> {
        let gone = self.stage()?;
        self.take(&self.tenant(tenant), &gone)?;
        Ok(gone)
    }

    /// Moves a folder, if it is there, to where it is deleted.
    fn take(&self, folder: &Path, gone: &TempDir) -> io::Result<()> {
        match fs::rename(folder, gone.path().join("gone")) {
            Ok(()) => sync(folder.parent().unwrap_or(&self.root)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    fn tenant(&self, tenant: &TenantId) -> PathBuf {
        self.root.join("tenants").join(tenant.as_str())
    }

    /// All of a pipeline.
    pub fn pipeline(&self, tenant: &TenantId, pipeline: &PipelineName) -> PathBuf {
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

    /// All that there are.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn all(&self) -> io::Result<Vec<Digest>> {
        let names = self.disk.list("components")?;
        let digest = |name: String| {
            let hex = name.strip_suffix(".wasm")?;
            Digest::try_from(format!("sha256:{hex}")).ok()
        };
        Ok(names.into_iter().filter_map(digest).collect())
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
    sync(path)
}

/// Makes a file durable, or the names in a folder.
///
/// # Errors
/// When the disk refuses.
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Tenants' rows lie in it: nobody else on the machine reads them, whoever has made it.
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_never_share_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let first = DataFolder::open(root.path(), None).unwrap();
        let failure = DataFolder::open(root.path(), None).unwrap_err();
        assert!(failure.message.contains("another server"), "{failure}");
        drop(first);
        DataFolder::open(root.path(), None).unwrap();
    }

    #[test]
    fn a_folder_that_was_there_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let _folder = DataFolder::open(root.path(), None).unwrap();
        let mode = fs::metadata(root.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_pipeline_that_still_runs_somewhere_is_not_taken_away() {
        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(root.path(), None).unwrap();
        let (tenant, pipeline) = (TenantId::parse("acme").unwrap(), "counts".into());
        let checkpoint = checkpoints::here(&folder.pipeline(&tenant, &pipeline));
        fs::create_dir_all(&checkpoint).unwrap();
        let claim = LocalDisk::new(&checkpoint).claim().unwrap();
        let taken = folder.take_pipeline(&tenant, &pipeline);
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(claim);
        drop(folder.take_pipeline(&tenant, &pipeline).unwrap());
        assert!(!checkpoint.exists());
    }

    #[test]
    fn what_was_not_finished_is_gone_after_a_start() {
        let root = tempfile::tempdir().unwrap();
        let left = DataFolder::open(root.path(), None)
            .unwrap()
            .stage()
            .unwrap()
            .keep();
        DataFolder::open(root.path(), None).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn a_component_is_kept_by_its_digest_and_stays_in_pipelines_when_it_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(root.path(), None).unwrap();
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
