//! Pipelines of tenants: their numbered definitions, which of them is current, and what is wanted of it.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{milliseconds, text, timestamp};
use crate::ids::{NodeName, PipelineName, PluginName, TenantId};
use crate::jobs::Wanted;
use crate::server::refusal::{Code, Refusal};

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Pipeline {
    /// Its name.
    #[schema(value_type = String)]
    pub name: PipelineName,
    /// The version that is meant to run.
    pub version: u32,
    /// `running`, `paused` or `stopped`.
    #[schema(value_type = String)]
    pub wanted: Wanted,
    /// Whether that version may go on from a checkpoint of one whose nodes were others.
    pub accept_changes: bool,
}

/// A definition of a pipeline. It is never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PipelineVersion {
    /// Counted from 1.
    pub version: u32,
    /// Worker threads.
    pub workers: u32,
    /// The token that it came with.
    pub applied_by: String,
    /// When.
    #[schema(value_type = String)]
    pub applied: Timestamp,
    /// The plugins that it is made of.
    pub plugins: Vec<PluginUse>,
    /// The pipeline file.
    pub text: String,
}

/// Which plugin a step or sink is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PluginUse {
    /// The step or sink.
    pub node: String,
    /// As the file says it.
    pub reference: String,
    /// The plugin.
    #[schema(value_type = String)]
    pub plugin: PluginName,
    /// What the reference meant when the file was applied.
    pub version: u32,
    /// Of that version.
    pub digest: String,
    /// What that version asks for.
    pub capabilities: Vec<String>,
}

fn pipeline(row: &Row<'_>) -> rusqlite::Result<Pipeline> {
    let wanted: String = row.get("wanted")?;
    let wanted = serde_json::from_value(wanted.into())
        .map_err(|error| super::unreadable(rusqlite::types::Type::Text, error))?;
    let name: String = row.get("name")?;
    Ok(Pipeline {
        name: name.into(),
        version: row.get("current")?,
        wanted,
        accept_changes: row.get("accept_changes")?,
    })
}

/// How a state is called in the catalog and in the audit log.
pub fn word(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Running => "running",
        Wanted::Paused => "paused",
        Wanted::Stopped => "stopped",
    }
}

/// All of a tenant's, by name.
///
/// # Errors
/// When the catalog cannot be read.
pub fn list(db: &Connection, tenant: &TenantId) -> Result<Vec<Pipeline>, Refusal> {
    let mut query = db.prepare_cached("SELECT * FROM pipeline WHERE tenant = ? ORDER BY name")?;
    let pipelines = query.query_map([tenant.as_str()], pipeline)?;
    Ok(pipelines.collect::<rusqlite::Result<_>>()?)
}

/// One, if it is there.
///
/// # Errors
/// When the catalog cannot be read.
pub fn find(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
) -> Result<Option<Pipeline>, Refusal> {
    let mut query = db.prepare_cached("SELECT * FROM pipeline WHERE tenant = ? AND name = ?")?;
    let found = query.query_row([tenant.as_str(), name.as_str()], pipeline);
    Ok(found.optional()?)
}

/// One that is there.
///
/// # Errors
/// When it is not.
pub fn get(db: &Connection, tenant: &TenantId, name: &PipelineName) -> Result<Pipeline, Refusal> {
    find(db, tenant, name)?.ok_or_else(|| Refusal::not_found("pipeline", name.as_str()))
}

/// All versions, newest first.
///
/// # Errors
/// When there is no such pipeline.
pub fn versions(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
) -> Result<Vec<PipelineVersion>, Refusal> {
    get(db, tenant, name)?;
    let mut query = db.prepare_cached(
        "SELECT * FROM pipeline_version WHERE tenant = ? AND pipeline = ? ORDER BY version DESC",
    )?;
    let versions = query.query_map([tenant.as_str(), name.as_str()], version_alone)?;
    let mut versions: Vec<_> = versions.collect::<rusqlite::Result<_>>()?;
    for version in &mut versions {
        version.plugins = plugins(db, tenant, name, version.version)?;
    }
    Ok(versions)
}

