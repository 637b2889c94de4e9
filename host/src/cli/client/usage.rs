//! `wasmill tenant usage`: what a tenant's pipelines use and have used.

use super::connection::segment;
use super::{Connection, Listing, Remote};
use crate::config::format_size;
use crate::server::catalog::usage::By;
use crate::server::usage::TenantUsage;

/// Show what a tenant's pipelines use now, and what they have used, as long as the server keeps it
#[derive(Debug, clap::Args)]
pub struct Usage {
    /// The tenant
    name: String,

    /// Into what parts it is cut
    #[arg(long, value_enum, default_value_t)]
    by: By,

    /// Count from this day on, in UTC
    #[arg(long, value_name = "DATE")]
    since: Option<jiff::civil::Date>,

    #[command(flatten)]
    remote: Remote,
}

impl Usage {
    /// Asks and shows.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn run(self) -> anyhow::Result<()> {
        let by = match self.by {
            By::Plugin => "plugin",
            By::Day => "day",
            By::Pipeline => "pipeline",
        };
        let mut path = format!("/v1/tenants/{}/usage?by={by}", segment(&self.name));
        if let Some(day) = self.since {
            path.push_str(&format!("&since={day}"));
        }
        let usage: TenantUsage = Connection::open(&self.remote)?.get(&path)?;
        let both = now(&usage).then(spent(&usage, by));
        both.show(self.remote.output, &usage)
    }
}

/// What is used now, and what may be.
fn now(usage: &TenantUsage) -> Listing {
    let row = |what: &str, used: String, quota: Option<String>, short: String| {
        let quota = quota.unwrap_or_else(|| "-".to_owned());
        [what.to_owned(), used, quota, short]
    };
    let quotas = &usage.quotas;
    let waited = |milliseconds: u64, who: &str| match milliseconds {
        0 => String::new(),
        _ => format!("{who} {}", seconds(milliseconds)),
    };
    let dropped = match usage.log_lines_dropped {
        0 => String::new(),
        lines => format!("{lines} dropped"),
    };
    let now = usage.now;
    Listing::of(&["NOW", "USED", "QUOTA", "HELD BACK"])
        .row(row("memory", size(now.memory_bytes), None, String::new()))
        .row(row(
            "plugins",
            size(usage.plugin_bytes),
            Some(format_size(usage.max_plugin_bytes)),
            String::new(),
        ))
        .row(row(
            "plugin memory",
            size(now.plugin_memory_bytes),
            quotas.memory.map(format_size),
            String::new(),
        ))
        .row(row(
            "plugin cpu",
            "-".to_owned(),
            quotas.millicores.map(|cores| format!("{cores}m")),
            waited(now.plugin_waits_ms, "slept"),
        ))
        .row(row(
            "state",
            size(usage.state_bytes),
            quotas.state.map(format_size),
            String::new(),
        ))
        .row(row(
            "rows",
            "-".to_owned(),
            quotas.rows_per_second.map(|rows| format!("{rows}/s")),
            waited(usage.held_ms, "waited"),
        ))
        .row(row(
            "log lines",
            "-".to_owned(),
            quotas
                .log_lines_per_second
                .map(|lines| format!("{lines}/s")),
            dropped,
        ))
}

/// What was used, part by part, and in the end the runners as a whole.
fn spent(usage: &TenantUsage, by: &str) -> Listing {
    let heading = match by {
        "day" => "DAY",
        "pipeline" => "PIPELINE",
        _ => "PLUGIN",
    };
    let listing = Listing::of(&[
        heading,
        "PLUGIN CPU",
        "CALLS",
        "ROWS IN",
        "BYTES IN",
        "CPU",
        "MEMORY",
    ]);
    let listing = listing.rows(&usage.parts, |part| {
        let name = match part.name.as_str() {
            "" => "(none)".to_owned(),
            name => name.to_owned(),
        };
        vec![
            name,
            seconds(part.plugin_cpu_us / 1000),
            part.calls.to_string(),
            part.rows_in.to_string(),
            part.bytes_in.to_string(),
            String::new(),
            String::new(),
        ]
    });
    let sum = |read: fn(&crate::server::catalog::usage::Part) -> u64| {
        usage.parts.iter().map(read).sum::<u64>()
    };
    listing.row([
        "all".to_owned(),
        seconds(sum(|part| part.plugin_cpu_us) / 1000),
        sum(|part| part.calls).to_string(),
        String::new(),
        sum(|part| part.bytes_in).to_string(),
        seconds(usage.total.cpu_ms),
        format!(
            "{:.3} GiB h",
            usage.total.memory_byte_seconds as f64 / f64::from(1 << 30) / 3600.0
        ),
    ])
}

fn seconds(milliseconds: u64) -> String {
    format!("{:.1} s", milliseconds as f64 / 1000.0)
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    }
}
