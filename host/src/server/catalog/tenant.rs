//! Tenants and what each may have.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{json, milliseconds, text, timestamp, to_json};
use crate::ids::TenantId;
use crate::jobs::Quotas;
use crate::plugin::HostPort;
use crate::server::refusal::Refusal;
use crate::server::signature;

/// What a tenant may have. Who runs the server sets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Addresses, `host:port`, that its sources may connect to or listen on.
    pub allow_addresses: Vec<String>,
    /// Hosts, `host` or `host:port`, that its plugins may be granted to send requests to.
    pub allow_http: Vec<String>,
    /// Those of these hosts, written the same way, whose addresses may be private: of this machine, or of a network behind a firewall.
    pub allow_private: Vec<String>,
    /// Pipelines that it may have.
    pub max_pipelines: u32,
    /// Worker threads that each of them may have.
    pub max_workers: u32,
    /// Bytes that the components of all its plugins' versions may take, each counted once.
    pub max_plugin_bytes: u64,
    /// Thousandths of a processor that all its plugins together may use; all there is if nothing is said.
    pub plugin_millicores: Option<u32>,
    /// Bytes of linear memory that all its plugins together may have.
    pub max_memory: Option<u64>,
    /// Bytes that the steps of all its pipelines together may remember.
    pub max_state_bytes: Option<u64>,
    /// Rows that the sources of all its pipelines together may take in within a second.
    pub max_rows_per_second: Option<u32>,
    /// Log lines that all its pipelines together may say within a second.
    pub max_log_lines_per_second: Option<u32>,
    /// Public keys, as minisign writes them, whose signatures of components count.
    pub trusted_keys: Vec<String>,
    /// Whether a component has to be signed with one of them.
    pub require_signature: bool,
}

impl Policy {
    /// Refuses what would let nothing run and not say so.
    ///
    /// # Errors
    /// When plugins would have no time at all, or could not be pushed.
    pub fn check(&self) -> Result<(), Refusal> {
        let limits = [
            ("plugin_millicores", self.plugin_millicores.map(u64::from)),
            ("max_memory", self.max_memory),
            (
                "max_rows_per_second",
                self.max_rows_per_second.map(u64::from),
            ),
        ];
        if let Some((name, _)) = limits.iter().find(|(_, limit)| *limit == Some(0)) {
            let message = format!("`{name}` is 0, and nothing could run");
            return Err(
                Refusal::invalid(message).help("leave it out, or pause the tenant's pipelines")
            );
        }
        let is_host = |host: &&String| HostPort::parse(host).is_some();
        if let Some(wrong) = self.allow_private.iter().find(|host| !is_host(host)) {
            let message = format!("`{wrong}` in `allow_private` is not a host");
            return Err(Refusal::invalid(message).help(
                "write the host, and the port if it is not the scheme's own: \"127.0.0.1:8080\"",
            ));
        }
        signature::check_policy(self)
    }

    /// What its pipelines may use together, and are held to while they run.
    pub fn quotas(&self) -> Quotas {
        Quotas {
            millicores: self.plugin_millicores,
            memory: self.max_memory,
            state: self.max_state_bytes,
            rows_per_second: self.max_rows_per_second,
            log_lines_per_second: self.max_log_lines_per_second,
        }
    }
}

impl Default for Policy {
    /// Nothing outside; enough to begin with.
    fn default() -> Self {
        Self {
            allow_addresses: Vec::new(),
            allow_http: Vec::new(),
            allow_private: Vec::new(),
            max_pipelines: 20,
            max_workers: 2,
            max_plugin_bytes: 1 << 30,
            plugin_millicores: None,
            max_memory: None,
            max_state_bytes: None,
            max_rows_per_second: None,
            max_log_lines_per_second: None,
            trusted_keys: Vec::new(),
            require_signature: false,
        }
    }
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Tenant {
    /// Its name.
    #[schema(value_type = String)]
    pub name: TenantId,
    /// Since when it is there.
    #[schema(value_type = String)]
    pub created: Timestamp,
    /// What it may have.
    pub policy: Policy,
}

fn tenant(row: &Row<'_>) -> rusqlite::Result<Tenant> {
    Ok(Tenant {
        name: text(row, "name")?,
        created: timestamp(row, "created")?,
        policy: json(row, "policy")?,
    })
}

/// All of them, by name.
///
/// # Errors
/// When the catalog cannot be read.
pub fn list(db: &Connection) -> Result<Vec<Tenant>, Refusal> {
    let mut query = db.prepare_cached("SELECT * FROM tenant ORDER BY name")?;
    let tenants = query.query_map([], tenant)?;
    Ok(tenants.collect::<rusqlite::Result<_>>()?)
}

/// One, if it is there.
///
/// # Errors
/// When the catalog cannot be read.
pub fn find(db: &Connection, name: &TenantId) -> Result<Option<Tenant>, Refusal> {
    let mut query = db.prepare_cached("SELECT * FROM tenant WHERE name = ?")?;
    Ok(query.query_row([name.as_str()], tenant).optional()?)
}

/// One that is there.
///
/// # Errors
/// When it is not.
pub fn get(db: &Connection, name: &TenantId) -> Result<Tenant, Refusal> {
    find(db, name)?.ok_or_else(|| Refusal::not_found("tenant", name.as_str()))
}

/// Who is nobody's tenant, in the audit log.
pub const ADMIN: &str = "admin";

/// Makes one.
///
/// # Errors
/// When there is one of this name.
pub fn create(db: &Connection, name: &TenantId, policy: &Policy) -> Result<(), Refusal> {
    if name.as_str() == ADMIN {
        let message = format!("`{ADMIN}` is what administrators are called");
        return Err(Refusal::invalid(message).help("give the tenant another name"));
    }
    if find(db, name)?.is_some() {
        return Err(Refusal::conflict(format!(
            "there is a tenant called `{name}` already"
        )));
    }
    db.execute(
        "INSERT INTO tenant (name, policy, created) VALUES (?, ?, ?)",
        params![
            name.as_str(),
            to_json(policy),
            milliseconds(Timestamp::now())
        ],
    )?;
    Ok(())
}

/// Forgets one that has no pipelines, with all that is its own but the audit log.
///
/// # Errors
/// When it has pipelines, or the catalog cannot be written.
pub fn remove(db: &Connection, name: &TenantId) -> Result<(), Refusal> {
    // In the order in which they refer to each other.
    for table in [
        "usage",
        "usage_of_runners",
        "secret",
        "token",
        "plugin_version",
        "plugin",
    ] {
        db.execute(
            &format!("DELETE FROM {table} WHERE tenant = ?"),
            [name.as_str()],
        )?;
    }
    db.execute("DELETE FROM tenant WHERE name = ?", [name.as_str()])?;
    Ok(())
}

/// Changes what it may have.
///
/// # Errors
/// When there is no such tenant.
pub fn set_policy(db: &Connection, name: &TenantId, policy: &Policy) -> Result<(), Refusal> {
    let changed = db.execute(
        "UPDATE tenant SET policy = ? WHERE name = ?",
        params![to_json(policy), name.as_str()],
    )?;
    match changed {
        0 => Err(Refusal::not_found("tenant", name.as_str())),
        _ => Ok(()),
    }
}
