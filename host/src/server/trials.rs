//! Watches versions that are on trial, and has the version before come back when one fails.

use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;

use super::Service;
use super::catalog::audit::{self, Change};
use super::catalog::trial::{self, Failed, Trial, Verdict};
use super::catalog::{pipeline, tenant};
use super::refusal::Refusal;
use crate::ids::{PipelineName, TenantId};
use crate::jobs::{JobStatus, News, follow};
use crate::thread;

/// Notes that a version has come after another, on trial for so many epochs if it is to be watched.
pub(super) fn begin(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    (before, version): (u32, u32),
    watch: Option<u32>,
) -> Result<(), Refusal> {
    let Some(epochs) = watch.filter(|epochs| *epochs > 0) else {
        return trial::end(db, tenant, name);
    };
    // One that is on trial itself has not shown that it is good.
    let last = trial::find(db, tenant, name)?;
    let last = last.filter(|last| last.version == before && last.failed.is_none());
    let trial = Trial {
        version,
        before: last.map_or(before, |last| last.before),
        epochs,
        failed: None,
    };
    trial::set(db, tenant, name, &trial)
}

/// Watches on a thread of its own until the service is gone.
pub(super) fn watch(service: &Arc<Service>) {
    let (events, service) = (service.jobs.subscribe(), Arc::downgrade(service));
    thread::spawn("trials", move || {
        follow(events, |news| {
            let Some(service) = service.upgrade() else {
                return ControlFlow::Break(());
            };
            match news {
                News::Status(tenant, pipeline, status) => {
                    service.judge(&tenant, &pipeline, &status);
                }
                // What was missed has left its mark.
                News::Missed => {
                    for (tenant, pipeline, status) in service.jobs.list(None) {
                        service.judge(&tenant, &pipeline, &status);
                    }
                }
            }
            ControlFlow::Continue(())
        });
    });
}

impl Service {
    fn judge(&self, tenant: &TenantId, name: &PipelineName, status: &JobStatus) {
        let judged = self.catalog.read(|db| trial::find(db, tenant, name));
        let judged = judged.and_then(|trial| {
            let Some(trial) = trial else {
                return Ok(());
            };
            match trial.verdict(status) {
                Verdict::Lasts => Ok(()),
                Verdict::Passed => {
                    self.catalog
                        .change(|db| match is_still(db, tenant, name, &trial)? {
                            true => trial::end(db, tenant, name),
                            false => Ok(()),
                        })
                }
                Verdict::Failed(failure) => self.fall_back(tenant, name, &trial, failure),
            }
        });
        if let Err(refusal) = judged {
            tracing::error!(%tenant, pipeline = %name, "a trial cannot be judged: {refusal}");
        }
    }

    /// Has the version before come back, unless it could not go on from here.
    fn fall_back(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        trial: &Trial,
        failure: String,
    ) -> Result<(), Refusal> {
        let stays = self.could_run(tenant, name, trial.before).err();
        let failed = Trial {
            failed: Some(Failed {
                time: Timestamp::now(),
                failure,
                stays: stays.map(|refusal| refusal.message),
            }),
            ..trial.clone()
        };
        self.catalog.change(|db| {
            if !is_still(db, tenant, name, trial)? {
                return Ok(());
            }
            trial::set(db, tenant, name, &failed)?;
            if failed.comes_back() {
                pipeline::set_version(db, tenant, name, trial.before, false)?;
                let (from, to) = (trial.version.to_string(), trial.before.to_string());
                audit::write(
                    db,
                    &Change {
                        who: "the server",
                        tenant: Some(tenant),
                        action: "pipeline fall back",
                        subject: name.as_str(),
                        before: Some(&from),
                        after: Some(&to),
                    },
                )?;
            }
            Ok(())
        })?;
        self.tell(tenant, name)
    }

    /// Whether a version could go on from what its pipeline remembers now.
    fn could_run(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        version: u32,
    ) -> Result<(), Refusal> {
        let (tenant, version) = self.catalog.read(|db| {
            let version = pipeline::version(db, tenant, name, version)?;
            Ok((tenant::get(db, tenant)?, version))
        })?;
        let staged = self.stage(&tenant, name, &version.text, &version.plugins)?;
        self.suits(&tenant.name, &staged.definition, false)
    }
}

/// Whether nobody has changed anything since the trial was looked at.
fn is_still(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    trial: &Trial,
) -> Result<bool, Refusal> {
    let current = pipeline::find(db, tenant, name)?;
    let is_current = current.is_some_and(|current| current.version == trial.version);
    Ok(is_current && trial::find(db, tenant, name)?.as_ref() == Some(trial))
}
