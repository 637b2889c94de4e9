//! The socket, and the threads that answer on it.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use jiff::Timestamp;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::attempts::Attempts;
use super::connections::Connections;
use super::requests::Requests;
use super::turns::Turns;
use super::{Api, routes};
use crate::error::Failure;
use crate::server::{ServerOptions, Service};

/// Answers are small; the streams of events end when they are told to.
const GRACE: Duration = Duration::from_secs(2);
/// Answering takes next to nothing, and what takes long has threads of its own.
const THREADS: usize = 2;
/// Half a gigabyte of the largest components.
const UPLOADS: usize = 8;
const UPLOADS_OF_A_TENANT: usize = 2;
const STREAMS: usize = 512;
const STREAMS_OF_A_TENANT: usize = 32;

/// What listens.
#[derive(Debug)]
pub struct Listener {
    runtime: Runtime,
    handle: Handle<SocketAddr>,
    address: SocketAddr,
    task: JoinHandle<std::io::Result<()>>,
}

/// Begins to listen.
///
/// # Errors
/// When the address is taken, or the certificate cannot be used.
pub fn listen(service: &Arc<Service>, options: &ServerOptions) -> Result<Listener, Failure> {
    let failed = |error: std::io::Error| {
        Failure::external(format!("cannot listen on {}: {error}", options.listen)).help(
            "another program may have taken the port, or the address may be another machine's",
        )
    };
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("server")
        .enable_all()
        .build()
        .map_err(failed)?;
    let socket = TcpListener::bind(options.listen).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    let most = options.connections as usize;
    let connections = Connections::new(most, most / 4);
    let api = Arc::new(Api {
        service: service.clone(),
        attempts: Attempts::new(options.failed_logins),
        connections: connections.clone(),
        requests: Requests::default(),
        started: Timestamp::now(),
        uploads: Turns::new(UPLOADS, UPLOADS_OF_A_TENANT),
        checks: Turns::new(cores, cores.div_ceil(2)),
        shadows: Turns::new(1, 1),
        streams: Turns::new(STREAMS, STREAMS_OF_A_TENANT),
        timeout: options.request_timeout,
        document: OnceLock::new(),
    });
    let app = routes(&api).into_make_service_with_connect_info::<SocketAddr>();
    let (handle, timeout) = (Handle::new(), options.request_timeout);
    let guard = runtime.enter();
    let task = match &options.tls {
        None => {
            let server = axum_server::from_tcp(socket).map_err(failed)?;
            // In this order: an acceptor makes the server forget that it speaks HTTP/1 alone.
            let server = server.acceptor(connections).handle(handle.clone());
            let mut server = server.http1_only();
            let mut http = server.http_builder().http1();
            http.timer(TokioTimer::new()).header_read_timeout(timeout);
            runtime.spawn(server.serve(app))
        }
        Some((certificate, key)) => {
            let config = runtime.block_on(RustlsConfig::from_pem_file(certificate, key));
            let config = config.map_err(|error| {
                let (certificate, key) = (certificate.display(), key.display());
                Failure::user(format!(
                    "the certificate {certificate} and the key {key} cannot be used: {error}"
                ))
                .help("both are PEM files, the certificate with those that signed it behind it")
            })?;
            let mut config = (*config.get_inner()).clone();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let config = RustlsConfig::from_config(Arc::new(config));
            let server = axum_server::from_tcp_rustls(socket, config).map_err(failed)?;
            let server = server.map(|tls| tls.acceptor(connections));
            let mut server = server.handle(handle.clone()).http1_only();
            let mut http = server.http_builder().http1();
            http.timer(TokioTimer::new()).header_read_timeout(timeout);
            runtime.spawn(server.serve(app))
        }
    };
    drop(guard);
    Ok(Listener {
        runtime,
        handle,
        address,
        task,
    })
}

impl Listener {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, and waits a moment for those that are there.
    pub fn shutdown(self) {
        self.handle.graceful_shutdown(Some(GRACE));
        match self.runtime.block_on(self.task) {
            Ok(Ok(())) => (),
            Ok(Err(error)) => tracing::error!("the server's socket failed: {error}"),
            Err(error) => tracing::error!("the server's task failed: {error}"),
        }
        self.runtime.shutdown_background();
    }
}
