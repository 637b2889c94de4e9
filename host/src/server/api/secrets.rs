//! Secrets of a tenant. They come in and never go out.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::Api;
use super::answer::{Answer, SecretAt, Sent, TenantAt};
use crate::secret::SecretText;
use crate::server::catalog::secret::SecretView;
use crate::server::catalog::token::Caller;
use crate::server::refusal::Refusal;

/// A secret to be set.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// What it says, 8 bytes to 16 KiB.
    #[schema(value_type = String)]
    pub value: SecretText,
}

/// All secrets, without what they say.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/secrets", tag = "secrets", params(("tenant" = String, Path)),
    responses((status = 200, body = Vec<SecretView>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
) -> Answer<Vec<SecretView>> {
    let views = api.run(move |service| service.secret_views(&tenant));
    views.await.map(Json)
}

/// Sets a secret. Pipelines that start from then on have it.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/secrets/{secret}", tag = "secrets",
    params(("tenant" = String, Path), ("secret" = String, Path)), request_body = NewSecret, responses((status = 204)))]
pub async fn set(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(tenant): TenantAt,
    SecretAt(name): SecretAt,
    Sent(new): Sent<NewSecret>,
) -> Result<StatusCode, Refusal> {
    let set = api.run(move |service| service.set_secret(&caller, &tenant, &name, &new.value));
    set.await.map(|()| StatusCode::NO_CONTENT)
}

/// Removes a secret. What runs keeps it to its end.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/secrets/{secret}", tag = "secrets",
    params(("tenant" = String, Path), ("secret" = String, Path)), responses((status = 204)))]
pub async fn remove(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(tenant): TenantAt,
    SecretAt(name): SecretAt,
) -> Result<StatusCode, Refusal> {
    let removed = api.run(move |service| service.remove_secret(&caller, &tenant, &name));
    removed.await.map(|()| StatusCode::NO_CONTENT)
}
