//! What is watched: metrics for scrapers, and what the dashboard draws of a pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::{Extension, Json};

use super::Api;
use super::answer::{Answer, PipelineAt, TenantAt};
use crate::pipeline::outline::{OutlineNode, outline};
use crate::server::Service;
use crate::server::backup::Backup;
use crate::server::catalog::pipeline;
use crate::server::catalog::tenant;
use crate::server::catalog::token::Caller;
use crate::server::history::Past;
use crate::server::metrics::{self, CONTENT_TYPE, Seen, SeenPipeline, SeenServer};
use crate::server::refusal::Refusal;

/// Figures as Prometheus reads them: of all pipelines and of the server to administrators, of a tenant's own to the tenant.
#[utoipa::path(get, path = "/metrics", tag = "watching",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<impl IntoResponse, Refusal> {
    let (started, requests) = (api.started, api.requests.counts());
    let connections = api.connections.counts();
    let text = api.run(move |service| {
        let server = caller.tenant.is_none().then(|| SeenServer {
            started,
            copied: service.backup.as_ref().and_then(Backup::whole),
            requests,
            connections,
        });
        let seen = service.seen(&caller)?;
        Ok(metrics::text(&Seen { server, ..seen }))
    });
    let headers = [(header::CONTENT_TYPE, CONTENT_TYPE)];
    Ok((headers, text.await?))
}

impl Service {
    /// The tenants and pipelines that a caller may know of.
    fn seen(&self, caller: &Caller) -> Result<Seen, Refusal> {
        let of = caller.tenant.as_ref();
        let (tenants, used) = self
            .catalog
            .read(|db| Ok((tenant::list(db)?, pipeline::plugins_in_use(db, of)?)))?;
        let tenants = tenants.into_iter().map(|tenant| tenant.name);
        let tenants = tenants.filter(|tenant| caller.sees(tenant));
        let mut plugins: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for used in used {
            let nodes = plugins.entry((used.tenant, used.pipeline)).or_default();
            nodes.insert(used.node, used.plugin);
        }
        let jobs = self.jobs.list(of).into_iter();
        let pipelines = jobs.map(|(tenant, pipeline, status)| {
            let key = (tenant, pipeline);
            let plugins = plugins.remove(&key).unwrap_or_default();
            SeenPipeline {
                tenant: key.0,
                pipeline: key.1,
                status,
                plugins,
            }
        });
        Ok(Seen {
            tenants: tenants
                .map(|tenant| {
                    let usage = self.jobs.usage(&tenant);
                    (tenant, usage)
                })
                .collect(),
            pipelines: pipelines.collect(),
            server: None,
        })
    }
}

/// Its sources, steps and sinks, and who reads whom, of the version that is meant to run.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/graph", tag = "watching",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), responses((status = 200, body = Vec<OutlineNode>)))]
pub async fn graph(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
) -> Answer<Vec<OutlineNode>> {
    let graph = api.run(move |service| {
        let text = service.catalog.read(|db| {
            let current = pipeline::get(db, &tenant, &name)?.version;
            Ok(pipeline::version(db, &tenant, &name, current)?.text)
        })?;
        Ok(outline(&text))
    });
    graph.await.map(Json)
}

/// Its last minutes, about one moment a second, and its latest epochs.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/pipelines/{pipeline}/history", tag = "watching",
    params(("tenant" = String, Path), ("pipeline" = String, Path)), responses((status = 200, body = Past)))]
pub async fn history(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
    PipelineAt(name): PipelineAt,
) -> Answer<Past> {
    let past = api.run(move |service| {
        service
            .catalog
            .read(|db| pipeline::get(db, &tenant, &name))?;
        Ok(service.history.of(&tenant, &name))
    });
    past.await.map(Json)
}
