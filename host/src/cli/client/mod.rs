//! The command line as a client of a server: one kind of thing, one file.

pub mod admin;
pub mod audit;
mod connection;
mod contexts;
mod listing;
pub mod login;
mod logs;
pub mod pipeline;
pub mod plugin;
mod quota;
mod registry;
pub mod rejected;
pub mod secret;
pub mod tenant;
mod token;
pub mod top;
mod upgrade;
mod usage;

use connection::Connection;
use listing::Listing;

/// Which server, whose things, and how to show them.
#[derive(Clone, Debug, clap::Args)]
pub struct Remote {
    /// The server and token that `wasmill login` has kept under this name [default: those of `wasmill context use`; with
    /// WASMILL_URL and WASMILL_TOKEN in the environment, these]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Whose things, for administrators; a tenant's token means its own
    #[arg(long, value_name = "TENANT", env = "WASMILL_TENANT")]
    tenant: Option<String>,

    /// How to show the answer
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    output: Form,
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people
    #[default]
    Table,
    /// As the server gave it
    Json,
}
