//! Plugins of tenants: names, their numbered versions, and how a pipeline file picks one.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{json, milliseconds, text, timestamp, to_json};
use crate::config::did_you_mean;
use crate::error::Failure;
use crate::ids::{Digest, PluginName, TenantId};
use crate::server::refusal::{Code, Refusal};

/// A version of a plugin. It is never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PluginVersion {
    /// The plugin.
    #[schema(value_type = String)]
    pub name: PluginName,
    /// Counted from 1; no number is given twice.
    pub version: u32,
    /// Of its bytes.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// `transform`, `reducer`, `keyed` or `sink`.
    pub world: String,
    /// The version of the contract that it was built for.
    pub contract: String,
    /// Its bytes.
    pub size: u32,
    /// What it asks for beyond its world, by its imports.
    pub capabilities: Vec<String>,
    /// The id of the key that it was signed with, if it was.
    #[serde(default)]
    pub signed_by: Option<String>,
    /// The token that it came with.
    pub pushed_by: String,
    /// When.
    #[schema(value_type = String)]
    pub pushed: Timestamp,
}

/// What is known of a component before it has a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Of its bytes.
    pub digest: Digest,
    /// Which of our worlds.
    pub world: String,
    /// The contract's version.
    pub contract: String,
    /// Its bytes.
    pub size: u32,
    /// What it asks for.
    pub capabilities: Vec<String>,
    /// What it was signed with.
    pub signed: Option<Signed>,
}

/// A signature that was found to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The id of the key, as minisign shows it.
    pub key: String,
    /// The signature, as minisign wrote it.
    pub signature: String,
}

/// A plugin as a pipeline file calls it: `name`, `name@3` or `name@sha256:...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The plugin.
    pub name: PluginName,
    /// Which version.
    pub pick: Pick,
}

/// Which version of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The newest that there is when the pipeline is applied.
    Newest,
    /// That number.
    Version(u32),
    /// That component.
    Digest(Digest),
}

impl Reference {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none: a path, for one.
    pub fn parse(written: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::user(format!("`{written}` is not a plugin of the catalog")).help(
                "write a name as it was pushed, and a version or digest if not the newest is meant: \"split-words\", \"split-words@3\", \"split-words@sha256:...\"",
            )
        };
        let (name, pick) = match written.split_once('@') {
            None => (written, Pick::Newest),
            Some((name, digest)) if digest.starts_with("sha256:") => {
                let read = Digest::try_from(digest.to_owned()).map_err(|_| wrong())?;
                // One way of writing it, since it becomes the name of a file.
                let is_plain = read.to_string() == digest;
                (
                    name,
                    is_plain.then_some(Pick::Digest(read)).ok_or_else(wrong)?,
                )
            }
            Some((name, number)) => {
                let read: u32 = number.parse().map_err(|_| wrong())?;
                let is_plain = read.to_string() == number;
                (
                    name,
                    is_plain.then_some(Pick::Version(read)).ok_or_else(wrong)?,
                )
            }
        };
        let name = PluginName::parse(name).map_err(|_| wrong())?;
        Ok(Self { name, pick })
    }
}

fn version(row: &Row<'_>) -> rusqlite::Result<PluginVersion> {
    Ok(PluginVersion {
        name: text(row, "name")?,
        version: row.get("version")?,
        digest: text(row, "digest")?,
        world: row.get("world")?,
        contract: row.get("contract")?,
        size: row.get("size")?,
        capabilities: json(row, "capabilities")?,
        signed_by: row.get("signed_by")?,
        pushed_by: row.get("pushed_by")?,
        pushed: timestamp(row, "pushed")?,
    })
}

/// The newest version of each of a tenant's plugins, by name.
///
/// # Errors
/// When the catalog cannot be read.
pub fn list(db: &Connection, tenant: &TenantId) -> Result<Vec<PluginVersion>, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT * FROM plugin_version AS one WHERE tenant = ?1 AND version =
           (SELECT max(version) FROM plugin_version WHERE tenant = ?1 AND name = one.name) ORDER BY name",
    )?;
    let versions = query.query_map([tenant.as_str()], version)?;
    Ok(versions.collect::<rusqlite::Result<_>>()?)
}

