//! Versions on trial: those that an upgrade made, until they have committed some epochs or have failed before.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{milliseconds, moment};
use crate::ids::{PipelineName, TenantId};
use crate::jobs::{JobStatus, Phase};
use crate::server::refusal::Refusal;

/// A version on trial, or one that has failed on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Trial {
    /// The version.
    pub version: u32,
    /// The one that comes back if it fails.
    pub before: u32,
    /// It must deliver so many epochs without a failure.
    pub epochs: u32,
    /// What became of it; nothing while it lasts. One that went well is not remembered.
    pub failed: Option<Failed>,
}

/// How a trial went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failed {
    /// When.
    #[schema(value_type = String)]
    pub time: Timestamp,
    /// What ended the run.
    pub failure: String,
    /// Why the version before could not come back; nothing if it did.
    pub stays: Option<String>,
}

/// What a job's status says about the trial of its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Lasts,
    /// The version is good.
    Passed,
    /// It is not.
    Failed(String),
}

impl Trial {
    /// Whether it has failed, and the version before is back.
    pub fn comes_back(&self) -> bool {
        let failed = self.failed.as_ref();
        failed.is_some_and(|failed| failed.stays.is_none())
    }

    /// What a status says. A failure after enough epochs is one like any other.
    pub fn verdict(&self, status: &JobStatus) -> Verdict {
        let is_enough = status.figures.delivered >= u64::from(self.epochs);
        match status.phase {
            _ if self.failed.is_some() || status.version != self.version => Verdict::Lasts,
            _ if is_enough => Verdict::Passed,
            Phase::Finished => Verdict::Passed,
            Phase::Waiting { .. } | Phase::Failed => {
                Verdict::Failed(status.failure.clone().unwrap_or_default())
            }
            _ => Verdict::Lasts,
        }
    }
}

fn trial(row: &Row<'_>) -> rusqlite::Result<Trial> {
    let failure: Option<String> = row.get("failure")?;
    let failed = failure.map(|failure| {
        Ok::<_, rusqlite::Error>(Failed {
            time: moment(row.get("ended")?)?,
            failure,
            stays: row.get("stays")?,
        })
    });
    Ok(Trial {
        version: row.get("version")?,
        before: row.get("before")?,
        epochs: row.get("epochs")?,
        failed: failed.transpose()?,
    })
}

/// That of a pipeline's current version, or of the one that it has come back from.
///
/// # Errors
/// When the catalog cannot be read.
pub fn find(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
) -> Result<Option<Trial>, Refusal> {
    let mut query = db.prepare_cached("SELECT * FROM trial WHERE tenant = ? AND pipeline = ?")?;
    let found = query.query_row([tenant.as_str(), name.as_str()], trial);
    Ok(found.optional()?)
}

/// Begins one, or notes how it went wrong.
///
/// # Errors
/// When the catalog cannot be written.
pub fn set(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    trial: &Trial,
) -> Result<(), Refusal> {
    let failed = trial.failed.as_ref();
    db.execute(
        "INSERT OR REPLACE INTO trial VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            tenant.as_str(),
            name.as_str(),
            trial.version,
            trial.before,
            trial.epochs,
            failed.map(|failed| milliseconds(failed.time)),
            failed.map(|failed| &failed.failure),
            failed.and_then(|failed| failed.stays.as_deref()),
        ],
    )?;
    Ok(())
}

/// Ends and forgets it.
///
/// # Errors
/// When the catalog cannot be written.
pub fn end(db: &Connection, tenant: &TenantId, name: &PipelineName) -> Result<(), Refusal> {
    let query = "DELETE FROM trial WHERE tenant = ? AND pipeline = ?";
    db.execute(query, [tenant.as_str(), name.as_str()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Figures;

    fn status(phase: Phase, version: u32, delivered: u64) -> JobStatus {
        JobStatus {
            phase,
            version,
            restarts: 0,
            since: Timestamp::UNIX_EPOCH,
            failure: Some("it broke".into()),
            figures: Figures {
                delivered,
                ..Figures::default()
            },
        }
    }

    #[test]
    fn a_version_passes_with_its_epochs_and_fails_with_its_first_failure_before() {
        let trial = Trial {
            version: 2,
            before: 1,
            epochs: 3,
            failed: None,
        };
        let waiting = Phase::Waiting {
            until: Timestamp::UNIX_EPOCH,
        };
        let broke = || Verdict::Failed("it broke".into());
        for (phase, version, delivered, verdict) in [
            (Phase::Starting, 2, 0, Verdict::Lasts),
            (Phase::Running, 2, 2, Verdict::Lasts),
            (Phase::Paused, 2, 2, Verdict::Lasts),
            (Phase::Running, 2, 3, Verdict::Passed),
            (Phase::Finished, 2, 1, Verdict::Passed),
            (waiting, 2, 2, broke()),
            (Phase::Failed, 2, 0, broke()),
            (waiting, 2, 3, Verdict::Passed),
            // The version before, whose end is still being waited for.
            (waiting, 1, 0, Verdict::Lasts),
            (Phase::Running, 1, 9, Verdict::Lasts),
        ] {
            let status = status(phase, version, delivered);
            assert_eq!(trial.verdict(&status), verdict, "{status:?}");
        }
    }
}
