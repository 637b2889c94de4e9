//! `wasmill secret`: texts that plugins' settings name and do not say.

use std::io::Read as _;

use anyhow::Context as _;
use reqwest::Method;

use super::connection::segment;
use super::{Connection, Listing, Remote};
use crate::cli::output;
use crate::secret::SecretText;
use crate::server::api::NewSecret;
use crate::server::catalog::secret::SecretView;

/// Keep secrets for the plugins of a tenant
///
/// A pipeline file names one where a setting of a plugin is a text: config = { token = { secret = "api-token" } }. What it says is never shown
/// again. A pipeline that runs gets a new one when it starts the next time.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  wasmill secret set api-token < token.txt
  wasmill secret ls")]
pub enum SecretCommand {
    /// Set a secret to what standard input says, without a line end behind it
    Set(Named),
    /// List the secrets, without what they say
    Ls {
        #[command(flatten)]
        remote: Remote,
    },
    /// Remove a secret
    Rm(Named),
}

/// A secret.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// Its name
    name: String,

    #[command(flatten)]
    remote: Remote,
}

impl Named {
    fn open(&self) -> anyhow::Result<(Connection, String)> {
        let connection = Connection::open(&self.remote)?;
        let path = connection.of_tenant(&format!("/secrets/{}", segment(&self.name)))?;
        Ok((connection, path))
    }
}

impl SecretCommand {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Set(named) => {
                let (connection, path) = named.open()?;
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .context("the secret cannot be read from standard input")?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                let value = SecretText::new(text.to_owned());
                connection.tell(Method::PUT, &path, &NewSecret { value })?;
                output::write(format!("secret {} is set\n", named.name).as_bytes())
            }
            Self::Ls { remote } => {
                let connection = Connection::open(&remote)?;
                let views: Vec<SecretView> = connection.get(&connection.of_tenant("/secrets")?)?;
                let listing = Listing::of(&["SECRET", "SET BY", "SET"]).rows(&views, |view| {
                    let set = format!("{:.0}", view.set);
                    vec![view.name.to_string(), view.set_by.clone(), set]
                });
                listing.show(remote.output, &views)
            }
            Self::Rm(named) => {
                let (connection, path) = named.open()?;
                connection.delete(&path)?;
                output::write(format!("removed secret {}\n", named.name).as_bytes())
            }
        }
    }
}
