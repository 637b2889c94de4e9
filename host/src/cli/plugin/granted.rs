//! What a plugin that is called by hand may reach.

use crate::plugin::{Grants, HostPort, World};

/// Which hosts a sink may send requests to.
#[derive(Debug, clap::Args)]
pub struct Granted {
    /// Let a sink send requests to this host; without, it cannot send any
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host)]
    grant_http: Vec<HostPort>,
}

fn host(text: &str) -> Result<HostPort, String> {
    HostPort::parse(text)
        .ok_or_else(|| "write a host, and the port if it is not the scheme's own".into())
}

impl Granted {
    /// As a plugin of this world has them.
    pub fn to(self, world: World) -> Grants {
        match self.grant_http.is_empty() {
            true => Grants::of_no_host(world),
            false => Grants {
                http: self.grant_http,
            },
        }
    }
}
