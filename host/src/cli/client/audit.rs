//! `wasmill audit`: who changed what, and when.

use super::{Connection, Listing, Remote};
use crate::server::api::Who;
use crate::server::catalog::audit::AuditLine;

/// List what was changed on a server, latest first
///
/// An administrator sees everything, unless a tenant is named.
#[derive(Debug, clap::Args)]
pub struct Audit {
    /// At most so many changes
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,

    #[command(flatten)]
    remote: Remote,
}

impl Audit {
    /// Lists.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn run(self) -> anyhow::Result<()> {
        let connection = Connection::open(&self.remote)?;
        let who: Who = connection.get("/v1/whoami")?;
        let path = match (who.tenant, self.remote.tenant) {
            (None, None) => "/v1/audit".to_owned(),
            _ => connection.of_tenant("/audit")?,
        };
        let lines: Vec<AuditLine> = connection.get(&format!("{path}?limit={}", self.limit))?;
        let listing = Listing::of(&["TIME", "WHO", "TENANT", "ACTION", "WHAT", "FROM", "TO"]);
        let listing = listing.rows(&lines, |line| {
            let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            vec![
                format!("{:.0}", line.time),
                line.who.clone(),
                or_none(&line.tenant),
                line.action.clone(),
                line.subject.clone(),
                or_none(&line.before),
                or_none(&line.after),
            ]
        });
        listing.show(self.remote.output, &lines)
    }
}
