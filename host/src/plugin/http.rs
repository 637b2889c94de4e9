//! `wasi:http` for plugins that are granted it: requests to the named hosts, and to no other.
//!
//! Where private addresses are out of reach, a host is looked up here, and without TLS the connection goes to the very address that was
//! looked at: whoever answers for the name cannot answer otherwise a moment later. With TLS it is looked up again, and what stands at another
//! address then has to prove that it is the host before it is told anything.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::{Authority, Scheme};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;
use wasmtime_wasi_http::p2::bindings::http::types::{self, RequestOptions as Options};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView, default_send_request,
};

use super::address::is_private;
use super::host::State;
use super::imports::HostPort;
use super::reach::Reach;
use super::wasi::Wasi;

/// The interface that sends requests, in the version that wasmtime-wasi-http 48 has the types of.
pub(super) const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

/// The state of `wasi:http` in one instance.
pub(super) struct Http {
    http: WasiHttpCtx,
    gate: Gate,
}

/// Lets requests to granted hosts pass.
struct Gate {
    granted: Arc<[HostPort]>,
    has_denied: bool,
    reach: Arc<Reach>,
}

impl Http {
    pub fn new(granted: Arc<[HostPort]>, reach: Arc<Reach>) -> Self {
        Self {
            http: WasiHttpCtx::new(),
            gate: Gate {
                granted,
                has_denied: false,
                reach,
            },
        }
    }
}

/// Adds all that the grant opens, to what answers the rest of WASI.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, WasiHttp>(
        linker,
        &types::LinkOptions::default(),
        WasiHttpView::http,
    )?;
    linker
        .instance(OUTGOING_HANDLER)?
        .func_wrap("handle", handle)
}

