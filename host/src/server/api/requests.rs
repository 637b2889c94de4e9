//! Requests, counted by what they asked for and how they were answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use super::Api;
use crate::server::metrics::Route;

/// Those that were answered.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<Route, u64>>);

impl Requests {
    /// By route.
    pub fn counts(&self) -> Vec<(Route, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .map(|(route, count)| (route.clone(), *count))
            .collect()
    }

    fn count(&self, route: Route) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(route).or_default() += 1;
    }
}

/// Counts a request when its answer begins.
pub async fn count(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    // Strangers choose addresses and methods, and must not fill the memory with them.
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    let method = known(request.method()).to_owned();
    let answer = next.run(request).await;
    let code = answer.status().as_u16();
    api.requests.count(Route {
        method,
        route,
        code,
    });
    answer
}

fn known(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::PUT | Method::POST | Method::DELETE => method.as_str(),
        _ => "other",
    }
}
