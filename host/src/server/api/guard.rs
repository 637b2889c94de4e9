//! Who may ask at all, and how much may be sent how slowly.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{ConnectInfo, MatchedPath, RawPathParams, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::{Api, body};
use crate::ids::TenantId;
use crate::server::catalog::tenant;
use crate::server::catalog::token::{self, Caller, Scope};
use crate::server::refusal::{Code, Refusal};

/// Components of languages with a runtime are some ten megabytes.
const COMPONENT_BYTES: usize = 64 << 20;
/// Pipeline files and policies are some kilobytes.
const OTHER_BYTES: usize = 1 << 20;
/// The route that takes components.
pub const COMPONENTS: &str = "/v1/tenants/{tenant}/plugins/{plugin}";

/// The route for scrapers.
const METRICS: &str = "/metrics";

/// Lets in who has a token, to what the token may know of, with a body that has come in whole and in time. A stranger's body is not read.
pub async fn guard(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    named: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let shown = ShownSecret(secret(&request)?);
    let caller = authenticate(&api, peer, shown.0.clone()).await?;
    is_in_scope(caller.scope, &request)?;
    let named = named.map_err(|_| Refusal::new(Code::NotFound, "the address is not utf8"))?;
    if let Some((_, name)) = named.iter().find(|(key, _)| *key == "tenant") {
        let tenant = known_tenant(&api, &caller, name).await?;
        if takes_component(&request) {
            let turn = api.uploads.turn(&tenant, api.timeout).await?;
            request.extensions_mut().insert(turn);
        }
        request.extensions_mut().insert(tenant);
    }
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(shown);
    let most = match takes_component(&request) {
        true => COMPONENT_BYTES,
        false => OTHER_BYTES,
    };
    let request = body::received(request, most, api.timeout).await?;
    Ok(next.run(request).await)
}

/// The token that a request came with, for answers that last longer than it may.
#[derive(Clone)]
pub struct ShownSecret(String);

impl ShownSecret {
    /// Whether it still opens something. What cannot be asked is no reason to hang up.
    pub async fn still_opens(&self, api: &Api) -> bool {
        let secret = self.0.clone();
        let caller =
            api.run(move |service| service.catalog.change(|db| token::caller(db, &secret)));
        !matches!(caller.await, Ok(None))
    }
}

/// Lets in administrators. Who came so far may know of the tenant, so it is no secret what it may not do.
pub async fn admins_only(request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    match caller.is_some_and(|caller| caller.tenant.is_none()) {
        true => next.run(request).await,
        false => Refusal::new(Code::Forbidden, "only administrators do this").into_response(),
    }
}

/// Whether this is something that a token of the scope is good for.
fn is_in_scope(scope: Scope, request: &Request) -> Result<(), Refusal> {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", MatchedPath::as_str);
    let (allowed, good_for) = match scope {
        Scope::Full => return Ok(()),
        Scope::Read => (request.method().is_safe(), "looking"),
        Scope::Metrics => (route == METRICS, "metrics"),
    };
    if allowed {
        return Ok(());
    }
    let message = format!("this token is good for {good_for} alone");
    Err(Refusal::new(Code::Forbidden, message)
        .help("use one that was made without `--scope`, or with a wider one"))
}

fn unauthorized(message: &str) -> Refusal {
    Refusal::new(Code::Unauthorized, message)
        .help("send the header `Authorization: Bearer wm_...`; `wasmill login` keeps a token for the command line")
}

/// The token that a request shows.
fn secret(request: &Request) -> Result<String, Refusal> {
    let header = request.headers().get(header::AUTHORIZATION);
    let header = header.ok_or_else(|| unauthorized("this needs a token"))?;
    let text = header.to_str().unwrap_or_default();
    let shown = text.split_once(' ');
    let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Ok(shown.map_or("", |(_, token)| token.trim()).to_owned())
}

async fn authenticate(api: &Api, peer: SocketAddr, secret: String) -> Result<Caller, Refusal> {
    let caller = api
        .run(move |service| service.catalog.change(|db| token::caller(db, &secret)))
        .await?;
    caller.ok_or_else(
        || match api.attempts.is_too_many(peer.ip(), Instant::now()) {
            true => Refusal::new(
                Code::TooManyAttempts,
                "too many wrong tokens came from this address",
            )
            .help("try again in a minute"),
            false => unauthorized("the token opens nothing: it is wrong, or was revoked"),
        },
    )
}

/// The tenant that is named, or that there is none: the same for one that is not there and for one that is another's.
async fn known_tenant(api: &Api, caller: &Caller, name: &str) -> Result<TenantId, Refusal> {
    let unknown = || Refusal::not_found("tenant", name);
    let tenant = TenantId::parse(name).map_err(|_| unknown())?;
    if !caller.sees(&tenant) {
        return Err(unknown());
    }
    api.run(move |service| {
        service
            .catalog
            .read(|db| tenant::get(db, &tenant).map(|tenant| tenant.name))
    })
    .await
}

fn takes_component(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>();
    request.method() == Method::PUT && route.is_some_and(|route| route.as_str() == COMPONENTS)
}
