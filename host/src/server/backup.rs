//! What of a server is in its bucket besides checkpoints, so that another machine can take its place.
//!
//! ```text
//! server/terms/T              a start: which data folder has begun to use the bucket
//! server/components/HEX.wasm  what was pushed, there before the catalog names it
//! server/catalog/T-N          the N-th copy of the catalog that was made in that term
//! ```
//!
//! A copy of the catalog follows a change within a moment; the change itself does not wait for it. Each start has a term of its own, and who finds a
//! later one than its own has been replaced, and ends.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::Connection;

use super::Service;
use super::catalog::pipeline::{self, PipelineVersion};
use super::catalog::tenant::{self, Tenant};
use super::catalog::{audit, rejected};
use super::folder::DataFolder;
use super::refusal::Refusal;
use crate::checkpoint::storage::{Bucket, Location, Storage};
use crate::error::Failure;
use crate::ids::{Digest, PipelineName};
use crate::thread;

/// How often it is looked whether something has changed: a look into the catalog.
const EVERY: Duration = Duration::from_millis(500);
/// How often it is looked whether the server has been replaced: a request.
const REPLACED: Duration = Duration::from_secs(5);
/// After so long there is a copy without a change, for what is no change: the account of what tenants use.
const AT_LEAST: Duration = Duration::from_secs(300);
/// Copies that stay: one, and the one before it.
const COPIES: usize = 2;

/// The bucket, for as long as the term lasts.
#[derive(Debug)]
pub struct Backup {
    storage: Arc<dyn Storage>,
    bucket: Bucket,
    term: u64,
    /// Every change until then is in the bucket.
    whole: Mutex<Option<Timestamp>>,
}

