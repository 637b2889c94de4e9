//! `wasi:http` for plugins that are granted it: requests to the named hosts, and to no other.

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

use super::host::State;
use super::imports::HostPort;
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
}

impl Http {
    pub fn new(granted: Arc<[HostPort]>) -> Self {
        Self {
            http: WasiHttpCtx::new(),
            gate: Gate { granted },
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
        let allowed = request
            .uri()
            .authority()
            .is_some_and(|authority| allowed(&self.granted, authority, request.uri().scheme()));
        if !allowed {
            tracing::warn!(uri = %request.uri(), "a plugin's request was denied: its `grants.http` does not name this host");
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        Box::new(async move {
            let (response, io) = default_send_request(request, options).await?;
            let io: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(io);
            Ok((response.map(WasiBody::new), io))
        })
    }
}

fn allowed(granted: &[HostPort], authority: &Authority, scheme: Option<&Scheme>) -> bool {
    let scheme_port = if scheme == Some(&Scheme::HTTP) {
        80
    } else {
        443
    };
    let port = authority.port_u16().unwrap_or(scheme_port);
    granted
        .iter()
        .any(|host| host.covers(authority.host(), port, scheme_port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_and_port_of_the_grant_pass() {
        let granted = [
            HostPort::parse("127.0.0.1:8080").unwrap(),
            HostPort::parse("a.example").unwrap(),
        ];
        let allowed = |uri: &'static str| {
            let uri = http::Uri::from_static(uri);
            allowed(&granted, uri.authority().unwrap(), uri.scheme())
        };
        assert!(allowed("http://127.0.0.1:8080/x"));
        assert!(allowed("https://a.example/x"));
        assert!(allowed("http://A.example:80/x"));
        assert!(!allowed("http://127.0.0.1:8081/x"));
        assert!(!allowed("https://a.example:8443/x"));
        assert!(!allowed("http://a.example@127.0.0.1:8081/"));
        assert!(!allowed("http://b.a.example/"));
    }
}
