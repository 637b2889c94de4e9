//! Tokens: what a caller shows to be let in. Only their hashes are kept.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::ValueEnum as _;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::tenant::ADMIN;
use super::{milliseconds, moment, text, timestamp};
use crate::error::Failure;
use crate::ids::{Digest, TenantId};
use crate::server::refusal::Refusal;

/// Counts the tokens of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(value_type = i64)]
pub struct TokenId(pub i64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A token itself, which its holder sees once: 256 random bits, so that nobody guesses one.
pub struct Secret(String);

/// How a token begins, so that people and scanners of leaked secrets know it.
const PREFIX: &str = "wm_";

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new() -> Result<Self, Failure> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| {
            Failure::external(format!("the system gives no random bytes: {error}"))
        })?;
        Ok(Self(format!(
            "{PREFIX}{}",
            BASE64_URL_SAFE_NO_PAD.encode(bytes)
        )))
    }

    /// As it is shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What is kept of a token. What is hashed is random, so it needs neither salt nor a slow hash.
fn hash(secret: &str) -> [u8; 32] {
    Digest::of(secret.as_bytes()).0
}

/// How much of what its holder may do a token is good for.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All of it.
    #[default]
    Full,
    /// Looking at it, and changing nothing.
    Read,
    /// Its metrics, and nothing else: for the configuration of a scraper.
    Metrics,
}

impl Scope {
    /// As the catalog has it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Read => "read",
            Self::Metrics => "metrics",
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut scopes = Self::value_variants().iter().copied();
        let known = scopes.find(|scope| scope.as_str() == text);
        known.ok_or_else(|| format!("`{text}` is no scope"))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenant whose token it is; none if it is an administrator's.
    pub tenant: Option<TenantId>,
    /// `TENANT/LABEL` or `admin/LABEL`, for the audit log.
    pub who: String,
    /// How much of that the token is good for.
    pub scope: Scope,
}

