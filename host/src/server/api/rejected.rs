//! Rejected rows of a pipeline.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Deserialize;

use super::Api;
use super::answer::{Answer, Asked, PipelineAt, RowAt, Sent, TenantAt};
use crate::server::catalog::token::Caller;
use crate::server::rejected::{Choice, Discarded, GivenBack, Rejected, RejectedRow};

/// Rows that are shown at once unless the client says otherwise, and the most.
const ROWS: u32 = 50;
const MOST_ROWS: u32 = 1000;

/// Counts the rejected rows that the server keeps for a pipeline, by node, plugin and reason.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/rejected", tag = "rejected rows",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), responses((status = 200, body = Rejected)))]
pub async fn count(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
) -> Answer<Rejected> {
    // Reading them takes a core for a while.
    let counted = api.check(&api.checks, tenant, move |service, tenant| {
        service.rejected(tenant, &name)
    });
    counted.await.map(Json)
}

/// Which rows are shown.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Shown {
    /// Those of a source, step or sink.
    node: Option<String>,
    /// Those of before then.
    #[param(value_type = Option<String>)]
    before: Option<Timestamp>,
    /// Those too that were given back.
    #[serde(default)]
    all: bool,
    /// At most so many: 1 to 1000, 50 by default.
    limit: Option<u32>,
}

/// Rejected rows, the latest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/rejected/rows", tag = "rejected rows",
    params(("tenant" = String, Path), ("pipeline" = String, Path), Shown), responses((status = 200, body = Vec<RejectedRow>)))]
pub async fn rows(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
    Asked(shown): Asked<Shown>,
) -> Answer<Vec<RejectedRow>> {
    let limit = shown.limit.unwrap_or(ROWS).clamp(1, MOST_ROWS) as usize;
    let choice = Choice {
        node: shown.node,
        before: shown.before,
        ..Choice::default()
    };
    let rows = api.check(&api.checks, tenant, move |service, tenant| {
        service.rejected_rows(tenant, &name, &choice, limit, shown.all)
    });
    rows.await.map(Json)
}

/// One rejected row.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/rejected/rows/{row}", tag = "rejected rows",
    params(("tenant" = String, Path), ("pipeline" = String, Path), ("row" = String, Path)),
    responses((status = 200, body = RejectedRow)))]
pub async fn row(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
    RowAt(row): RowAt,
) -> Answer<RejectedRow> {
    let row = api.check(&api.checks, tenant, move |service, tenant| {
        service.rejected_row(tenant, &name, row)
    });
    row.await.map(Json)
}

/// Gives rows back to the nodes that have rejected them, as input of epochs to come, exactly once.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/rejected/replay", tag = "rejected rows",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), request_body = Choice,
    responses((status = 200, body = GivenBack)))]
pub async fn replay(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
    Sent(choice): Sent<Choice>,
) -> Answer<GivenBack> {
    let done = api.check(&api.checks, tenant, move |service, tenant| {
        service.give_back(&caller, tenant, &name, &choice)
    });
    done.await.map(Json)
}

/// Removes rejected rows for good.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/rejected/discard", tag = "rejected rows",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), request_body = Choice,
    responses((status = 200, body = Discarded)))]
pub async fn discard(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
    Sent(choice): Sent<Choice>,
) -> Answer<Discarded> {
    let done = api.check(&api.checks, tenant, move |service, tenant| {
        service.discard(&caller, tenant, &name, &choice)
    });
    done.await.map(Json)
}
