//! What a plugin may import: what its world gives every plugin, and what the pipeline file grants.
//!
//! Most of WASI needs no leave, since stubs answer it ([`super::wasi`]). Decided by the functions that a component imports. An interface that is imported for its types alone (every component
//! imports `wasmill:plugin/types`) asks for nothing.

use std::collections::BTreeSet;
use std::fmt;

use super::component::{ImportedFunction, by_interface};
use super::{World, wasi};
use crate::config::Table;
use crate::error::Failure;
use crate::ids::NodeName;

/// What a pipeline file grants a plugin beyond `host.log`: a step's or sink's `grants` table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// `grants.http`: hosts to which the plugin may send requests.
    pub http: Vec<HostPort>,
}

/// A host, and the port if one is named; else the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address, in lower case; an IPv6 address stands in brackets.
    pub host: String,
    /// 80 or 443 by the request's scheme if `None`.
    pub port: Option<u16>,
}

impl HostPort {
    /// Reads `host` or `host:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (text, None),
        };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let plain = !host.is_empty() && !host.contains([':', '/', '@', '?', '#', ' ', '[', ']']);
        (bracketed || plain).then(|| Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// Whether a request to this host and port is meant.
    pub fn covers(&self, host: &str, port: u16, scheme_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(host) && self.port.unwrap_or(scheme_port) == port
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl Grants {
    /// No host at all. A sink may ask for the outside all the same, and never gets there.
    pub fn of_no_host(world: World) -> Self {
        let nowhere = HostPort {
            host: String::new(),
            port: None,
        };
        Self {
            http: match world {
                World::Sink => vec![nowhere],
                _ => Vec::new(),
            },
        }
    }

    /// Refuses what a step cannot have.
    ///
    /// # Errors
    /// When anything is granted.
    pub fn refuse_on_steps(&self, node: &NodeName) -> Result<(), Failure> {
        if self.http.is_empty() {
            return Ok(());
        }
        Err(Failure::user(format!("`{node}` is a step, and only sinks can be granted `http`"))
            .help("a step runs in the data plane, which must not wait for anything outside; move the requests to a sink plugin"))
    }

    /// Reads a `grants` table to its end. What is no host is a problem, and stays a grant that covers nothing: the plugin
    /// is not refused for want of it as well.
    pub fn from_table(mut table: Table<'_>) -> Self {
        let mut http = Vec::new();
        for text in table.strings("http") {
            table.check_http(&text);
            let host = HostPort::parse(text.get_ref()).unwrap_or_else(|| {
                let message = format!("`{}` is not a host", text.get_ref());
                let help = "write the host, and the port if it is not the scheme's own: \"api.example.com\", \"127.0.0.1:8080\"";
                table.problem(text.span(), message, Some(help.into()));
                HostPort {
                    host: String::new(),
                    port: None,
                }
            });
            http.push(host);
        }
        table.finish();
        Self { http }
    }
}

/// What `grants.http` opens: the outgoing half of `wasi:http`.
const HTTP: [&str; 2] = ["wasi:http/types@0.2", "wasi:http/outgoing-handler@0.2"];
const EVERY_PLUGIN: [&str; 1] = ["wasmill:plugin/host@0.1"];

/// Whether the function belongs to one of these interfaces, at any patch of their version.
fn belongs(function: &ImportedFunction, interfaces: &[&str]) -> bool {
    interfaces.iter().any(|known| {
        let rest = function.interface.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Whether it is more than what every plugin gets.
fn asks(function: &ImportedFunction) -> bool {
    !belongs(function, &EVERY_PLUGIN) && !wasi::is_answered(function)
}

/// What a component asks for beyond what every plugin gets, by the functions that it imports: `http`, which can be granted, and the
/// interfaces that nothing grants.
pub fn capabilities(functions: &[ImportedFunction]) -> Vec<String> {
    let asked = functions.iter().filter(|function| asks(function));
    let asked = asked.map(|function| match belongs(function, &HTTP) {
        true => "http".to_owned(),
        false if function.interface.is_empty() => function.function.clone(),
        false => function.interface.clone(),
    });
    asked.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Checks the functions that the plugin `name` imports.
pub(super) fn check(
    name: &str,
    functions: &[ImportedFunction],
    grants: &Grants,
) -> Result<(), Failure> {
    let refused: Vec<_> = functions.iter().filter(|function| asks(function)).collect();
    let (http, other): (Vec<_>, Vec<_>) = refused
        .into_iter()
        .partition(|function| belongs(function, &HTTP));
    if !other.is_empty() {
        let message = format!(
            "plugin `{name}` imports what no grant allows:{}",
            list(other)
        );
        return Err(Failure::user(message).help(
            "a plugin gets `wasmill:plugin/host`, stubs for the rest of WASI 0.2, and as a sink with `grants.http` the outgoing \
             half of `wasi:http`",
        ));
    }
    if !http.is_empty() && grants.http.is_empty() {
        let message = format!(
            "plugin `{name}` imports what is not granted to it:{}",
            list(http)
        );
        return Err(Failure::user(message)
            .help("name the hosts that it may reach: `grants = { http = [\"host:port\"] }`"));
    }
    Ok(())
}

/// A line for each interface; `wasmill plugin inspect` lists every function.
fn list(functions: Vec<&ImportedFunction>) -> String {
    let lines = by_interface(functions);
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Problems, parse};

    fn names(functions: &[&str]) -> Vec<ImportedFunction> {
        let functions = functions.iter().map(|name| {
            let (interface, function) = name.split_once('#').expect("the test names both");
            ImportedFunction {
                interface: interface.into(),
                function: function.into(),
            }
        });
        functions.collect()
    }

    fn http() -> Grants {
        Grants {
            http: vec![HostPort::parse("localhost:80").unwrap()],
        }
    }

    #[test]
    fn the_log_needs_no_grant() {
        let functions = names(&[
            "wasmill:plugin/host@0.1.0#log",
            "wasmill:plugin/host@0.1.7#log",
        ]);
        assert_eq!(check("p", &functions, &Grants::default()), Ok(()));
    }

    #[test]
    fn a_function_of_another_version_of_the_contract_is_refused() {
        for interface in ["wasmill:plugin/host@0.10.0", "wasmill:plugin/host@0.2.0"] {
            let failure = check("p", &names(&[&format!("{interface}#log")]), &http()).unwrap_err();
            assert!(
                failure.message.ends_with(&format!("{interface} (log)")),
                "{failure}"
            );
        }
    }

    #[test]
    fn http_is_refused_without_its_grant_and_the_message_lists_the_functions() {
        let functions = names(&[
            "wasi:http/outgoing-handler@0.2.3#handle",
            "wasi:http/types@0.2.0#[constructor]fields",
            "wasi:io/poll@0.2.0#poll",
        ]);
        let failure = check("hook", &functions, &Grants::default()).unwrap_err();
        assert_eq!(
            failure.message,
            "plugin `hook` imports what is not granted to it:
  wasi:http/outgoing-handler@0.2.3 (handle)
  wasi:http/types@0.2.0 ([constructor]fields)"
        );
        assert!(failure.help.unwrap().contains("grants"));
        assert_eq!(check("hook", &functions, &http()), Ok(()));
    }

    #[test]
    fn wasi_is_answered_and_what_only_looks_like_it_is_refused() {
        let answered = names(&[
            "wasi:filesystem/types@0.2.0#[method]descriptor.open-at",
            "wasi:cli/environment@0.2.6#get-environment",
        ]);
        assert_eq!(check("p", &answered, &Grants::default()), Ok(()));
        for other in [
            "wasi:cli/environment@0.3.0#get-environment",
            "wasi:keyvalue/store@0.2.0#open",
            "wasi:climb/rope@0.2.0#climb",
        ] {
            let failure = check("p", &names(&[other]), &http()).unwrap_err();
            let (interface, _) = other.split_once('#').unwrap();
            assert!(failure.message.contains(interface), "{failure}");
        }
    }

    #[test]
    fn what_a_plugin_asks_for_is_named_once_and_stubs_are_nothing_to_ask_for() {
        let functions = names(&[
            "evil:keys/store@0.2.0#read",
            "wasi:filesystem/types@0.2.0#[method]descriptor.open-at",
            "wasi:http/outgoing-handler@0.2.3#handle",
            "wasi:http/types@0.2.3#[constructor]fields",
            "wasi:io/poll@0.2.0#poll",
            "wasmill:plugin/host@0.1.0#log",
        ]);
        assert_eq!(capabilities(&functions), ["evil:keys/store@0.2.0", "http"]);
        assert!(capabilities(&functions[4..]).is_empty());
    }

    #[test]
    fn hosts_are_read_with_and_without_a_port() {
        let read = |text| HostPort::parse(text).map(|host| host.to_string());
        assert_eq!(
            read("API.example.com:8080").as_deref(),
            Some("api.example.com:8080")
        );
        assert_eq!(read("api.example.com").as_deref(), Some("api.example.com"));
        assert_eq!(read("[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(read("[::1]").as_deref(), Some("[::1]"));
        for bad in ["", ":80", "http://x", "x:99999", "x/y", "a@b", "::1"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_host_without_a_port_means_the_port_of_the_scheme() {
        let host = HostPort::parse("example.com").unwrap();
        assert!(host.covers("EXAMPLE.com", 443, 443));
        assert!(!host.covers("example.com", 8443, 443));
        assert!(!host.covers("example.com.evil.org", 443, 443));
    }

    #[test]
    fn a_grant_that_is_no_host_is_one_problem() {
        let problems = Problems::default();
        let table = parse("http = ['http://x/']", Path::new("."), &problems).unwrap();
        let grants = Grants::from_table(table);
        assert_eq!(problems.take()[0].message, "`http://x/` is not a host");
        assert!(!grants.http[0].covers("x", 80, 80));
        let functions = names(&["wasi:http/outgoing-handler@0.2.3#handle"]);
        assert_eq!(check("hook", &functions, &grants), Ok(()));
    }
}
