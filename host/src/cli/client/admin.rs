//! `wasmill admin`: who administers the server.

use super::{Remote, token};

/// Administer the server itself
#[derive(Debug, clap::Subcommand)]
pub enum AdminCommand {
    /// Make, list and revoke administrators' tokens
    #[command(subcommand)]
    Token(TokenCommand),
}

/// Make, list and revoke administrators' tokens
#[derive(Debug, clap::Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, this once
    Create {
        #[command(flatten)]
        new: token::New,

        #[command(flatten)]
        remote: Remote,
    },
    /// List the tokens, without what opens anything
    Ls {
        #[command(flatten)]
        remote: Remote,
    },
    /// Take a token out of use, at once; the last one stays
    Revoke {
        /// The token's number
        id: u32,

        #[command(flatten)]
        remote: Remote,
    },
}

const TOKENS: &str = "/v1/tokens";

impl AdminCommand {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn run(self) -> anyhow::Result<()> {
        let Self::Token(command) = self;
        match command {
            TokenCommand::Create { new, remote } => token::create(TOKENS, new, &remote),
            TokenCommand::Ls { remote } => token::list(TOKENS, &remote),
            TokenCommand::Revoke { id, remote } => token::revoke(TOKENS, id, &remote),
        }
    }
}