/// One version.
///
/// # Errors
/// When there is none.
pub fn version(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    number: u32,
) -> Result<PipelineVersion, Refusal> {
    get(db, tenant, name)?;
    let mut query = db.prepare_cached(
        "SELECT * FROM pipeline_version WHERE tenant = ? AND pipeline = ? AND version = ?",
    )?;
    let values = params![tenant.as_str(), name.as_str(), number];
    let found = query.query_row(values, version_alone).optional()?;
    let Some(mut found) = found else {
        let newest = next(db, tenant, name)? - 1;
        let message = format!("pipeline `{name}` has no version {number}");
        let help = format!("the newest is {newest}, and the latest are kept");
        return Err(Refusal::new(Code::NotFound, message).help(help));
    };
    found.plugins = plugins(db, tenant, name, number)?;
    Ok(found)
}

/// The numbers of all versions.
///
/// # Errors
/// When the catalog cannot be read.
pub fn numbers(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
) -> Result<Vec<u32>, Refusal> {
    let mut query = db
        .prepare_cached("SELECT version FROM pipeline_version WHERE tenant = ? AND pipeline = ?")?;
    let numbers = query.query_map([tenant.as_str(), name.as_str()], |row| row.get("version"))?;
    Ok(numbers.collect::<rusqlite::Result<_>>()?)
}

/// A version without its plugins.
fn version_alone(row: &Row<'_>) -> rusqlite::Result<PipelineVersion> {
    Ok(PipelineVersion {
        version: row.get("version")?,
        workers: row.get("workers")?,
        applied_by: row.get("applied_by")?,
        applied: timestamp(row, "applied")?,
        plugins: Vec::new(),
        text: row.get("text")?,
    })
}

fn plugins(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    version: u32,
) -> Result<Vec<PluginUse>, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT node, reference, plugin, plugin_version, digest, capabilities
         FROM pipeline_plugin AS used JOIN plugin_version AS one
           ON one.tenant = used.tenant AND one.name = used.plugin AND one.version = used.plugin_version
         WHERE used.tenant = ? AND pipeline = ? AND used.version = ? ORDER BY node",
    )?;
    let values = params![tenant.as_str(), name.as_str(), version];
    let plugins = query.query_map(values, |row| {
        Ok(PluginUse {
            node: row.get("node")?,
            reference: row.get("reference")?,
            plugin: text(row, "plugin")?,
            version: row.get("plugin_version")?,
            digest: row.get("digest")?,
            capabilities: super::json(row, "capabilities")?,
        })
    })?;
    Ok(plugins.collect::<rusqlite::Result<_>>()?)
}

/// A plugin that a pipeline runs.
pub struct Running {
    /// Whose.
    pub tenant: TenantId,
    /// Which pipeline.
    pub pipeline: PipelineName,
    /// As which step or sink.
    pub node: NodeName,
    /// Which plugin.
    pub plugin: PluginName,
}

/// The plugins of the current versions of all pipelines, or of those of a tenant.
///
/// # Errors
/// When the catalog cannot be read.
pub fn plugins_in_use(db: &Connection, tenant: Option<&TenantId>) -> Result<Vec<Running>, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT used.tenant, pipeline, node, plugin FROM pipeline_plugin AS used JOIN pipeline
           ON pipeline.tenant = used.tenant AND pipeline.name = used.pipeline AND current = used.version
         WHERE ?1 IS NULL OR used.tenant = ?1",
    )?;
    let running = query.query_map([tenant.map(TenantId::as_str)], |row| {
        let node: String = row.get("node")?;
        let pipeline: String = row.get("pipeline")?;
        Ok(Running {
            tenant: text(row, "tenant")?,
            pipeline: pipeline.into(),
            node: node.into(),
            plugin: text(row, "plugin")?,
        })
    })?;
    Ok(running.collect::<rusqlite::Result<_>>()?)
}

