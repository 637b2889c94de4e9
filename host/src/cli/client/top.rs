//! `wasmill top`: what the pipelines of a server do, once a second.

use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::connection::segment;
use super::pipeline::phase;
use super::{Connection, Form, Listing, Remote};
use crate::cli::output;
use crate::cli::progress::short;
use crate::ids::{PipelineName, TenantId};
use crate::jobs::{Figures, JobStatus, Usage};
use crate::server::api::Who;
use crate::server::catalog::pipeline::word;
use crate::server::catalog::tenant::Tenant;
use crate::server::pipelines::PipelineView;

/// As often as runners tell their figures.
const EVERY: Duration = Duration::from_secs(1);
/// Rates are over so many looks: figures come once a second too, so that of two looks one after the other the second may have none that are new.
const LOOKS: usize = 4;
/// To the top left, and away with what is there.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show what pipelines do, once a second: all of them to administrators, a tenant its own
#[derive(Debug, clap::Args)]
pub struct Top {
    /// Show it once; so it is without a terminal, unless as JSON, which gives a line a second
    #[arg(long)]
    once: bool,

    /// What the table is sorted by, highest first, names as they are
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t)]
    sort: Column,

    /// Show so many pipelines at most
    #[arg(long, value_name = "N", default_value_t = 40)]
    limit: usize,

    #[command(flatten)]
    remote: Remote,
}

/// A column of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Column {
    /// Tenant and pipeline
    #[default]
    Name,
    /// Rows of the sources a second
    Rows,
    /// How long epochs wait for those before them
    Delay,
    /// Epochs delivered
    Epochs,
    /// How long an epoch takes
    Processing,
    /// Bytes waiting at the sources
    Backlog,
    /// Time in calls of plugins
    Plugins,
    /// Bytes of batches in memory
    Memory,
}

impl Top {
    /// Shows it until it is interrupted.
    ///
    /// # Errors
    /// When the server refuses, or does not answer any more.
    pub fn run(self) -> anyhow::Result<()> {
        let connection = Connection::open(&self.remote)?;
        let is_live = std::io::stdout().is_terminal() && self.remote.output == Form::Table;
        let is_once = self.once || (!is_live && self.remote.output == Form::Table);
        let mut looks = VecDeque::from([look(&connection)?]);
        loop {
            std::thread::sleep(EVERY);
            let now = look(&connection)?;
            let mut shown = Shown::between(&looks[0], &now);
            shown.sort(self.sort);
            let text = match self.remote.output {
                Form::Json => format!("{}\n", serde_json::to_string(&shown)?),
                Form::Table => shown.text(self.limit),
            };
            let clear = if is_live && !is_once { CLEAR } else { "" };
            output::write(format!("{clear}{text}").as_bytes())?;
            if is_once {
                return Ok(());
            }
            looks.push_back(now);
            looks.drain(..looks.len().saturating_sub(LOOKS));
        }
    }
}

/// What there is to see at one moment.
struct Look {
    at: Instant,
    time: Timestamp,
    tenants: BTreeMap<TenantId, (Usage, Vec<PipelineView>)>,
}

fn look(connection: &Connection) -> anyhow::Result<Look> {
    let tenants = match connection.tenant() {
        Some(name) => vec![TenantId::parse(name)?],
        None => {
            let who: Who = connection.get("/v1/whoami")?;
            match who.tenant {
                Some(name) => vec![TenantId::parse(&name)?],
                None => {
                    let all: Vec<Tenant> = connection.get("/v1/tenants")?;
                    all.into_iter().map(|tenant| tenant.name).collect()
                }
            }
        }
    };
    let (at, time) = (Instant::now(), Timestamp::now());
    let seen = tenants.into_iter().map(|tenant| {
        let path = format!("/v1/tenants/{}", segment(tenant.as_str()));
        let usage = connection.get(&format!("{path}/usage"))?;
        let pipelines = connection.get(&format!("{path}/pipelines"))?;
        Ok((tenant, (usage, pipelines)))
    });
    Ok(Look {
        at,
        time,
        tenants: seen.collect::<anyhow::Result<_>>()?,
    })
}

