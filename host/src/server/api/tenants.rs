//! Tenants, their tokens, and the audit log.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;

use super::Api;
use super::answer::{Answer, NewTenant, NewToken, NumberAt, Sent, ShownToken, TenantAt, Who};
use crate::ids::TenantId;
use crate::jobs::Usage;
use crate::server::catalog::audit::{self, AuditLine, Change};
use crate::server::catalog::tenant::{self, Policy};
use crate::server::catalog::token::{self, Caller, Secret, Token, TokenId};
use crate::server::refusal::Refusal;

/// Who the token's holder is.
#[utoipa::path(get, path = "/v1/whoami", tag = "tenants", responses((status = 200, body = Who)))]
pub async fn whoami(Extension(caller): Extension<Caller>) -> Json<Who> {
    Json(Who {
        who: caller.who,
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
                who: &caller.who,
                tenant: Some(&name),
                action: "tenant create",
                subject: name.as_str(),
                before: None,
                after: None,
            };
            audit::write(db, &change)
        })?;
        service.tell_quota(&name)
    });
    made.await.map(Json)
}

/// A tenant and what it may have.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path)),
    responses((status = 200, body = tenant::Tenant)))]
pub async fn show(State(api): State<Arc<Api>>, TenantAt(name): TenantAt) -> Answer<tenant::Tenant> {
    let found = api.run(move |service| service.catalog.read(|db| tenant::get(db, &name)));
    found.await.map(Json)
}

/// Sets what a tenant may have. `plugin_millicores` counts at once, the rest for what is applied from then on.
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
            let as_text =
                |policy: &Policy| serde_json::to_string(policy).map_err(Refusal::internal);
            let change = Change {
                who: &caller.who,
                tenant: Some(&name),
                action: "tenant policy",
                subject: name.as_str(),
                before: Some(&as_text(&before)?),
                after: Some(&as_text(&policy)?),
            };
            audit::write(db, &change)
        })?;
        service.tell_quota(&name)
    });
    set.await.map(Json)
}

/// What a tenant's pipelines have cost since the server started, of processor time, and cost now, of memory.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/usage", tag = "tenants", params(("tenant" = String, Path)),
    responses((status = 200, body = Object)))]
pub async fn usage(State(api): State<Arc<Api>>, TenantAt(name): TenantAt) -> Answer<Usage> {
    let usage = api.run(move |service| Ok(service.jobs.usage(&name)));
    usage.await.map(Json)
}

/// A tenant's tokens, without what opens anything.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/tokens", tag = "tenants", params(("tenant" = String, Path)),
    responses((status = 200, body = Vec<Token>)))]
pub async fn tokens(State(api): State<Arc<Api>>, TenantAt(name): TenantAt) -> Answer<Vec<Token>> {
    let list = api.run(move |service| service.catalog.read(|db| token::list(db, Some(&name))));
    list.await.map(Json)
}

/// Makes a token of a tenant; nobody can ask for it again.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/tokens", tag = "tenants", params(("tenant" = String, Path)),
    request_body = NewToken, responses((status = 200, body = ShownToken)))]
pub async fn create_token(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(name): TenantAt,
    Sent(new): Sent<NewToken>,
) -> Answer<ShownToken> {
    let made = api.run(move |service| {
        let label = checked_label(&new.label)?;
        let secret = Secret::new()?;
        let id = service.catalog.change(|db| {
            let id = token::create(db, &secret, Some(&name), label)?;
            write(db, &caller, &name, "token create", id, label)?;
            Ok(id)
        })?;
        let token = secret.reveal().to_owned();
        Ok(ShownToken { id, token })
    });
    made.await.map(Json)
}

/// Takes a token of a tenant out of use, at once.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/tokens/{number}", tag = "tenants",
    params(("tenant" = String, Path), ("number" = u32, Path)), responses((status = 204)))]
pub async fn revoke_token(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(name): TenantAt,
    NumberAt(id): NumberAt,
) -> Result<StatusCode, Refusal> {
    let revoked = api.run(move |service| {
        service.catalog.change(|db| {
            let token = token::revoke(db, Some(&name), TokenId(id.into()))?;
            write(db, &caller, &name, "token revoke", token.id, &token.label)
        })
    });
    revoked.await.map(|()| StatusCode::NO_CONTENT)
}

fn write(
    db: &rusqlite::Connection,
    caller: &Caller,
    tenant: &TenantId,
    action: &str,
    id: TokenId,
    label: &str,
) -> Result<(), Refusal> {
    let change = Change {
        who: &caller.who,
        tenant: Some(tenant),
        action,
        subject: &format!("{tenant}/{label}"),
        before: None,
        after: Some(&id.to_string()),
    };
    audit::write(db, &change)
}

/// Labels stand in the audit log and in tables on terminals.
fn checked_label(label: &str) -> Result<&str, Refusal> {
    let is_printable = label.chars().all(|c| !c.is_control());
    if !label.is_empty() && label.len() <= 63 && is_printable {
        return Ok(label);
    }
    Err(Refusal::invalid(
        "a label has 1 to 63 bytes, and no control characters",
    ))
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

/// What was changed of a tenant's things, latest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/audit", tag = "audit", params(("tenant" = String, Path), Latest),
    responses((status = 200, body = Vec<AuditLine>)))]
pub async fn audit(
    State(api): State<Arc<Api>>,
    TenantAt(name): TenantAt,
    Query(latest): Query<Latest>,
) -> Answer<Vec<AuditLine>> {
    let limit = latest.limit;
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
    Query(latest): Query<Latest>,
) -> Answer<Vec<AuditLine>> {
    let limit = latest.limit;
    let lines = api.run(move |service| service.catalog.read(|db| audit::latest(db, None, limit)));
    lines.await.map(Json)
}
