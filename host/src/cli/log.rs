//! How the process speaks on standard error: log lines and errors, as text for people or JSON for programs.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::exit::failure_of;
use crate::config::{self, Level, Problem};
use crate::error::Fault;
use crate::pipeline::PipelineFile;

/// The form of what goes to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// A JSON object a line
    Json,
}

impl LogFormat {
    /// Starts the log. `WASMILL_LOG` chooses what is logged as `RUST_LOG` does elsewhere; else it is `level` and above.
    pub fn start<W>(self, level: &str, writer: W)
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        // The stores below state and the catalog tell of their own housekeeping.
        let filter = EnvFilter::try_from_env("WASMILL_LOG").unwrap_or_else(|_| {
            EnvFilter::new(format!(
                "{level},fjall=warn,lsm_tree=warn,rusqlite_migration=warn"
            ))
        });
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_writer(writer);
        let started = match self {
            Self::Text => log.with_ansi(colour()).try_init(),
            Self::Json => log.json().flatten_event(true).try_init(),
        };
        // A second start happens in tests alone; the first one stays.
        started.ok();
    }

    /// Writes the error that ends the process.
    pub fn report(self, error: &anyhow::Error) {
        match self {
            Self::Text => eprintln!("{}{error:#}", label()),
            Self::Json => eprintln!("{}", error_as_json(error)),
        }
    }

    /// Writes what is wrong with a pipeline file.
    pub fn report_problems(self, file: &PipelineFile, problems: &[Problem]) {
        if self == Self::Json {
            for problem in problems {
                let level = match problem.level {
                    Level::Error => "ERROR",
                    Level::Warning => "WARN",
                };
                eprintln!("{}", line(level, &problem.message, place_of(file, problem)));
            }
            return;
        }
        if !problems.is_empty() {
            eprintln!("{}\n", file.draw(problems, colour()));
        }
        let errors = problems
            .iter()
            .filter(|problem| problem.level == Level::Error);
        match errors.count() {
            0 => (),
            1 => eprintln!("{}the pipeline cannot run: 1 problem", label()),
            errors => eprintln!("{}the pipeline cannot run: {errors} problems", label()),
        }
    }

    /// Writes a line that is neither log nor error: `text`, or the fields of `json` under a message.
    pub fn say(self, text: &str, message: &str, json: serde_json::Value) {
        match self {
            Self::Text => eprintln!("{text}"),
            Self::Json => eprintln!("{}", line("INFO", message, json)),
        }
    }
}

fn label() -> &'static str {
    match colour() {
        true => "\x1b[1;31merror\x1b[0m: ",
        false => "error: ",
    }
}

/// Where a problem is and what to do, for programs.
pub fn place_of(file: &PipelineFile, problem: &Problem) -> serde_json::Value {
    let (line, column) = config::position(file.text(), problem.span.start);
    serde_json::json!({
        "file": file.path().to_string_lossy(),
        "line": line,
        "column": column,
        "help": problem.help,
    })
}

/// Whether standard error takes colours: a terminal, and the user does not mind (<https://no-color.org>).
pub fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

/// A JSON line as the log writes them, with more fields.
fn line(level: &str, message: &str, mut fields: serde_json::Value) -> serde_json::Value {
    fields["timestamp"] = jiff::Timestamp::now().to_string().into();
    fields["level"] = level.into();
    fields["message"] = message.into();
    fields
}

fn error_as_json(error: &anyhow::Error) -> serde_json::Value {
    let Some(failure) = failure_of(error) else {
        return line("ERROR", &format!("{error:#}"), serde_json::json!({}));
    };
    let fault = match failure.fault {
        Fault::User => "user",
        Fault::External => "external",
        Fault::Internal => "internal",
    };
    let place = &failure.place;
    let mut fields = serde_json::json!({ "fault": fault });
    let known = [
        ("node", place.node.as_ref().map(|node| node.as_str().into())),
        ("epoch", place.epoch.map(|epoch| epoch.0.into())),
        (
            "partition",
            place.partition.map(|partition| partition.0.into()),
        ),
        ("row", place.row.map(Into::into)),
        ("origin", place.origin.as_deref().map(Into::into)),
        ("help", failure.help.as_deref().map(Into::into)),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            fields[name] = value;
        }
    }
    line("ERROR", &failure.message, fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;
    use crate::ids::{Epoch, PartitionId};

    #[test]
    fn an_error_as_json_says_whose_fault_where_and_what_to_do() {
        let failure = Failure::user("the plugin trapped")
            .at_node(&"words".into())
            .at(Epoch(3), PartitionId(1))
            .at_row(17)
            .help("mend it");
        let mut json = error_as_json(&failure.into());
        assert!(json["timestamp"].take().is_string());
        let expected = serde_json::json!({
            "timestamp": null, "level": "ERROR", "message": "the plugin trapped", "fault": "user",
            "node": "words", "epoch": 3, "partition": 1, "row": 17, "help": "mend it",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn an_error_of_the_command_line_tool_is_one_message() {
        let error = anyhow::anyhow!("no such file").context("cannot read x");
        assert_eq!(
            error_as_json(&error)["message"],
            "cannot read x: no such file"
        );
    }
}
