//! `wasmill tenant`: tenants, what they may have, and their tokens.

use std::path::PathBuf;

use reqwest::Method;

use super::connection::segment;
use super::pipeline::asked;
use super::{Connection, Form, Listing, Remote, listing, token};
use crate::cli::exit::WrongUsage;
use crate::cli::output;
use crate::error::Failure;
use crate::server::api::NewTenant;
use crate::server::catalog::tenant::{Policy, Tenant};

/// Make tenants, set what they may have, and give them tokens
#[derive(Debug, clap::Subcommand)]
pub enum TenantCommand {
    /// Make a tenant
    Create {
        /// Its name
        name: String,

        #[command(flatten)]
        remote: Remote,
    },
    /// List the tenants
    Ls {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show what a tenant may have, or set it
    Policy {
        /// The tenant
        name: String,

        /// Set it to what this JSON file says; what it does not say is as at first
        #[arg(long, value_name = "FILE")]
        set: Option<PathBuf>,

        #[command(flatten)]
        remote: Remote,
    },
    /// Remove a tenant that has no pipelines, with its plugins, secrets, tokens and files
    Rm {
        /// The tenant
        name: String,

        /// Do not ask
        #[arg(long, short)]
        yes: bool,

        #[command(flatten)]
        remote: Remote,
    },
    Quota(super::quota::Quota),
    Usage(super::usage::Usage),
    /// Make, list and revoke a tenant's tokens
    #[command(subcommand)]
    Token(TokenCommand),
}

/// Make, list and revoke a tenant's tokens
#[derive(Debug, clap::Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, this once
    Create {
        /// The tenant
        name: String,

        #[command(flatten)]
        new: token::New,

        #[command(flatten)]
        remote: Remote,
    },
    /// List the tokens, without what opens anything
    Ls {
        /// The tenant
        name: String,

        #[command(flatten)]
        remote: Remote,
    },
    /// Take a token out of use, at once
    Revoke {
        /// The tenant
        name: String,

        /// The token's number
        id: u32,

        #[command(flatten)]
        remote: Remote,
    },
}

impl TenantCommand {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create { name, remote } => {
                let policy = Policy::default();
                let new = NewTenant { name, policy };
                let connection = Connection::open(&remote)?;
                let made: Tenant = connection.send(Method::POST, "/v1/tenants", &new)?;
                show(&[made], remote.output)
            }
            Self::Ls { remote } => {
                let tenants: Vec<Tenant> = Connection::open(&remote)?.get("/v1/tenants")?;
                show(&tenants, remote.output)
            }
            Self::Policy { name, set, remote } => policy(&name, set, &remote),
            Self::Rm { name, yes, remote } => {
                let connection = Connection::open(&remote)?;
                if !yes && !asked("Remove it, with its plugins, secrets, tokens and files?")? {
                    return output::write(b"nothing was removed\n");
                }
                connection.delete(&format!("/v1/tenants/{}", segment(&name)))?;
                output::write(format!("removed {name}\n").as_bytes())
            }
            Self::Quota(quota) => quota.run(),
            Self::Usage(usage) => usage.run(),
            Self::Token(token) => token.run(),
        }
    }
}

fn policy(name: &str, set: Option<PathBuf>, remote: &Remote) -> anyhow::Result<()> {
    let connection = Connection::open(remote)?;
    let path = format!("/v1/tenants/{}", segment(name));
    let tenant: Tenant = match set {
        None => connection.get(&path)?,
        Some(file) => {
            let shown = file.display();
            let wrong = |error: &dyn std::fmt::Display| {
                WrongUsage(Failure::user(format!("{shown} is no policy: {error}")))
            };
            let text = std::fs::read_to_string(&file).map_err(|error| wrong(&error))?;
            let policy: Policy = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
            connection.send(Method::PUT, &format!("{path}/policy"), &policy)?
        }
    };
    // It is JSON for people as well: that is what `--set` takes.
    listing::show_json(&tenant.policy)
}

impl TokenCommand {
    fn run(self) -> anyhow::Result<()> {
        let tokens = |name: &str| format!("/v1/tenants/{}/tokens", segment(name));
        match self {
            Self::Create { name, new, remote } => token::create(&tokens(&name), new, &remote),
            Self::Ls { name, remote } => token::list(&tokens(&name), &remote),
            Self::Revoke { name, id, remote } => token::revoke(&tokens(&name), id, &remote),
        }
    }
}

fn show(tenants: &[Tenant], form: Form) -> anyhow::Result<()> {
    let listing = Listing::of(&["TENANT", "PIPELINES", "WORKERS", "CREATED"]);
    let listing = listing.rows(tenants, |tenant| {
        vec![
            tenant.name.to_string(),
            format!("at most {}", tenant.policy.max_pipelines),
            format!("at most {} each", tenant.policy.max_workers),
            format!("{:.0}", tenant.created),
        ]
    });
    listing.show(form, &tenants)
}
