//! What `/metrics` says: the figures of jobs and of the server as text that Prometheus reads.
//!
//! A pure function of what was seen at one moment. `docs/metrics.md` lists every metric, and a test holds it to that.

mod exposition;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::ids::{NodeName, PipelineName, PluginName, TenantId};
use crate::jobs::{JobStatus, Phase, Usage};
use crate::telemetry::NodeCounts;
use exposition::{Exposition, Kind};

pub use exposition::CONTENT_TYPE;

/// What was seen at one moment.
#[derive(Default)]
pub struct Seen {
    /// What tenants use.
    pub tenants: Vec<(TenantId, Usage)>,
    /// Their pipelines.
    pub pipelines: Vec<SeenPipeline>,
    /// The server, if the caller may know.
    pub server: Option<SeenServer>,
}

/// What is said of a pipeline.
pub struct SeenPipeline {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub pipeline: PipelineName,
    /// How it stands.
    pub status: JobStatus,
    /// Which of its steps and sinks are plugins.
    pub plugins: BTreeMap<NodeName, PluginName>,
}

/// What is said of the server itself, to its administrators.
pub struct SeenServer {
    /// Since when it runs.
    pub started: Timestamp,
    /// Until when every change is in its bucket, if it has one.
    pub copied: Option<Timestamp>,
    /// How many requests it has answered.
    pub requests: Vec<(Route, u64)>,
    /// How many connections are open, and how many it has refused.
    pub connections: (usize, u64),
}

/// Requests that are counted as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// `GET`
    pub method: String,
    /// As the OpenAPI document writes it.
    pub route: String,
    /// `200`
    pub code: u16,
}

type OfTenant = fn(&Usage) -> f64;

const OF_TENANTS: [(&str, Kind, &str, OfTenant); 4] = [
    (
        "wasmill_tenant_cpu_seconds_total",
        Kind::Counter,
        "Processor time of the tenant's runners.",
        |usage| usage.cpu_ms as f64 / 1000.0,
    ),
    (
        "wasmill_tenant_memory_bytes",
        Kind::Gauge,
        "Memory of the tenant's runners.",
        |usage| usage.memory_bytes as f64,
    ),
    (
        "wasmill_tenant_plugin_memory_bytes",
        Kind::Gauge,
        "Linear memory of the tenant's plugins.",
        |usage| usage.plugin_memory_bytes as f64,
    ),
    (
        "wasmill_tenant_plugin_waits_seconds_total",
        Kind::Counter,
        "Time that the tenant's plugins have slept because their quota of processor time was used up.",
        |usage| usage.plugin_waits_ms as f64 / 1000.0,
    ),
];

type OfPipeline = fn(&JobStatus) -> f64;

const OF_PIPELINES: [(&str, Kind, &str, OfPipeline); 13] = [
    (
        "wasmill_pipeline_version",
        Kind::Gauge,
        "Version of the pipeline's definition that runs, or ran last.",
        |status| f64::from(status.version),
    ),
    (
        "wasmill_pipeline_phase_start_time_seconds",
        Kind::Gauge,
        "When its phase began, in seconds since 1970.",
        |status| seconds(status.since),
    ),
    (
        "wasmill_pipeline_restarts_total",
        Kind::Counter,
        "How often it was started again after a failure or the loss of its runner.",
        |status| f64::from(status.restarts),
    ),
    (
        "wasmill_pipeline_epochs_cut_total",
        Kind::Counter,
        "Epochs cut.",
        |status| status.figures.cut as f64,
    ),
    (
        "wasmill_pipeline_epochs_delivered_total",
        Kind::Counter,
        "Epochs that every sink has delivered.",
        |status| status.figures.delivered as f64,
    ),
    (
        "wasmill_pipeline_processing_seconds",
        Kind::Gauge,
        "How long the last delivered epoch took.",
        |status| status.figures.processing_ms as f64 / 1000.0,
    ),
    (
        "wasmill_pipeline_delay_seconds",
        Kind::Gauge,
        "How long the last delivered epoch had waited for the one before it.",
        |status| status.figures.delay_ms as f64 / 1000.0,
    ),
    (
        "wasmill_pipeline_watermark_seconds",
        Kind::Gauge,
        "Batch time up to which every sink has everything, in seconds since 1970; 0 before the first epoch of a run.",
        |status| {
            let last = status.figures.recent.last();
            last.map_or(0.0, |epoch| epoch.time.0 as f64 / 1000.0)
        },
    ),
    (
        "wasmill_pipeline_backlog_bytes",
        Kind::Gauge,
        "Bytes that wait at the sources.",
        |status| status.figures.backlog_bytes as f64,
    ),
    (
        "wasmill_pipeline_live_bytes",
        Kind::Gauge,
        "Bytes of batches alive in the data plane.",
        |status| status.figures.live_bytes as f64,
    ),
    (
        "wasmill_pipeline_state_bytes",
        Kind::Gauge,
        "Bytes that its steps remember.",
        |status| status.figures.state_bytes as f64,
    ),
    (
        "wasmill_pipeline_held_seconds_total",
        Kind::Counter,
        "Time in which it had more to read than its tenant's rows per second let in.",
        |status| status.figures.held_ms as f64 / 1000.0,
    ),
    (
        "wasmill_pipeline_log_lines_dropped_total",
        Kind::Counter,
        "Log lines that were dropped: too many in a second.",
        |status| status.figures.log_lines_dropped as f64,
    ),
];

