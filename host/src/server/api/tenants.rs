//! Tenants, their tokens, and the audit log.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;

use super::Api;
use super::answer::{Answer, Asked, NewTenant, Sent, TenantAt, Who};
use crate::ids::TenantId;
use crate::server::catalog::audit::{self, AuditLine, Change};
use crate::server::catalog::tenant::{self, Policy};
use crate::server::catalog::token::Caller;
use crate::server::catalog::usage::By;
use crate::server::refusal::Refusal;
use crate::server::usage::TenantUsage;

/// Who the token's holder is.
#[utoipa::path(get, path = "/v1/whoami", tag = "tenants", responses((status = 200, body = Who)))]
pub async fn whoami(Extension(caller): Extension<Caller>) -> Json<Who> {
    Json(Who {
        who: caller.who,
        scope: caller.scope,
        role: match &caller.tenant {
            Some(_) => "tenant",
            None => "admin",
        }
        .into(),
        tenant: caller.tenant.map(Into::into),
    })
}

/// The tenants that the caller may know of.
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants", responses((status = 200, body = Vec<tenant::Tenant>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Answer<Vec<tenant::Tenant>> {
    let mut tenants = api
        .run(|service| service.catalog.read(tenant::list))
        .await?;
    tenants.retain(|tenant| caller.sees(&tenant.name));
    Ok(Json(tenants))
}

/// Makes a tenant.
#[utoipa::path(post, path = "/v1/tenants", tag = "tenants", request_body = NewTenant,
    responses((status = 200, body = tenant::Tenant)))]
pub async fn create(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Sent(new): Sent<NewTenant>,
) -> Answer<tenant::Tenant> {
    let made = api.run(move |service| {
        let name = TenantId::parse(&new.name)?;
        new.policy.check()?;
        service.folder.files(&name)?;
        service.catalog.change(|db| {
            tenant::create(db, &name, &new.policy)?;
            let change = Change {
                after: Some(&as_text(&new.policy)?),
                ..Change::of(&caller, &name, "tenant create", name.as_str())
            };
            audit::write(db, &change)
        })?;
        service.tell_terms(&name)
    });
    made.await.map(Json)
}

/// Removes a tenant that has no pipelines, with all it has: tokens, plugins, secrets, files, and the account of what it used.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path)), responses((status = 204)))]
pub async fn remove(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(name): TenantAt,
) -> Result<StatusCode, Refusal> {
    let removed = api.run(move |service| service.remove_tenant(&caller, &name));
    removed.await.map(|()| StatusCode::NO_CONTENT)
}

/// A tenant and what it may have.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path)),
    responses((status = 200, body = tenant::Tenant)))]
pub async fn show(State(api): State<Arc<Api>>, TenantAt(name): TenantAt) -> Answer<tenant::Tenant> {
    let found = api.run(move |service| service.catalog.read(|db| tenant::get(db, &name)));
    found.await.map(Json)
}

/// Sets what a tenant may have. Processor time, memory, state, rows and log lines count at once, the rest for what is applied from then on.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/policy", tag = "tenants", params(("tenant" = String, Path)),
    request_body = Policy, responses((status = 200, body = tenant::Tenant)))]
pub async fn set_policy(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(name): TenantAt,
    Sent(policy): Sent<Policy>,
) -> Answer<tenant::Tenant> {
    let set = api.run(move |service| {
        policy.check()?;
        service.catalog.change(|db| {
            let before = tenant::get(db, &name)?.policy;
            tenant::set_policy(db, &name, &policy)?;
            let change = Change {
                before: Some(&as_text(&before)?),
                after: Some(&as_text(&policy)?),
                ..Change::of(&caller, &name, "tenant policy", name.as_str())
            };
            audit::write(db, &change)
        })?;
        service.tell_terms(&name)
    });
    set.await.map(Json)
}

/// How an account is to be cut.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Account {
    /// Into which parts.
    #[serde(default)]
    #[param(inline)]
    by: By,
    /// From this day on, in UTC: `2026-11-22`.
    since: Option<String>,
}

/// What a tenant's pipelines use, and have used by plugin, day or pipeline. It is some seconds old.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/usage", tag = "tenants", params(("tenant" = String, Path), Account),
    responses((status = 200, body = TenantUsage)))]
pub async fn usage(
    State(api): State<Arc<Api>>,
    TenantAt(name): TenantAt,
    Asked(account): Asked<Account>,
) -> Answer<TenantUsage> {
    let since = account.since.map(|day| {
        day.parse().map_err(|_| {
            Refusal::invalid(format!("`{day}` is not a day")).help("write it as 2026-11-22")
        })
    });
    let since = since.transpose()?;
    let usage = api.run(move |service| service.usage(&name, account.by, since));
    usage.await.map(Json)
}

fn as_text(policy: &Policy) -> Result<String, Refusal> {
    serde_json::to_string(policy).map_err(Refusal::internal)
}

/// Which lines of the audit log.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Latest {
    /// At most so many.
    #[serde(default = "hundred")]
    limit: u32,
}

fn hundred() -> u32 {
    100
}

/// More lines at once are a matter for who has the catalog's file.
const MOST_LINES: u32 = 10_000;

/// What was changed of a tenant's things, latest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/audit", tag = "audit", params(("tenant" = String, Path), Latest),
    responses((status = 200, body = Vec<AuditLine>)))]
pub async fn audit(
    State(api): State<Arc<Api>>,
    TenantAt(name): TenantAt,
    Asked(latest): Asked<Latest>,
) -> Answer<Vec<AuditLine>> {
    let limit = latest.limit.min(MOST_LINES);
    let lines = api.run(move |service| {
        service
            .catalog
            .read(|db| audit::latest(db, Some(&name), limit))
    });
    lines.await.map(Json)
}

/// What was changed of everything, latest first.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(Latest), responses((status = 200, body = Vec<AuditLine>)))]
pub async fn audit_of_all(
    State(api): State<Arc<Api>>,
    Asked(latest): Asked<Latest>,
) -> Answer<Vec<AuditLine>> {
    let limit = latest.limit.min(MOST_LINES);
    let lines = api.run(move |service| service.catalog.read(|db| audit::latest(db, None, limit)));
    lines.await.map(Json)
}
