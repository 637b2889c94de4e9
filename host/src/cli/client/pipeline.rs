//! `wasmill pipeline`: pipelines on a server.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use reqwest::Method;
use serde::Deserialize;

use super::connection::segment;
use super::upgrade::{self, Upgrade};
use super::{Connection, Form, Listing, Remote, listing};
use crate::cli::client::logs;
use crate::cli::exit::WrongUsage;
use crate::cli::output;
use crate::error::Failure;
use crate::jobs::{Figures, JobStatus, Phase};
use crate::server::catalog::pipeline::{PipelineVersion, word};
use crate::server::pipelines::{Applied, Definition, Difference, PipelineView};
use crate::server::refusal::Diagnostic;
use crate::server::rollback::Rollback;

/// Manage pipelines on a server
#[derive(Debug, clap::Subcommand)]
pub enum PipelineCommand {
    /// Show what a pipeline file would change on the server, and apply it
    Apply(Apply),
    /// List pipelines, and how they stand
    Ls {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show the current version of a pipeline
    Show(Named),
    /// Show how a pipeline stands
    Status(Named),
    /// Show what a pipeline said
    Logs {
        /// Go on with what it says from now on
        #[arg(long, short)]
        follow: bool,

        #[command(flatten)]
        named: Named,
    },
    /// Stop a pipeline at a committed epoch until it is resumed
    Pause(Named),
    /// Let a pipeline run that is paused, stopped or has failed
    Resume(Named),
    /// Stop a pipeline at a committed epoch
    Stop(Named),
    /// Remove a stopped pipeline, its versions and all that it remembers
    Rm {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,

        #[command(flatten)]
        named: Named,
    },
    /// List the versions of a pipeline
    Versions(Named),
    /// Give a step another plugin, with the state that there is
    Upgrade(Upgrade),
    /// Go back to a version, with the state that there is
    Rollback {
        /// The version [default: the one before the current one]
        #[arg(long, value_name = "VERSION")]
        to: Option<u32>,

        /// Go on from the checkpoint although a source, step or sink has gone or is another kind of node then
        #[arg(long)]
        accept_changes: bool,

        /// Take the state back too, to what it was after the last epoch of that version that is kept, and run all input since again; the
        /// pipeline must be paused
        #[arg(long)]
        state: bool,

        /// Do not ask
        #[arg(long, short)]
        yes: bool,

        #[command(flatten)]
        named: Named,
    },
}

/// What has to be known before the state goes back.
const SET_BACK: &str = "What sinks have shown since stays there, and the same input reaches them again. Go back with the state?";

/// A pipeline on a server.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// The pipeline
    name: String,

    #[command(flatten)]
    remote: Remote,
}

/// A file to be applied.
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// The pipeline file; its plugins are those that were pushed: NAME, NAME@VERSION, NAME@sha256:...
    file: PathBuf,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// Show what would change, and leave it at that
    #[arg(long, conflicts_with = "yes")]
    plan: bool,

    /// Worker threads
    #[arg(long, short, value_name = "N", default_value_t = 1)]
    workers: u32,

    /// Let its plugins ask for more than those of the version before
    #[arg(long)]
    allow: bool,

    /// Go on from the checkpoint although a source, step or sink has gone or is another kind of node now
    #[arg(long)]
    accept_changes: bool,

    #[command(flatten)]
    remote: Remote,
}

/// What has to be known of a pipeline file here; the server reads the rest.
#[derive(Deserialize)]
struct Header {
    name: String,
}

impl Apply {
    fn run(self) -> anyhow::Result<()> {
        let file = self.file.display();
        let wrong = |message: String| WrongUsage(Failure::user(message));
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| wrong(format!("{file} cannot be read: {error}")))?;
        let header: Header = toml::from_str(&text)
            .map_err(|error| wrong(format!("{file} does not say the pipeline's name: {error}")))?;
        let connection = Connection::open(&self.remote)?;
        let path = connection.of_tenant(&format!("/pipelines/{}", segment(&header.name)))?;
        let mut definition = Definition {
            text,
            workers: self.workers,
            accept_changes: self.accept_changes,
            allow: self.allow,
            from_version: None,
        };
        let plan = format!("{path}/plan");
        let difference: Difference = connection.send(Method::POST, &plan, &definition)?;
        if self.plan && self.remote.output == Form::Json {
            return listing::show_json(&difference);
        }
        if self.remote.output == Form::Table {
            show_difference(&header.name, &difference)?;
        }
        if self.plan {
            return Ok(());
        }
        if !difference.more_capabilities.is_empty() && !self.allow {
            let failure =
                Failure::user("its plugins ask for more than those of the version before");
            return Err(failure
                .help("apply it with --allow if that is meant")
                .into());
        }
        if !difference.changes.is_empty() && !self.yes && !asked("Apply this?")? {
            return output::write(b"nothing was applied\n");
        }
        definition.from_version = Some(difference.from_version);
        let applied: Applied = connection.send(Method::PUT, &path, &definition)?;
        match self.remote.output {
            Form::Json => listing::show_json(&applied),
            Form::Table if applied.changed => {
                let said = format!("{} is at version {}\n", header.name, applied.version);
                output::write(said.as_bytes())
            }
            Form::Table => Ok(()),
        }
    }
}

