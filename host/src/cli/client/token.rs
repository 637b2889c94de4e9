//! Tokens of whoever they are: what `wasmill tenant token` and `wasmill admin token` have in common.

use anyhow::Context as _;
use jiff::Timestamp;
use reqwest::Method;

use super::{Connection, Form, Listing, Remote, listing};
use crate::cli::output;
use crate::server::api::{NewToken, ShownToken};
use crate::server::catalog::token::{Scope, Token};

/// The token to be made
#[derive(Debug, clap::Args)]
pub struct New {
    /// What its holder calls it
    #[arg(long, value_name = "LABEL")]
    label: String,

    /// What it is good for: all that its holder may do, looking at it, or its metrics alone
    #[arg(long, value_enum, default_value_t)]
    scope: Scope,
}

impl New {
    fn told(self) -> NewToken {
        let Self { label, scope } = self;
        NewToken { label, scope }
    }
}

/// Makes one of those at `path`, and prints it.
///
/// # Errors
/// When the server refuses.
pub fn create(path: &str, new: New, remote: &Remote) -> anyhow::Result<()> {
    let connection = Connection::open(remote)?;
    let made: ShownToken = connection.send(Method::POST, path, &new.told())?;
    match remote.output {
        Form::Table => output::write(format!("{}\n", made.token).as_bytes()),
        Form::Json => listing::show_json(&made),
    }
}

/// Lists those at `path`.
///
/// # Errors
/// When the server refuses.
pub fn list(path: &str, remote: &Remote) -> anyhow::Result<()> {
    let list: Vec<Token> = Connection::open(remote)?.get(path)?;
    let time =
        |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.0}"));
    let listing = Listing::of(&["ID", "LABEL", "SCOPE", "CREATED", "LAST USED", "REVOKED"]);
    let listing = listing.rows(&list, |token| {
        let created = time(Some(token.created));
        let (used, revoked) = (time(token.used), time(token.revoked));
        vec![
            token.id.to_string(),
            token.label.clone(),
            token.scope.to_string(),
            created,
            used,
            revoked,
        ]
    });
    listing.show(remote.output, &list)
}

/// Takes one of those at `path` out of use.
///
/// # Errors
/// When the server refuses.
pub fn revoke(path: &str, id: u32, remote: &Remote) -> anyhow::Result<()> {
    Connection::open(remote)?
        .delete(&format!("{path}/{id}"))
        .with_context(|| format!("token {id} was not revoked"))?;
    output::write(format!("revoked token {id}\n").as_bytes())
}
