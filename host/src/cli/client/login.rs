//! `wasmill login` and `wasmill context`: which server, and who one is there.

use std::io::Read as _;

use anyhow::Context as _;

use super::contexts::{Contexts, Saved};
use super::{Connection, Form, Listing, listing};
use crate::cli::exit::WrongUsage;
use crate::cli::output;
use crate::error::Failure;
use crate::server::api::Who;

/// Keep a server's address and a token for the commands that talk to it
///
/// They are kept in wasmill/config.toml in the user's configuration folder, which nobody else can read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill login http://127.0.0.1:7070 --token-stdin < token.txt
  wasmill login https://wasmill.example --token wm_... --name work")]
pub struct Login {
    /// The server's address
    url: String,

    /// Read the token from standard input
    #[arg(long, conflicts_with = "token")]
    token_stdin: bool,

    /// The token; others on the machine can see it as long as the command runs
    #[arg(long, value_name = "TOKEN", required_unless_present = "token_stdin")]
    token: Option<String>,

    /// The name to keep them under
    #[arg(long, value_name = "NAME", default_value = "default")]
    name: String,

    /// Whose things are meant when none is named, for administrators
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
}

impl Login {
    /// Asks the server who one is, and keeps it.
    ///
    /// # Errors
    /// When the server does not know the token.
    pub fn run(self) -> anyhow::Result<()> {
        let token = match self.token {
            Some(token) => token,
            None => {
                let mut token = String::new();
                let read = std::io::stdin().take(1024).read_to_string(&mut token);
                read.context("the token cannot be read from standard input")?;
                token
            }
        };
        let token = token.trim().to_owned();
        if token.is_empty() {
            let failure = Failure::user("the token is empty");
            return Err(WrongUsage(failure.help("it begins with `wm_`")).into());
        }
        let mut saved = Saved {
            url: self.url,
            token,
            tenant: self.tenant,
        };
        let who: Who = Connection::to(saved.clone())?.get("/v1/whoami")?;
        saved.tenant = saved.tenant.or(who.tenant);
        let path = Contexts::path()?;
        let mut contexts = Contexts::read(&path)?;
        contexts.contexts.insert(self.name.clone(), saved);
        contexts.current = Some(self.name.clone());
        contexts.write(&path)?;
        let said = format!(
            "logged in as {}, kept as context `{}`\n",
            who.who, self.name
        );
        output::write(said.as_bytes())
    }
}

/// Choose among the servers that one has logged in to
#[derive(Debug, clap::Subcommand)]
pub enum Context {
    /// List them
    Ls {
        /// How to show them
        #[arg(long, value_enum, value_name = "FORM", default_value_t)]
        output: Form,
    },
    /// Mean this one from now on
    Use {
        /// Its name
        name: String,
    },
    /// Show the one that is meant, without its token
    Show {
        /// How to show it
        #[arg(long, value_enum, value_name = "FORM", default_value_t)]
        output: Form,
    },
}

impl Context {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// When the file cannot be used, or there is no such context.
    pub fn run(self) -> anyhow::Result<()> {
        let path = Contexts::path()?;
        let mut contexts = Contexts::read(&path)?;
        match self {
            Self::Ls { output } => show(&contexts, output, |_| true),
            Self::Use { name } => {
                contexts.get(Some(&name))?;
                contexts.current = Some(name);
                contexts.write(&path)
            }
            Self::Show { output } => {
                contexts.get(None)?;
                show(&contexts, output, |name| {
                    Some(name) == contexts.current.as_deref()
                })
            }
        }
    }
}

fn show(contexts: &Contexts, form: Form, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let wanted = contexts.contexts.iter().filter(|(name, _)| wanted(name));
    let rows: Vec<serde_json::Value> = wanted
        .map(|(name, saved)| {
            serde_json::json!({
                "name": name,
                "url": saved.url,
                "tenant": saved.tenant,
                "current": Some(name) == contexts.current.as_ref(),
            })
        })
        .collect();
    if form == Form::Json {
        return listing::show_json(&rows);
    }
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    let listing = Listing::of(&["", "NAME", "URL", "TENANT"]);
    let listing = listing.rows(&rows, |row| {
        let mark = if row["current"] == true { "*" } else { "" };
        vec![
            mark.to_owned(),
            text(&row["name"]),
            text(&row["url"]),
            text(&row["tenant"]),
        ]
    });
    listing.show(form, &rows)
}