/// Shows what a change of a pipeline would be.
///
/// # Errors
/// When nobody reads it.
pub fn show_difference(name: &str, difference: &Difference) -> anyhow::Result<()> {
    let mut text = String::new();
    for Diagnostic {
        line,
        column,
        message,
        ..
    } in &difference.warnings
    {
        text.push_str(&format!("warning: {line}:{column}: {message}\n"));
    }
    if difference.changes.is_empty() {
        text.push_str(&format!("{name} is as the file says: nothing changes\n"));
        return output::write(text.as_bytes());
    }
    // All of a new file is new.
    if difference.from_version > 0 {
        text.push_str(&difference.diff);
    }
    match difference.from_version {
        0 => text.push_str(&format!("{name}:\n")),
        version => text.push_str(&format!("{name}, now at version {version}:\n")),
    }
    for change in &difference.changes {
        text.push_str(&format!("  {change}\n"));
    }
    for more in &difference.more_capabilities {
        text.push_str(&format!("  more than before: {more}\n"));
    }
    output::write(text.as_bytes())
}

/// Whether the user says yes.
///
/// # Errors
/// When nobody is there to be asked.
pub fn asked(question: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        let failure = Failure::user("nobody is there to be asked");
        return Err(WrongUsage(failure.help("say --yes")).into());
    }
    let mut terminal = std::io::stderr();
    write!(terminal, "{question} [y/N] ").and_then(|()| terminal.flush())?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("the answer cannot be read")?;
    Ok(matches!(answer.trim(), "y" | "yes" | "Y"))
}

impl PipelineCommand {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Apply(apply) => apply.run(),
            Self::Ls { remote } => {
                let connection = Connection::open(&remote)?;
                let path = connection.of_tenant("/pipelines")?;
                show(&connection.get::<Vec<PipelineView>>(&path)?, remote.output)
            }
            Self::Show(named) => named.show(),
            Self::Status(named) => named.status(),
            Self::Logs { follow, named } => {
                let (connection, path) = named.open("/logs")?;
                let events = connection.of_tenant("/events")?;
                let form = named.remote.output;
                logs::show(
                    &connection,
                    &path,
                    follow.then_some((&events, &named.name)),
                    form,
                )
            }
            Self::Pause(named) => named.want("pause"),
            Self::Resume(named) => named.want("resume"),
            Self::Stop(named) => named.want("stop"),
            Self::Rm { yes, named } => {
                let (connection, path) = named.open("")?;
                if !yes && !asked("Remove it, with all that it remembers?")? {
                    return output::write(b"nothing was removed\n");
                }
                connection.delete(&path)?;
                output::write(format!("removed {}\n", named.name).as_bytes())
            }
            Self::Versions(named) => named.versions(),
            Self::Upgrade(upgrade) => upgrade.run(),
            Self::Rollback {
                to,
                accept_changes,
                state,
                yes,
                named,
            } => {
                let is_sure = !state || yes;
                if !is_sure && !asked(SET_BACK)? {
                    return output::write(b"nothing was changed\n");
                }
                named.rollback(to, accept_changes, state)
            }
        }
    }
}

impl Named {
    /// The address of something of it.
    fn open(&self, rest: &str) -> anyhow::Result<(Connection, String)> {
        let connection = Connection::open(&self.remote)?;
        let path = format!("/pipelines/{}{rest}", segment(&self.name));
        let path = connection.of_tenant(&path)?;
        Ok((connection, path))
    }

    fn want(self, what: &str) -> anyhow::Result<()> {
        let (connection, path) = self.open(&format!("/{what}"))?;
        show(
            &[connection.post::<PipelineView>(&path)?],
            self.remote.output,
        )
    }

    fn show(self) -> anyhow::Result<()> {
        let (connection, path) = self.open("")?;
        let view: PipelineView = connection.get(&path)?;
        let path = format!("{path}/versions/{}", view.pipeline.version);
        let version: PipelineVersion = connection.get(&path)?;
        match self.remote.output {
            Form::Json => listing::show_json(&version),
            Form::Table => output::write(version.text.as_bytes()),
        }
    }

