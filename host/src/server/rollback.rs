//! Going back: to an earlier version, with the state that there is or with the state that it had.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Service;
use super::catalog::audit::{self, Change};
use super::catalog::token::Caller;
use super::catalog::{pipeline, trial};
use super::hosted::Staged;
use super::pipelines::expect;
use super::refusal::Refusal;
use crate::checkpoint::Code;
use crate::ids::{Epoch, PipelineName, TenantId};
use crate::jobs::{Phase, Wanted};

/// Which version to go back to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The version.
    pub version: u32,
    /// Whether it may go on from a checkpoint of a version whose sources, steps or sinks were others.
    #[serde(default)]
    pub accept_changes: bool,
    /// Whether the state goes back too, to what it was after the last epoch of that version, and all input since is run again. The pipeline
    /// must be paused or stopped.
    #[serde(default)]
    pub state: bool,
}

impl Service {
    /// Makes a version current that was current before; it is checked again, as what the tenant may have can have changed.
    ///
    /// # Errors
    /// When there is none, or it could not be applied now, or its state is not there any more.
    pub fn rollback(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        name: &PipelineName,
        to: Rollback,
    ) -> Result<(), Refusal> {
        let (tenant, before) = self.before(tenant, name)?;
        let before = before.ok_or_else(|| Refusal::not_found("pipeline", name.as_str()))?;
        let target = self
            .catalog
            .read(|db| pipeline::version(db, &tenant.name, name, to.version))?;
        let staged = self.stage(&tenant, name, &target.text, &target.plugins)?;
        // Nobody starts it until the catalog has the version that the state is of.
        let telling = self.telling.of((&tenant.name, name));
        let set_back = match to.state {
            true => Some(self.set_back(&tenant.name, name, to, &staged)?),
            false => {
                self.suits(&tenant.name, &staged.definition, to.accept_changes)?;
                None
            }
        };
        self.catalog.change(|db| {
            let current = pipeline::get(db, &tenant.name, name)?.version;
            expect(name, Some(before.version), current)?;
            let accept = to.accept_changes;
            pipeline::set_version(db, &tenant.name, name, to.version, accept)?;
            trial::end(db, &tenant.name, name)?;
            let from = before.version.to_string();
            let to = match set_back {
                Some(epoch) => format!("{} with the state after epoch {epoch}", to.version),
                None => to.version.to_string(),
            };
            let line = Change {
                before: Some(&from),
                after: Some(&to),
                ..Change::of(caller, &tenant.name, "pipeline rollback", name.as_str())
            };
            audit::write(db, &line)
        })?;
        drop(telling);
        self.tell(&tenant.name, name)
    }

    /// Sets the state back to what it was after the last epoch of a version, which it gives. Done before the catalog says so: the same
    /// again, after a crash in between, finds it done.
    fn set_back(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        to: Rollback,
        staged: &Staged,
    ) -> Result<Epoch, Refusal> {
        let wanted = self
            .catalog
            .read(|db| pipeline::get(db, tenant, name))?
            .wanted;
        let status = self.jobs.status(tenant, name);
        let is_over =
            status.is_none_or(|status| matches!(status.phase, Phase::Paused | Phase::Stopped));
        if wanted == Wanted::Running || !is_over {
            let message = format!("pipeline `{name}` is not paused");
            let help = "pause it first, and wait until it is: `wasmill pipeline pause`";
            return Err(Refusal::conflict(message).help(help));
        }
        // What the runner reads, to the byte.
        let file = self
            .folder
            .version(tenant, name, to.version)
            .join("pipeline.toml");
        let text = fs::read_to_string(file)?;
        let components = staged.definition.code.components.clone();
        let code = Code::new(Path::new("pipeline.toml"), text, components);
        let records = self.records(tenant, name)?;
        let last = records.last_by(code.digest)?.ok_or_else(|| {
            let message = format!("no epoch of version {} is kept any more", to.version);
            Refusal::conflict(message).help(
                "of `retain` epochs the state is kept; without --state the version goes on with the state that there is",
            )
        })?;
        self.suits_after(tenant, &staged.definition, Some(last), to.accept_changes)?;
        records.set_back(last)?;
        Ok(last)
    }
}