type OfNode = fn(&NodeCounts) -> f64;

const OF_NODES: [(&str, &str, OfNode); 6] = [
    (
        "wasmill_node_rows_in_total",
        "Rows given to a step or sink; records that a source decoded.",
        |counts| counts.rows_in as f64,
    ),
    (
        "wasmill_node_rows_out_total",
        "Rows that a source or step gave on; rows that a sink wrote.",
        |counts| counts.rows_out as f64,
    ),
    (
        "wasmill_node_bytes_in_total",
        "Bytes of input that a source read.",
        |counts| counts.bytes_in as f64,
    ),
    (
        "wasmill_node_skipped_total",
        "Rows or records dropped under on_error = \"skip\".",
        |counts| counts.skipped as f64,
    ),
    (
        "wasmill_node_rejected_total",
        "Rows or records written to [rejected].",
        |counts| counts.rejected as f64,
    ),
    (
        "wasmill_node_reconnects_total",
        "How often a source's connection was opened again.",
        |counts| counts.reconnects as f64,
    ),
];

const OF_PLUGINS: [(&str, &str, OfNode); 4] = [
    (
        "wasmill_plugin_calls_total",
        "Calls into a plugin.",
        |counts| counts.calls as f64,
    ),
    (
        "wasmill_plugin_busy_seconds_total",
        "Time spent in those calls, by the clock.",
        |counts| counts.busy_nanos as f64 / 1e9,
    ),
    (
        "wasmill_plugin_cpu_seconds_total",
        "Processor time of those calls, and of what makes them ready.",
        |counts| counts.cpu_nanos as f64 / 1e9,
    ),
    (
        "wasmill_plugin_traps_total",
        "How often a plugin trapped or ran out of a limit.",
        |counts| counts.traps as f64,
    ),
];

const PHASES: [&str; 8] = [
    "starting", "running", "draining", "paused", "stopped", "waiting", "failed", "finished",
];

fn word(phase: Phase) -> &'static str {
    let place = match phase {
        Phase::Starting => 0,
        Phase::Running => 1,
        Phase::Draining => 2,
        Phase::Paused => 3,
        Phase::Stopped => 4,
        Phase::Waiting { .. } => 5,
        Phase::Failed => 6,
        Phase::Finished => 7,
    };
    PHASES[place]
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

/// The text. Every metric is there, whether or not there is anything to say of it.
pub fn text(seen: &Seen) -> String {
    let mut text = Exposition::default();
    of_tenants(&mut text, &seen.tenants);
    of_pipelines(&mut text, &seen.pipelines);
    of_nodes(&mut text, &seen.pipelines);
    if let Some(server) = &seen.server {
        of_server(&mut text, server);
    }
    text.into_text()
}

fn of_tenants(text: &mut Exposition, tenants: &[(TenantId, Usage)]) {
    for (name, kind, help, value) in OF_TENANTS {
        text.metric(name, kind, help);
        for (tenant, usage) in tenants {
            text.sample(name, &[("tenant", tenant.as_str())], value(usage));
        }
    }
}

fn of_pipelines(text: &mut Exposition, pipelines: &[SeenPipeline]) {
    let name = "wasmill_pipeline_phase";
    text.metric(
        name,
        Kind::Gauge,
        "1 for the phase that it is in, 0 for the others.",
    );
    for seen in pipelines {
        for phase in PHASES {
            let is_in = f64::from(u8::from(word(seen.status.phase) == phase));
            let labels = [seen.labels().as_slice(), &[("phase", phase)]].concat();
            text.sample(name, &labels, is_in);
        }
    }
    for (name, kind, help, value) in OF_PIPELINES {
        text.metric(name, kind, help);
        for seen in pipelines {
            text.sample(name, &seen.labels(), value(&seen.status));
        }
    }
}

fn of_nodes(text: &mut Exposition, pipelines: &[SeenPipeline]) {
    for (name, help, value) in OF_NODES {
        text.metric(name, Kind::Counter, help);
        for seen in pipelines {
            for (node, counts) in &seen.status.figures.nodes {
                let labels = [&seen.labels()[..], &[("node", node.as_str())]].concat();
                text.sample(name, &labels, value(counts));
            }
        }
    }
    for (name, help, value) in OF_PLUGINS {
        text.metric(name, Kind::Counter, help);
        for seen in pipelines {
            for (node, plugin) in &seen.plugins {
                // A node of the current version, while one before it still runs, may have no counts yet.
                if let Some(counts) = seen.status.figures.nodes.get(node) {
                    let own = [("node", node.as_str()), ("plugin", plugin.as_str())];
                    let labels = [&seen.labels()[..], &own].concat();
                    text.sample(name, &labels, value(counts));
                }
            }
        }
    }
}

