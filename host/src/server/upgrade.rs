//! Upgrades: another plugin for one step of a pipeline, and all else as it was, its state too.

use serde::{Deserialize, Serialize};

use super::Service;
use super::catalog::pipeline::PipelineVersion;
use super::catalog::plugin::{self, Reference};
use super::catalog::tenant::Tenant;
use super::catalog::token::Caller;
use super::exchange::exchange;
use super::hosted::Staged;
use super::pipelines::{self, Applied, Definition, Difference};
use super::refusal::Refusal;
use crate::ids::{PipelineName, TenantId};

/// Another plugin for a step or sink.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The step or sink.
    pub step: String,
    /// The plugin, as a pipeline file calls it.
    pub plugin: String,
    /// Whether it may ask for more than the one before.
    #[serde(default)]
    pub allow: bool,
    /// Whether the step may forget what it remembers, if the plugin cannot go on with it.
    #[serde(default)]
    pub accept_changes: bool,
    /// The version that it is a change of; another one in between is a conflict.
    #[serde(default)]
    pub from_version: Option<u32>,
    /// If it fails before it has delivered so many epochs, the version before comes back; 0 is never.
    #[serde(default = "three")]
    pub watch_epochs: u32,
}

fn three() -> u32 {
    3
}

impl Service {
    /// Says what an upgrade would change, and changes nothing.
    ///
    /// # Errors
    /// When the pipeline could not be upgraded so.
    pub fn plan_upgrade(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        upgrade: &Upgrade,
    ) -> Result<Difference, Refusal> {
        let planned = self.upgraded(tenant, name, upgrade)?;
        let (definition, staged) = (planned.definition, planned.staged);
        self.suits(tenant, &staged.definition, definition.accept_changes)?;
        Ok(pipelines::compare(
            Some(&planned.before),
            &definition,
            staged,
        ))
    }

    /// Makes the pipeline with the other plugin its current version, on trial. Nothing stops unless it can run and go on with the state
    /// that there is.
    ///
    /// # Errors
    /// When it cannot, or asks for what the tenant may not have.
    pub fn upgrade(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        name: &PipelineName,
        upgrade: &Upgrade,
    ) -> Result<Applied, Refusal> {
        let Upgraded {
            tenant,
            definition,
            staged,
            ..
        } = self.upgraded(tenant, name, upgrade)?;
        let watch = Some(upgrade.watch_epochs);
        self.adopt(caller, &tenant, name, &definition, staged, watch)
    }

    /// The pipeline with the other plugin, checked.
    pub(super) fn upgraded(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        upgrade: &Upgrade,
    ) -> Result<Upgraded, Refusal> {
        let (tenant, before) = self.before(tenant, name)?;
        let before = before.ok_or_else(|| Refusal::not_found("pipeline", name.as_str()))?;
        let reference = Reference::parse(&upgrade.plugin)?;
        let plugin = self
            .catalog
            .read(|db| plugin::find(db, &tenant.name, &reference))?;
        let definition = Definition {
            text: exchange(&before.text, &upgrade.step, &plugin)?,
            workers: before.workers,
            accept_changes: upgrade.accept_changes,
            allow: upgrade.allow,
            from_version: Some(upgrade.from_version.unwrap_or(before.version)),
        };
        // Its other plugins stay what they are, whatever was pushed since.
        let staged = self.stage(&tenant, name, &definition.text, &before.plugins)?;
        Ok(Upgraded {
            tenant,
            before,
            definition,
            staged,
        })
    }
}

/// A pipeline with another plugin.
pub(super) struct Upgraded {
    tenant: Tenant,
    before: PipelineVersion,
    definition: Definition,
    /// What would run.
    pub(super) staged: Staged,
}