/// What is shown of two looks.
#[derive(Debug, PartialEq, Serialize)]
struct Shown {
    time: Timestamp,
    tenants: Vec<TenantLine>,
    pipelines: Vec<Line>,
}

/// The pipelines of a tenant share a process, so what a process has is the tenant's.
#[derive(Debug, PartialEq, Serialize)]
struct TenantLine {
    tenant: TenantId,
    pipelines: usize,
    /// Hundredths of a processor.
    cpu_percent: f64,
    memory_bytes: u64,
}

/// A pipeline.
#[derive(Debug, PartialEq, Serialize)]
struct Line {
    tenant: TenantId,
    pipeline: PipelineName,
    state: String,
    rows_per_second: f64,
    delay_ms: u64,
    epochs: u64,
    processing_ms: u64,
    backlog_bytes: u64,
    /// Hundredths of the time, of all workers together, in calls of its plugins.
    plugin_percent: f64,
    /// Of batches alive.
    live_bytes: u64,
}

impl Shown {
    fn between(before: &Look, now: &Look) -> Self {
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        // What is lower than before began again at zero.
        let rate = |before: u64, now: u64| match seconds > 0.0 {
            true => now.checked_sub(before).unwrap_or(now) as f64 / seconds,
            false => 0.0,
        };
        let percent = |nanos: f64| nanos / 1e7;
        let mut shown = Self {
            time: now.time,
            tenants: Vec::new(),
            pipelines: Vec::new(),
        };
        for (tenant, (usage, views)) in &now.tenants {
            let old = before.tenants.get(tenant);
            // Of a tenant that was not there there is no rate yet.
            let old_cpu = old.map_or(usage.cpu_ms, |(usage, _)| usage.cpu_ms);
            shown.tenants.push(TenantLine {
                tenant: tenant.clone(),
                pipelines: views.len(),
                cpu_percent: percent(rate(old_cpu, usage.cpu_ms) * 1e6),
                memory_bytes: usage.memory_bytes,
            });
            for view in views {
                let name = &view.pipeline.name;
                let same = |view: &&PipelineView| view.pipeline.name == *name;
                let old = old.and_then(|(_, views)| views.iter().find(same));
                let new = figures(view.status.as_ref());
                let old = old.map_or_else(|| new.clone(), |view| figures(view.status.as_ref()));
                shown.pipelines.push(Line {
                    tenant: tenant.clone(),
                    pipeline: name.clone(),
                    state: match &view.status {
                        Some(status) => phase(status),
                        None => word(view.pipeline.wanted).to_owned(),
                    },
                    rows_per_second: rate(old.rows_in, new.rows_in),
                    delay_ms: new.delay_ms,
                    epochs: new.delivered,
                    processing_ms: new.processing_ms,
                    backlog_bytes: new.backlog_bytes,
                    plugin_percent: percent(rate(busy(&old), busy(&new))),
                    live_bytes: new.live_bytes,
                });
            }
        }
        shown
    }

    /// Lines that are equal stay in the order of their names.
    fn sort(&mut self, by: Column) {
        let key = |line: &Line| match by {
            Column::Name => 0.0,
            Column::Rows => line.rows_per_second,
            Column::Delay => line.delay_ms as f64,
            Column::Epochs => line.epochs as f64,
            Column::Processing => line.processing_ms as f64,
            Column::Backlog => line.backlog_bytes as f64,
            Column::Plugins => line.plugin_percent,
            Column::Memory => line.live_bytes as f64,
        };
        self.pipelines.sort_by(|a, b| key(b).total_cmp(&key(a)));
    }

