//! The HTTP API: what the routes have in common, and how they are served.
//!
//! Every route goes through [`guard`]: whatever is added is closed to callers without a token, and what names a tenant is not there for callers
//! of another. The routes of administrators have one more guard. A handler has only the right callers.

mod answer;
mod attempts;
mod dashboard;
mod events;
mod guard;
mod open;
mod pipelines;
mod plugins;
mod requests;
mod serve;
mod tenants;
mod uploads;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::refusal::{Code, Refusal};
use attempts::Attempts;
use requests::Requests;
use uploads::Uploads;

pub use answer::{NewTenant, NewToken, ShownToken, Who};
pub use plugins::SIGNATURE;
pub use serve::{Listener, listen};

/// What the handlers share.
pub struct Api {
    service: Arc<Service>,
    attempts: Attempts,
    requests: Requests,
    started: Timestamp,
    uploads: Uploads,
    /// Compiling and checking take a core for a while.
    checks: Arc<Semaphore>,
    timeout: std::time::Duration,
    document: std::sync::OnceLock<OpenApi>,
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Wasmill",
        description = "Plugins and pipelines of a server's tenants. Every refusal is `{\"error\": {...}}`."
    ),
    components(schemas(answer::ErrorBody))
)]
struct Document;

/// All routes and their description.
fn routes(api: &Arc<Api>) -> Router {
    let tenants = OpenApiRouter::new()
        .routes(routes!(tenants::whoami))
        .routes(routes!(tenants::list))
        .routes(routes!(tenants::show))
        .routes(routes!(tenants::audit))
        .routes(routes!(tenants::usage))
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::versions, plugins::push))
        .routes(routes!(plugins::show, plugins::remove))
        .routes(routes!(plugins::pull))
        .routes(routes!(plugins::signed))
        .routes(routes!(pipelines::list))
        .routes(routes!(
            pipelines::show,
            pipelines::apply,
            pipelines::remove
        ))
        .routes(routes!(pipelines::plan))
        .routes(routes!(pipelines::versions))
        .routes(routes!(pipelines::version))
        .routes(routes!(pipelines::pause))
        .routes(routes!(pipelines::resume))
        .routes(routes!(pipelines::stop))
        .routes(routes!(pipelines::upgrade))
        .routes(routes!(pipelines::plan_upgrade))
        .routes(routes!(pipelines::rollback))
        .routes(routes!(pipelines::status))
        .routes(routes!(pipelines::logs))
        .routes(routes!(events::events))
        .routes(routes!(watch::graph))
        .routes(routes!(watch::history))
        .routes(routes!(watch::metrics));
    let admins = OpenApiRouter::new()
        .routes(routes!(tenants::create))
        .routes(routes!(tenants::set_policy))
        .routes(routes!(tenants::tokens, tenants::create_token))
        .routes(routes!(tenants::revoke_token))
        .routes(routes!(tenants::audit_of_all))
        .layer(from_fn(guard::admins_only));
    let guarded = OpenApiRouter::with_openapi(Document::openapi())
        .merge(tenants)
        .merge(admins)
        // The guard knows how much each route takes; axum's own limit is 2 MB for all.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(api.clone(), guard::guard));
    let open = OpenApiRouter::new()
        .routes(routes!(open::healthz))
        .routes(routes!(open::readyz))
        .routes(routes!(open::openapi));
    let (open, open_paths) = open.split_for_parts();
    let (guarded, mut document) = guarded.split_for_parts();
    secure(&mut document);
    document.merge(open_paths);
    // Set once, here.
    api.document.set(document).ok();
    guarded
        .merge(open)
        .merge(dashboard::routes())
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_in_this_way)
        .layer(from_fn_with_state(api.clone(), requests::count))
        .with_state(api.clone())
}

/// Says in the document of guarded routes that they want a token.
fn secure(document: &mut OpenApi) {
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(SCHEME, scheme);
    for item in document.paths.paths.values_mut() {
        let methods = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
        ];
        for operation in methods.into_iter().flatten() {
            let needs = utoipa::openapi::security::SecurityRequirement::new(SCHEME, [""; 0]);
            operation.security = Some(vec![needs]);
        }
    }
}

const SCHEME: &str = "token";

async fn nothing_here() -> Refusal {
    Refusal::new(Code::NotFound, "there is nothing at this address")
        .help("/openapi.json lists what there is")
}

async fn not_in_this_way() -> Refusal {
    Refusal::new(
        Code::MethodNotAllowed,
        "what is at this address cannot be asked in this way",
    )
    .help("/openapi.json lists what there is")
}
