//! What a pipeline said, and goes on to say.

use std::io::{BufRead, BufReader};

use anyhow::Context as _;

use super::{Connection, Form};
use crate::cli::output;
use crate::jobs::{Event, LogLevel, LogLine};

/// Shows the lines at `path`; then, if asked, those of this pipeline among the events, until the server ends.
///
/// # Errors
/// When the server refuses, or standard output cannot be written.
pub fn show(
    connection: &Connection,
    path: &str,
    follow: Option<(&String, &String)>,
    form: Form,
) -> anyhow::Result<()> {
    // Listening begins first, so that no line falls between the two.
    let events = match follow {
        Some((events, _)) => Some(connection.listen(events)?),
        None => None,
    };
    let said: Vec<LogLine> = connection.get(path)?;
    for line in &said {
        print(line, form)?;
    }
    let (Some(events), Some((_, name))) = (events, follow) else {
        return Ok(());
    };
    for line in BufReader::new(events).lines() {
        let line = line.context("the stream of events broke off")?;
        if line == "event: missed" {
            eprintln!("-- some lines were missed: this was read too slowly --");
        }
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        if let Ok(Event::Log { pipeline, line, .. }) = serde_json::from_str(data)
            && pipeline.as_str() == name
            && !said.contains(&line)
        {
            print(&line, form)?;
        }
    }
    Ok(())
}

/// One line, at once.
fn print(line: &LogLine, form: Form) -> anyhow::Result<()> {
    let text = match form {
        Form::Json => serde_json::to_string(line)?,
        Form::Table => text(line),
    };
    output::write(format!("{text}\n").as_bytes())
}

/// What a `print` sink printed stands as it was printed; the rest says when, how grave and about what.
fn text(line: &LogLine) -> String {
    let level = match line.level {
        LogLevel::Print => return line.message.clone(),
        LogLevel::Info => "INFO",
        LogLevel::Warn => "WARN",
        LogLevel::Error => "ERROR",
    };
    let node = line.node.as_ref().map(|node| format!("{node}: "));
    format!(
        "{:.3} {level:5} {}{}",
        line.time,
        node.unwrap_or_default(),
        line.message
    )
}