/// The number that the next version gets.
///
/// # Errors
/// When the catalog cannot be read.
pub fn next(db: &Connection, tenant: &TenantId, name: &PipelineName) -> Result<u32, Refusal> {
    let query = "SELECT newest FROM pipeline WHERE tenant = ? AND name = ?";
    let newest: Option<u32> = db
        .query_row(query, [tenant.as_str(), name.as_str()], |row| row.get(0))
        .optional()?;
    Ok(newest.unwrap_or(0) + 1)
}

/// Adds a version and makes it current. A pipeline that is new runs; one that was there is wanted as before.
///
/// # Errors
/// When the catalog cannot be written.
pub fn add(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    version: &PipelineVersion,
    accept_changes: bool,
) -> Result<(), Refusal> {
    db.execute(
        "INSERT INTO pipeline (tenant, name, newest, current, wanted, accept_changes)
         VALUES (?1, ?2, ?3, ?3, 'running', ?4)
         ON CONFLICT DO UPDATE SET newest = ?3, current = ?3, accept_changes = ?4",
        params![
            tenant.as_str(),
            name.as_str(),
            version.version,
            accept_changes
        ],
    )?;
    db.execute(
        "INSERT INTO pipeline_version VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            tenant.as_str(),
            name.as_str(),
            version.version,
            version.text,
            version.workers,
            version.applied_by,
            milliseconds(version.applied),
        ],
    )?;
    for used in &version.plugins {
        db.execute(
            "INSERT INTO pipeline_plugin VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                tenant.as_str(),
                name.as_str(),
                version.version,
                used.node,
                used.reference,
                used.plugin.as_str(),
                used.version,
            ],
        )?;
    }
    Ok(())
}

/// Forgets the oldest versions, so that `keep` are left, and gives their numbers. One that is current, or on trial, or the one that comes back if that
/// fails, stays whatever its age.
///
/// # Errors
/// When the catalog cannot be written.
pub fn forget_oldest(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    keep: u32,
) -> Result<Vec<u32>, Refusal> {
    let mut query = db.prepare_cached(
        "DELETE FROM pipeline_version WHERE tenant = ?1 AND pipeline = ?2 AND version NOT IN (
           SELECT * FROM (SELECT version FROM pipeline_version WHERE tenant = ?1 AND pipeline = ?2
             ORDER BY version DESC LIMIT ?3)
           UNION SELECT current FROM pipeline WHERE tenant = ?1 AND name = ?2
           UNION SELECT version FROM trial WHERE tenant = ?1 AND pipeline = ?2
           UNION SELECT before FROM trial WHERE tenant = ?1 AND pipeline = ?2
         ) RETURNING version",
    )?;
    let values = params![tenant.as_str(), name.as_str(), keep];
    let gone = query.query_map(values, |row| row.get("version"))?;
    Ok(gone.collect::<rusqlite::Result<_>>()?)
}

/// Makes a version current that is there.
///
/// # Errors
/// When the catalog cannot be written.
pub fn set_version(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    version: u32,
    accept_changes: bool,
) -> Result<(), Refusal> {
    db.execute(
        "UPDATE pipeline SET current = ?, accept_changes = ? WHERE tenant = ? AND name = ?",
        params![version, accept_changes, tenant.as_str(), name.as_str()],
    )?;
    Ok(())
}

/// Says what is wanted of it.
///
/// # Errors
/// When the catalog cannot be written.
pub fn set_wanted(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    wanted: Wanted,
) -> Result<(), Refusal> {
    db.execute(
        "UPDATE pipeline SET wanted = ? WHERE tenant = ? AND name = ?",
        params![word(wanted), tenant.as_str(), name.as_str()],
    )?;
    Ok(())
}

