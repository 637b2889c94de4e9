//! The HTTP API: what the routes have in common, and how they are served.
//!
//! Every route goes through [`guard`]: whatever is added is closed to callers without a token, and what names a tenant is not there for callers
//! of another. The routes of administrators have one more guard. A handler has only the right callers.

mod answer;
mod attempts;
mod body;
mod connections;
mod dashboard;
mod document;
mod events;
mod guard;
mod open;
mod pipelines;
mod plugins;
mod rejected;
mod requests;
mod secrets;
mod serve;
mod tenants;
mod tokens;
mod turns;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use jiff::Timestamp;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::refusal::{Code, Refusal};
use attempts::Attempts;
use connections::Connections;
use document::Document;
use requests::Requests;
use turns::Turns;

pub use answer::{NewTenant, NewToken, ShownToken, Who};
pub use plugins::SIGNATURE;
pub use secrets::NewSecret;
pub use serve::{Listener, listen};

/// What the handlers share.
pub struct Api {
    service: Arc<Service>,
    attempts: Attempts,
    connections: Connections,
    requests: Requests,
    started: Timestamp,
    /// Components that come in: each is held in memory, as large as it may be.
    uploads: Turns,
    /// Compiling and checking take a core for a while.
    checks: Turns,
    /// So do shadows, for longer.
    shadows: Turns,
    /// Streams of events, each a connection that stays.
    streams: Turns,
    timeout: std::time::Duration,
    document: std::sync::OnceLock<OpenApi>,
}

/// All routes and their description.
fn routes(api: &Arc<Api>) -> Router {
    let tenants = OpenApiRouter::new()
        .routes(routes!(tenants::whoami))
        .routes(routes!(tenants::list))
        .routes(routes!(tenants::show))
        .routes(routes!(tenants::audit))
        .routes(routes!(tenants::usage))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::set, secrets::remove))
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
        .routes(routes!(pipelines::shadow))
        .routes(routes!(pipelines::rollback))
        .routes(routes!(pipelines::status))
        .routes(routes!(pipelines::logs))
        .routes(routes!(rejected::count))
        .routes(routes!(rejected::rows))
        .routes(routes!(rejected::row))
        .routes(routes!(rejected::replay))
        .routes(routes!(rejected::discard))
        .routes(routes!(events::events))
        .routes(routes!(watch::graph))
        .routes(routes!(watch::history))
        .routes(routes!(watch::metrics));
    let admins = OpenApiRouter::new()
        .routes(routes!(tenants::create))
        .routes(routes!(tenants::remove))
        .routes(routes!(tenants::set_policy))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::list_admins, tokens::create_admin))
        .routes(routes!(tokens::revoke_admin))
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
    document::guarded(&mut document);
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
