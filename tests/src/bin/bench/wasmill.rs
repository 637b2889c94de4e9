//! The `wasmill` binary, as a user runs it, on pipelines that the benchmark writes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};
use serde_json::Value;
use wasmill_tests::Running;

/// The binary and where everything is kept.
#[derive(Clone)]
pub struct Wasmill {
    /// The binary.
    pub binary: PathBuf,
    /// The folder of components.
    pub plugins: PathBuf,
    /// Pipelines, their input and their output; paths in a pipeline count from here.
    pub dir: PathBuf,
}

/// A row of a `print` sink of format `json`.
pub struct Printed {
    /// When it came.
    pub at: Instant,
    /// The row.
    pub row: Value,
}

impl Printed {
    /// A column of integers; null counts as 0, as a sum of nothing is null.
    pub fn number(&self, column: &str) -> u64 {
        self.row[column].as_u64().unwrap_or(0)
    }
}

impl Wasmill {
    /// The command that runs a pipeline on so many workers.
    pub fn command(&self, pipeline: &str, workers: u32) -> anyhow::Result<Command> {
        let file = self.dir.join("pipeline.toml");
        fs::write(&file, pipeline)?;
        let mut command = Command::new(&self.binary);
        command
            .arg("run")
            .arg(file)
            .args(["--quiet", "--workers", &workers.to_string()])
            .env("WASMILL_PLUGINS", &self.plugins)
            .env("WASMILL_CACHE", self.dir.join("cache"));
        Ok(command)
    }

    /// Runs a pipeline to its end; its `print` sink prints a row an epoch.
    pub fn epochs(&self, pipeline: &str, workers: u32) -> anyhow::Result<Vec<Printed>> {
        let running = Running::start(&mut self.command(pipeline, workers)?);
        let mut epochs = Vec::new();
        while let Some(line) = running.next_line() {
            epochs.push(printed(&line)?);
        }
        running.end().succeeded();
        Ok(epochs)
    }

    /// The path of a folder that is not there any more.
    pub fn removed(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.dir.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        Ok(folder)
    }
}

/// A line of a run as a row that came just now. Anything else that a quiet run says is a warning or an error.
pub fn printed(line: &str) -> anyhow::Result<Printed> {
    let at = Instant::now();
    let row: Value = serde_json::from_str(line).with_context(|| format!("wasmill says: {line}"))?;
    Ok(Printed { at, row })
}

/// Seconds from the end of the epoch at `from` to that of the last one.
pub fn seconds_from(epochs: &[Printed], from: usize) -> anyhow::Result<f64> {
    match (epochs.get(from), epochs.last()) {
        (Some(first), Some(last)) if from + 1 < epochs.len() => {
            Ok((last.at - first.at).as_secs_f64())
        }
        _ => bail!("there are only {} epochs", epochs.len()),
    }
}