    fn versions(self) -> anyhow::Result<()> {
        let (connection, path) = self.open("")?;
        let view: PipelineView = connection.get(&path)?;
        let versions: Vec<PipelineVersion> = connection.get(&format!("{path}/versions"))?;
        let listing = Listing::of(&["VERSION", "WORKERS", "PLUGINS", "APPLIED BY", "APPLIED"]);
        let listing = listing.rows(&versions, |version| {
            let plugins = version.plugins.iter();
            let plugins = plugins.map(|one| format!("{}={}@{}", one.node, one.plugin, one.version));
            let mark = if version.version == view.pipeline.version {
                " *"
            } else {
                ""
            };
            vec![
                format!("{}{mark}", version.version),
                version.workers.to_string(),
                plugins.collect::<Vec<_>>().join(", "),
                version.applied_by.clone(),
                format!("{:.0}", version.applied),
            ]
        });
        listing.show(self.remote.output, &versions)
    }

    fn rollback(self, to: Option<u32>, accept_changes: bool, state: bool) -> anyhow::Result<()> {
        let (connection, path) = self.open("")?;
        let version = match to {
            Some(version) => version,
            None => {
                let view: PipelineView = connection.get(&path)?;
                let before = view
                    .pipeline
                    .version
                    .checked_sub(1)
                    .filter(|before| *before > 0);
                before.ok_or_else(|| {
                    Failure::user(format!("{} is at its first version", self.name))
                })?
            }
        };
        let to = Rollback {
            version,
            accept_changes,
            state,
        };
        let path = format!("{path}/rollback");
        let view: PipelineView = connection.send(Method::POST, &path, &to)?;
        show(&[view], self.remote.output)
    }

    fn status(self) -> anyhow::Result<()> {
        let (connection, path) = self.open("")?;
        let view: PipelineView = connection.get(&path)?;
        if self.remote.output == Form::Json {
            return listing::show_json(&view);
        }
        show(std::slice::from_ref(&view), Form::Table)?;
        if let Some(trial) = &view.trial {
            output::write(format!("\n{}\n", upgrade::said_of(trial)).as_bytes())?;
        }
        let Some(status) = &view.status else {
            return Ok(());
        };
        if let Some(failure) = &status.failure {
            output::write(format!("\n{failure}\n").as_bytes())?;
        }
        if let Some(held) = held_back(&status.figures) {
            output::write(format!("\nheld back by the tenant's quotas: {held}\n").as_bytes())?;
        }
        let nodes: Vec<_> = status.figures.nodes.iter().collect();
        let listing = Listing::of(&[
            "NODE", "ROWS IN", "ROWS OUT", "BYTES IN", "CALLS", "SKIPPED", "REJECTED",
        ]);
        let listing = listing.rows(&nodes, |(name, counts)| {
            let counts = [
                counts.rows_in,
                counts.rows_out,
                counts.bytes_in,
                counts.calls,
                counts.skipped,
                counts.rejected,
            ];
            let cells = counts.iter().map(ToString::to_string);
            std::iter::once(name.to_string()).chain(cells).collect()
        });
        output::write(b"\n")?;
        listing.show(Form::Table, &())
    }
}

/// Where the quotas of its tenant have made themselves felt, if they have.
fn held_back(figures: &Figures) -> Option<String> {
    let waited = (figures.held_ms > 0).then(|| {
        let seconds = figures.held_ms as f64 / 1000.0;
        format!("it had more to read than it might for {seconds:.1} s")
    });
    let dropped = (figures.log_lines_dropped > 0)
        .then(|| format!("{} log lines were dropped", figures.log_lines_dropped));
    let both: Vec<String> = waited.into_iter().chain(dropped).collect();
    (!both.is_empty()).then(|| both.join("; "))
}

/// What a pipeline does, as people are told.
pub fn phase(status: &JobStatus) -> String {
    match status.phase {
        Phase::Starting => "starting".into(),
        Phase::Running => "running".into(),
        Phase::Draining => "draining".into(),
        Phase::Paused => "paused".into(),
        Phase::Stopped => "stopped".into(),
        Phase::Waiting { until } => format!("failed, again at {until:.0}"),
        Phase::Failed => "failed".into(),
        Phase::Finished => "finished".into(),
    }
}

fn show(views: &[PipelineView], form: Form) -> anyhow::Result<()> {
    let listing = Listing::of(&[
        "PIPELINE", "VERSION", "WANTED", "STATE", "RESTARTS", "EPOCHS", "ROWS",
    ]);
    let listing = listing.rows(views, |view| {
        let status = view.status.as_ref();
        let of_status =
            |read: &dyn Fn(&JobStatus) -> String| status.map_or_else(|| "-".to_owned(), read);
        vec![
            view.pipeline.name.to_string(),
            view.pipeline.version.to_string(),
            word(view.pipeline.wanted).to_owned(),
            of_status(&phase),
            of_status(&|status| status.restarts.to_string()),
            of_status(&|status| status.figures.delivered.to_string()),
            of_status(&|status| status.figures.rows_in.to_string()),
        ]
    });
    listing.show(form, &views)
}
