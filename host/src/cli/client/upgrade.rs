//! `wasmill pipeline upgrade`: another plugin for a step of a pipeline on a server.

use reqwest::Method;

use super::connection::segment;
use super::pipeline::{asked, show_difference};
use super::{Connection, Form, Remote, listing};
use crate::cli::output;
use crate::error::Failure;
use crate::server::catalog::trial::{Failed, Trial};
use crate::server::pipelines::{Applied, Difference};
use crate::server::upgrade;

/// A step's other plugin.
#[derive(Debug, clap::Args)]
pub struct Upgrade {
    /// The pipeline
    name: String,

    /// The step or sink
    #[arg(long)]
    step: String,

    /// Its new plugin, one that was pushed: NAME, NAME@VERSION, NAME@sha256:...
    #[arg(long)]
    plugin: String,

    /// Go back to the version before if this one fails before it has delivered so many epochs; 0 is never
    #[arg(long, value_name = "N", default_value_t = 3)]
    watch_epochs: u32,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// Show what would change, and leave it at that
    #[arg(long, conflicts_with = "yes")]
    plan: bool,

    /// Let the plugin ask for more than the one before
    #[arg(long)]
    allow: bool,

    /// Let the step forget what it remembers if the plugin cannot go on with it
    #[arg(long)]
    accept_changes: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Upgrade {
    /// Shows what changes, asks, and does it.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn run(self) -> anyhow::Result<()> {
        let connection = Connection::open(&self.remote)?;
        let path = format!("/pipelines/{}/upgrade", segment(&self.name));
        let path = connection.of_tenant(&path)?;
        let mut upgrade = upgrade::Upgrade {
            step: self.step,
            plugin: self.plugin,
            allow: self.allow,
            accept_changes: self.accept_changes,
            from_version: None,
            watch_epochs: self.watch_epochs,
        };
        let plan = format!("{path}/plan");
        let difference: Difference = connection.send(Method::POST, &plan, &upgrade)?;
        if self.plan && self.remote.output == Form::Json {
            return listing::show_json(&difference);
        }
        if self.remote.output == Form::Table {
            show_difference(&self.name, &difference)?;
        }
        if self.plan {
            return Ok(());
        }
        if !difference.more_capabilities.is_empty() && !self.allow {
            let failure = Failure::user("the plugin asks for more than the one before");
            return Err(failure.help("say --allow if that is meant").into());
        }
        if !difference.changes.is_empty() && !self.yes && !asked("Upgrade it so?")? {
            return output::write(b"nothing was changed\n");
        }
        upgrade.from_version = Some(difference.from_version);
        let applied: Applied = connection.send(Method::POST, &path, &upgrade)?;
        if self.remote.output == Form::Json {
            return listing::show_json(&applied);
        }
        let said = match (applied.changed, self.watch_epochs) {
            (false, _) => String::new(),
            (true, 0) => format!("{} is at version {}\n", self.name, applied.version),
            (true, epochs) => format!(
                "{} is at version {}; if it fails within {epochs} epochs, the one before comes back\n",
                self.name, applied.version
            ),
        };
        output::write(said.as_bytes())
    }
}

/// What there is to say of a trial.
pub fn said_of(trial: &Trial) -> String {
    let Trial {
        version,
        before,
        epochs,
        failed,
    } = trial;
    match failed {
        None => format!(
            "version {version} is on trial: if it fails within {epochs} epochs, version {before} comes back"
        ),
        Some(Failed {
            failure,
            stays: None,
            ..
        }) => format!(
            "version {version} has failed within {epochs} epochs, and version {before} is back: {failure}"
        ),
        Some(Failed {
            failure,
            stays: Some(why),
            ..
        }) => format!(
            "version {version} has failed within {epochs} epochs: {failure}\nversion {before} could not come back: {why}"
        ),
    }
}
