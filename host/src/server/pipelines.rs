//! Applying, pausing and going back: what changes a pipeline changes the catalog, and then tells the jobs what it says.

use std::{fs, io};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Service;
use super::catalog::audit::{self, Change};
use super::catalog::pipeline::{self, Pipeline, PipelineVersion, word};
use super::catalog::tenant::{self, Tenant};
use super::catalog::token::Caller;
use super::catalog::trial::{self, Trial};
use super::difference;
use super::hosted::Staged;
use super::refusal::{Diagnostic, Refusal};
use super::trials;
use crate::checkpoint::{self, CheckpointConfig, Records};
use crate::error::Failure;
use crate::ids::{Epoch, PipelineName, TenantId};
use crate::jobs::{JobStatus, Phase, Wanted};

/// A definition as a client sends it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The pipeline file.
    pub text: String,
    /// Worker threads.
    #[serde(default = "one")]
    pub workers: u32,
    /// Whether it may go on from a checkpoint of a version whose sources, steps or sinks were others.
    #[serde(default)]
    pub accept_changes: bool,
    /// Whether its plugins may ask for more than those of the version before.
    #[serde(default)]
    pub allow: bool,
    /// The version that it is a change of, 0 for none; another one in between is a conflict.
    #[serde(default)]
    pub from_version: Option<u32>,
}

fn one() -> u32 {
    1
}

/// What an apply would change.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Difference {
    /// The version that is current; 0 if the pipeline is new.
    pub from_version: u32,
    /// A line for each change; none if nothing changes.
    pub changes: Vec<String>,
    /// A line for each capability that it asks for and did not before; then it needs `allow`.
    pub more_capabilities: Vec<String>,
    /// The difference of the pipeline files.
    pub diff: String,
    /// The checked plan, node by node.
    pub plan: String,
    /// What is probably not as it is meant.
    pub warnings: Vec<Diagnostic>,
}

/// What an apply has done.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Applied {
    /// The version that is current now.
    pub version: u32,
    /// Whether it is a new one; an apply that changes nothing makes none.
    pub changed: bool,
    /// What changed.
    pub changes: Vec<String>,
    /// What is probably not as it is meant.
    pub warnings: Vec<Diagnostic>,
}

/// A pipeline with how it stands.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PipelineView {
    /// What the catalog says.
    #[serde(flatten)]
    pub pipeline: Pipeline,
    /// What it does; nothing if it was never to run since the server started.
    #[schema(value_type = Option<Object>)]
    pub status: Option<JobStatus>,
    /// The trial of its version, or of the one that has failed on it.
    pub trial: Option<Trial>,
}

impl Service {
    /// Says what an apply would change, and changes nothing.
    ///
    /// # Errors
    /// When the pipeline could not be applied.
    pub fn plan(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        definition: &Definition,
    ) -> Result<Difference, Refusal> {
        let (tenant, before) = self.before(tenant, name)?;
        allow_workers(&tenant, definition)?;
        let staged = self.stage(&tenant, name, &definition.text, &[])?;
        self.suits(&tenant.name, &staged.definition, definition.accept_changes)?;
        Ok(compare(before.as_ref(), definition, staged))
    }

    /// Makes a definition the current one. A pipeline that is new starts; one that runs stops at a committed epoch and goes on as the new one.
    ///
    /// # Errors
    /// When it cannot run, or asks for what the tenant may not have.
    pub fn apply(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        name: &PipelineName,
        definition: &Definition,
    ) -> Result<Applied, Refusal> {
        let (tenant, _) = self.before(tenant, name)?;
        allow_workers(&tenant, definition)?;
        let staged = self.stage(&tenant, name, &definition.text, &[])?;
        self.adopt(caller, &tenant, name, definition, staged, None)
    }

    /// Makes what was staged the current version if it is another than that. With `watch` it is on trial for so many epochs.
    pub(super) fn adopt(
        &self,
        caller: &Caller,
        tenant: &Tenant,
        name: &PipelineName,
        definition: &Definition,
        staged: Staged,
        watch: Option<u32>,
    ) -> Result<Applied, Refusal> {
        self.suits(&tenant.name, &staged.definition, definition.accept_changes)?;
        staged.sync()?;
        let (applied, gone) = self.catalog.change(|db| {
            let mut gone = Vec::new();
            // It may have gone while this was checked.
            let tenant = &tenant::get(db, &tenant.name)?;
            let before = current(db, &tenant.name, name)?;
            let number = before.as_ref().map_or(0, |version| version.version);
            expect(name, definition.from_version, number)?;
            if before.is_none() {
                allow_one_more(db, tenant)?;
            }
            let mut after = version(0, definition, &staged, &caller.who);
            let changes = difference::changes(before.as_ref(), &after);
            after.version = number;
            if !changes.is_empty() {
                let more = difference::more_capabilities(before.as_ref(), &after);
                allow_capabilities(definition, &more)?;
                after.version = pipeline::next(db, &tenant.name, name)?;
                let place = self.folder.version(&tenant.name, name, after.version);
                self.folder.place(staged.folder.path(), &place)?;
                gone = pipeline::forget_oldest(db, &tenant.name, name, self.keep_versions - 1)?;
                pipeline::add(db, &tenant.name, name, &after, definition.accept_changes)?;
                trials::begin(db, &tenant.name, name, (number, after.version), watch)?;
                let (from, to) = (number.to_string(), after.version.to_string());
                let action = match watch {
                    Some(_) => "pipeline upgrade",
                    None => "pipeline apply",
                };
                let line = Change {
                    before: before.is_some().then_some(from.as_str()),
                    after: Some(&to),
                    ..Change::of(caller, &tenant.name, action, name.as_str())
                };
                audit::write(db, &line)?;
            }
            let applied = Applied {
                version: after.version,
                changed: !changes.is_empty(),
                changes,
                warnings: staged.warnings.clone(),
            };
            Ok((applied, gone))
        })?;
        for version in gone {
            // What stays goes at the next start.
            fs::remove_dir_all(self.folder.version(&tenant.name, name, version)).ok();
        }
        self.tell(&tenant.name, name)?;
        Ok(applied)
    }