/// All versions of a plugin, newest first.
///
/// # Errors
/// When there is none.
pub fn versions(
    db: &Connection,
    tenant: &TenantId,
    name: &PluginName,
) -> Result<Vec<PluginVersion>, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT * FROM plugin_version WHERE tenant = ? AND name = ? ORDER BY version DESC",
    )?;
    let versions = query.query_map([tenant.as_str(), name.as_str()], version)?;
    let versions: Vec<_> = versions.collect::<rusqlite::Result<_>>()?;
    match versions.is_empty() {
        true => Err(unknown(db, tenant, name)),
        false => Ok(versions),
    }
}

/// That there is no such plugin, and which one may be meant.
fn unknown(db: &Connection, tenant: &TenantId, name: &PluginName) -> Refusal {
    let refusal = Refusal::not_found("plugin", name.as_str());
    let known = list(db, tenant).unwrap_or_default();
    let known = known.iter().map(|version| version.name.as_str());
    Refusal {
        help: did_you_mean(name.as_str(), known)
            .or_else(|| Some("push it first: `wasmill plugin push FILE`".into())),
        ..refusal
    }
}

/// The version that a reference means now.
///
/// # Errors
/// When there is none.
pub fn find(
    db: &Connection,
    tenant: &TenantId,
    reference: &Reference,
) -> Result<PluginVersion, Refusal> {
    let name = &reference.name;
    let (number, digest) = match reference.pick {
        Pick::Newest => (None, None),
        Pick::Version(number) => (Some(number), None),
        Pick::Digest(digest) => (None, Some(digest.to_string())),
    };
    let mut query = db.prepare_cached(
        "SELECT * FROM plugin_version WHERE tenant = ?1 AND name = ?2
           AND (?3 IS NULL OR version = ?3) AND (?4 IS NULL OR digest = ?4) ORDER BY version DESC LIMIT 1",
    )?;
    let values = params![tenant.as_str(), name.as_str(), number, digest];
    if let Some(found) = query.query_row(values, version).optional()? {
        return Ok(found);
    }
    let what = match reference.pick {
        Pick::Newest => return Err(unknown(db, tenant, name)),
        Pick::Digest(digest) => format!("with the digest {digest}"),
        Pick::Version(number) => number.to_string(),
    };
    let newest = Reference {
        name: name.clone(),
        pick: Pick::Newest,
    };
    let newest = find(db, tenant, &newest)?.version;
    let message = format!("plugin `{name}` has no version {what}");
    Err(Refusal::new(Code::NotFound, message).help(format!("the newest is {name}@{newest}")))
}

/// The signature of a version, as minisign wrote it.
///
/// # Errors
/// When there is no such version, or it is not signed.
pub fn signature(
    db: &Connection,
    tenant: &TenantId,
    name: &PluginName,
    number: u32,
) -> Result<String, Refusal> {
    let query =
        "SELECT signature FROM plugin_version WHERE tenant = ? AND name = ? AND version = ?";
    let values = params![tenant.as_str(), name.as_str(), number];
    let found: Option<Option<String>> = db.query_row(query, values, |row| row.get(0)).optional()?;
    found
        .flatten()
        .ok_or_else(|| Refusal::not_found("signature of", &format!("{name}@{number}")))
}

/// Bytes of the components of all of a tenant's versions, each counted once, and one not at all.
///
/// # Errors
/// When the catalog cannot be read.
pub fn bytes(db: &Connection, tenant: &TenantId, but: Option<Digest>) -> Result<u64, Refusal> {
    let query = "SELECT coalesce(sum(size), 0) FROM
        (SELECT DISTINCT digest, size FROM plugin_version WHERE tenant = ? AND digest IS NOT ?)";
    let values = params![tenant.as_str(), but.map(|digest| digest.to_string())];
    let bytes: i64 = db.query_row(query, values, |row| row.get(0))?;
    Ok(bytes.unsigned_abs())
}

