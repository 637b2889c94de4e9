//! Requests to a server, and its refusals as errors of the command.

use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Remote;
use super::contexts::{Contexts, Saved};
use crate::cli::exit::WrongUsage;
use crate::error::Failure;
use crate::server::api::{SIGNATURE, Who};
use crate::server::refusal::{Code, Refusal};

/// Checking a pipeline compiles its plugins, which can take some ten seconds each.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A server, and what opens it.
pub struct Connection {
    http: Client,
    saved: Saved,
}

impl Connection {
    /// To the server that the command line, the environment or the last login mean.
    ///
    /// # Errors
    /// When none is meant.
    pub fn open(remote: &Remote) -> anyhow::Result<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mut saved = match (
            &remote.context,
            variable("WASMILL_URL"),
            variable("WASMILL_TOKEN"),
        ) {
            (None, Some(url), Some(token)) => Saved {
                url,
                token,
                tenant: None,
            },
            (name, url, token) => {
                let contexts = Contexts::read(&Contexts::path()?)?;
                let saved = contexts.get(name.as_deref())?.clone();
                // A name on the command line means all that was kept under it.
                match (name, url) {
                    (None, Some(url)) if url != saved.url => return Err(elsewhere(&saved.url)),
                    (None, _) => Saved {
                        token: token.unwrap_or(saved.token),
                        ..saved
                    },
                    (Some(_), _) => saved,
                }
            }
        };
        saved.tenant = remote.tenant.clone().or(saved.tenant);
        Self::to(saved)
    }

    /// To this one.
    ///
    /// # Errors
    /// When its address is none.
    pub fn to(saved: Saved) -> anyhow::Result<Self> {
        let is_http = saved.url.starts_with("http://") || saved.url.starts_with("https://");
        if !is_http {
            let message = format!("`{}` is not the address of a server", saved.url);
            return Err(Failure::user(message)
                .help("write it with its scheme: http://127.0.0.1:7070")
                .into());
        }
        let mut http = Client::builder().timeout(TIMEOUT);
        if saved.url.starts_with("http://") {
            // Nothing is to be believed, and a small image has no certificates to believe by.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|error| {
            let error = anyhow::Error::new(error);
            Failure::external(format!("no client can be made: {error:#}"))
                .help("certificates of the system are in Debian's package `ca-certificates`")
        })?;
        Ok(Self { http, saved })
    }

    /// The tenant that the command line or the login means, if any.
    pub fn tenant(&self) -> Option<&str> {
        self.saved.tenant.as_deref()
    }

    /// The address of what is the tenant's: `/v1/tenants/T` and `rest`.
    ///
    /// # Errors
    /// When it is not known which tenant is meant.
    pub fn of_tenant(&self, rest: &str) -> anyhow::Result<String> {
        let tenant = match &self.saved.tenant {
            Some(tenant) => Some(tenant.clone()),
            None => self.get::<Who>("/v1/whoami")?.tenant,
        };
        let tenant = tenant.ok_or_else(|| {
            Failure::user("an administrator has to say which tenant is meant")
                .help("name it: --tenant TENANT, or WASMILL_TENANT")
        })?;
        Ok(format!("/v1/tenants/{}{rest}", segment(&tenant)))
    }

    /// Asks for something.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.answer(self.request(Method::GET, path))
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.answer(self.request(method, path).json(body))
    }

    /// Sends JSON, to which nothing is to be said.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub fn tell(&self, method: Method, path: &str, body: &impl Serialize) -> anyhow::Result<()> {
        self.done(self.request(method, path).json(body)).map(drop)
    }

    /// Asks for something to be done that needs no more words.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub fn post<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.answer(self.request(Method::POST, path))
    }

    /// Sends a component, with its signature if it has one.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub fn put_component<T: DeserializeOwned>(
        &self,
        path: &str,
        bytes: Vec<u8>,
        signature: Option<Vec<u8>>,
    ) -> anyhow::Result<T> {
        let mut request = self.request(Method::PUT, path).body(bytes);
        if let Some(signature) = signature {
            request = request.header(SIGNATURE, STANDARD.encode(signature));
        }
        self.answer(request.header("content-type", "application/wasm"))
    }

    /// Asks for bytes.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub fn get_bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let response = self.done(self.request(Method::GET, path))?;
        Ok(response.bytes().context("the answer broke off")?.to_vec())
    }

    /// Has something removed.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.done(self.request(Method::DELETE, path)).map(drop)
    }

    /// Listens to a stream of events, for as long as it lasts.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub fn listen(&self, path: &str) -> anyhow::Result<Response> {
        let endless = Duration::from_secs(u32::MAX.into());
        self.done(self.request(Method::GET, path).timeout(endless))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.saved.url.trim_end_matches('/'));
        self.http
            .request(method, url)
            .bearer_auth(&self.saved.token)
    }

    fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let response = self.done(request)?;
        response.json().map_err(|error| {
            Failure::external(format!("the server's answer is not as expected: {error}"))
                .help("it may be of another version: `wasmill --version`, and /openapi.json of the server")
                .into()
        })
    }

    fn done(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().map_err(|error| {
            let url = &self.saved.url;
            let causes = anyhow::Error::new(error.without_url());
            Failure::external(format!("the server at {url} does not answer: {causes:#}"))
                .help("look whether `wasmill serve` runs there")
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body: Result<ErrorBody, _> = response.json();
        Err(match body {
            Ok(body) => refused(body.error),
            Err(_) => Failure::external(format!("the server answered {status}"))
                .help("something else than `wasmill serve` is at this address, or before it")
                .into(),
        })
    }
}

/// No server gets the token of another.
fn elsewhere(saved: &str) -> anyhow::Error {
    let message = format!(
        "WASMILL_URL is another server than that of the last login, {saved}, and there is no token for it"
    );
    Failure::user(message)
        .help("set WASMILL_TOKEN as well, or log in there")
        .into()
}

#[derive(serde::Deserialize)]
struct ErrorBody {
    error: Refusal,
}

/// A refusal as an error of this command. A wrong pipeline file ends it as it ends `wasmill check`.
fn refused(refusal: Refusal) -> anyhow::Error {
    let is_file = refusal.drawn.is_some();
    let failure = failure(refusal);
    match is_file {
        true => WrongUsage(failure).into(),
        false => failure.into(),
    }
}

/// What was refused and why: what is wrong with a pipeline file is part of what it says.
fn failure(refusal: Refusal) -> Failure {
    let message = match refusal.drawn {
        Some(drawn) => format!("{}\n{drawn}", refusal.message),
        None => refusal.message,
    };
    let failure = match refusal.code {
        Code::Internal | Code::Timeout | Code::TooManyAttempts | Code::Busy => {
            Failure::external(message)
        }
        _ => Failure::user(message),
    };
    match refusal.help {
        Some(help) => failure.help(help),
        None => failure,
    }
}

/// A name as a part of an address: one that is wrong reaches the server as it is, which says what is wrong with it.
pub fn segment(name: &str) -> String {
    let mut segment = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => segment.push(byte.into()),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_part_of_an_address() {
        assert_eq!(segment("word-count_2"), "word-count_2");
        assert_eq!(segment("../a b"), "%2E%2E%2Fa%20b");
    }

    #[test]
    fn a_refusal_of_a_pipeline_says_what_is_wrong_with_it() {
        let refusal = Refusal {
            drawn: Some("error: no".into()),
            ..Refusal::invalid("it cannot run").help("mend it")
        };
        let failure = failure(refusal);
        assert_eq!(failure.message, "it cannot run\nerror: no");
        assert_eq!(failure.help.as_deref(), Some("mend it"));
    }
}
