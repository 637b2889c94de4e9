//! What a pipeline file may reach whose author does not own the machine that it runs on.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// The limits of such a file. Its local files are those below the folder that its paths count from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confines {
    /// Addresses, `host:port`, that sources may connect to or listen on.
    pub addresses: Vec<String>,
    /// Hosts, `host` or `host:port`, that plugins may be granted to send requests to.
    pub http: Vec<String>,
}

/// Why something is beyond the confines.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// What it is.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Confines {
    /// Refuses a path that leaves the folder that it counts from.
    pub(super) fn path(&self, path: &str) -> Result<(), Refused> {
        let stays = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if Path::new(path).components().all(stays) && !path.contains('\0') {
            return Ok(());
        }
        Err(Refused {
            message: format!("`{path}` lies outside the tenant's files"),
            help: "write a path that counts from the tenant's own folder, without `..` and without a `/` in front".into(),
        })
    }

    /// Refuses an address that is not allowed.
    pub(super) fn address(&self, address: &str) -> Result<(), Refused> {
        allowed(&self.addresses, address, "the address", "allow_addresses")
    }

    /// Refuses a host that is not allowed.
    pub(super) fn http(&self, host: &str) -> Result<(), Refused> {
        allowed(&self.http, host, "the host", "allow_http")
    }
}

/// Names are compared as they are written: what a name means may change, what was allowed may not.
fn allowed(known: &[String], name: &str, what: &str, setting: &str) -> Result<(), Refused> {
    if known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(Refused {
        message: format!("{what} `{name}` is not allowed to this tenant"),
        help: format!("ask who runs the server to add it to `{setting}` of the tenant's policy"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_its_folder() {
        let confines = Confines::default();
        for path in ["in", "in/*.txt", "./in", "in/./a", "..a/b", "."] {
            assert_eq!(confines.path(path), Ok(()), "{path}");
        }
        for path in ["/etc/passwd", "..", "../a", "in/../../a", "in/..", "a\0b"] {
            let refused = confines.path(path).unwrap_err();
            assert!(refused.message.contains("outside"), "{path}");
        }
    }

    #[test]
    fn only_what_is_named_can_be_reached() {
        let confines = Confines {
            addresses: vec!["127.0.0.1:9999".into()],
            http: vec!["API.example.com".into()],
        };
        assert_eq!(confines.address("127.0.0.1:9999"), Ok(()));
        assert_eq!(confines.http("api.example.com"), Ok(()));
        let refused = confines.address("127.0.0.1:99").unwrap_err();
        assert!(refused.help.contains("allow_addresses"), "{}", refused.help);
        assert!(confines.http("api.example.com:8080").is_err());
        assert!(confines.http("api.example.com.evil.org").is_err());
    }
}
