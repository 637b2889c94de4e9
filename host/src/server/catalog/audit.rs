//! The audit log: a line for every change, written with the change or not at all.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::token::Caller;
use super::{milliseconds, timestamp};
use crate::ids::TenantId;
use crate::server::refusal::Refusal;

/// A change to be written down.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The token, as `TENANT/LABEL` or `admin/LABEL`.
    pub who: &'a str,
    /// Whose things were changed; none for what only administrators see.
    pub tenant: Option<&'a TenantId>,
    /// `plugin push`, as the command line says it.
    pub action: &'a str,
    /// What was changed.
    pub subject: &'a str,
    /// The version, digest or state before.
    pub before: Option<&'a str>,
    /// And after.
    pub after: Option<&'a str>,
}

impl<'a> Change<'a> {
    /// Of something of a tenant, by who calls; what it was and has become can be added.
    pub fn of(caller: &'a Caller, tenant: &'a TenantId, action: &'a str, subject: &'a str) -> Self {
        Self {
            who: &caller.who,
            tenant: Some(tenant),
            action,
            subject,
            before: None,
            after: None,
        }
    }
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditLine {
    /// Counts the changes of the server.
    pub id: i64,
    /// When.
    #[schema(value_type = String)]
    pub time: Timestamp,
    /// The token, as `TENANT/LABEL` or `admin/LABEL`.
    pub who: String,
    /// Whose things were changed.
    pub tenant: Option<String>,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// The version, digest or state before.
    pub before: Option<String>,
    /// And after.
    pub after: Option<String>,
}

/// Writes a line.
///
/// # Errors
/// When the catalog cannot be written.
pub fn write(db: &Connection, change: &Change<'_>) -> Result<(), Refusal> {
    db.execute(
        "INSERT INTO audit (time, who, tenant, action, subject, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            milliseconds(Timestamp::now()),
            change.who,
            change.tenant.map(TenantId::as_str),
            change.action,
            change.subject,
            change.before,
            change.after,
        ],
    )?;
    Ok(())
}

/// Forgets what was changed before a day in UTC.
///
/// # Errors
/// When the catalog cannot be written.
pub fn forget_before(db: &Connection, day: Date) -> Result<(), Refusal> {
    let first = day.to_zoned(TimeZone::UTC).map_err(Refusal::internal)?;
    let first = milliseconds(first.timestamp());
    db.execute("DELETE FROM audit WHERE time < ?", [first])?;
    Ok(())
}

/// The number of the last line.
///
/// # Errors
/// When the catalog cannot be read.
pub fn last(db: &Connection) -> Result<Option<i64>, Refusal> {
    Ok(db.query_row("SELECT max(id) FROM audit", [], |row| row.get(0))?)
}

/// The latest lines, latest first: all, or those about a tenant since it is there; one that had its name before was another.
///
/// # Errors
/// When the catalog cannot be read.
pub fn latest(
    db: &Connection,
    tenant: Option<&TenantId>,
    limit: u32,
) -> Result<Vec<AuditLine>, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT * FROM audit WHERE ?1 IS NULL OR (tenant = ?1 AND time >= (SELECT created FROM tenant WHERE name = ?1))
         ORDER BY id DESC LIMIT ?2",
    )?;
    let lines = query.query_map(params![tenant.map(TenantId::as_str), limit], |row| {
        Ok(AuditLine {
            id: row.get("id")?,
            time: timestamp(row, "time")?,
            who: row.get("who")?,
            tenant: row.get("tenant")?,
            action: row.get("action")?,
            subject: row.get("subject")?,
            before: row.get("before")?,
            after: row.get("after")?,
        })
    })?;
    Ok(lines.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::empty;
    use super::*;

    #[test]
    fn only_what_was_changed_before_a_day_is_forgotten() {
        let catalog = empty();
        let line = |action| Change {
            who: "admin/start",
            tenant: None,
            action,
            subject: "x",
            before: None,
            after: None,
        };
        let kept = catalog.change(|db| {
            write(db, &line("old"))?;
            db.execute("UPDATE audit SET time = time - 86400000", [])?;
            write(db, &line("new"))?;
            forget_before(db, Timestamp::now().to_zoned(TimeZone::UTC).date())?;
            latest(db, None, 10)
        });
        let kept = kept.expect("a catalog");
        let actions: Vec<_> = kept.iter().map(|line| line.action.as_str()).collect();
        assert_eq!(actions, ["new"]);
    }
}
