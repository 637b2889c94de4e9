//! The dashboard: files of this program for a browser, which then talks to the API as every client does.
//!
//! The files tell nobody anything and are open. They are modules as they are written: nothing is bundled, and nothing comes from elsewhere.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// A file: where it is, what it is, what is in it.
type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $kind:ident $file:literal,)*) => {
        [$(($path, $kind, include_str!(concat!("../dashboard/", $file)))),*]
    };
}

const FILES: [File; 18] = files![
    "/" HTML "index.html",
    "/dashboard/style.css" CSS "style.css",
    "/dashboard/icon.svg" SVG "icon.svg",
    "/dashboard/app.js" JS "app.js",
    "/dashboard/api.js" JS "api.js",
    "/dashboard/clock.js" JS "clock.js",
    "/dashboard/dom.js" JS "dom.js",
    "/dashboard/format.js" JS "format.js",
    "/dashboard/chart.js" JS "chart.js",
    "/dashboard/graph.js" JS "graph.js",
    "/dashboard/login.js" JS "login.js",
    "/dashboard/logs.js" JS "logs.js",
    "/dashboard/pipelines.js" JS "pipelines.js",
    "/dashboard/pipeline.js" JS "pipeline.js",
    "/dashboard/plugins.js" JS "plugins.js",
    "/dashboard/rates.js" JS "rates.js",
    "/dashboard/rejected.js" JS "rejected.js",
    "/dashboard/tenants.js" JS "tenants.js",
];

/// Whatever a pipeline logs or a tenant calls its things, a browser runs these files alone and talks to this server alone. A form is
/// never sent: without its script the page must not put a token into an address.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes of the files.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, kind, text)| {
            router.route(path, get(async move || answer(kind, text)))
        })
}

fn answer(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Files of one version belong together.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (
        headers.map(|(name, value)| (name, HeaderValue::from_static(value))),
        text,
    )
}
