//! `wasmill plugin test`: a plugin's fixtures in the real host.

mod before;
mod case;
mod described;
mod expected;
mod junit;
mod logged;
mod trial;

use std::path::PathBuf;
use std::time::Instant;

use super::build::Which;
use crate::cli::engine::EngineOptions;
use crate::cli::exit::Exit;
use crate::cli::output;
pub use case::Case;
pub use described::Described;
pub use expected::{diff, read};
pub use junit::Verdict;
pub use logged::Logged;
pub use trial::{Given, Trial, is_rejected};

/// Test a plugin with its fixtures
///
/// A fixture is a folder in fixtures/: case.toml has the columns of the input and the settings of the step, input/TIME.jsonl the rows of
/// the epoch at TIME (milliseconds since 1970), state.jsonl what is remembered before, expected/ what the plugin is to give: PORT/TIME.jsonl,
/// rejected/TIME.jsonl, state.jsonl, log.txt, error.txt.
///
/// The component runs in the real host, under its limits: once at one go, once with the process starting anew after every epoch, on
/// other workers, and then every epoch once more. All three have to give the same, else the plugin is not deterministic. Ends with 5 if
/// a plugin gives something else than is expected.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill plugin test                          Build the plugin of this folder, and test it
  wasmill plugin test plugins/split-words --update    Write down what it gives as what is expected
  wasmill plugin test . --plugin other.wasm    Test another component with these fixtures")]
pub struct Test {
    #[command(flatten)]
    which: Which,

    /// Only the fixture of this name
    #[arg(long, value_name = "NAME")]
    case: Option<String>,

    /// Write what the plugin gives as what is expected
    #[arg(long)]
    update: bool,

    /// Also write a report for CI, in JUnit's form
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Keep each call that fails as a file in this folder, for `wasmill plugin replay`
    #[arg(long, value_name = "DIR")]
    capture: Option<PathBuf>,

    #[command(flatten)]
    engine: EngineOptions,
}

impl Test {
    /// Runs the fixtures, and prints how each went.
    ///
    /// # Errors
    /// When there are none, one is not understood, or the plugin cannot be built.
    pub fn run(self) -> anyhow::Result<Exit> {
        let plugin = self.which.component(&self.engine)?;
        let cases = Case::all(&self.which.dir.join("fixtures"), self.case.as_deref())?;
        let engine = self.engine.clone().open()?;
        if let Some(folder) = &self.capture {
            engine.capture_to(folder)?;
        }
        let logged = Logged::start();
        let mut verdicts = Vec::new();
        for case in &cases {
            let began = Instant::now();
            let trial = Trial::new(case, &engine, &plugin, &logged)?;
            let wrong = self.wrong(case, &trial)?;
            let verdict = Verdict::new(&case.name, began.elapsed(), wrong);
            output::write(verdict.text().as_bytes())?;
            verdicts.push(verdict);
        }
        if let Some(file) = &self.junit {
            junit::write(file, &plugin, &verdicts)?;
        }
        let failed = verdicts.iter().filter(|verdict| verdict.wrong.is_some());
        let (failed, all) = (failed.count(), verdicts.len());
        output::write(format!("{} of {all} fixtures passed\n", all - failed).as_bytes())?;
        Ok(match failed {
            0 => Exit::Done,
            _ => Exit::Differs,
        })
    }

    /// What is wrong with what the plugin gives, nothing if all is well.
    fn wrong(&self, case: &Case, trial: &Trial<'_>) -> anyhow::Result<String> {
        let given = trial.at_one_go()?;
        let mut wrong = trial.is_deterministic(&given)?;
        match self.update {
            true => expected::write(&case.expected(), &given)?,
            false => wrong.push_str(&diff(&read(&case.expected())?, &given)),
        }
        Ok(wrong)
    }
}
