//! The stream of what happens to a tenant's pipelines, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Api;
use super::answer::TenantAt;
use crate::ids::TenantId;
use crate::jobs::Event;

/// What happens to the tenant's pipelines from now on: `status` and `log`, and `missed` with a count when the reader is too slow.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/events", tag = "pipelines", params(("tenant" = String, Path)),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub async fn events(
    State(api): State<Arc<Api>>,
    TenantAt(tenant): TenantAt,
) -> Sse<impl Stream<Item = Result<Sent, Infallible>>> {
    let heard = api.service.jobs.subscribe();
    let events = unfold((heard, tenant), |(mut heard, tenant)| async move {
        let event = next(&mut heard, &tenant).await?;
        Some((Ok(event), (heard, tenant)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// The next event about the tenant; nothing when the server ends.
async fn next(heard: &mut Receiver<Event>, tenant: &TenantId) -> Option<Sent> {
    loop {
        let event = match heard.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(missed)) => {
                return Some(Sent::default().event("missed").data(missed.to_string()));
            }
            Err(RecvError::Closed) => return None,
        };
        let (whose, kind) = match &event {
            Event::Status { tenant, .. } => (tenant, "status"),
            Event::Log { tenant, .. } => (tenant, "log"),
        };
        if whose == tenant {
            // Plain data, which JSON always holds.
            return Sent::default().event(kind).json_data(&event).ok();
        }
    }
}
