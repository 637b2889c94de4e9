//! The stream of what happens to a tenant's pipelines, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Api;
use super::answer::TenantAt;
use super::guard::ShownSecret;
use super::turns::Turn;
use crate::ids::TenantId;
use crate::jobs::Event;
use crate::server::refusal::Refusal;

/// A stream outlives its token by so much at most.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// Who listens to what.
struct Listener {
    api: Arc<Api>,
    shown: ShownSecret,
    tenant: TenantId,
    heard: Receiver<Event>,
    asked: Interval,
    _turn: Turn,
}

/// What happens to the tenant's pipelines from now on: `status` and `log`, and `missed` with a count when the reader is too slow. It ends when
/// the token is revoked. A tenant has at most 32 of them at once.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/events", tag = "pipelines", params(("tenant" = String, Path)),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub async fn events(
    State(api): State<Arc<Api>>,
    Extension(shown): Extension<ShownSecret>,
    TenantAt(tenant): TenantAt,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Refusal> {
    let turn = api.streams.turn(&tenant, Duration::ZERO).await?;
    let mut asked = interval(ASKED_EVERY);
    asked.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        heard: api.service.jobs.subscribe(),
        api,
        shown,
        tenant,
        asked,
        _turn: turn,
    };
    let events = unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

impl Listener {
    /// The next event about the tenant; nothing when the server ends, or the token opens nothing any more.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            let event = tokio::select! {
                _ = self.asked.tick() => match self.shown.still_opens(&self.api).await {
                    true => continue,
                    false => return None,
                },
                event = self.heard.recv() => event,
            };
            let event = match event {
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
            if *whose == self.tenant {
                // Plain data, which JSON always holds.
                return Sent::default().event(kind).json_data(&event).ok();
            }
        }
    }
}