    fn text(&self, limit: usize) -> String {
        let bytes = |bytes: u64| format!("{}B", short(bytes as f64));
        let percent = |percent: f64| format!("{percent:.0} %");
        let tenants = Listing::of(&["TENANT", "PIPELINES", "CPU", "MEMORY"]);
        let tenants = tenants.rows(&self.tenants, |line| {
            vec![
                line.tenant.to_string(),
                line.pipelines.to_string(),
                percent(line.cpu_percent),
                bytes(line.memory_bytes),
            ]
        });
        let pipelines = Listing::of(&[
            "TENANT",
            "PIPELINE",
            "STATE",
            "ROWS/S",
            "DELAY",
            "EPOCHS",
            "PROCESSING",
            "BACKLOG",
            "PLUGINS",
            "MEMORY",
        ]);
        let shown = &self.pipelines[..limit.min(self.pipelines.len())];
        let pipelines = pipelines.rows(shown, |line| {
            vec![
                line.tenant.to_string(),
                line.pipeline.to_string(),
                line.state.clone(),
                short(line.rows_per_second),
                format!("{} ms", line.delay_ms),
                line.epochs.to_string(),
                format!("{} ms", line.processing_ms),
                bytes(line.backlog_bytes),
                percent(line.plugin_percent),
                bytes(line.live_bytes),
            ]
        });
        let rest = match self.pipelines.len() - shown.len() {
            0 => String::new(),
            more => format!("and {more} more\n"),
        };
        format!("{}\n{}{rest}", tenants.text(), pipelines.text())
    }
}

fn figures(status: Option<&JobStatus>) -> Figures {
    status
        .map(|status| status.figures.clone())
        .unwrap_or_default()
}

/// Nanoseconds in plugins.
fn busy(figures: &Figures) -> u64 {
    figures.nodes.values().map(|node| node.busy_nanos).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeName;
    use crate::jobs::{Phase, Wanted};
    use crate::server::catalog::pipeline::Pipeline;
    use crate::telemetry::NodeCounts;

    fn view(name: &str, rows_in: u64, busy_nanos: u64) -> PipelineView {
        let node = NodeCounts {
            busy_nanos,
            ..NodeCounts::default()
        };
        PipelineView {
            pipeline: Pipeline {
                name: name.into(),
                version: 1,
                wanted: Wanted::Running,
                accept_changes: false,
            },
            status: Some(JobStatus {
                phase: Phase::Running,
                version: 1,
                restarts: 0,
                since: Timestamp::UNIX_EPOCH,
                failure: None,
                figures: Figures {
                    rows_in,
                    nodes: [(NodeName::from("words"), node)].into(),
                    ..Figures::default()
                },
            }),
            trial: None,
        }
    }

    fn looks(before: Vec<PipelineView>, now: Vec<PipelineView>) -> Shown {
        let at = Instant::now();
        let look = |after: u64, cpu_ms, views| Look {
            at: at + Duration::from_secs(after),
            time: Timestamp::UNIX_EPOCH,
            tenants: [(
                TenantId::parse("acme").unwrap(),
                (
                    Usage {
                        cpu_ms,
                        memory_bytes: 3_000_000,
                        ..Usage::default()
                    },
                    views,
                ),
            )]
            .into(),
        };
        Shown::between(&look(0, 100, before), &look(2, 1100, now))
    }

    #[test]
    fn rates_are_what_has_come_since_the_look_before() {
        let shown = looks(
            vec![view("a", 100, 0), view("again", 500, 0)],
            vec![
                view("a", 300, 500_000_000),
                view("again", 50, 0),
                view("new", 70, 0),
            ],
        );
        assert_eq!(shown.tenants[0].cpu_percent, 50.0);
        let rates: Vec<f64> = shown
            .pipelines
            .iter()
            .map(|line| line.rows_per_second)
            .collect();
        assert_eq!(rates, [100.0, 25.0, 0.0]);
        assert_eq!(shown.pipelines[0].plugin_percent, 25.0);
    }

    #[test]
    fn the_table_is_sorted_and_counts_what_it_leaves_out() {
        let idle = ["a", "b", "c"].map(|name| view(name, 0, 0));
        let busy = vec![view("a", 2, 0), view("b", 4000, 0), view("c", 0, 0)];
        let mut shown = looks(idle.into(), busy);
        shown.sort(Column::Rows);
        assert_eq!(
            shown.text(2),
            "TENANT  PIPELINES  CPU   MEMORY\n\
             acme    3          50 %  3.0MB\n\n\
             TENANT  PIPELINE  STATE    ROWS/S  DELAY  EPOCHS  PROCESSING  BACKLOG  PLUGINS  MEMORY\n\
             acme    b         running  2.0k    0 ms   0       0 ms        0B       0 %      0B\n\
             acme    a         running  1       0 ms   0       0 ms        0B       0 %      0B\n\
             and 1 more\n"
        );
    }
}
