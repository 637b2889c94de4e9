//! Plugins of a tenant.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::try_unfold;

use super::Api;
use super::answer::{Answer, NumberAt, PluginAt, TenantAt};
use super::turns::Turn;
use crate::server::catalog::plugin::{self, Pick, PluginVersion, Reference};
use crate::server::catalog::token::Caller;
use crate::server::refusal::Refusal;

/// The newest version of each plugin.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/plugins", tag = "plugins", params(("tenant" = String, Path)),
    responses((status = 200, body = Vec<PluginVersion>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
) -> Answer<Vec<PluginVersion>> {
    let list = api.run(move |service| service.catalog.read(|db| plugin::list(db, &tenant)));
    list.await.map(Json)
}

/// All versions of a plugin, newest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/plugins/{plugin}", tag = "plugins",
    params(("tenant" = String, Path), ("plugin" = String, Path)), responses((status = 200, body = Vec<PluginVersion>)))]
pub async fn versions(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PluginAt(name): PluginAt,
) -> Answer<Vec<PluginVersion>> {
    let versions = api.run(move |service| {
        service
            .catalog
            .read(|db| plugin::versions(db, &tenant, &name))
    });
    versions.await.map(Json)
}

/// A component.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Wasm(#[expect(dead_code, reason = "it is there for the document")] Vec<u8>);

/// Pushes a component, which becomes the next version of the name. The same component again makes no new one.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/plugins/{plugin}", tag = "plugins",
    params(("tenant" = String, Path), ("plugin" = String, Path),
        ("Wasmill-Signature" = Option<String>, Header, description = "the file that `minisign -Sm` writes, in base64")),
    request_body(content = Wasm, content_type = "application/wasm"), responses((status = 200, body = PluginVersion)))]
pub async fn push(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(turn): Extension<Turn>,
    TenantAt(tenant): TenantAt,
    PluginAt(name): PluginAt,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer<PluginVersion> {
    let signature = signature(&headers)?;
    let pushed = api.check(&api.checks, tenant, move |service, tenant| {
        let _turn = turn;
        service.push(&caller, tenant, &name, &bytes, signature.as_deref())
    });
    pushed.await.map(Json)
}

/// The header that brings a signature: it is a text of several lines.
pub const SIGNATURE: &str = "wasmill-signature";

fn signature(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let read = |header: &HeaderValue| {
        let bytes = STANDARD.decode(header.as_bytes()).ok()?;
        String::from_utf8(bytes).ok()
    };
    match headers.get(SIGNATURE) {
        None => Ok(None),
        Some(header) => read(header)
            .map(Some)
            .ok_or_else(|| Refusal::invalid("the signature did not come as text in base64")),
    }
}

/// The signature that a version was pushed with, as minisign wrote it.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/plugins/{plugin}/versions/{number}/signature", tag = "plugins",
    params(("tenant" = String, Path), ("plugin" = String, Path), ("number" = u32, Path)),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn signed(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PluginAt(name): PluginAt,
    NumberAt(version): NumberAt,
) -> Result<String, Refusal> {
    let found = api.run(move |service| {
        service
            .catalog
            .read(|db| plugin::signature(db, &tenant, &name, version))
    });
    found.await
}

/// One version.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/plugins/{plugin}/versions/{number}", tag = "plugins",
    params(("tenant" = String, Path), ("plugin" = String, Path), ("number" = u32, Path)),
    responses((status = 200, body = PluginVersion)))]
pub async fn show(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PluginAt(name): PluginAt,
    NumberAt(version): NumberAt,
) -> Answer<PluginVersion> {
    let found = api.run(move |service| {
        let reference = Reference {
            name,
            pick: Pick::Version(version),
        };
        service
            .catalog
            .read(|db| plugin::find(db, &tenant, &reference))
    });
    found.await.map(Json)
}

/// The component of a version.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/plugins/{plugin}/versions/{number}/component", tag = "plugins",
    params(("tenant" = String, Path), ("plugin" = String, Path), ("number" = u32, Path)),
    responses((status = 200, body = Wasm, content_type = "application/wasm")))]
pub async fn pull(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PluginAt(name): PluginAt,
    NumberAt(version): NumberAt,
) -> Result<impl IntoResponse, Refusal> {
    let pulled = api.run(move |service| service.pull(&tenant, &name, version));
    let (component, length) = pulled.await?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/wasm"),
        ),
        (header::CONTENT_LENGTH, length.into()),
    ];
    Ok((headers, Body::from_stream(try_unfold(component, next))))
}

/// So much of a component is in memory for each who pulls it, however slowly.
const CHUNK: usize = 64 << 10;

/// The next part of a file, and the file.
async fn next(mut file: File) -> io::Result<Option<(Bytes, File)>> {
    let read = tokio::task::spawn_blocking(move || {
        let mut chunk = vec![0; CHUNK];
        let length = file.read(&mut chunk)?;
        chunk.truncate(length);
        Ok((length > 0).then(|| (chunk.into(), file)))
    });
    read.await.map_err(io::Error::other)?
}

/// Removes a version that no version of a pipeline is made of.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/plugins/{plugin}/versions/{number}", tag = "plugins",
    params(("tenant" = String, Path), ("plugin" = String, Path), ("number" = u32, Path)), responses((status = 204)))]
pub async fn remove(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(tenant): TenantAt,
    PluginAt(name): PluginAt,
    NumberAt(version): NumberAt,
) -> Result<StatusCode, Refusal> {
    let removed = api.run(move |service| service.remove_plugin(&caller, &tenant, &name, version));
    removed.await.map(|()| StatusCode::NO_CONTENT)
}
