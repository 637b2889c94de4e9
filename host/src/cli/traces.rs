//! Where traces go: an option of everything that runs pipelines.

use super::exit::WrongUsage;
use crate::trace::Collector;

/// Whom to tell where the time of epochs goes.
#[derive(Clone, Debug, clap::Args)]
pub struct TraceOptions {
    /// Send a trace of each epoch to this collector of OpenTelemetry's, over HTTP: http://127.0.0.1:4318/v1/traces
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")]
    traces: Option<String>,
}

impl TraceOptions {
    /// The collector, if there is one.
    ///
    /// # Errors
    /// When its address is none.
    pub fn collector(&self) -> Result<Option<Collector>, WrongUsage> {
        let collector = self.traces.as_deref().map(Collector::at);
        collector.transpose().map_err(WrongUsage)
    }
}
