//! Errors of a whole call, and the rejection of one row.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::bindings::transform::wasmill::plugin::types;

pub use types::ErrorKind;

/// Why a whole call failed. Any text becomes a fatal one with `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What the host may do about it.
    pub kind: ErrorKind,
    /// What happened, one sentence without a full stop.
    pub message: String,
    /// The rows of the batch at fault, for [`ErrorKind::Rejected`].
    pub rows: Vec<u32>,
    /// When a retry makes sense, for [`ErrorKind::Retryable`].
    pub after: Option<Duration>,
}

impl Error {
    /// There is no use in going on.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Fatal, message)
    }

    /// The same call may succeed later.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retryable, message)
    }

    /// These rows are at fault and the call did nothing for any row.
    pub fn rejected(message: impl Into<String>, rows: Vec<u32>) -> Self {
        Self {
            rows,
            ..Self::new(ErrorKind::Rejected, message)
        }
    }

    /// Says when to try again.
    pub fn after(mut self, pause: Duration) -> Self {
        self.after = Some(pause);
        self
    }

    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            rows: Vec::new(),
            after: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::fatal(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::fatal(message)
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        Self {
            kind: error.kind,
            message: error.message,
            rows: error.rows,
            after_ms: error
                .after
                .map(|pause| u32::try_from(pause.as_millis()).unwrap_or(u32::MAX)),
        }
    }
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        Self {
            kind: error.kind,
            message: error.message,
            rows: error.rows,
            after: error
                .after_ms
                .map(|millis| Duration::from_millis(millis.into())),
        }
    }
}

/// One input row turned away; the rest of the batch goes on. Any text becomes one with `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why, one sentence without a full stop.
    pub reason: Cow<'static, str>,
}

/// Turns the row away: `return reject("no time in the line")`.
///
/// # Errors
/// Always; the return type fits a function that answers with a `Result`.
pub fn reject<T>(reason: impl Into<Cow<'static, str>>) -> Result<T, Reject> {
    Err(Reject {
        reason: reason.into(),
    })
}

impl From<String> for Reject {
    fn from(reason: String) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

impl From<&'static str> for Reject {
    fn from(reason: &'static str) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

impl From<Error> for Reject {
    fn from(error: Error) -> Self {
        Self::from(error.message)
    }
}
