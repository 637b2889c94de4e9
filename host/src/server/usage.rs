//! Keeps the account of what tenants use: every few seconds what the jobs have added up goes into the catalog.
//!
//! A server that is killed loses what was used since it was last written. What cannot be written stays until it can.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use super::Service;
use super::catalog::usage::{self, By, Part, Total};
use super::catalog::{audit, plugin, tenant};
use super::refusal::Refusal;
use crate::ids::TenantId;
use crate::jobs::{Quotas, Spent, Usage};
use crate::thread;

/// Between two writes: an fsync that nobody waits for.
const EVERY: Duration = Duration::from_secs(5);
/// Days that an account and the audit log are kept: a year and the month in which somebody asks about it.
const DAYS: i64 = 400;

/// What was used and is not written yet.
#[derive(Debug, Default)]
pub struct Unwritten {
    spent: Spent,
    /// The day on which it was last looked what is too old.
    swept: Option<Date>,
}

/// What a tenant uses and has used.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TenantUsage {
    /// What its runners have used since the server started, and use now.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub now: Usage,
    /// Bytes of its plugins' components.
    pub plugin_bytes: u64,
    /// What these may be.
    pub max_plugin_bytes: u64,
    /// Bytes that the steps of its pipelines remember.
    pub state_bytes: u64,
    /// Milliseconds in which its pipelines had more to read than its rows per second let in, all together, in their present runs.
    pub held_ms: u64,
    /// Log lines of the present runs that were dropped.
    pub log_lines_dropped: u64,
    /// What all of them may use together.
    #[schema(value_type = Object)]
    pub quotas: Quotas,
    /// What its runners have used since the day that was asked for, or as long as it is kept.
    pub total: Total,
    /// What that was used for.
    pub parts: Vec<Part>,
}

/// Writes what is used on a thread of its own until the service is gone.
pub(super) fn keep(service: &Arc<Service>) {
    let service = Arc::downgrade(service);
    thread::spawn("usage", move || {
        loop {
            std::thread::sleep(EVERY);
            let Some(service) = service.upgrade() else {
                return;
            };
            service.keep_usage();
        }
    });
}

fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

impl Service {
    /// Writes what was used since this was last done. What fails is said, and done the next time.
    pub(super) fn keep_usage(&self) {
        let unwritten = self.unwritten.lock();
        let mut unwritten = unwritten.unwrap_or_else(PoisonError::into_inner);
        unwritten.spent.add(self.jobs.take_spent());
        let today = today();
        let is_new = unwritten.swept != Some(today);
        if unwritten.spent.is_empty() && !is_new {
            return;
        }
        let written = self.catalog.change(|db| {
            if is_new {
                let oldest = today.saturating_sub(DAYS.days());
                usage::forget_before(db, oldest)?;
                audit::forget_before(db, oldest)?;
            }
            usage::add(db, today, &unwritten.spent)
        });
        // Why it was not, the refusal has said to the log.
        if written.is_ok() {
            unwritten.spent = Spent::default();
            unwritten.swept = Some(today);
        }
    }

    /// What a tenant uses, and has used since a day.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn usage(
        &self,
        name: &TenantId,
        by: By,
        since: Option<Date>,
    ) -> Result<TenantUsage, Refusal> {
        let (policy, plugin_bytes, total, parts) = self.catalog.read(|db| {
            let policy = tenant::get(db, name)?.policy;
            let parts = usage::parts(db, name, by, since)?;
            let total = usage::total(db, name, since)?;
            Ok((policy, plugin::bytes(db, name, None)?, total, parts))
        })?;
        let jobs = self.jobs.list(Some(name));
        let figures = jobs.iter().map(|(_, _, status)| &status.figures);
        Ok(TenantUsage {
            now: self.jobs.usage(name),
            plugin_bytes,
            max_plugin_bytes: policy.max_plugin_bytes,
            state_bytes: figures.clone().map(|figures| figures.state_bytes).sum(),
            held_ms: figures.clone().map(|figures| figures.held_ms).sum(),
            log_lines_dropped: figures.map(|figures| figures.log_lines_dropped).sum(),
            quotas: policy.quotas(),
            total,
            parts,
        })
    }
}
