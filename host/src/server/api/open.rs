//! What anyone may ask: whether the server is there, and how to talk to it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use utoipa::openapi::OpenApi;

use super::Api;
use crate::server::refusal::Refusal;

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "open", responses((status = 200, body = String)))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether it can do its work: its catalog can be read.
#[utoipa::path(get, path = "/readyz", tag = "open", responses((status = 200, body = String)))]
pub async fn readyz(State(api): State<Arc<Api>>) -> Result<&'static str, Refusal> {
    let read = |db: &rusqlite::Connection| Ok(db.query_row("SELECT 1", [], |_| Ok(()))?);
    api.run(move |service| service.catalog.read(read)).await?;
    Ok("ready\n")
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "open", responses((status = 200, body = Object)))]
pub async fn openapi(State(api): State<Arc<Api>>) -> Json<Option<OpenApi>> {
    Json(api.document.get().cloned())
}