/// Forgets it with all its versions.
///
/// # Errors
/// When the catalog cannot be written.
pub fn remove(db: &Connection, tenant: &TenantId, name: &PipelineName) -> Result<(), Refusal> {
    let query = "DELETE FROM pipeline WHERE tenant = ? AND name = ?";
    db.execute(query, [tenant.as_str(), name.as_str()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{plugin, tenant, tests::empty, trial};
    use super::*;
    use crate::ids::Digest;

    #[test]
    fn the_oldest_versions_are_forgotten_but_never_one_that_is_or_may_come_to_be_current() {
        let catalog = empty();
        let acme = TenantId::parse("acme").unwrap();
        let count: PipelineName = "count".into();
        let definition = |version| PipelineVersion {
            version,
            workers: 1,
            applied_by: "acme/a".into(),
            applied: Timestamp::from_second(1).unwrap(),
            plugins: Vec::new(),
            text: "name = \"count\"".into(),
        };
        let on_trial = trial::Trial {
            version: 3,
            before: 2,
            epochs: 3,
            failed: None,
        };
        let left = || catalog.read(|db| numbers(db, &acme, &count)).unwrap();
        let forget = |keep| {
            let gone = catalog.change(|db| forget_oldest(db, &acme, &count, keep));
            let mut gone = gone.unwrap();
            gone.sort_unstable();
            gone
        };
        catalog
            .change(|db| {
                tenant::create(db, &acme, &tenant::Policy::default())?;
                for number in 1..=8 {
                    add(db, &acme, &count, &definition(number), false)?;
                }
                set_version(db, &acme, &count, 5, false)?;
                trial::set(db, &acme, &count, &on_trial)
            })
            .unwrap();
        assert_eq!(forget(8), [0; 0]);
        assert_eq!(forget(2), [1, 4, 6]);
        assert_eq!(left(), [2, 3, 5, 7, 8]);
        let next = catalog.read(|db| next(db, &acme, &count)).unwrap();
        assert_eq!(next, 9, "a number is never given twice");
    }

    #[test]
    fn a_plugin_stays_as_long_as_a_version_of_a_pipeline_is_made_of_it() {
        let catalog = empty();
        let acme = TenantId::parse("acme").unwrap();
        let words = PluginName::parse("words").unwrap();
        let count: PipelineName = "count".into();
        let component = plugin::Component {
            digest: Digest::of(b"1"),
            world: "transform".into(),
            contract: "0.1.0".into(),
            size: 1,
            capabilities: vec!["http".into()],
            signed: None,
        };
        let made_of = PluginUse {
            node: "split".into(),
            reference: "words".into(),
            plugin: words.clone(),
            version: 1,
            digest: component.digest.to_string(),
            capabilities: component.capabilities.clone(),
        };
        let definition = PipelineVersion {
            version: 1,
            workers: 1,
            applied_by: "acme/a".into(),
            applied: Timestamp::from_second(1).unwrap(),
            plugins: vec![made_of],
            text: "name = \"count\"".into(),
        };
        catalog
            .change(|db| {
                tenant::create(db, &acme, &tenant::Policy::default())?;
                plugin::push(db, &acme, &words, &component, "acme/a")?;
                add(db, &acme, &count, &definition, false)
            })
            .unwrap();
        let read = catalog.read(|db| version(db, &acme, &count, 1)).unwrap();
        assert_eq!(read, definition);

        let remove_plugin = || catalog.change(|db| plugin::remove(db, &acme, &words, 1));
        let refused = remove_plugin().unwrap_err();
        assert_eq!(refused.code, Code::Conflict);
        assert!(refused.message.contains("pipeline `count`"), "{refused}");
        catalog.change(|db| remove(db, &acme, &count)).unwrap();
        assert!(catalog.read(|db| get(db, &acme, &count)).is_err());
        remove_plugin().unwrap();
        assert!(
            !catalog
                .read(|db| plugin::is_used(db, component.digest))
                .unwrap()
        );
    }
}