impl Backup {
    /// Begins a term. A data folder that has a catalog begins one only if nobody else has begun one since.
    ///
    /// # Errors
    /// When another has, or the bucket cannot be used.
    pub fn open(bucket: &Bucket, folder: &DataFolder) -> Result<Self, Failure> {
        let storage = Location::Bucket(bucket.clone()).open()?;
        let failed = |error: io::Error| unusable(bucket, &error);
        let terms = terms(&*storage).map_err(failed)?;
        let term = terms.last().map_or(1, |last| last + 1);
        let mine = folder.identity().map_err(failed)?;
        if let Some(last) = terms.last().filter(|_| !folder.is_new()) {
            let by = storage.get(&term_name(*last)).map_err(failed)?;
            if by.as_deref() != Some(mine.as_bytes()) {
                let message =
                    format!("another server has begun to use {bucket} since this one did");
                return Err(Failure::user(message).help("what it has done meanwhile is in the bucket: start with an empty data folder to go on from there"));
            }
        }
        let begun = storage.put_new(&term_name(term), mine.as_bytes());
        begun.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::external(format!("another server begins to use {bucket}"))
            }
            _ => failed(error),
        })?;
        for old in terms {
            storage.delete(&term_name(old)).map_err(failed)?;
        }
        Ok(Self {
            storage,
            bucket: bucket.clone(),
            term,
            whole: Mutex::default(),
        })
    }

    /// Brings a new data folder to what the last copy says, if there is one. What was on the other machine's disk alone is gone: files of tenants, and
    /// rejected rows.
    ///
    /// # Errors
    /// When the bucket cannot be read, or the disk refuses.
    pub fn restore(&self, folder: &DataFolder) -> Result<(), Failure> {
        let failed = |error: io::Error| unusable(&self.bucket, &error);
        let Some(last) = self.copies().map_err(failed)?.pop() else {
            return Ok(());
        };
        let catalog = self.storage.get(&last).map_err(failed)?;
        let catalog = catalog.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        for name in self.storage.list(COMPONENTS).map_err(failed)? {
            let name = format!("{COMPONENTS}/{name}");
            let bytes = self.storage.get(&name).map_err(failed)?;
            let bytes = bytes.unwrap_or_default();
            let digest = Digest::of(&bytes);
            // One that is damaged has no name that anybody asks for.
            folder.components().keep(digest, &bytes).map_err(failed)?;
        }
        folder.take_catalog(&catalog, |catalog| catalog.change(rejected::forget_files))?;
        tracing::warn!(bucket = %self.bucket, copy = last, "this server goes on from what another one had");
        Ok(())
    }

    /// Keeps a component.
    ///
    /// # Errors
    /// When the bucket cannot be written.
    pub fn keep(&self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        self.storage.put(&component_name(digest), bytes)
    }

    /// Removes a component that nobody names any more.
    ///
    /// # Errors
    /// When the bucket cannot be written.
    pub fn remove(&self, digest: Digest) -> io::Result<()> {
        self.storage.delete(&component_name(digest))
    }

    /// Keeps the components of a data folder that are not there.
    ///
    /// # Errors
    /// When the bucket cannot be written.
    pub fn complete(&self, folder: &DataFolder) -> Result<(), Failure> {
        let failed = |error: io::Error| unusable(&self.bucket, &error);
        let there = self.storage.list(COMPONENTS).map_err(failed)?;
        for digest in folder.components().all().map_err(failed)? {
            if !there.contains(&file_name(digest)) {
                let bytes = std::fs::read(folder.component(digest)).map_err(failed)?;
                self.keep(digest, &bytes).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// When it was last sure that the bucket had every change.
    pub fn whole(&self) -> Option<Timestamp> {
        *self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another server has begun a later term.
    fn is_replaced(&self) -> io::Result<bool> {
        let terms = terms(&*self.storage)?;
        Ok(terms.last().is_some_and(|last| *last > self.term))
    }

    fn copy(&self, number: u64, catalog: &[u8]) -> io::Result<()> {
        let name = format!("{COPIES_IN}/{:010}-{number:010}", self.term);
        self.storage.put(&name, catalog)?;
        let copies = self.copies()?;
        let old = copies.len().saturating_sub(COPIES);
        copies[..old]
            .iter()
            .try_for_each(|copy| self.storage.delete(copy))
    }

    /// The last one last.
    fn copies(&self) -> io::Result<Vec<String>> {
        let names = self.storage.list(COPIES_IN)?.into_iter();
        Ok(names.map(|name| format!("{COPIES_IN}/{name}")).collect())
    }
}

const COMPONENTS: &str = "server/components";
const COPIES_IN: &str = "server/catalog";
const TERMS: &str = "server/terms";

fn component_name(digest: Digest) -> String {
    format!("{COMPONENTS}/{}", file_name(digest))
}

fn file_name(digest: Digest) -> String {
    format!("{}.wasm", digest.hex())
}

fn term_name(term: u64) -> String {
    format!("{TERMS}/{term:010}")
}

fn terms(storage: &dyn Storage) -> io::Result<Vec<u64>> {
    let names = storage.list(TERMS)?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

fn unusable(bucket: &Bucket, error: &io::Error) -> Failure {
    Failure::external(format!("{bucket} cannot be used: {error}"))
}

/// Copies the catalog as it changes.
#[derive(Debug, Default)]
pub struct Copies {
    made: u64,
    /// The last line of the audit log that is in a copy.
    line: Option<i64>,
    since: Option<Instant>,
    looked: Option<Instant>,
}

/// Follows the catalog on a thread of its own until the service is gone, or has been `replaced`.
pub(super) fn follow(service: &Arc<Service>, replaced: impl FnOnce(Failure) + Send + 'static) {
    if service.backup.is_none() {
        return;
    }
    let service = Arc::downgrade(service);
    thread::spawn("backup", move || {
        if let Some(failure) = copy_until_replaced(&service) {
            replaced(failure);
        }
    });
}

fn copy_until_replaced(service: &Weak<Service>) -> Option<Failure> {
    loop {
        let service = service.upgrade()?;
        let pause = match service.back_up(false) {
            Ok(true) => EVERY,
            Ok(false) => {
                let bucket = &service.backup.as_ref()?.bucket;
                let message = format!("another server has taken over {bucket}");
                return Some(Failure::external(message).help("this one has ended all it ran"));
            }
            // The refusal has said to the log that it does not work; it is tried again.
            Err(_) => REPLACED,
        };
        drop(service);
        std::thread::sleep(pause);
    }
}

impl Service {
    /// Makes the folders of pipelines' versions that another machine had, at the start.
    pub(super) fn place_missing(&self) -> Result<(), Refusal> {
        if self.backup.is_none() {
            return Ok(());
        }
        for tenant in self.catalog.read(tenant::list)? {
            for pipeline in self.catalog.read(|db| pipeline::list(db, &tenant.name))? {
                let versions =
                    |db: &Connection| pipeline::versions(db, &tenant.name, &pipeline.name);
                for version in self.catalog.read(versions)? {
                    if let Err(refusal) = self.place(&tenant, &pipeline.name, &version) {
                        tracing::error!(tenant = %tenant.name, pipeline = %pipeline.name, version = version.version, "it cannot be made again: {}", refusal.message);
                    }
                }
            }
        }
        Ok(())
    }

    fn place(
        &self,
        tenant: &Tenant,
        name: &PipelineName,
        version: &PipelineVersion,
    ) -> Result<(), Refusal> {
        let place = self.folder.version(&tenant.name, name, version.version);
        if place.exists() {
            return Ok(());
        }
        let staged = self.stage(tenant, name, &version.text, &version.plugins)?;
        staged.sync()?;
        Ok(self.folder.place(staged.folder.path(), &place)?)
    }

    /// Copies the catalog if it has changed, or `now`; false if another server has taken over.
    pub(super) fn back_up(&self, now: bool) -> Result<bool, Refusal> {
        let Some(backup) = &self.backup else {
            return Ok(true);
        };
        let failed = |error: io::Error| Refusal::from(unusable(&backup.bucket, &error));
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due =
            |since: Option<Instant>, after| since.is_none_or(|since| since.elapsed() >= after);
        let moment = Timestamp::now();
        let line = self.catalog.read(audit::last)?;
        let has_changed = line != copies.line || is_due(copies.since, AT_LEAST);
        if has_changed || now || is_due(copies.looked, REPLACED) {
            copies.looked = Some(Instant::now());
            if backup.is_replaced().map_err(failed)? {
                return Ok(false);
            }
        }
        if has_changed || now {
            let staging = self.folder.stage()?;
            let file = staging.path().join("catalog.db");
            self.catalog.copy_to(&file)?;
            let catalog = std::fs::read(&file)?;
            backup.copy(copies.made, &catalog).map_err(failed)?;
            copies.made += 1;
            copies.line = line;
            copies.since = Some(Instant::now());
        }
        *backup.whole.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment);
        Ok(true)
    }
}
