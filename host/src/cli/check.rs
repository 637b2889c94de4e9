//! `wasmill check`: everything that is wrong with a pipeline file, or the plan it makes.

use std::path::{Path, PathBuf};

use super::engine::EngineOptions;
use super::exit::{Exit, WrongUsage};
use super::log::{LogFormat, place_of};
use super::output;
use crate::config::{Level, Problem};
use crate::pipeline::{Checked, PipelineFile, show};

/// Say everything that is wrong with a pipeline file, or show its plan
///
/// Opens the plugins, types every column from source to sink, and runs nothing. Problems go to standard error, each with
/// its line and column; the plan goes to standard output. Ends with 2 if the pipeline cannot run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill check pipeline.toml
  wasmill check pipeline.toml --format json | jq .nodes")]
pub struct Check {
    /// The pipeline file
    file: PathBuf,

    /// How to show the plan, and problems
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    #[command(flatten)]
    engine: EngineOptions,
}

/// How a result is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// A JSON object
    Json,
}

impl Check {
    /// Checks.
    ///
    /// # Errors
    /// When the file cannot be read or the engine cannot start; problems in the file are no error of this kind.
    pub fn run(self, log: LogFormat) -> anyhow::Result<Exit> {
        let file = read(&self.file)?;
        let Checked { problems, plan } = file.check(&self.engine.open()?);
        match self.format {
            Format::Text => {
                log.report_problems(&file, &problems);
                if let Some(plan) = &plan {
                    output::write(show::text(plan).as_bytes())?;
                }
            }
            Format::Json => {
                let mut json = plan.as_ref().map_or(serde_json::json!({}), show::json);
                json["problems"] = problems
                    .iter()
                    .map(|problem| as_json(&file, problem))
                    .collect();
                output::write(format!("{json:#}\n").as_bytes())?;
            }
        }
        Ok(if plan.is_some() {
            Exit::Done
        } else {
            Exit::Usage
        })
    }
}

/// Reads the pipeline file that the command line names.
///
/// # Errors
/// A mistake on the command line, if it cannot be read.
pub fn read(path: &Path) -> Result<PipelineFile, WrongUsage> {
    PipelineFile::read(path).map_err(WrongUsage)
}

fn as_json(file: &PipelineFile, problem: &Problem) -> serde_json::Value {
    let mut json = place_of(file, problem);
    json["message"] = problem.message.as_str().into();
    json["level"] = match problem.level {
        Level::Error => "error",
        Level::Warning => "warning",
    }
    .into();
    json
}
