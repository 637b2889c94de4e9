//! Hears how jobs stand, for whoever keeps something of it or acts on it: on the caller's thread, until there is nothing more to hear.

use std::ops::ControlFlow;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::{Event, JobStatus};
use crate::ids::{PipelineName, TenantId};

/// What is heard.
#[derive(Debug)]
pub enum News {
    /// How a job stands.
    Status(TenantId, PipelineName, Box<JobStatus>),
    /// That the listener was too slow for some of it.
    Missed,
}

/// Tells `listener` all that happens, in order, until it has heard enough or the jobs are gone.
pub fn follow(mut events: Receiver<Event>, mut listener: impl FnMut(News) -> ControlFlow<()>) {
    loop {
        let news = match events.blocking_recv() {
            Ok(Event::Status {
                tenant,
                pipeline,
                status,
            }) => News::Status(tenant, pipeline, Box::new(status)),
            Ok(Event::Log { .. }) => continue,
            Err(RecvError::Lagged(_)) => News::Missed,
            Err(RecvError::Closed) => return,
        };
        if listener(news).is_break() {
            return;
        }
    }
}
