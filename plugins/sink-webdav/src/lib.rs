//! Writes rows as files of JSON lines to a WebDAV server, each epoch once.
//!
//! ```toml
//! [sinks.archive]
//! input = "counts"
//! type = "plugin"
//! plugin = "sink-webdav"
//! config = { url = "https://dav.example.com/counts/" }
//! grants = { http = ["dav.example.com"] }
//! ```
//!
//! The rows of partition 3 of epoch 12 become `epoch-00000012-part-00003.jsonl` in the collection `url`, which must be there.
//! Before their epoch is committed they lie beside it under a name that begins with `.staged-`. `headers` adds headers, for
//! a login; `timeout_ms` (10000) bounds the wait for an answer.
//!
//! After 423, 429, 5xx or no answer the host tries again; any other answer that is no success ends the pipeline.
//!
//! Sixth lesson: a sink of two phases. `prepare` makes a partition's rows durable where no reader looks, and says in its token where
//! that is. `commit` gets the tokens of all partitions when the epoch's commit is recorded, from now on for good: it renames.
//! Since nobody can tell a crash before it from one after it, it may be called again, by an instance that knows nothing but the
//! tokens. What was renamed already is not staged any more, but there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use wasmill_sdk::http::{Request, Response};
use wasmill_sdk::prelude::*;
use wasmill_sdk::sink::Delivery;
use wasmill_sdk::{Batch, Column, Rejected, Sink, context};

/// The settings, as told above.
#[derive(Deserialize)]
pub struct Config {
    url: Collection,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default = "ten_seconds")]
    timeout_ms: u64,
}

/// The address of a collection, so that a wrong one is told before the pipeline starts.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Collection(String);

impl TryFrom<String> for Collection {
    type Error = Error;

    fn try_from(mut url: String) -> Result<Self, Error> {
        if !url.ends_with('/') {
            url.push('/');
        }
        Request::put(&url).map(|_| Self(url))
    }
}

fn ten_seconds() -> u64 {
    10_000
}

/// Where the rows of a partition are, and what they are to be called.
#[derive(Serialize, Deserialize)]
struct Token {
    staged: String,
    name: String,
}

/// An open sink, and the rows of its partition so far.
pub struct WebDav {
    config: Config,
    staged: String,
    rows: Vec<u8>,
}

impl Sink for WebDav {
    type Config = Config;

    const DELIVERY: Delivery = Delivery::TwoPhase;

    fn open(config: Config, _: &[Column]) -> Result<Self, Error> {
        Ok(Self {
            config,
            staged: String::new(),
            rows: Vec::new(),
        })
    }

    fn begin(&mut self, idempotency_key: &str) -> Result<(), Error> {
        // The same key has the same rows: staged again, they replace themselves.
        self.staged = format!(".staged-{}.jsonl", idempotency_key.replace('/', "-"));
        self.rows.clear();
        Ok(())
    }

    fn write(&mut self, batch: &Batch, _: &mut Rejected) -> Result<(), Error> {
        for row in 0..batch.rows() {
            serde_json::to_writer(&mut self.rows, &batch.row(row))
                .map_err(|error| error.to_string())?;
            self.rows.push(b'\n');
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<Vec<u8>, Error> {
        let place = context();
        let token = Token {
            staged: self.staged.clone(),
            name: format!("epoch-{:08}-part-{:05}.jsonl", place.epoch, place.partition),
        };
        let request = self.request("PUT", &token.staged)?;
        let answer = request.body(std::mem::take(&mut self.rows)).send()?;
        self.success(&token.staged, &answer)?;
        serde_json::to_vec(&token).map_err(|error| error.to_string().into())
    }

    fn commit(&mut self, _: u64, tokens: &[Vec<u8>]) -> Result<(), Error> {
        for token in tokens {
            let Token { staged, name } = read(token)?;
            let target = format!("{}{name}", self.config.url.0);
            let request = self.request("MOVE", &staged)?;
            let answer = request.header("Destination", target).send()?;
            if answer.status == 404 {
                // Renamed already, or lost: then this is no success either.
                let there = self.request("HEAD", &name)?.send()?;
                self.success(&name, &there)?;
            } else {
                self.success(&staged, &answer)?;
            }
        }
        Ok(())
    }

    fn abort(&mut self, _: u64, tokens: &[Vec<u8>]) -> Result<(), Error> {
        for token in tokens {
            let Token { staged, .. } = read(token)?;
            let answer = self.request("DELETE", &staged)?.send()?;
            if answer.status != 404 {
                self.success(&staged, &answer)?;
            }
        }
        Ok(())
    }
}

fn read(token: &[u8]) -> Result<Token, Error> {
    serde_json::from_slice(token)
        .map_err(|error| format!("a token that is not ours: {error}").into())
}

impl WebDav {
    fn request(&self, method: &'static str, name: &str) -> Result<Request, Error> {
        let url = format!("{}{name}", self.config.url.0);
        let timeout = Duration::from_millis(self.config.timeout_ms);
        let request = Request::with_method(method, &url)?.timeout(timeout);
        let headers = self.config.headers.iter();
        Ok(headers.fold(request, |request, (name, value)| {
            request.header(name, value)
        }))
    }

    fn success(&self, name: &str, answer: &Response) -> Result<(), Error> {
        let reason = || {
            let (url, text) = (&self.config.url.0, answer.excerpt());
            format!("{url}{name} answered {}: {text}", answer.status)
        };
        match answer.status {
            200..300 => Ok(()),
            423 | 429 | 500..600 => Err(Error::retryable(reason())),
            _ => Err(Error::fatal(reason())),
        }
    }
}

export_sink!(WebDav);

#[cfg(test)]
mod tests;
