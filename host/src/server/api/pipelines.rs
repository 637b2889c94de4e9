//! Pipelines of a tenant.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::Api;
use super::answer::{Answer, NumberAt, PipelineAt, Sent, TenantAt};
use crate::ids::{PipelineName, TenantId};
use crate::jobs::{JobStatus, LogLine, Wanted};
use crate::server::catalog::pipeline::{self, PipelineVersion};
use crate::server::catalog::token::Caller;
use crate::server::pipelines::{Applied, Definition, Difference, PipelineView};
use crate::server::refusal::Refusal;
use crate::server::rollback::Rollback;
use crate::server::shadow::{Shadow, Shadowed};
use crate::server::upgrade::Upgrade;

/// All pipelines, with how they stand.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/pipelines", tag = "pipelines", params(("tenant" = String, Path)),
    responses((status = 200, body = Vec<PipelineView>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
) -> Answer<Vec<PipelineView>> {
    api.run(move |service| service.views(&tenant))
        .await
        .map(Json)
}

/// A pipeline, with how it stands.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/pipelines/{pipeline}", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), responses((status = 200, body = PipelineView)))]
pub async fn show(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
) -> Answer<PipelineView> {
    let view = api.run(move |service| service.view(&tenant, &name));
    view.await.map(Json)
}

/// Says what an apply would change, and changes nothing.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/plan", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), request_body = Definition,
    responses((status = 200, body = Difference)))]
pub async fn plan(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
    Sent(definition): Sent<Definition>,
) -> Answer<Difference> {
    let planned = api.check(&api.checks, tenant, move |service, tenant| {
        service.plan(tenant, &name, &definition)
    });
    planned.await.map(Json)
}

/// Makes a definition the next version of a pipeline, and the current one.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/pipelines/{pipeline}", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), request_body = Definition,
    responses((status = 200, body = Applied)))]
pub async fn apply(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
    Sent(definition): Sent<Definition>,
) -> Answer<Applied> {
    let applied = api.check(&api.checks, tenant, move |service, tenant| {
        service.apply(&caller, tenant, &name, &definition)
    });
    applied.await.map(Json)
}

/// Says what an upgrade would change, and changes nothing.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/upgrade/plan", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), request_body = Upgrade,
    responses((status = 200, body = Difference)))]
pub async fn plan_upgrade(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
    Sent(upgrade): Sent<Upgrade>,
) -> Answer<Difference> {
    let planned = api.check(&api.checks, tenant, move |service, tenant| {
        service.plan_upgrade(tenant, &name, &upgrade)
    });
    planned.await.map(Json)
}

/// Gives a step or sink another plugin: a new version, which goes on with the state that there is. If it fails within its first epochs, the
/// version before comes back.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/upgrade", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), request_body = Upgrade,
    responses((status = 200, body = Applied)))]
pub async fn upgrade(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
    Sent(upgrade): Sent<Upgrade>,
) -> Answer<Applied> {
    let applied = api.check(&api.checks, tenant, move |service, tenant| {
        service.upgrade(&caller, tenant, &name, &upgrade)
    });
    applied.await.map(Json)
}

/// Runs a committed epoch again with an upgrade, which changes nothing, and says how that differs.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/upgrade/shadow", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), request_body = Shadow,
    responses((status = 200, body = Shadowed)))]
pub async fn shadow(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
    Sent(shadow): Sent<Shadow>,
) -> Answer<Shadowed> {
    let shadowed = api.check(&api.shadows, tenant, move |service, tenant| {
        service.shadow(tenant, &name, &shadow)
    });
    shadowed.await.map(Json)
}

/// Makes a version current that was current before.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/rollback", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), request_body = Rollback,
    responses((status = 200, body = PipelineView)))]
pub async fn rollback(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
    Sent(to): Sent<Rollback>,
) -> Answer<PipelineView> {
    let done = api.check(&api.checks, tenant, move |service, tenant| {
        service.rollback(&caller, tenant, &name, to)?;
        service.view(tenant, &name)
    });
    done.await.map(Json)
}

async fn want(
    api: &Api,
    caller: Caller,
    tenant: TenantId,
    name: PipelineName,
    wanted: Wanted,
) -> Answer<PipelineView> {
    let done = api.run(move |service| {
        service.want(&caller, &tenant, &name, wanted)?;
        service.view(&tenant, &name)
    });
    done.await.map(Json)
}

/// Pauses a pipeline: it stops at a committed epoch, and goes on from there when it is resumed.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/pause", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), responses((status = 200, body = PipelineView)))]
pub async fn pause(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
) -> Answer<PipelineView> {
    want(&api, caller, tenant, name, Wanted::Paused).await
}

/// Lets a pipeline run that is paused, stopped or has failed for good.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/resume", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), responses((status = 200, body = PipelineView)))]
pub async fn resume(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
) -> Answer<PipelineView> {
    want(&api, caller, tenant, name, Wanted::Running).await
}

/// Stops a pipeline at a committed epoch. It keeps what it remembers until it is removed.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/stop", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), responses((status = 200, body = PipelineView)))]
pub async fn stop(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
) -> Answer<PipelineView> {
    want(&api, caller, tenant, name, Wanted::Stopped).await
}

/// Removes a stopped pipeline, with its versions and all that it remembers.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/pipelines/{pipeline}", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), responses((status = 204)))]
pub async fn remove(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
) -> Result<StatusCode, Refusal> {
    let removed = api.run(move |service| service.remove_pipeline(&caller, &tenant, &name));
    removed.await.map(|()| StatusCode::NO_CONTENT)
}

/// All versions, newest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/versions", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), responses((status = 200, body = Vec<PipelineVersion>)))]
pub async fn versions(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
) -> Answer<Vec<PipelineVersion>> {
    let versions = api.run(move |service| {
        service
            .catalog
            .read(|db| pipeline::versions(db, &tenant, &name))
    });
    versions.await.map(Json)
}

/// One version.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/versions/{number}", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path), ("number" = u32, Path)),
    responses((status = 200, body = PipelineVersion)))]
pub async fn version(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
    NumberAt(version): NumberAt,
) -> Answer<PipelineVersion> {
    let found = api.run(move |service| {
        service
            .catalog
            .read(|db| pipeline::version(db, &tenant, &name, version))
    });
    found.await.map(Json)
}

/// How it stands, with its figures; nothing if it was never to run since the server started.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/status", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), responses((status = 200, body = Option<Object>)))]
pub async fn status(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
) -> Answer<Option<JobStatus>> {
    let view = api.run(move |service| service.view(&tenant, &name));
    Ok(Json(view.await?.status))
}

/// The last lines that it said, the latest last.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/logs", tag = "pipelines",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), responses((status = 200, body = Vec<Object>)))]
pub async fn logs(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
) -> Answer<Vec<LogLine>> {
    let lines = api.run(move |service| {
        service.view(&tenant, &name)?;
        Ok(service.jobs.logs(&tenant, &name))
    });
    lines.await.map(Json)
}
