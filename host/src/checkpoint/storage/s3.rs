//! Records in a bucket of S3 or of a server that speaks its protocol.
//!
//! What must not be there yet is written with `If-None-Match: *`, which the server decides on. Callers are plain threads: they wait for
//! a small runtime that belongs to the storage. Credentials come from the environment (`AWS_*`) alone.

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, Error, ObjectStore as _, ObjectStoreExt as _,
    PutMode, PutPayload, RetryConfig,
};
use tokio::runtime::Runtime;

use super::{Claim, Storage};
use crate::error::{Failure, unless_missing};

const SCHEME: &str = "s3://";
/// Longer than a connection takes to any place on earth.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// After a failure within this time a request is tried again; with a last attempt to connect, a server that is not there is
/// given up after ten seconds.
const RETRY_TIMEOUT: Duration = Duration::from_secs(6);
/// How long a request may take, on top of the time for its bytes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Slower than this, a connection is no use for a checkpoint.
const BYTES_PER_SECOND: u64 = 256 << 10;

/// A part of a bucket, and how to reach it. What is not said comes from the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Before the names of all objects.
    pub prefix: String,
    /// The server, if it is not AWS.
    pub endpoint: Option<String>,
    /// Where the bucket is.
    pub region: Option<String>,
    /// Whether the endpoint may be reached without encryption.
    pub allow_http: bool,
}

impl Bucket {
    /// That of `s3://BUCKET/PREFIX`; nothing if the text is no such address. The name may be missing.
    pub fn parse(text: &str) -> Option<Self> {
        let place = text.strip_prefix(SCHEME)?;
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        Some(Self {
            name: name.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            ..Self::default()
        })
    }

    /// Gets ready to speak with the server; `environment` has the credentials, and what the bucket does not say.
    ///
    /// # Errors
    /// When they are such that it could not work.
    pub fn open(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<S3, Failure> {
        let builder = self.builder(environment);
        // The first of them is what counts, whatever the second says.
        let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
            .iter()
            .find_map(|key| builder.get_config_value(key))
            .unwrap_or_else(|| "S3".to_owned());
        let allow_http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        let allow_http = builder.get_config_value(&allow_http);
        if endpoint.starts_with("http://") && allow_http.as_deref() != Some("true") {
            let message =
                format!("the checkpoint in `{self}` is on {endpoint}, which does not encrypt");
            return Err(Failure::user(message).help(
                "use https://, or write allow_http = true in `[checkpoint]` (elsewhere: AWS_ALLOW_HTTP=true)",
            ));
        }
        let store = builder.build().map_err(|error| {
            Failure::user(format!(
                "the checkpoint in `{self}` cannot be used: {error}"
            ))
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("s3")
            .enable_all()
            .build()
            .map_err(|error| {
                Failure::external(format!("a thread could not be started: {error}"))
            })?;
        Ok(S3 {
            store,
            prefix: self.prefix.clone(),
            endpoint,
            runtime: Some(runtime),
        })
    }

    /// The settings of the client: those of the bucket before those of the environment.
    fn builder(&self, environment: impl IntoIterator<Item = (String, String)>) -> AmazonS3Builder {
        let client = ClientOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            // Depends on the bytes: see `patience`.
            .with_timeout_disabled();
        let mut builder = AmazonS3Builder::new()
            .with_retry(retries())
            .with_client_options(client);
        for (variable, value) in environment {
            let variable = variable.to_ascii_lowercase();
            if variable.starts_with("aws_")
                && let Ok(key) = variable.parse()
            {
                builder = builder.with_config(key, value);
            }
        }
        builder = builder.with_bucket_name(&self.name);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if self.allow_http {
            builder = builder.with_allow_http(true);
        }
        builder
    }
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            max_backoff: Duration::from_secs(1),
            ..BackoffConfig::default()
        },
        max_retries: 20,
        retry_timeout: RETRY_TIMEOUT,
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.name)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

/// A bucket that is in use.
#[derive(Debug)]
pub struct S3 {
    store: AmazonS3,
    prefix: String,
    endpoint: String,
    /// There until the end.
    runtime: Option<Runtime>,
}

impl S3 {
    /// Removes all that is there.
    ///
    /// # Errors
    /// When the server refuses; what it has removed by then stays so.
    pub fn clear(&self) -> io::Result<()> {
        let prefix = Path::from(self.prefix.as_str());
        let objects = self.store.list(Some(&prefix));
        let all: Vec<Path> =
            self.wait(0, objects.map_ok(|object| object.location).try_collect())?;
        for path in all {
            unless_missing(self.wait(0, self.store.delete(&path)))?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.prefix))
    }

    /// Waits for a request that moves so many bytes.
    fn wait<T>(
        &self,
        bytes: usize,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> io::Result<T> {
        let patience = patience(bytes as u64);
        let runtime = self.runtime.as_ref().expect("it is there until the end");
        match runtime.block_on(async { tokio::time::timeout(patience, request).await }) {
            Ok(result) => result.map_err(|error| self.error(&error)),
            Err(_) => {
                let (endpoint, seconds) = (&self.endpoint, patience.as_secs());
                let message = format!("{endpoint} did not answer within {seconds} seconds");
                Err(io::Error::new(io::ErrorKind::TimedOut, message))
            }
        }
    }

    fn error(&self, error: &Error) -> io::Error {
        let kind = match error {
            // Of a list, which has no kind of its own.
            Error::Generic { source, .. } if source.to_string().contains("403 Forbidden") => {
                io::ErrorKind::PermissionDenied
            }
            Error::NotFound { .. } => io::ErrorKind::NotFound,
            Error::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                io::ErrorKind::PermissionDenied
            }
            _ => io::ErrorKind::Other,
        };
        let mut message = format!("{}: {error}", self.endpoint);
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some of them say their cause, and some do not.
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        io::Error::new(kind, message)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: PutMode) -> io::Result<()> {
        let path = self.path(name);
        let payload = PutPayload::from(bytes.to_vec());
        let request = self.store.put_opts(&path, payload, mode.into());
        self.wait(bytes.len(), request).map(drop)
    }
}

impl Storage for S3 {
    fn claim(&self) -> io::Result<Claim> {
        Ok(Claim::default())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        match self.write(name, bytes, PutMode::Create) {
            // Perhaps by us: the request is made again when its answer was lost.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match self.get(name)? {
                Some(there) if there == bytes => Ok(()),
                _ => Err(error),
            },
            written => written,
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(name, bytes, PutMode::Overwrite)
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(name);
        let read = self.wait(0, self.store.get(&path)).and_then(|object| {
            let size = usize::try_from(object.meta.size).map_err(io::Error::other)?;
            self.wait(size, object.bytes())
        });
        Ok(unless_missing(read)?.map(Vec::from))
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let (path, size) = (self.path(name), range.end.saturating_sub(range.start));
        let size = usize::try_from(size).map_err(io::Error::other)?;
        let read = self.wait(size, self.store.get_range(&path, range));
        Ok(unless_missing(read)?.map(Vec::from))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let path = self.path(folder);
        let found = self.wait(0, self.store.list_with_delimiter(Some(&path)))?;
        let objects = found.objects.into_iter().map(|object| object.location);
        let all = found.common_prefixes.into_iter().chain(objects);
        let mut names: Vec<String> = all
            .filter_map(|path| path.filename().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        unless_missing(self.wait(0, self.store.delete(&path))).map(drop)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // Else it waits for a name that is being looked up, which may take long where a network is broken.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn patience(bytes: u64) -> Duration {
    PATIENCE + Duration::from_secs(bytes / BYTES_PER_SECOND)
}