/// Gives a component the next number of a name, unless the newest version is the same component with the same key already.
///
/// # Errors
/// When the catalog cannot be written.
pub fn push(
    db: &Connection,
    tenant: &TenantId,
    name: &PluginName,
    component: &Component,
    who: &str,
) -> Result<(PluginVersion, bool), Refusal> {
    let newest = list(db, tenant)?
        .into_iter()
        .find(|version| version.name == *name);
    let signed = component.signed.as_ref();
    let is_same = |newest: &PluginVersion| {
        newest.digest == component.digest
            && signed.is_none_or(|signed| newest.signed_by.as_ref() == Some(&signed.key))
    };
    if let Some(newest) = newest.filter(is_same) {
        return Ok((newest, false));
    }
    let version: u32 = db.query_row(
        "INSERT INTO plugin (tenant, name, newest) VALUES (?, ?, 1)
         ON CONFLICT DO UPDATE SET newest = newest + 1 RETURNING newest",
        [tenant.as_str(), name.as_str()],
        |row| row.get(0),
    )?;
    db.execute(
        "INSERT INTO plugin_version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            tenant.as_str(),
            name.as_str(),
            version,
            component.digest.to_string(),
            component.world,
            component.contract,
            component.size,
            to_json(&component.capabilities),
            who,
            milliseconds(Timestamp::now()),
            signed.map(|signed| &signed.signature),
            signed.map(|signed| &signed.key),
        ],
    )?;
    let pick = Pick::Version(version);
    let reference = Reference {
        name: name.clone(),
        pick,
    };
    Ok((find(db, tenant, &reference)?, true))
}

