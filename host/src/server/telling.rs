//! Tells the jobs what the catalog says of tenants and pipelines. What is said of one is said by one at a time, so that the last that is said is
//! the last that the catalog has.

use std::array;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Service;
use super::catalog::pipeline;
use super::catalog::tenant::{self, Tenant};
use super::refusal::Refusal;
use crate::ids::{PipelineName, TenantId};
use crate::jobs::{Desired, Terms, Wanted};

/// Enough that one pipeline seldom waits for another, whose state may just be copied.
const LOCKS: usize = 64;

/// The locks: of things that share one, one waits for the other.
#[derive(Debug)]
pub struct Telling([Mutex<()>; LOCKS]);

impl Default for Telling {
    fn default() -> Self {
        Self(array::from_fn(|_| Mutex::default()))
    }
}

impl Telling {
    /// Waits until nobody else says anything of it.
    pub fn of(&self, what: impl Hash) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(what);
        let lock = &self.0[(hash % LOCKS as u64) as usize];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// Tells the jobs of every pipeline, at the start.
    pub(super) fn tell_all(&self) -> Result<(), Refusal> {
        for tenant in self.catalog.read(tenant::list)? {
            self.tell_terms(&tenant.name)?;
            for pipeline in self.catalog.read(|db| pipeline::list(db, &tenant.name))? {
                self.tell(&tenant.name, &pipeline.name)?;
            }
        }
        Ok(())
    }

    /// Tells the jobs on what terms a tenant's pipelines are run; gives the tenant.
    pub(super) fn tell_terms(&self, name: &TenantId) -> Result<Tenant, Refusal> {
        let _telling = self.telling.of(name);
        let tenant = self.catalog.read(|db| tenant::get(db, name))?;
        let terms = Terms {
            quotas: tenant.policy.quotas(),
            private_hosts: tenant.policy.allow_private.clone(),
            secrets: self.secrets(name)?,
            folders: self.folder.shown_without(name),
        };
        self.jobs.set_terms(name, terms);
        Ok(tenant)
    }

    /// Tells the jobs what the catalog says of a pipeline.
    pub(super) fn tell(&self, tenant: &TenantId, name: &PipelineName) -> Result<(), Refusal> {
        self.tell_as(tenant, name, None)
    }

    /// The same, with a state of its own. Each says what the catalog says by then: the last word is the catalog's, whoever else changes it meanwhile.
    pub(super) fn tell_as(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        state: Option<Wanted>,
    ) -> Result<(), Refusal> {
        let _telling = self.telling.of((tenant, name));
        let known = self.catalog.read(|db| {
            let Some(pipeline) = pipeline::find(db, tenant, name)? else {
                return Ok(None);
            };
            let version = pipeline::version(db, tenant, name, pipeline.version)?;
            Ok(Some((pipeline, version.workers)))
        })?;
        let Some((pipeline, workers)) = known else {
            return Ok(());
        };
        let version = self.folder.version(tenant, name, pipeline.version);
        self.jobs.set(Desired {
            tenant: tenant.clone(),
            pipeline: name.clone(),
            version: pipeline.version,
            file: version.join("pipeline.toml"),
            checkpoint: self.folder.checkpoint(tenant, name),
            workers: workers as usize,
            state: state.unwrap_or(pipeline.wanted),
            accept_changes: pipeline.accept_changes,
        });
        Ok(())
    }
}
