//! `wasmill serve`: the server, until someone asks it to stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::bounds::{BoundsOptions, duration, size};
use super::exit::{Exit, WrongUsage};
use super::log::LogFormat;
use super::output;
use super::traces::TraceOptions;
use crate::cgroup::{self, Cgroups};
use crate::checkpoint::storage::Bucket;
use crate::error::Failure;
use crate::server::{Server, ServerOptions};

/// Keep pipelines of many tenants running, and let them be managed over HTTP
///
/// The first start prints an administrator's token to standard output, once. Ctrl-C or SIGTERM stops every pipeline at a committed
/// epoch; the next start goes on from there, as one after a crash does. A second signal ends at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill serve --data /var/lib/wasmill
  wasmill serve --data data --listen 0.0.0.0:7070 --tls-cert cert.pem --tls-key key.pem")]
pub struct Serve {
    /// The folder of everything that the server keeps; made if it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// The file of the key that tenants' secrets are encrypted with, made if it is not there [default: secrets.key in the data folder]
    #[arg(long, value_name = "FILE")]
    secrets_key: Option<PathBuf>,

    /// Keep checkpoints in this bucket instead of the data folder, and in both what was pushed and applied: a server with an empty data folder goes on
    /// from there; AWS_... variables say how the bucket is reached
    #[arg(long, value_name = "s3://BUCKET/PREFIX", value_parser = bucket)]
    store: Option<Bucket>,

    /// Where to listen
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,

    /// The certificate to speak HTTPS with, a PEM file with those that signed it behind it
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The certificate's key, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Listen to other machines without TLS, as behind a proxy that has it
    #[arg(long)]
    insecure: bool,

    /// Print a new administrator's token although there is one, which stays
    #[arg(long)]
    new_admin_token: bool,

    /// Run pipelines in this process, where one that crashes ends them all: for tests
    #[arg(long)]
    in_process: bool,

    /// Within this time a request must have come in
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    request_timeout: Duration,

    /// So many wrong tokens from one address within a minute are answered as such
    #[arg(long, value_name = "N", default_value_t = 10)]
    failed_logins: u32,

    /// So many connections may be open at once, and a quarter of them from one address; more are closed at once
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(4..))]
    connections: u32,

    /// So much room may the rejected rows of a pipeline take; beyond it the oldest are dropped, and counted
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    keep_rejected: u64,

    /// So many versions of a pipeline are kept; the oldest goes when one more is applied, and one that runs or may come back never does
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..))]
    keep_versions: u32,

    /// The control group (version 2) whose parts tenants' processes run in, `own` for the one that the server is started in, or `off` [default:
    /// its own, if it is delegated to it, as by systemd's `Delegate=yes`]
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,

    #[command(flatten)]
    bounds: BoundsOptions,

    #[command(flatten)]
    traces: TraceOptions,
}

fn bucket(text: &str) -> Result<Bucket, String> {
    let bucket = Bucket::parse(text).filter(|bucket| !bucket.name.is_empty());
    bucket.ok_or_else(|| "write s3://BUCKET/PREFIX".into())
}

/// The control group to divide.
fn cgroups(wanted: Option<&Path>) -> Result<Option<Cgroups>, Failure> {
    let folder =
        match wanted {
            None => cgroup::delegated(),
            Some(wanted) if wanted == Path::new("off") => None,
            Some(wanted) if wanted == Path::new("own") => Some(cgroup::own().ok_or_else(|| {
                Failure::external("this system has no control groups of version 2")
            })?),
            Some(folder) => Some(folder.to_owned()),
        };
    folder.map(|folder| Cgroups::divide(&folder)).transpose()
}

/// As many files and connections as the system lets it and its runners have: what a shell gives a program is a fraction of that.
#[cfg(unix)]
fn open_many_files(connections: u32) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays");
    }
    if let Some(most) = getrlimit(Resource::Nofile).current
        && most < 2 * u64::from(connections)
    {
        tracing::warn!(
            "{most} files may be open at once, connections among them: {connections} connections leave too few; raise it (ulimit -n, LimitNOFILE), or lower --connections"
        );
    }
}

#[cfg(not(unix))]
fn open_many_files(_: u32) {}

impl Serve {
    /// Serves until a signal comes.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn run(self, log: LogFormat) -> anyhow::Result<Exit> {
        log.start("info", std::io::stderr);
        open_many_files(self.connections);
        let tls = self.tls_cert.zip(self.tls_key);
        let scheme = if tls.is_some() { "https" } else { "http" };
        if tls.is_none() && !self.insecure && !self.listen.ip().is_loopback() {
            let message = format!(
                "other machines can reach {}, and tokens would come in the clear",
                self.listen
            );
            let help = "give it a certificate with --tls-cert and --tls-key, or say --insecure where something before it has one";
            return Err(WrongUsage(Failure::user(message).help(help)).into());
        }
        // Before anything runs, so that no signal is missed.
        let mut signals =
            Signals::new([SIGINT, SIGTERM]).context("signals cannot be listened to")?;
        let options = ServerOptions {
            data: self.data,
            store: self.store,
            listen: self.listen,
            secrets_key: self.secrets_key,
            tls,
            program: self.bounds.this_program()?,
            cgroups: cgroups(self.cgroup.as_deref())?,
            collector: self.traces.collector()?,
            in_process: self.in_process,
            new_admin_token: self.new_admin_token,
            request_timeout: self.request_timeout,
            failed_logins: self.failed_logins,
            connections: self.connections,
            keep_rejected: self.keep_rejected,
            keep_versions: self.keep_versions,
        };
        let (tell, replaced) = mpsc::channel();
        let waiting = signals.handle();
        let server = Server::start(options, move |failure| {
            tell.send(failure).ok();
            waiting.close();
        })?;
        if let Some(token) = server.admin_token() {
            output::write(format!("{token}\n").as_bytes())?;
            tracing::info!(
                "the line on standard output is the administrator's token; it is not shown again"
            );
        }
        tracing::info!("listening on {scheme}://{}", server.address());
        signals.forever().next();
        tracing::warn!("draining; a signal again ends at once");
        std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // As a shell reports a process that a signal killed.
                std::process::exit(128 + signal);
            }
        });
        server.shutdown();
        tracing::info!("every pipeline has ended");
        match replaced.try_recv() {
            Ok(failure) => Err(failure.into()),
            Err(_) => Ok(Exit::Done),
        }
    }
}
