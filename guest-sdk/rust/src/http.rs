//! A small blocking HTTP client, for sinks. Feature `http`.
//!
//! In WebAssembly it goes through `wasi:http/outgoing-handler`, which the pipeline file grants for the hosts that it names;
//! in a native test through a plain socket, without TLS.
//!
//! ```no_run
//! use wasmill_sdk::http::Request;
//!
//! # fn main() -> Result<(), wasmill_sdk::Error> {
//! let answer = Request::post("http://127.0.0.1:8080/rows")?
//!     .header("Content-Type", "application/json")
//!     .body(b"[]".to_vec())
//!     .send()?;
//! assert_eq!(answer.status, 200);
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use crate::Error;

#[cfg(not(target_arch = "wasm32"))]
#[path = "http/socket.rs"]
mod transport;
#[cfg(target_arch = "wasm32")]
#[path = "http/wasi.rs"]
mod transport;

/// How long a connection, the first byte of an answer, or the next may take, unless the request says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer's body is kept: enough for an error's text.
const MAX_BODY: usize = 64 << 10;

/// A request in the making.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    secure: bool,
    authority: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    timeout: Duration,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, at most its first 64 KiB.
    pub body: Vec<u8>,
}

impl Request {
    /// A GET of an `http` or `https` address.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn get(url: &str) -> Result<Self, Error> {
        Self::with_method("GET", url)
    }

    /// A POST to an `http` or `https` address.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn post(url: &str) -> Result<Self, Error> {
        Self::with_method("POST", url)
    }

    /// A PUT to an `http` or `https` address.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn put(url: &str) -> Result<Self, Error> {
        Self::with_method("PUT", url)
    }

    /// A request of any method, `"DELETE"` or WebDAV's `"MOVE"`, to an `http` or `https` address.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn with_method(method: &'static str, url: &str) -> Result<Self, Error> {
        let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => {
                return Err(
                    format!("`{url}` is not an address as https://example.com/path").into(),
                );
            }
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let no_host = authority.is_empty() || authority.starts_with(':');
        if no_host || authority.contains(['@', ' ']) || path.contains(' ') {
            return Err(format!("`{url}` is not an address as https://example.com/path").into());
        }
        Ok(Self {
            method,
            secure,
            authority: authority.to_owned(),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
            headers: Vec::new(),
            body: Vec::new(),
            timeout: TIMEOUT,
        })
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// How long the connection, the first byte of the answer, and each next may take; 30 s unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends it and waits for the answer. Any status is an answer.
    ///
    /// # Errors
    /// A fatal one if the host is not granted or a header is not valid; a retryable one if there was no answer.
    pub fn send(self) -> Result<Response, Error> {
        transport::send(self)
    }
}

impl Response {
    /// The first header of that name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(key, _): &&(String, String)| key == name;
        self.headers
            .iter()
            .find(named)
            .map(|(_, value)| value.as_str())
    }

    /// The start of the body as text, for an error.
    pub fn excerpt(&self) -> String {
        const LENGTH: usize = 200;
        String::from_utf8_lossy(&self.body)
            .trim()
            .chars()
            .take(LENGTH)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let parts = |url| {
            let request = Request::get(url).expect(url);
            (request.secure, request.authority, request.path)
        };
        assert_eq!(
            parts("http://127.0.0.1:80/a?b#c"),
            (false, "127.0.0.1:80".into(), "/a?b".into())
        );
        assert_eq!(
            parts("https://example.com?x=1"),
            (true, "example.com".into(), "/?x=1".into())
        );
        for bad in [
            "",
            "example.com",
            "ftp://x",
            "http://",
            "http:///x",
            "http://:80/x",
            "http://u@x/",
            "http://x/a b",
        ] {
            assert!(Request::get(bad).is_err(), "{bad}");
        }
    }
}
