//! Keeps the rejected rows of pipelines within their limit while they come.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::ids::{PipelineName, TenantId};
use crate::jobs::{JobStatus, News, follow};
use crate::server::Service;
use crate::server::catalog::{pipeline, tenant};
use crate::server::refusal::Refusal;
use crate::thread;

/// Finishes what a crash has left; then looks at each pipeline that rejects, on a thread of its own, until the service is gone.
pub fn watch(service: &Arc<Service>) {
    let (events, service) = (service.jobs.subscribe(), Arc::downgrade(service));
    thread::spawn("rejected", move || {
        if let Some(service) = service.upgrade() {
            service.tidy_all();
        }
        let mut rejected: BTreeMap<(TenantId, PipelineName), u64> = BTreeMap::new();
        follow(events, |news| {
            let Some(service) = service.upgrade() else {
                return ControlFlow::Break(());
            };
            // What was missed is seen with the next figures.
            if let News::Status(tenant, pipeline, status) = news {
                let now = of(&status);
                let key = (tenant, pipeline);
                if rejected.insert(key.clone(), now).unwrap_or_default() != now && now > 0 {
                    service.tidy_noted(&key.0, &key.1);
                }
            }
            ControlFlow::Continue(())
        });
    });
}

/// The rows that a run has rejected so far.
fn of(status: &JobStatus) -> u64 {
    let nodes = status.figures.nodes.values();
    nodes.map(|counts| counts.rejected).sum()
}

impl Service {
    fn tidy_all(&self) {
        let listed = self.catalog.read(|db| {
            let mut all = Vec::new();
            for tenant in tenant::list(db)? {
                for pipeline in pipeline::list(db, &tenant.name)? {
                    all.push((tenant.name.clone(), pipeline.name));
                }
            }
            Ok::<_, Refusal>(all)
        });
        match listed {
            Ok(all) => all
                .iter()
                .for_each(|(tenant, name)| self.tidy_noted(tenant, name)),
            Err(refusal) => tracing::error!("rejected rows cannot be looked at: {refusal}"),
        }
    }

    fn tidy_noted(&self, tenant: &TenantId, name: &PipelineName) {
        if let Err(refusal) = self.tidy_rejected(tenant, name) {
            tracing::error!(%tenant, pipeline = %name, "rejected rows cannot be kept in order: {refusal}");
        }
    }
}
