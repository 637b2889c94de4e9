//! The server: keeps what tenants push and apply, and sees to it that it runs.
//!
//! [`catalog`] is what is known, [`folder`] where things lie, [`Service`] what can be done with them ([`tenants`], [`plugins`], [`pipelines`], [`upgrade`], [`rollback`], [`rejected`]); [`api`]
//! lets callers do it over HTTP. Rows never pass through here: pipelines run as [`crate::jobs`].

pub mod api;
mod backup;
pub mod catalog;
mod checkpoints;
mod difference;
mod exchange;
mod folder;
mod history;
mod hosted;
mod metrics;
pub mod pipelines;
mod plugins;
pub mod refusal;
pub mod rejected;
pub mod rollback;
mod secrets;
pub mod shadow;
mod signature;
mod telling;
mod tenants;
mod trials;
pub mod upgrade;
pub mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backup::{Backup, Copies};
use catalog::Catalog;
use catalog::audit::{self, Change};
use catalog::token::{self, Secret};
use folder::DataFolder;
use history::History;
use refusal::Refusal;
use rejected::Stores;
use secrets::Vault;
use telling::Telling;
use usage::Unwritten;

use crate::bounded::Bounded;
use crate::cgroup::Cgroups;
use crate::checkpoint::storage::Bucket;
use crate::error::Failure;
use crate::jobs::{Jobs, JobsOptions};
use crate::trace::Collector;

/// How long a runner stays after the last pipeline of its tenant: who tries something out tries it again, and to start a process takes longer than to
/// start a pipeline.
const KEEP_IDLE: Duration = Duration::from_secs(30);

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The data folder.
    pub data: PathBuf,
    /// Where checkpoints, components and copies of the catalog are, so that another machine can go on.
    pub store: Option<Bucket>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Certificate and key, each a PEM file; without them the server speaks plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The `wasmill` that runners are processes of, and what its children may take that work on what tenants send.
    pub program: Bounded,
    /// The parts of a control group, for tenants and what works for them.
    pub cgroups: Option<Cgroups>,
    /// Where traces of epochs go.
    pub collector: Option<Collector>,
    /// To run pipelines in this process, for tests.
    pub in_process: bool,
    /// The file of the key that secrets are encrypted with; else it is in the data folder.
    pub secrets_key: Option<PathBuf>,
    /// To make a new administrator's token, although there is one.
    pub new_admin_token: bool,
    /// Within this time a request must have come in.
    pub request_timeout: Duration,
    /// So many wrong tokens from one address within a minute get an answer.
    pub failed_logins: u32,
    /// So many connections at once, and a quarter of them from one address.
    pub connections: u32,
    /// So many bytes may the rejected rows of a pipeline take.
    pub keep_rejected: u64,
    /// So many versions of a pipeline are kept.
    pub keep_versions: u32,
}

/// What a server can do.
#[derive(Debug)]
pub struct Service {
    folder: DataFolder,
    backup: Option<Backup>,
    copies: Mutex<Copies>,
    catalog: Catalog,
    /// Nothing that a tenant sent is read by this process: its children do that.
    program: Bounded,
    jobs: Jobs,
    history: History,
    telling: Telling,
    stores: Stores,
    keep_versions: u32,
    vault: Vault,
    unwritten: Mutex<Unwritten>,
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    service: Arc<Service>,
    listener: api::Listener,
    admin_token: Option<String>,
}

impl Server {
    /// Opens the data folder, starts what should run, and listens. If another server takes over its bucket, it is `replaced`, and has to be shut down.
    ///
    /// # Errors
    /// When the folder, the address or the certificate cannot be used.
    pub fn start(
        options: ServerOptions,
        replaced: impl FnOnce(Failure) + Send + 'static,
    ) -> Result<Self, Failure> {
        let folder = DataFolder::open(&options.data, options.store.clone())?;
        let backup = options.store.as_ref();
        let backup = backup
            .map(|bucket| Backup::open(bucket, &folder))
            .transpose()?;
        if let Some(backup) = backup.as_ref().filter(|_| folder.is_new()) {
            backup.restore(&folder)?;
        }
        let catalog = Catalog::open(&folder.catalog())?;
        let key = options.secrets_key.clone();
        let vault = Vault::open(&key.unwrap_or_else(|| folder.secrets_key()))?;
        let jobs = Jobs::start(JobsOptions {
            data: folder.root().to_owned(),
            program: options.program.clone(),
            cgroups: options.cgroups.clone(),
            in_process: options.in_process,
            keep_idle: KEEP_IDLE,
            cache: folder.cache(),
            collector: options.collector.clone(),
        })?;
        let service = Arc::new(Service {
            program: Bounded {
                cgroup: options.cgroups.as_ref().map(Cgroups::checks),
                ..options.program.clone()
            },
            folder,
            backup,
            copies: Mutex::default(),
            catalog,
            history: History::follow(&jobs),
            jobs,
            telling: Telling::default(),
            stores: Stores::new(options.keep_rejected),
            keep_versions: options.keep_versions,
            vault,
            unwritten: Mutex::default(),
        });
        if let Some(backup) = &service.backup {
            backup.complete(&service.folder)?;
        }
        backup::follow(&service, replaced);
        trials::watch(&service);
        rejected::watch(&service);
        usage::keep(&service);
        let listener = api::listen(&service, &options)?;
        service
            .sweep()
            .and_then(|()| service.sweep_versions())
            .and_then(|()| service.place_missing())
            .and_then(|()| service.tell_all())
            .map_err(|refusal| Failure::external(refusal.message))?;
        // The last that can fail: a token that nobody has seen would be in the way of the next start's.
        let admin_token = admin_token(&service.catalog, options.new_admin_token)?;
        Ok(Self {
            service,
            listener,
            admin_token,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The administrator's token that was made at this start, if one was; nobody can ask for it again.
    pub fn admin_token(&self) -> Option<&str> {
        self.admin_token.as_deref()
    }

    /// Answers no more, drains all pipelines, and waits until they have ended.
    pub fn shutdown(self) {
        self.listener.shutdown();
        self.service.jobs.shutdown();
        self.service.keep_usage();
        // What it says, it has said to the log.
        self.service.back_up(true).ok();
    }
}

/// Makes a token at the first start, when nobody could do anything without.
fn admin_token(catalog: &Catalog, wanted: bool) -> Result<Option<String>, Failure> {
    let secret = Secret::new()?;
    let made = catalog.change(|db| {
        if !wanted && token::has_admin(db)? {
            return Ok(false);
        }
        let id = token::create(db, &secret, None, "start", token::Scope::Full)?.to_string();
        let change = Change {
            who: "the server",
            tenant: None,
            action: "token create",
            subject: "admin/start",
            before: None,
            after: Some(&id),
        };
        audit::write(db, &change)?;
        Ok(true)
    });
    let made = made.map_err(|refusal: Refusal| Failure::external(refusal.message))?;
    Ok(made.then(|| secret.reveal().to_owned()))
}
