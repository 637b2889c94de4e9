//! Tokens of tenants and of administrators.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::Api;
use super::answer::{Answer, NewToken, NumberAt, Sent, ShownToken, TenantAt};
use crate::ids::TenantId;
use crate::server::Service;
use crate::server::catalog::audit::{self, Change};
use crate::server::catalog::tenant::{self, ADMIN};
use crate::server::catalog::token::{self, Caller, Secret, Token, TokenId};
use crate::server::refusal::Refusal;

/// A tenant's tokens, without what opens anything.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/tokens", tag = "tenants", params(("tenant" = String, Path)),
    responses((status = 200, body = Vec<Token>)))]
pub async fn list(State(api): State<Arc<Api>>, TenantAt(name): TenantAt) -> Answer<Vec<Token>> {
    let list = api.run(move |service| service.catalog.read(|db| token::list(db, Some(&name))));
    list.await.map(Json)
}

/// Makes a token of a tenant; nobody can ask for it again.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/tokens", tag = "tenants", params(("tenant" = String, Path)),
    request_body = NewToken, responses((status = 200, body = ShownToken)))]
pub async fn create(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(name): TenantAt,
    Sent(new): Sent<NewToken>,
) -> Answer<ShownToken> {
    let made = api.run(move |service| service.make_token(&caller, Some(&name), &new));
    made.await.map(Json)
}

/// Takes a token of a tenant out of use, at once.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/tokens/{number}", tag = "tenants",
    params(("tenant" = String, Path), ("number" = u32, Path)), responses((status = 204)))]
pub async fn revoke(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(name): TenantAt,
    NumberAt(id): NumberAt,
) -> Result<StatusCode, Refusal> {
    let revoked = api.run(move |service| service.revoke_token(&caller, Some(&name), id));
    revoked.await.map(|()| StatusCode::NO_CONTENT)
}

/// Administrators' tokens, without what opens anything.
#[utoipa::path(get, path = "/v1/tokens", tag = "administrators", responses((status = 200, body = Vec<Token>)))]
pub async fn list_admins(State(api): State<Arc<Api>>) -> Answer<Vec<Token>> {
    let list = api.run(move |service| service.catalog.read(|db| token::list(db, None)));
    list.await.map(Json)
}

/// Makes a token of an administrator; nobody can ask for it again.
#[utoipa::path(post, path = "/v1/tokens", tag = "administrators", request_body = NewToken,
    responses((status = 200, body = ShownToken)))]
pub async fn create_admin(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Sent(new): Sent<NewToken>,
) -> Answer<ShownToken> {
    let made = api.run(move |service| service.make_token(&caller, None, &new));
    made.await.map(Json)
}

/// Takes a token of an administrator out of use, at once; the last one stays.
#[utoipa::path(delete, path = "/v1/tokens/{number}", tag = "administrators", params(("number" = u32, Path)),
    responses((status = 204)))]
pub async fn revoke_admin(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    NumberAt(id): NumberAt,
) -> Result<StatusCode, Refusal> {
    let revoked = api.run(move |service| service.revoke_token(&caller, None, id));
    revoked.await.map(|()| StatusCode::NO_CONTENT)
}

impl Service {
    fn make_token(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
        new: &NewToken,
    ) -> Result<ShownToken, Refusal> {
        let label = checked(&new.label)?;
        let secret = Secret::new()?;
        let id = self.catalog.change(|db| {
            if let Some(tenant) = tenant {
                tenant::get(db, tenant)?;
            }
            let id = token::create(db, &secret, tenant, label, new.scope)?;
            write(db, caller, tenant, "token create", id, label)?;
            Ok(id)
        })?;
        let token = secret.reveal().to_owned();
        Ok(ShownToken { id, token })
    }

    fn revoke_token(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
        id: u32,
    ) -> Result<(), Refusal> {
        self.catalog.change(|db| {
            let token = token::revoke(db, tenant, TokenId(id.into()))?;
            if token.revoked.is_some() {
                return Ok(());
            }
            if tenant.is_none() && !token::has_admin(db)? {
                let message = "nobody could administer the server without this token";
                return Err(Refusal::conflict(message).help("make another one first"));
            }
            write(db, caller, tenant, "token revoke", token.id, &token.label)
        })
    }
}

fn write(
    db: &rusqlite::Connection,
    caller: &Caller,
    tenant: Option<&TenantId>,
    action: &str,
    id: TokenId,
    label: &str,
) -> Result<(), Refusal> {
    let change = Change {
        who: &caller.who,
        tenant,
        action,
        subject: &format!("{}/{label}", tenant.map_or(ADMIN, TenantId::as_str)),
        before: None,
        after: Some(&id.to_string()),
    };
    audit::write(db, &change)
}

/// Labels stand in the audit log and in tables on terminals.
fn checked(label: &str) -> Result<&str, Refusal> {
    let is_printable = label.chars().all(|c| !c.is_control());
    if !label.is_empty() && label.len() <= 63 && is_printable {
        return Ok(label);
    }
    Err(Refusal::invalid(
        "a label has 1 to 63 bytes, and no control characters",
    ))
}
