//! The shapes of questions and answers that are the API's own, and how handlers take and give them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Api;
use super::turns::Turns;
use crate::ids::{PipelineName, PluginName, SecretName, TenantId};
use crate::server::Service;
use crate::server::catalog::tenant::Policy;
use crate::server::catalog::token::{Scope, TokenId};
use crate::server::refusal::{Code, Refusal};
use crate::server::rejected::RowId;

/// What a handler gives.
pub type Answer<T> = Result<Json<T>, Refusal>;

/// The body of every refusal.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorBody {
    /// What was refused.
    pub error: Refusal,
}

/// Who a token's holder is.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Who {
    /// As the audit log calls it.
    pub who: String,
    /// The tenant; none for an administrator.
    pub tenant: Option<String>,
    /// `admin` or `tenant`.
    pub role: String,
    /// How much of what that may do the token is good for.
    pub scope: Scope,
}

/// A tenant to be made.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// Its name.
    pub name: String,
    /// What it may have.
    #[serde(default)]
    pub policy: Policy,
}

/// A token to be made.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What its holder calls it.
    pub label: String,
    /// How much of what its holder may do it is good for.
    #[serde(default)]
    pub scope: Scope,
}

/// A token that was made, this once with what to show.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShownToken {
    /// Its number.
    pub id: TokenId,
    /// The token.
    pub token: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.code {
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::Conflict => StatusCode::CONFLICT,
            Code::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::Timeout => StatusCode::REQUEST_TIMEOUT,
            Code::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let hint = match self.code {
            Code::Unauthorized => Some((header::WWW_AUTHENTICATE, "Bearer")),
            Code::TooManyAttempts | Code::Busy => Some((header::RETRY_AFTER, "60")),
            _ => None,
        };
        let body = Json(ErrorBody { error: self });
        match hint {
            Some(hint) => (status, [hint], body).into_response(),
            None => (status, body).into_response(),
        }
    }
}

/// The tenant that the address names, which the caller may know of.
pub struct TenantAt(pub TenantId);

impl<S: Send + Sync> FromRequestParts<S> for TenantAt {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let tenant = parts.extensions.get::<TenantId>().cloned();
        tenant.map(Self).ok_or_else(|| {
            Refusal::internal("a handler wants a tenant, and its address names none")
        })
    }
}

/// The pipeline that the address names; it may not be there.
pub struct PipelineAt(pub PipelineName);

impl<S: Send + Sync> FromRequestParts<S> for PipelineAt {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let name = named(parts, state, "pipeline").await?;
        Ok(Self(PipelineName::parse(&name)?))
    }
}

/// The plugin that the address names; it may not be there.
pub struct PluginAt(pub PluginName);

impl<S: Send + Sync> FromRequestParts<S> for PluginAt {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let name = named(parts, state, "plugin").await?;
        Ok(Self(PluginName::parse(&name)?))
    }
}

/// The secret that the address names; it may not be there.
pub struct SecretAt(pub SecretName);

impl<S: Send + Sync> FromRequestParts<S> for SecretAt {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let name = named(parts, state, "secret").await?;
        Ok(Self(SecretName::parse(&name)?))
    }
}

/// The number that the address ends with: of a version or a token.
pub struct NumberAt(pub u32);

impl<S: Send + Sync> FromRequestParts<S> for NumberAt {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let text = named(parts, state, "number").await?;
        let wrong = |_| Refusal::invalid(format!("`{text}` is not a number"));
        text.parse().map(Self).map_err(wrong)
    }
}

/// The rejected row that the address ends with; it may not be there.
pub struct RowAt(pub RowId);

impl<S: Send + Sync> FromRequestParts<S> for RowAt {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let text = named(parts, state, "row").await?;
        text.parse().map(Self).map_err(Refusal::invalid)
    }
}

/// What the address has at the place that the route calls so.
async fn named<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    place: &str,
) -> Result<String, Refusal> {
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|rejection| Refusal::invalid(rejection.body_text()))?;
    let found = params.iter().find(|(key, _)| *key == place);
    found.map(|(_, value)| value.to_owned()).ok_or_else(|| {
        Refusal::internal(format!(
            "a handler wants a {place}, and its address names none"
        ))
    })
}

/// What the address has behind its question mark.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let asked = Query::<T>::from_request_parts(parts, state).await;
        let Query(asked) = asked.map_err(|rejection| Refusal::invalid(rejection.body_text()))?;
        Ok(Self(asked))
    }
}

/// A body of JSON.
pub struct Sent<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let sent = Json::<T>::from_request(request, state).await;
        let Json(sent) = sent.map_err(|rejection| Refusal::invalid(rejection.body_text()))?;
        Ok(Self(sent))
    }
}

impl Api {
    /// Does what has processes work on what a tenant sent, when it is its turn. Who hangs up keeps the turn until it is done.
    pub async fn check<T: Send + 'static>(
        &self,
        turns: &Turns,
        tenant: TenantId,
        work: impl FnOnce(&Service, &TenantId) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = turns.turn(&tenant, self.timeout).await?;
        let work = move |service: &Service| {
            let _turn = turn;
            work(service, &tenant)
        };
        self.run(work).await
    }

    /// Does what takes disk or processor where that holds nobody else up.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Service) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let service = Arc::clone(&self.service);
        let done = tokio::task::spawn_blocking(move || work(&service)).await;
        done.unwrap_or_else(|panicked| Err(Refusal::internal(panicked)))
    }
}
