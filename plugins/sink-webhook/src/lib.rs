//! Posts rows as JSON to an HTTP server.
//!
//! ```toml
//! [sinks.alerts]
//! input = "errors"
//! type = "plugin"
//! plugin = "sink-webhook"
//! config = { url = "https://hooks.example.com/rows" }
//! grants = { http = ["hooks.example.com"] }
//! ```
//!
//! Each request holds an array of at most `batch_rows` (1000) rows, each an object by column name. `headers` adds headers,
//! `timeout_ms` (10000) bounds the wait for an answer. The header `Idempotency-Key` is the same whenever the same rows of
//! an epoch are sent again, after an error or a restart: a server that remembers it gets every row once.
//!
//! An answer of 2xx is success. After 429, 5xx or no answer the host tries again, not before `Retry-After`. After
//! another 4xx the request's rows are rejected, or with `on_4xx = "fail"` the pipeline ends.
//!
//! Fifth lesson: a sink. `begin` starts a partition of an epoch with its key, `write` gets its chunks. The plugin imports
//! `wasi:http`, so the pipeline file must grant the hosts, and no other can be reached.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

use wasmill_sdk::http::{Request, Response};
use wasmill_sdk::prelude::*;
use wasmill_sdk::{Batch, Column, Rejected, Sink};

/// The settings, as told above.
#[derive(Deserialize)]
pub struct Config {
    url: Url,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default = "thousand")]
    batch_rows: NonZeroUsize,
    #[serde(default = "ten_seconds")]
    timeout_ms: u64,
    #[serde(default)]
    on_4xx: On4xx,
}

/// An address, so that a wrong one is told before the pipeline starts.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Url(String);

impl TryFrom<String> for Url {
    type Error = Error;

    fn try_from(url: String) -> Result<Self, Error> {
        Request::post(&url).map(|_| Self(url))
    }
}

fn thousand() -> NonZeroUsize {
    const { NonZeroUsize::new(1000).expect("1000 is not 0") }
}

fn ten_seconds() -> u64 {
    10_000
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum On4xx {
    #[default]
    Reject,
    Fail,
}

/// An open sink, and how far it is with its partition.
pub struct Webhook {
    config: Config,
    key: String,
    requests: u64,
}

impl Sink for Webhook {
    type Config = Config;

    fn open(config: Config, _: &[Column]) -> Result<Self, Error> {
        Ok(Self {
            config,
            key: String::new(),
            requests: 0,
        })
    }

    fn begin(&mut self, idempotency_key: &str) -> Result<(), Error> {
        self.key = idempotency_key.to_owned();
        self.requests = 0;
        Ok(())
    }

    fn write(&mut self, batch: &Batch, rejected: &mut Rejected) -> Result<(), Error> {
        let before = self.requests;
        let written = self.post_all(batch, rejected);
        if written.is_err() {
            self.requests = before; // the host writes the chunk again: under the same keys
        }
        written
    }
}

impl Webhook {
    fn post_all(&mut self, batch: &Batch, rejected: &mut Rejected) -> Result<(), Error> {
        let rows = self.config.batch_rows.get();
        for start in (0..batch.rows()).step_by(rows) {
            let part = start..batch.rows().min(start + rows);
            let answer = self.post(batch, part.clone())?;
            if let Some(reason) = self.refusal(&answer)? {
                part.for_each(|row| rejected.push(row, reason.clone()));
            }
        }
        Ok(())
    }

    fn post(&mut self, batch: &Batch, rows: Range<usize>) -> Result<Response, Error> {
        let rows: Vec<_> = rows.map(|row| batch.row(row)).collect();
        let body = serde_json::to_vec(&rows).map_err(|error| error.to_string())?;
        let mut request = Request::post(&self.config.url.0)?
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", format!("{}-{}", self.key, self.requests))
            .timeout(Duration::from_millis(self.config.timeout_ms));
        for (name, value) in &self.config.headers {
            request = request.header(name, value);
        }
        self.requests += 1;
        request.body(body).send()
    }

    /// Why the rows of a request were refused, if they were.
    fn refusal(&self, answer: &Response) -> Result<Option<String>, Error> {
        let reason = format!(
            "{} answered {}: {}",
            self.config.url.0,
            answer.status,
            answer.excerpt()
        );
        match answer.status {
            200..300 => Ok(None),
            429 | 500..600 => {
                let seconds = answer
                    .header("retry-after")
                    .and_then(|text| text.parse().ok());
                let error = Error::retryable(reason);
                Err(match seconds {
                    Some(seconds) => error.after(Duration::from_secs(seconds)),
                    None => error,
                })
            }
            400..500 if self.config.on_4xx == On4xx::Reject => Ok(Some(reason)),
            _ => Err(Error::fatal(reason)),
        }
    }
}

export_sink!(Webhook);

#[cfg(test)]
mod tests;
