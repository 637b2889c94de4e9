//! The supervisor.

use tokio::sync::broadcast;

use super::{Desired, Event, JobStatus, JobsOptions, LogLine};
use crate::error::Failure;
use crate::ids::{PipelineName, TenantId};

/// What keeps pipelines running; cheap to clone.
#[derive(Clone, Debug)]
pub struct Jobs {
    events: broadcast::Sender<Event>,
}

impl Jobs {
    /// Gets ready to run pipelines.
    ///
    /// # Errors
    /// When there is no folder to keep what it needs.
    pub fn start(_options: JobsOptions) -> Result<Self, Failure> {
        let (events, _) = broadcast::channel(1024);
        Ok(Self { events })
    }

    /// Says what should run from now on. The same again changes nothing.
    pub fn set(&self, _desired: Desired) {
        unimplemented!("on its way")
    }

    /// Stops a job and forgets it.
    pub fn remove(&self, _tenant: &TenantId, _pipeline: &PipelineName) {
        unimplemented!("on its way")
    }

    /// How a job stands, if there is one of this name.
    pub fn status(&self, _tenant: &TenantId, _pipeline: &PipelineName) -> Option<JobStatus> {
        unimplemented!("on its way")
    }

    /// All jobs, or those of a tenant.
    pub fn list(&self, _tenant: Option<&TenantId>) -> Vec<(TenantId, PipelineName, JobStatus)> {
        unimplemented!("on its way")
    }

    /// The last lines that a job has said, the latest last.
    pub fn logs(&self, _tenant: &TenantId, _pipeline: &PipelineName) -> Vec<LogLine> {
        unimplemented!("on its way")
    }

    /// Everything that happens from now on. Who is too slow misses some.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Drains everything and waits until it has ended.
    pub fn shutdown(&self) {
        unimplemented!("on its way")
    }
}