impl Caller {
    /// Whether these things may be known to it at all.
    pub fn sees(&self, tenant: &TenantId) -> bool {
        self.tenant.as_ref().is_none_or(|own| own == tenant)
    }
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Token {
    /// Its number.
    pub id: TokenId,
    /// What its holder calls it.
    pub label: String,
    /// Whose it is; none if it is an administrator's.
    pub tenant: Option<String>,
    /// How much it is good for.
    pub scope: Scope,
    /// Since when it is there.
    #[schema(value_type = String)]
    pub created: Timestamp,
    /// When it was last shown, to the minute.
    #[schema(value_type = Option<String>)]
    pub used: Option<Timestamp>,
    /// Since when it opens nothing any more.
    #[schema(value_type = Option<String>)]
    pub revoked: Option<Timestamp>,
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let optional = |column| row.get::<_, Option<i64>>(column)?.map(moment).transpose();
    Ok(Token {
        id: TokenId(row.get("id")?),
        label: row.get("label")?,
        tenant: row.get("tenant")?,
        scope: text(row, "scope")?,
        created: timestamp(row, "created")?,
        used: optional("used")?,
        revoked: optional("revoked")?,
    })
}

/// Keeps a new token of a tenant, or of an administrator.
///
/// # Errors
/// When the catalog cannot be written.
pub fn create(
    db: &Connection,
    secret: &Secret,
    tenant: Option<&TenantId>,
    label: &str,
    scope: Scope,
) -> Result<TokenId, Refusal> {
    db.execute(
        "INSERT INTO token (hash, label, tenant, scope, created) VALUES (?, ?, ?, ?, ?)",
        params![
            hash(secret.reveal()),
            label,
            tenant.map(TenantId::as_str),
            scope.as_str(),
            milliseconds(Timestamp::now()),
        ],
    )?;
    Ok(TokenId(db.last_insert_rowid()))
}

/// The tokens of a tenant, or of administrators, revoked ones too.
///
/// # Errors
/// When the catalog cannot be read.
pub fn list(db: &Connection, tenant: Option<&TenantId>) -> Result<Vec<Token>, Refusal> {
    let mut query = db.prepare_cached("SELECT * FROM token WHERE tenant IS ? ORDER BY id")?;
    let tokens = query.query_map([tenant.map(TenantId::as_str)], token)?;
    Ok(tokens.collect::<rusqlite::Result<_>>()?)
}

/// Whether anyone can administer the server.
///
/// # Errors
/// When the catalog cannot be read.
pub fn has_admin(db: &Connection) -> Result<bool, Refusal> {
    let query =
        "SELECT 1 FROM token WHERE tenant IS NULL AND scope = 'full' AND revoked IS NULL LIMIT 1";
    Ok(db.query_row(query, [], |_| Ok(())).optional()?.is_some())
}

/// Takes a token of a tenant, or of administrators, out of use. Again changes nothing.
///
/// # Errors
/// When there is no such token.
pub fn revoke(db: &Connection, tenant: Option<&TenantId>, id: TokenId) -> Result<Token, Refusal> {
    let tokens = list(db, tenant)?;
    let found = tokens.into_iter().find(|token| token.id == id);
    let found = found.ok_or_else(|| Refusal::not_found("token", &id.to_string()))?;
    db.execute(
        "UPDATE token SET revoked = ? WHERE id = ? AND revoked IS NULL",
        params![milliseconds(Timestamp::now()), id.0],
    )?;
    Ok(found)
}

/// Who shows this token, if it opens anything. Notes that it was used, at most once a minute, since that is a write.
///
/// # Errors
/// When the catalog cannot be used.
pub fn caller(db: &Connection, secret: &str) -> Result<Option<Caller>, Refusal> {
    let mut query = db.prepare_cached("SELECT * FROM token WHERE hash = ? AND revoked IS NULL")?;
    let Some(token) = query.query_row([hash(secret)], token).optional()? else {
        return Ok(None);
    };
    let now = Timestamp::now();
    let minute = SignedDuration::from_mins(1);
    if token
        .used
        .is_none_or(|used| now.duration_since(used) >= minute)
    {
        let values = params![milliseconds(now), token.id.0];
        db.execute("UPDATE token SET used = ? WHERE id = ?", values)?;
    }
    let whose = token.tenant.as_deref().unwrap_or(ADMIN);
    Ok(Some(Caller {
        who: format!("{whose}/{}", token.label),
        scope: token.scope,
        tenant: match &token.tenant {
            Some(tenant) => Some(TenantId::parse(tenant).map_err(Refusal::internal)?),
            None => None,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::super::{tenant, tests::empty};
    use super::*;

    #[test]
    fn a_token_opens_until_it_is_revoked_and_is_kept_nowhere() {
        let catalog = empty();
        let acme = TenantId::parse("acme").unwrap();
        let secret = Secret::new().unwrap();
        let id = catalog
            .change(|db| {
                tenant::create(db, &acme, &tenant::Policy::default())?;
                create(db, &secret, Some(&acme), "laptop", Scope::Full)
            })
            .unwrap();
        let who = || catalog.read(|db| caller(db, secret.reveal())).unwrap();
        let found = who().unwrap();
        assert_eq!(
            (found.who.as_str(), found.tenant.as_ref()),
            ("acme/laptop", Some(&acme))
        );
        assert!(!found.sees(&TenantId::parse("other").unwrap()));
        let shown = catalog.read(|db| list(db, Some(&acme))).unwrap();
        assert!(shown[0].used.is_some());

        let other = TenantId::parse("other").unwrap();
        assert!(catalog.change(|db| revoke(db, Some(&other), id)).is_err());
        assert!(who().is_some(), "another tenant cannot revoke it");
        catalog.change(|db| revoke(db, Some(&acme), id)).unwrap();
        assert_eq!(who(), None);
    }

    #[test]
    fn two_tokens_differ_and_neither_is_short() {
        let (one, other) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_ne!(one.reveal(), other.reveal());
        assert!(one.reveal().starts_with("wm_") && one.reveal().len() == 3 + 43);
    }

    #[test]
    fn what_is_no_token_opens_nothing() {
        let catalog = empty();
        for text in ["", "wm_", "' OR 1=1 --"] {
            assert_eq!(catalog.read(|db| caller(db, text)).unwrap(), None);
        }
    }
}
