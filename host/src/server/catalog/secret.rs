//! Secrets, as they are kept: sealed.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::{milliseconds, text, timestamp};
use crate::ids::{SecretName, TenantId};
use crate::server::refusal::Refusal;

/// A secret that only the server's key opens.
pub struct Sealed(pub Vec<u8>);

/// What anybody sees of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SecretView {
    /// Its name.
    #[schema(value_type = String)]
    pub name: SecretName,
    /// Who has set it last.
    pub set_by: String,
    /// When.
    #[schema(value_type = String)]
    pub set: Timestamp,
}

fn view(row: &Row<'_>) -> rusqlite::Result<SecretView> {
    Ok(SecretView {
        name: text(row, "name")?,
        set_by: row.get("set_by")?,
        set: timestamp(row, "set_at")?,
    })
}

/// All of a tenant's, by name.
///
/// # Errors
/// When the catalog cannot be read.
pub fn list(db: &Connection, tenant: &TenantId) -> Result<Vec<SecretView>, Refusal> {
    let mut query = db
        .prepare_cached("SELECT name, set_by, set_at FROM secret WHERE tenant = ? ORDER BY name")?;
    let views = query.query_map([tenant.as_str()], view)?;
    Ok(views.collect::<rusqlite::Result<_>>()?)
}

/// All of a tenant's, sealed.
///
/// # Errors
/// When the catalog cannot be read.
pub fn sealed(db: &Connection, tenant: &TenantId) -> Result<Vec<(SecretName, Sealed)>, Refusal> {
    let mut query = db.prepare_cached("SELECT name, sealed FROM secret WHERE tenant = ?")?;
    let sealed = query.query_map([tenant.as_str()], |row| {
        Ok((text(row, "name")?, Sealed(row.get("sealed")?)))
    })?;
    Ok(sealed.collect::<rusqlite::Result<_>>()?)
}

/// Sets one, in the place of what it was.
///
/// # Errors
/// When the catalog cannot be written.
pub fn set(
    db: &Connection,
    tenant: &TenantId,
    name: &SecretName,
    sealed: &Sealed,
    who: &str,
) -> Result<(), Refusal> {
    db.execute(
        "INSERT OR REPLACE INTO secret (tenant, name, sealed, set_by, set_at) VALUES (?, ?, ?, ?, ?)",
        params![
            tenant.as_str(),
            name.as_str(),
            sealed.0,
            who,
            milliseconds(Timestamp::now())
        ],
    )?;
    Ok(())
}

/// Removes one.
///
/// # Errors
/// When there is none.
pub fn remove(db: &Connection, tenant: &TenantId, name: &SecretName) -> Result<(), Refusal> {
    let removed = db.execute(
        "DELETE FROM secret WHERE tenant = ? AND name = ?",
        [tenant.as_str(), name.as_str()],
    )?;
    match removed {
        0 => Err(Refusal::not_found("secret", name.as_str())),
        _ => Ok(()),
    }
}
