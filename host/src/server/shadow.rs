//! Shadows of an upgrade: an epoch that the pipeline has committed is run again with the other plugin, beside what it was, and nothing of it
//! reaches a sink or the state.
//!
//! A process of its own does it, within bounds, and only reads the checkpoint: user code never runs in the server.

use std::ops::Bound;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Service;
use super::catalog::pipeline;
use super::refusal::Refusal;
use super::upgrade::Upgrade;
use crate::checkpoint::storage::Location;
use crate::ids::{Epoch, PipelineName, TenantId};
use crate::jobs::{Phase, Wanted};
use crate::secret::Secrets;

/// Which epoch to run again with an upgrade.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The upgrade.
    pub upgrade: Upgrade,
    /// The first epoch of this number or a later one that is committed; without it none, to learn which is the next.
    #[serde(default)]
    pub from: Option<u64>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Shadowed {
    /// Where to go on.
    pub next: u64,
    /// The epoch, if there is one already.
    pub compared: Option<Compared>,
}

/// An epoch as it was and with an upgrade.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Compared {
    /// Which.
    pub epoch: u64,
    /// Whether anything differs: what sinks are given, what steps remember, what is dropped. So does a version that fails.
    pub differs: bool,
    /// What `wasmill replay` says.
    pub report: String,
}

/// What a process is asked to run. Its checkpoint is only read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Beside {
    /// The pipeline's records.
    pub checkpoint: Location,
    /// Which epoch.
    pub epoch: Epoch,
    /// The file with the upgrade.
    pub pipeline: PathBuf,
    /// As for an upgrade.
    pub accept_changes: bool,
    /// The tenant's, which its plugins' settings may name.
    pub secrets: Secrets,
}

/// What variables begin with that say how a bucket is reached.
const BUCKETS: &str = "AWS_";

impl Service {
    /// Runs an epoch again with an upgrade, once it is committed.
    ///
    /// # Errors
    /// When the pipeline could not be upgraded so, or the epoch is not kept any more.
    pub fn shadow(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        shadow: &Shadow,
    ) -> Result<Shadowed, Refusal> {
        let wanted = self.catalog.read(|db| pipeline::get(db, tenant, name))?;
        let phase = self.jobs.status(tenant, name).map(|status| status.phase);
        let ends = matches!(
            phase,
            Some(Phase::Failed | Phase::Finished | Phase::Waiting { .. })
        );
        if wanted.wanted != Wanted::Running || ends {
            let message = format!("pipeline `{name}` does not run, so it commits no epochs");
            return Err(Refusal::conflict(message)
                .help("upgrade without --shadow; `wasmill replay` shows an epoch again"));
        }
        let records = self.records(tenant, name)?;
        let last = records.committed()?.last().copied();
        let Some(from) = shadow.from else {
            let staged = self.upgraded(tenant, name, &shadow.upgrade)?.staged;
            self.suits(tenant, &staged.definition, shadow.upgrade.accept_changes)?;
            let next = last.map_or(0, |last| last.0 + 1);
            return Ok(Shadowed {
                next,
                compared: None,
            });
        };
        let planned = records.planned()?;
        let later = (Bound::Included(Epoch(from)), Bound::Unbounded);
        let next = planned.range(later).next().copied();
        let Some(epoch) = next.filter(|epoch| Some(*epoch) <= last) else {
            return Ok(Shadowed {
                next: from,
                compared: None,
            });
        };
        let staged = self.upgraded(tenant, name, &shadow.upgrade)?.staged;
        let beside = Beside {
            checkpoint: self.folder.checkpoint(tenant, name),
            epoch,
            pipeline: staged.folder.path().join("pipeline.toml"),
            accept_changes: shadow.upgrade.accept_changes,
            secrets: self.secrets(tenant)?,
        };
        let cache = self.folder.cache();
        let arguments = ["shadow".as_ref(), "--cache".as_ref(), cache.as_os_str()];
        Ok(Shadowed {
            next: epoch.0 + 1,
            compared: Some(
                self.program
                    .ask_knowing(BUCKETS, "run", &arguments, &beside)?,
            ),
        })
    }
}