/// Forgets a version; its number is not given again.
///
/// # Errors
/// When there is none, or a version of a pipeline is made of it.
pub fn remove(
    db: &Connection,
    tenant: &TenantId,
    name: &PluginName,
    number: u32,
) -> Result<PluginVersion, Refusal> {
    let reference = Reference {
        name: name.clone(),
        pick: Pick::Version(number),
    };
    let found = find(db, tenant, &reference)?;
    let user: Option<(String, u32)> = db
        .query_row(
            "SELECT pipeline, version FROM pipeline_plugin WHERE tenant = ? AND plugin = ? AND plugin_version = ? LIMIT 1",
            params![tenant.as_str(), name.as_str(), number],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    if let Some((pipeline, version)) = user {
        let message =
            format!("version {version} of pipeline `{pipeline}` is made of {name}@{number}");
        return Err(Refusal::conflict(message).help(
            "a plugin stays as long as a pipeline could go back to it; remove the pipeline first",
        ));
    }
    db.execute(
        "DELETE FROM plugin_version WHERE tenant = ? AND name = ? AND version = ?",
        params![tenant.as_str(), name.as_str(), number],
    )?;
    Ok(found)
}

/// The components of all of a tenant's versions, each once.
///
/// # Errors
/// When the catalog cannot be read.
pub fn digests(db: &Connection, tenant: &TenantId) -> Result<Vec<Digest>, Refusal> {
    let mut query =
        db.prepare_cached("SELECT DISTINCT digest FROM plugin_version WHERE tenant = ?")?;
    let digests = query.query_map([tenant.as_str()], |row| text(row, "digest"))?;
    Ok(digests.collect::<rusqlite::Result<_>>()?)
}

/// Whether any tenant has a version with this component.
///
/// # Errors
/// When the catalog cannot be read.
pub fn is_used(db: &Connection, digest: Digest) -> Result<bool, Refusal> {
    let query = "SELECT 1 FROM plugin_version WHERE digest = ? LIMIT 1";
    let found = db.query_row(query, [digest.to_string()], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

#[cfg(test)]
mod tests {
    use super::super::{Catalog, tenant, tests::empty};
    use super::*;

    fn component(bytes: &[u8]) -> Component {
        Component {
            digest: Digest::of(bytes),
            world: "transform".into(),
            contract: "0.1.0".into(),
            size: bytes.len() as u32,
            capabilities: Vec::new(),
            signed: None,
        }
    }

    fn catalog() -> (Catalog, TenantId, PluginName) {
        let catalog = empty();
        let acme = TenantId::parse("acme").unwrap();
        let policy = tenant::Policy::default();
        catalog
            .change(|db| tenant::create(db, &acme, &policy))
            .unwrap();
        (catalog, acme, PluginName::parse("words").unwrap())
    }

    #[test]
    fn a_name_has_numbered_versions_and_the_same_component_makes_no_new_one() {
        let (catalog, acme, words) = catalog();
        let pushed = catalog
            .change(|db| {
                let push = |bytes: &[u8]| push(db, &acme, &words, &component(bytes), "acme/a");
                Ok([push(b"1")?, push(b"1")?, push(b"2")?, push(b"1")?])
            })
            .unwrap();
        let numbers = pushed.map(|(version, is_new)| (version.version, is_new));
        assert_eq!(numbers, [(1, true), (1, false), (2, true), (3, true)]);
    }

    #[test]
    fn the_same_component_signed_by_another_key_is_another_version() {
        let (catalog, acme, words) = catalog();
        let signed = |key: &str| Component {
            signed: Some(Signed {
                key: key.into(),
                signature: format!("by {key}"),
            }),
            ..component(b"1")
        };
        let numbers = catalog
            .change(|db| {
                let push = |component: &Component| push(db, &acme, &words, component, "acme/a");
                let unsigned = component(b"1");
                let pushed = [
                    push(&unsigned)?,
                    push(&signed("A"))?,
                    push(&signed("A"))?,
                    push(&unsigned)?,
                    push(&signed("B"))?,
                ];
                Ok(pushed.map(|(version, _)| version.version))
            })
            .unwrap();
        assert_eq!(numbers, [1, 2, 2, 2, 3]);
        let kept = |number| catalog.read(|db| signature(db, &acme, &words, number));
        assert_eq!(kept(3).unwrap(), "by B");
        assert!(kept(1).is_err() && kept(4).is_err());
    }

    #[test]
    fn a_reference_means_the_newest_a_number_or_a_digest() {
        let (catalog, acme, words) = catalog();
        catalog
            .change(|db| {
                push(db, &acme, &words, &component(b"1"), "acme/a")?;
                push(db, &acme, &words, &component(b"2"), "acme/a")
            })
            .unwrap();
        let first = Digest::of(b"1");
        let found = |text: &str| {
            let reference = Reference::parse(text).unwrap();
            let found = catalog.read(|db| find(db, &acme, &reference));
            found.map(|version| version.version)
        };
        assert_eq!(found("words"), Ok(2));
        assert_eq!(found("words@1"), Ok(1));
        assert_eq!(found(&format!("words@{first}")), Ok(1));
        let missing = found("words@7").unwrap_err();
        assert_eq!(missing.help.as_deref(), Some("the newest is words@2"));
        let misspelt = found("wrods").unwrap_err();
        assert_eq!(misspelt.help.as_deref(), Some("did you mean `words`?"));
        let other = TenantId::parse("other").unwrap();
        let reference = Reference::parse("words").unwrap();
        assert!(catalog.read(|db| find(db, &other, &reference)).is_err());
    }

    #[test]
    fn a_number_is_never_given_twice() {
        let (catalog, acme, words) = catalog();
        let again = catalog
            .change(|db| {
                push(db, &acme, &words, &component(b"1"), "acme/a")?;
                push(db, &acme, &words, &component(b"2"), "acme/a")?;
                remove(db, &acme, &words, 2)?;
                push(db, &acme, &words, &component(b"2"), "acme/a")
            })
            .unwrap();
        assert_eq!(again.0.version, 3);
    }

    #[test]
    fn a_reference_is_no_path_and_has_one_spelling() {
        let digest = Digest::of(b"").to_string();
        for wrong in [
            "../words",
            "plugins/words.wasm",
            "words.wasm",
            "Words",
            "words@",
            "words@01",
            "words@+1",
            "words@-1",
            "words@latest",
            "words@sha256:12",
            "",
            "@1",
            &format!("words@{}", digest.to_uppercase().replace("SHA", "sha")),
        ] {
            let failure = Reference::parse(wrong).unwrap_err();
            assert!(
                failure.message.contains("not a plugin of the catalog"),
                "{wrong}"
            );
        }
    }
}
