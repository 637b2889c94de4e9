//! How the process ends, as its caller sees it; `wasmill --help` and docs/cli.md list the codes.

use std::process::ExitCode;

use crate::error::{Failure, Fault};

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or drained on request.
    Done = 0,
    /// A bug of Wasmill.
    Internal = 1,
    /// The command line (clap ends with the same) or the pipeline file.
    Usage = 2,
    /// User code or data.
    User = 3,
    /// The world outside.
    External = 4,
    /// A replay gave something else than the epoch had given, an upgrade something else than the version before, a plugin something
    /// else than its fixtures expect.
    Differs = 5,
}

/// A mistake on the command line that clap cannot see, as a file that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUsage(pub Failure);

/// What was compared differs, and nothing was changed for that.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Differs(pub Failure);

/// What an error says of itself, if it is one of Wasmill's own.
pub fn failure_of(error: &anyhow::Error) -> Option<&Failure> {
    let wrong_usage = || error.downcast_ref().map(|WrongUsage(failure)| failure);
    let differs = || error.downcast_ref().map(|Differs(failure)| failure);
    let failure = error.downcast_ref::<Failure>();
    failure.or_else(wrong_usage).or_else(differs)
}

impl Exit {
    /// The code for an error: by whose fault it is, and for one that does not say, by whether the system refused something.
    pub fn of(error: &anyhow::Error) -> Self {
        if error.is::<WrongUsage>() {
            return Self::Usage;
        }
        if error.is::<Differs>() {
            return Self::Differs;
        }
        let mut causes = error.chain();
        match error.downcast_ref::<Failure>().map(|failure| failure.fault) {
            Some(Fault::User) => Self::User,
            Some(Fault::External) => Self::External,
            Some(Fault::Internal) => Self::Internal,
            None if causes.any(|cause| cause.is::<std::io::Error>()) => Self::External,
            None => Self::User,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_fault_decides_even_under_a_context() {
        let failed = |failure: Failure| anyhow::Error::new(failure).context("while running");
        assert_eq!(Exit::of(&failed(Failure::user("x"))), Exit::User);
        assert_eq!(Exit::of(&failed(Failure::external("x"))), Exit::External);
        assert_eq!(Exit::of(&failed(Failure::internal("x"))), Exit::Internal);
    }

    #[test]
    fn a_wrong_command_line_is_told_apart_from_a_wrong_plugin() {
        let error = anyhow::Error::new(WrongUsage(Failure::user("no such file")));
        assert_eq!(Exit::of(&error), Exit::Usage);
    }

    #[test]
    fn what_the_system_refused_is_the_fault_of_the_world_outside() {
        let error = std::fs::read("/nonexistent")
            .context("cannot read")
            .unwrap_err();
        assert_eq!(Exit::of(&error), Exit::External);
        assert_eq!(Exit::of(&anyhow::anyhow!("no plugin")), Exit::User);
    }
}