    /// Removes folders of versions that are not in the catalog: a crash has cut short that they come or go.
    pub(super) fn sweep_versions(&self) -> Result<(), Refusal> {
        // A change, so that none comes meanwhile.
        self.catalog.change(|db| {
            for Tenant { name: tenant, .. } in tenant::list(db)? {
                for Pipeline { name, .. } in pipeline::list(db, &tenant)? {
                    let kept = pipeline::numbers(db, &tenant, &name)?;
                    let mut found = self.folder.versions(&tenant, &name)?;
                    found.retain(|version| !kept.contains(version));
                    for version in found {
                        fs::remove_dir_all(self.folder.version(&tenant, &name, version))?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Says what is wanted of a pipeline. One that has failed for good is tried again when it is wanted to run.
    ///
    /// # Errors
    /// When there is none.
    pub fn want(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        name: &PipelineName,
        wanted: Wanted,
    ) -> Result<(), Refusal> {
        self.catalog.change(|db| {
            let before = pipeline::get(db, tenant, name)?;
            pipeline::set_wanted(db, tenant, name, wanted)?;
            let action = match wanted {
                Wanted::Running => "pipeline resume",
                Wanted::Paused => "pipeline pause",
                Wanted::Stopped => "pipeline stop",
            };
            let line = Change {
                before: Some(word(before.wanted)),
                after: Some(word(wanted)),
                ..Change::of(caller, tenant, action, name.as_str())
            };
            audit::write(db, &line)
        })?;
        let status = self.jobs.status(tenant, name);
        if wanted == Wanted::Running && status.is_some_and(|status| status.phase == Phase::Failed) {
            self.tell_as(tenant, name, Some(Wanted::Paused))?;
        }
        self.tell(tenant, name)
    }

    /// Removes a stopped pipeline with its versions and all that it remembers.
    ///
    /// # Errors
    /// When there is none, or it is not stopped.
    pub fn remove_pipeline(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        name: &PipelineName,
    ) -> Result<(), Refusal> {
        let telling = self.telling.of((tenant, name));
        let status = self.jobs.status(tenant, name);
        let is_over = status.is_none_or(|status| {
            matches!(
                status.phase,
                Phase::Stopped | Phase::Failed | Phase::Finished
            )
        });
        let runs = || {
            let message = format!("pipeline `{name}` is not stopped");
            let help = "stop it first, and wait until it has delivered what it had read: `wasmill pipeline stop`";
            Refusal::conflict(message).help(help)
        };
        // A bucket has nothing that could be put aside: it is emptied first. Who is killed meanwhile finds a stopped pipeline.
        let wanted = self
            .catalog
            .read(|db| pipeline::get(db, tenant, name))?
            .wanted;
        if wanted == Wanted::Stopped && is_over {
            self.folder.empty_bucket(tenant, name)?;
        }
        // While the catalog still says what plugins it was made of.
        self.keep_usage();
        let gone = self.without_rejected(tenant, name, || {
            let gone = self.catalog.change(|db| {
                let before = pipeline::get(db, tenant, name)?;
                if before.wanted != Wanted::Stopped || !is_over {
                    return Err(runs());
                }
                pipeline::remove(db, tenant, name)?;
                let from = before.version.to_string();
                let line = Change {
                    before: Some(&from),
                    ..Change::of(caller, tenant, "pipeline rm", name.as_str())
                };
                audit::write(db, &line)?;
                // In the same transaction, so that no new pipeline of the name meets what this one remembers. Who is killed behind it finds a stopped
                // pipeline, which can be removed again.
                let taken = self.folder.take_pipeline(tenant, name);
                taken.map_err(|error| match error.kind() {
                    io::ErrorKind::WouldBlock => runs(),
                    _ => error.into(),
                })
            })?;
            self.jobs.remove(tenant, name);
            self.history.forget(tenant, name);
            Ok(gone)
        })?;
        drop(telling);
        // Deleting it can take long, and no other pipeline waits for that.
        Ok(gone.close()?)
    }

    /// A pipeline with how it stands.
    ///
    /// # Errors
    /// When there is none.
    pub fn view(&self, tenant: &TenantId, name: &PipelineName) -> Result<PipelineView, Refusal> {
        let (pipeline, trial) = self.catalog.read(|db| {
            let pipeline = pipeline::get(db, tenant, name)?;
            Ok((pipeline, trial::find(db, tenant, name)?))
        })?;
        Ok(PipelineView {
            status: self.jobs.status(tenant, name),
            pipeline,
            trial,
        })
    }

    /// All of a tenant's.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn views(&self, tenant: &TenantId) -> Result<Vec<PipelineView>, Refusal> {
        let pipelines = self.catalog.read(|db| pipeline::list(db, tenant))?;
        let views = pipelines.into_iter();
        views
            .map(|pipeline| self.view(tenant, &pipeline.name))
            .collect()
    }

    /// Whether a plan could go on from what its pipeline remembers; asked before anything stops for it.
    pub(super) fn suits(
        &self,
        tenant: &TenantId,
        plan: &checkpoint::Definition,
        accept_changes: bool,
    ) -> Result<(), Refusal> {
        self.suits_after(tenant, plan, None, accept_changes)
    }

    /// The same of what it remembered after the commit of an epoch.
    pub(super) fn suits_after(
        &self,
        tenant: &TenantId,
        plan: &checkpoint::Definition,
        epoch: Option<Epoch>,
        accept_changes: bool,
    ) -> Result<(), Refusal> {
        let records = self.records(tenant, &plan.record.name)?;
        let suited = records.suit(plan, epoch, accept_changes);
        suited.map_err(|failure| match &failure.place.node {
            Some(node) => {
                let message = format!("`{node}`: {}", failure.message);
                Refusal::from(Failure { message, ..failure })
            }
            None => Refusal::from(failure),
        })
    }

    /// What a pipeline remembers; nothing may be there yet.
    pub(super) fn records(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
    ) -> Result<Records, Failure> {
        CheckpointConfig::moved_to(None, self.folder.checkpoint(tenant, name)).records()
    }

    pub(super) fn before(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
    ) -> Result<(Tenant, Option<PipelineVersion>), Refusal> {
        self.catalog
            .read(|db| Ok((tenant::get(db, tenant)?, current(db, tenant, name)?)))
    }
}

/// What a definition would change.
pub(super) fn compare(
    old: Option<&PipelineVersion>,
    definition: &Definition,
    staged: Staged,
) -> Difference {
    let after = version(0, definition, &staged, "");
    Difference {
        from_version: old.map_or(0, |version| version.version),
        changes: difference::changes(old, &after),
        more_capabilities: difference::more_capabilities(old, &after),
        diff: difference::of_texts(old.map_or("", |version| &version.text), &after.text),
        plan: staged.shown,
        warnings: staged.warnings,
    }
}

fn current(
    db: &rusqlite::Connection,
    tenant: &TenantId,
    name: &PipelineName,
) -> Result<Option<PipelineVersion>, Refusal> {
    match pipeline::find(db, tenant, name)? {
        Some(found) => pipeline::version(db, tenant, name, found.version).map(Some),
        None => Ok(None),
    }
}

fn version(number: u32, definition: &Definition, staged: &Staged, who: &str) -> PipelineVersion {
    PipelineVersion {
        version: number,
        workers: definition.workers,
        applied_by: who.to_owned(),
        applied: Timestamp::now(),
        plugins: staged.plugins.clone(),
        text: definition.text.clone(),
    }
}

/// That nobody has changed it since the caller looked.
pub(super) fn expect(
    name: &PipelineName,
    expected: Option<u32>,
    found: u32,
) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != found => {
            let message = format!("pipeline `{name}` is at version {found}, and not at {expected}");
            Err(Refusal::conflict(message).help("someone has changed it meanwhile: plan it again"))
        }
        _ => Ok(()),
    }
}

fn allow_workers(tenant: &Tenant, definition: &Definition) -> Result<(), Refusal> {
    let most = tenant.policy.max_workers;
    if (1..=most).contains(&definition.workers) {
        return Ok(());
    }
    let message = format!(
        "a pipeline of this tenant has 1 to {most} workers, and not {}",
        definition.workers
    );
    Err(Refusal::invalid(message).help("`max_workers` of the tenant's policy says so"))
}

fn allow_one_more(db: &rusqlite::Connection, tenant: &Tenant) -> Result<(), Refusal> {
    let most = tenant.policy.max_pipelines as usize;
    if pipeline::list(db, &tenant.name)?.len() < most {
        return Ok(());
    }
    let message = format!("the tenant has {most} pipelines, and may have no more");
    Err(Refusal::conflict(message)
        .help("remove one, or ask who runs the server for a larger `max_pipelines`"))
}

fn allow_capabilities(definition: &Definition, more: &[String]) -> Result<(), Refusal> {
    if definition.allow || more.is_empty() {
        return Ok(());
    }
    let message = format!(
        "it asks for more than the version before: {}",
        more.join("; ")
    );
    Err(Refusal::conflict(message)
        .help("apply it with `--allow` (`\"allow\": true`) if that is meant"))
}
