//! What the server answers when it does not do what it was asked: one shape for all of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{self, Level, Problem};
use crate::error::{Failure, Fault};
use crate::ids::WrongName;

/// Why, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No token, or one that opens nothing.
    Unauthorized,
    /// Too many tokens that open nothing, from one address.
    TooManyAttempts,
    /// Only administrators do this.
    Forbidden,
    /// It is not there, or not the caller's.
    NotFound,
    /// There is nothing at this address that is asked in this way.
    MethodNotAllowed,
    /// What is there already does not allow it.
    Conflict,
    /// What was sent is wrong.
    Invalid,
    /// What was sent is too large.
    TooLarge,
    /// What was sent came too slowly.
    Timeout,
    /// Others send as much as the server takes at once.
    Busy,
    /// The server cannot do it now: a disk, a bug. Its log says more.
    Internal,
}

/// A problem of a pipeline file, for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Diagnostic {
    /// `error` or `warning`.
    pub level: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// Of a file's text.
    pub fn of(text: &str, problem: &Problem) -> Self {
        let (line, column) = config::position(text, problem.span.start);
        Self {
            level: match problem.level {
                Level::Error => "error",
                Level::Warning => "warning",
            }
            .into(),
            line,
            column,
            message: problem.message.clone(),
            help: problem.help.clone(),
        }
    }
}

/// What was refused, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Refusal {
    /// Why, for programs.
    pub code: Code,
    /// Why, for people: one sentence without a full stop.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// What is wrong with the pipeline file, if that is it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// The same as people read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<String>,
}

impl Refusal {
    /// For a reason.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            help: None,
            diagnostics: Vec::new(),
            drawn: None,
        }
    }

    /// There is no such thing that the caller may know of.
    pub fn not_found(kind: &str, name: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no {kind} `{name}`"))
    }

    /// What is there stands against it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Code::Conflict, message)
    }

    /// What was sent is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message)
    }

    /// A bug, or a disk that fails. The caller hears that something is wrong, the log what.
    pub fn internal(error: impl fmt::Display) -> Self {
        tracing::error!("a request failed: {error}");
        Self::new(Code::Internal, "the server could not do this")
            .help("its log says why; try again, or ask who runs it")
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure.fault {
            Fault::User => Self {
                help: failure.help,
                ..Self::invalid(failure.message)
            },
            Fault::External | Fault::Internal => Self::internal(failure),
        }
    }
}

impl From<WrongName> for Refusal {
    fn from(wrong: WrongName) -> Self {
        Self::invalid(wrong.to_string())
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::internal(format!("the catalog: {error}"))
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::internal(format!("the data folder: {error}"))
    }
}
