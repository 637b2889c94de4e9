//! Whether plugins may send requests to private addresses: on a machine of one's own they may, on one that is shared only where it was said.

use std::sync::{PoisonError, RwLock};

use super::imports::HostPort;

/// The hosts whose addresses may be private; shared by all plugins of an engine.
#[derive(Debug, Default)]
pub struct Reach(RwLock<Option<Vec<HostPort>>>);

impl Reach {
    /// Lets only these hosts have private addresses from now on.
    pub fn confine(&self, hosts: Vec<HostPort>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(hosts);
    }

    /// Whether the address of this host may be private.
    pub(super) fn allows(&self, host: &str, port: u16, scheme_port: u16) -> bool {
        let hosts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let covers = |known: &HostPort| known.covers(host, port, scheme_port);
        hosts.as_ref().is_none_or(|hosts| hosts.iter().any(covers))
    }
}
