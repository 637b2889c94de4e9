//! `wasmill pipeline upgrade`: another plugin for a step of a pipeline on a server.

use std::time::Duration;

use reqwest::Method;

use super::connection::segment;
use super::pipeline::{asked, show_difference};
use super::{Connection, Form, Remote, listing};
use crate::cli::exit::Differs;
use crate::cli::output;
use crate::error::Failure;
use crate::server::catalog::trial::{Failed, Trial};
use crate::server::pipelines::{Applied, Difference};
use crate::server::shadow::{Shadow, Shadowed};
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

    /// Before, run the next N epochs that the pipeline commits with the new plugin too, without touching sinks or state, and show what differs;
    /// if anything does, nothing is changed without --yes
    #[arg(long, value_name = "N", conflicts_with = "plan", value_parser = clap::value_parser!(u32).range(1..))]
    shadow: Option<u32>,

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
        let is_shown_good = match self.shadow {
            Some(epochs) if !difference.changes.is_empty() => {
                let differing = shadow(&connection, &path, &upgrade, epochs, self.remote.output)?;
                if differing > 0 && !self.yes {
                    let message = format!("{differing} of {epochs} epochs differ");
                    let help = "nothing was changed; say --yes to upgrade all the same";
                    return Err(Differs(Failure::user(message).help(help)).into());
                }
                true
            }
            _ => false,
        };
        let is_sure = self.yes || is_shown_good || difference.changes.is_empty();
        if !is_sure && !asked("Upgrade it so?")? {
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

/// How often the server is asked for an epoch that is not committed yet.
const ASK: Duration = Duration::from_millis(200);

/// Has the server run the next epochs with an upgrade too, shows what differs, and says in how many anything does.
fn shadow(
    connection: &Connection,
    path: &str,
    upgrade: &upgrade::Upgrade,
    epochs: u32,
    form: Form,
) -> anyhow::Result<u32> {
    let path = format!("{path}/shadow");
    let (mut compared, mut differing) = (0, 0);
    let (mut from, mut has_waited) = (None, false);
    while compared < epochs {
        let asked = Shadow {
            upgrade: upgrade.clone(),
            from,
        };
        let shadowed: Shadowed = connection.send(Method::POST, &path, &asked)?;
        from = Some(shadowed.next);
        let Some(one) = shadowed.compared else {
            // Nothing is to be seen before the second answer: the first only says where the next epoch begins.
            if form == Form::Table && !has_waited {
                output::write(b"waiting for what the pipeline commits from now on\n")?;
                has_waited = true;
            }
            std::thread::sleep(ASK);
            continue;
        };
        compared += 1;
        differing += u32::from(one.differs);
        match form {
            Form::Json => listing::show_json(&one)?,
            Form::Table if one.differs => output::write(one.report.as_bytes())?,
            Form::Table => {
                let said = format!("epoch {}: no difference\n", one.epoch);
                output::write(said.as_bytes())?;
            }
        }
    }
    Ok(differing)
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