/// A request takes its options, but wasmtime-wasi-http 48 leaves them in the table: after some thousands of requests of an instance there
/// would be no room for another. So this is its `handle`, and they go.
fn handle(
    mut store: StoreContextMut<'_, State>,
    (request, options): (Resource<HostOutgoingRequest>, Option<Resource<Options>>),
) -> wasmtime::Result<(Result<Resource<HostFutureIncomingResponse>, types::ErrorCode>,)> {
    let taken = options.as_ref().map(Resource::rep);
    let mut http = WasiHttpView::http(store.data_mut());
    let answer = outgoing_handler::Host::handle(&mut http, request, options);
    if let Some(taken) = taken {
        http.table.delete(Resource::<Options>::new_own(taken))?;
    }
    match answer {
        Ok(answer) => Ok((Ok(answer),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let Wasi { http, table, .. } = self.answers_mut();
        WasiHttpCtxView {
            ctx: &mut http.http,
            table,
            hooks: &mut http.gate,
        }
    }
}

type Sent = (
    http::Response<WasiBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

impl WasiHttpHooks for Gate {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_error: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let target = Target::of(request.uri());
        let Some(target) = target.filter(|target| target.is_granted(&self.granted)) else {
            // Once an instance: it may ask again and again. The rest of the address may hold what is secret.
            if !std::mem::replace(&mut self.has_denied, true) {
                let host = request.uri().host().unwrap_or_default();
                tracing::warn!(
                    host,
                    "a plugin's request was denied: its `grants.http` does not name this host"
                );
            }
            return Box::new(async { Err(Error::HttpRequestDenied) });
        };
        let is_free = self
            .reach
            .allows(&target.host, target.port, target.scheme_port());
        Box::new(async move {
            let request = match is_free {
                true => request,
                false => target.public(request).await?,
            };
            let (response, io) = default_send_request(request, options).await?;
            let io: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(io);
            Ok((response.map(WasiBody::new), io))
        })
    }
}

/// Where a request goes.
struct Target {
    /// An IPv6 address stands in brackets.
    host: String,
    port: u16,
    is_tls: bool,
}

impl Target {
    fn of(uri: &http::Uri) -> Option<Self> {
        let authority = uri.authority()?;
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let default = if is_tls { 443 } else { 80 };
        Some(Self {
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(default),
            is_tls,
        })
    }

    fn scheme_port(&self) -> u16 {
        if self.is_tls { 443 } else { 80 }
    }

    fn is_granted(&self, granted: &[HostPort]) -> bool {
        let scheme_port = self.scheme_port();
        let mut granted = granted.iter();
        granted.any(|host| host.covers(&self.host, self.port, scheme_port))
    }

    /// The request, bound to an address of the host that is not private.
    async fn public(
        &self,
        mut request: http::Request<WasiBody>,
    ) -> Result<http::Request<WasiBody>, Error> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((host, self.port)).await;
        let found: Vec<SocketAddr> = found.map_err(Error::Connect)?.collect();
        let Some(first) = self.only_public(&found) else {
            tracing::warn!(host = %self.host, "a plugin's request was denied: the host has a private address, and `allow_private` of the tenant's policy does not name it");
            return Err(Error::DestinationIpProhibited);
        };
        // A certificate is of the name.
        if !self.is_tls {
            let mut parts = request.uri().clone().into_parts();
            let authority = Authority::try_from(first.to_string());
            parts.authority = Some(authority.map_err(|_| Error::HttpRequestUriInvalid)?);
            let bound = http::Uri::from_parts(parts);
            *request.uri_mut() = bound.map_err(|_| Error::HttpRequestUriInvalid)?;
        }
        Ok(request)
    }

    /// The first of the addresses, if none is private: a host that has both kinds is up to something.
    fn only_public(&self, found: &[SocketAddr]) -> Option<SocketAddr> {
        let is_any_private = found.iter().any(|address| is_private(address.ip()));
        found.first().copied().filter(|_| !is_any_private)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &'static str) -> Target {
        Target::of(&http::Uri::from_static(uri)).unwrap()
    }

    #[test]
    fn only_the_host_and_port_of_the_grant_pass() {
        let granted = [
            HostPort::parse("127.0.0.1:8080").unwrap(),
            HostPort::parse("a.example").unwrap(),
        ];
        let allowed = |uri| target(uri).is_granted(&granted);
        assert!(allowed("http://127.0.0.1:8080/x"));
        assert!(allowed("https://a.example/x"));
        assert!(allowed("http://A.example:80/x"));
        assert!(!allowed("http://127.0.0.1:8081/x"));
        assert!(!allowed("https://a.example:8443/x"));
        assert!(!allowed("http://a.example@127.0.0.1:8081/"));
        assert!(!allowed("http://b.a.example/"));
    }

    /// What a request becomes where private addresses are out of reach.
    fn public(uri: &'static str) -> Result<String, Error> {
        let body = WasiBody::default();
        let mut request = http::Request::new(body);
        *request.uri_mut() = http::Uri::from_static(uri);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let bound = runtime.unwrap().block_on(target(uri).public(request));
        bound.map(|request| request.uri().to_string())
    }

    #[test]
    fn a_name_or_address_that_leads_to_this_machine_or_its_network_is_prohibited() {
        for uri in [
            "http://localhost/",
            "https://localhost/",
            "http://127.0.0.1:8080/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "https://192.168.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://0.0.0.0/",
        ] {
            let denied = public(uri);
            assert!(
                matches!(denied, Err(Error::DestinationIpProhibited)),
                "{uri}: {denied:?}"
            );
        }
    }

    #[test]
    fn a_request_goes_to_the_address_that_was_looked_at_unless_a_certificate_is_of_the_name() {
        assert_eq!(
            public("http://1.1.1.1/a?b").unwrap(),
            "http://1.1.1.1:80/a?b"
        );
        assert_eq!(public("https://1.1.1.1/a").unwrap(), "https://1.1.1.1/a");
        let of = |addresses: &[&str]| {
            let addresses: Vec<SocketAddr> =
                addresses.iter().map(|one| one.parse().unwrap()).collect();
            target("http://a.example/").only_public(&addresses)
        };
        assert_eq!(
            of(&["1.1.1.1:80", "8.8.8.8:80"]),
            Some("1.1.1.1:80".parse().unwrap())
        );
        assert_eq!(of(&["1.1.1.1:80", "127.0.0.1:80"]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn hosts_that_are_named_may_be_private() {
        let reach = Reach::default();
        assert!(reach.allows("127.0.0.1", 80, 80), "as long as nobody minds");
        reach.confine(vec![HostPort::parse("127.0.0.1:8080").unwrap()]);
        assert!(reach.allows("127.0.0.1", 8080, 80));
        assert!(!reach.allows("127.0.0.1", 80, 80));
        assert!(!reach.allows("localhost", 8080, 80));
    }
}