fn of_server(text: &mut Exposition, server: &SeenServer) {
    let name = "wasmill_build_info";
    text.metric(name, Kind::Gauge, "1, with the program's version.");
    text.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let name = "wasmill_server_start_time_seconds";
    text.metric(
        name,
        Kind::Gauge,
        "When the server started, in seconds since 1970.",
    );
    text.sample(name, &[], seconds(server.started));
    if let Some(copied) = server.copied {
        let name = "wasmill_server_copied_time_seconds";
        let help = "Until when every change is in the server's bucket, in seconds since 1970.";
        text.metric(name, Kind::Gauge, help);
        text.sample(name, &[], seconds(copied));
    }
    let name = "wasmill_http_requests_total";
    text.metric(name, Kind::Counter, "Requests answered.");
    for (route, count) in &server.requests {
        let code = route.code.to_string();
        let labels = [
            ("method", route.method.as_str()),
            ("route", &route.route),
            ("code", &code),
        ];
        text.sample(name, &labels, *count as f64);
    }
    let (open, refused) = server.connections;
    let name = "wasmill_http_connections";
    text.metric(name, Kind::Gauge, "Connections that are open.");
    text.sample(name, &[], open as f64);
    let name = "wasmill_http_connections_refused_total";
    let help = "Connections closed at once, as there were too many of them.";
    text.metric(name, Kind::Counter, help);
    text.sample(name, &[], refused as f64);
}

impl SeenPipeline {
    fn labels(&self) -> [(&str, &str); 2] {
        [
            ("tenant", self.tenant.as_str()),
            ("pipeline", self.pipeline.as_str()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Figures;

    fn pipeline() -> SeenPipeline {
        let counts = NodeCounts {
            rows_in: 7,
            calls: 2,
            busy_nanos: 1_500_000_000,
            ..NodeCounts::default()
        };
        let nodes = BTreeMap::from([("lines".into(), counts.clone()), ("words".into(), counts)]);
        SeenPipeline {
            tenant: TenantId::parse("acme").unwrap(),
            pipeline: "counts".into(),
            status: JobStatus {
                phase: Phase::Waiting {
                    until: Timestamp::UNIX_EPOCH,
                },
                version: 3,
                restarts: 1,
                since: Timestamp::from_second(12).unwrap(),
                failure: None,
                figures: Figures {
                    processing_ms: 250,
                    nodes,
                    ..Figures::default()
                },
            },
            plugins: BTreeMap::from([("words".into(), PluginName::parse("split-words").unwrap())]),
        }
    }

    #[test]
    fn figures_stand_under_their_tenant_pipeline_node_and_plugin() {
        let usage = Usage {
            cpu_ms: 1250,
            memory_bytes: 4096,
            ..Usage::default()
        };
        let text = text(&Seen {
            tenants: vec![(TenantId::parse("acme").unwrap(), usage)],
            pipelines: vec![pipeline()],
            server: None,
        });
        let own = r#"tenant="acme",pipeline="counts""#;
        for line in [
            "wasmill_tenant_cpu_seconds_total{tenant=\"acme\"} 1.25".to_owned(),
            "wasmill_tenant_memory_bytes{tenant=\"acme\"} 4096".to_owned(),
            format!("wasmill_pipeline_phase{{{own},phase=\"waiting\"}} 1"),
            format!("wasmill_pipeline_phase{{{own},phase=\"running\"}} 0"),
            format!("wasmill_pipeline_version{{{own}}} 3"),
            format!("wasmill_pipeline_phase_start_time_seconds{{{own}}} 12"),
            format!("wasmill_pipeline_processing_seconds{{{own}}} 0.25"),
            format!("wasmill_node_rows_in_total{{{own},node=\"lines\"}} 7"),
            format!(
                "wasmill_plugin_busy_seconds_total{{{own},node=\"words\",plugin=\"split-words\"}} 1.5"
            ),
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        let of_plugins = text
            .lines()
            .filter(|line| line.starts_with("wasmill_plugin_calls_total{"));
        assert_eq!(of_plugins.count(), 1, "a source has no plugin");
    }

    #[test]
    fn only_administrators_hear_of_the_server() {
        let route = Route {
            method: "GET".into(),
            route: "/v1/tenants/{tenant}".into(),
            code: 404,
        };
        let server = SeenServer {
            started: Timestamp::UNIX_EPOCH,
            copied: None,
            requests: vec![(route, 5)],
            connections: (3, 7),
        };
        let count = r#"wasmill_http_requests_total{method="GET",route="/v1/tenants/{tenant}",code="404"} 5"#;
        let of_admin = Seen {
            server: Some(server),
            ..Seen::default()
        };
        let text_of_admin = text(&of_admin);
        for count in [
            count,
            "wasmill_http_connections 3",
            "wasmill_http_connections_refused_total 7",
        ] {
            assert!(text_of_admin.contains(count), "{text_of_admin}");
        }
        let of_tenant = Seen {
            pipelines: vec![pipeline()],
            ..Seen::default()
        };
        assert!(!text(&of_tenant).contains("wasmill_http"));
    }
}
