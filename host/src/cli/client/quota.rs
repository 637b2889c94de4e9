//! `wasmill tenant quota`: how much a tenant's pipelines may use.

use reqwest::Method;

use super::connection::segment;
use super::{Connection, Listing, Remote};
use crate::config::{format_size, parse_size};
use crate::server::catalog::tenant::{Policy, Tenant};

/// Show how much a tenant may use, or set some of it
///
/// All but the pipelines, workers and plugins counts at once, for what runs. `none` lifts a limit.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  wasmill tenant quota acme --memory 512MiB --state 1GiB --cpu 500m --rows 10000 --log-lines 100")]
pub struct Quota {
    /// The tenant
    name: String,

    /// Pipelines that it may have
    #[arg(long, value_name = "N")]
    pipelines: Option<u32>,

    /// Worker threads that each of them may have
    #[arg(long, value_name = "N")]
    workers: Option<u32>,

    /// What the components of all its plugins' versions may take
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    plugins: Option<u64>,

    /// Memory of all its plugins together
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<Limit<u64>>,

    /// What the steps of all its pipelines together may remember
    #[arg(long, value_name = "SIZE", value_parser = size)]
    state: Option<Limit<u64>>,

    /// Processor time of all its plugins together: 500m is half a core
    #[arg(long, value_name = "CORES", value_parser = cores)]
    cpu: Option<Limit<u32>>,

    /// Rows that all its sources together may take in within a second
    #[arg(long, value_name = "N", value_parser = number)]
    rows: Option<Limit<u32>>,

    /// Log lines that all its pipelines together may say within a second
    #[arg(long, value_name = "N", value_parser = number)]
    log_lines: Option<Limit<u32>>,

    #[command(flatten)]
    remote: Remote,
}

/// A limit as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit<T> {
    None,
    Of(T),
}

impl<T: Copy> Limit<T> {
    fn read(text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            text => read(text).map(Self::Of),
        }
    }

    /// Sets it, if it is written.
    fn set(written: Option<Self>, limit: &mut Option<T>) {
        match written {
            None => {}
            Some(Self::None) => *limit = None,
            Some(Self::Of(value)) => *limit = Some(value),
        }
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "write a number and a unit, as in 512MiB".to_owned())
}

fn size(text: &str) -> Result<Limit<u64>, String> {
    Limit::read(text, bytes).map_err(|wrong| format!("{wrong}, or `none`"))
}

fn number(text: &str) -> Result<Limit<u32>, String> {
    let wrong = |_| "write a number, or `none`".to_owned();
    Limit::read(text, |text| text.parse().map_err(wrong))
}

/// `500m`, or whole cores.
fn cores(text: &str) -> Result<Limit<u32>, String> {
    let wrong = || "write thousandths of a core, as in 500m, whole cores, or `none`".to_owned();
    Limit::read(text, |text| {
        let (digits, factor) = match text.strip_suffix('m') {
            Some(digits) => (digits, 1),
            None => (text, 1000),
        };
        let number: Option<u32> = digits.parse().ok();
        number
            .and_then(|number| number.checked_mul(factor))
            .ok_or_else(wrong)
    })
}

impl Quota {
    /// Shows, or sets what is written and leaves the rest.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn run(self) -> anyhow::Result<()> {
        let connection = Connection::open(&self.remote)?;
        let path = format!("/v1/tenants/{}", segment(&self.name));
        let mut tenant: Tenant = connection.get(&path)?;
        let mut policy = tenant.policy.clone();
        self.change(&mut policy);
        if policy != tenant.policy {
            tenant = connection.send(Method::PUT, &format!("{path}/policy"), &policy)?;
        }
        listing(&tenant.policy).show(self.remote.output, &tenant.policy)
    }

    fn change(&self, policy: &mut Policy) {
        policy.max_pipelines = self.pipelines.unwrap_or(policy.max_pipelines);
        policy.max_workers = self.workers.unwrap_or(policy.max_workers);
        policy.max_plugin_bytes = self.plugins.unwrap_or(policy.max_plugin_bytes);
        Limit::set(self.memory, &mut policy.max_memory);
        Limit::set(self.state, &mut policy.max_state_bytes);
        Limit::set(self.cpu, &mut policy.plugin_millicores);
        Limit::set(self.rows, &mut policy.max_rows_per_second);
        Limit::set(self.log_lines, &mut policy.max_log_lines_per_second);
    }
}

fn listing(policy: &Policy) -> Listing {
    let or_none = |limit: Option<String>| limit.unwrap_or_else(|| "-".to_owned());
    let a_second = |limit: Option<u32>| or_none(limit.map(|limit| format!("{limit}/s")));
    let headings = [
        "PIPELINES",
        "WORKERS",
        "PLUGINS",
        "MEMORY",
        "STATE",
        "CPU",
        "ROWS",
        "LOG LINES",
    ];
    Listing::of(&headings).row([
        policy.max_pipelines.to_string(),
        policy.max_workers.to_string(),
        format_size(policy.max_plugin_bytes),
        or_none(policy.max_memory.map(format_size)),
        or_none(policy.max_state_bytes.map(format_size)),
        or_none(policy.plugin_millicores.map(|cores| format!("{cores}m"))),
        a_second(policy.max_rows_per_second),
        a_second(policy.max_log_lines_per_second),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_people_write_them() {
        assert_eq!(cores("500m"), Ok(Limit::Of(500)));
        assert_eq!(cores("2"), Ok(Limit::Of(2000)));
        assert_eq!(size("1GiB"), Ok(Limit::Of(1 << 30)));
        assert_eq!(number("none"), Ok(Limit::None));
        for wrong in ["", "m", "-1", "1.5", "5000000000"] {
            assert!(cores(wrong).is_err() && number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_written_stays() {
        let mut limit = Some(7);
        Limit::set(None, &mut limit);
        assert_eq!(limit, Some(7));
        Limit::set(Some(Limit::None), &mut limit);
        assert_eq!(limit, None);
    }
}
