//! `wasmill plugin conform`: whether plugins of other languages do what those in Rust do.

mod large;

use std::time::Instant;

use clap::ValueEnum;

use super::build::Which;
use super::build::kit::Kit;
use super::test::{Case, Given, Logged, Trial, Verdict, diff, is_rejected, read};
use crate::cli::engine::EngineOptions;
use crate::cli::exit::Exit;
use crate::cli::output;

/// Check that a plugin does what one of Wasmill's own does
///
/// Five small plugins are there in every language that Wasmill has an SDK for. Whoever brings another language, or writes an SDK anew, builds them and
/// has them checked: columns of every type, nulls, Unicode, empty batches, errors, settings, state, a million rows, in the real host and
/// under its limits. Reasons of rejected rows and errors may be in other words. Ends with 5 if the plugin does something else.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill plugin conform split-words                              Build the plugin of this folder, and check it
  wasmill plugin conform running-count --plugin counts.wasm       Check a component")]
pub struct Conform {
    /// Which plugin it is to be
    #[arg(value_enum)]
    suite: Suite,

    #[command(flatten)]
    which: Which,

    /// Rows of the large case
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,

    #[command(flatten)]
    engine: EngineOptions,
}

/// The plugins that are there in every language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// A transform that makes several rows of one
    SplitWords,
    /// A transform that rejects rows, with columns that the configuration names
    ParseJson,
    /// A keyed plugin
    RunningCount,
    /// A reducer
    LongestWord,
    /// A sink
    SinkLog,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::SplitWords => "split-words",
            Self::ParseJson => "parse-json",
            Self::RunningCount => "running-count",
            Self::LongestWord => "longest-word",
            Self::SinkLog => "sink-log",
        }
    }
}

impl Conform {
    /// Runs the suite, and prints how each case went.
    ///
    /// # Errors
    /// When the plugin cannot be built, or the cases not be run.
    pub fn run(self) -> anyhow::Result<Exit> {
        let plugin = self.which.component(&self.engine)?;
        let kit = Kit::open(&self.engine.folder()?)?;
        let engine = self.engine.clone().open()?;
        let logged = Logged::start();
        let (mut failed, mut all) = (0, 0);
        let mut tell = |verdict: Verdict| {
            all += 1;
            failed += usize::from(verdict.wrong.is_some());
            output::write(verdict.text().as_bytes())
        };
        for case in Case::all(&kit.plugin(self.suite.name()).join("fixtures"), None)? {
            let began = Instant::now();
            let trial = Trial::new(&case, &engine, &plugin, &logged)?;
            let given = trial.at_one_go()?;
            let mut wrong = trial.is_deterministic(&given)?;
            wrong.push_str(&diff(&loosened(read(&case.expected())?), &loosened(given)));
            tell(Verdict::new(&case.name, began.elapsed(), wrong))?;
        }
        let aside = tempfile::tempdir()?;
        let began = Instant::now();
        let (case, expected) = large::case(self.suite, self.rows, aside.path())?;
        let given = Trial::new(&case, &engine, &plugin, &logged)?.at_one_go()?;
        let wrong = large::differs(&expected, &given);
        tell(Verdict::new(&case.name, began.elapsed(), wrong))?;
        output::write(format!("{} of {all} cases passed\n", all - failed).as_bytes())?;
        Ok(match failed {
            0 => Exit::Done,
            _ => Exit::Differs,
        })
    }
}

/// Without what may be in other words.
fn loosened(given: Given) -> Given {
    let loosened = given.into_iter().map(|(name, text)| {
        let text = match name.as_str() {
            "error.txt" => "an error\n".to_owned(),
            name if is_rejected(name) => text.lines().map(without_reason).collect(),
            _ => text,
        };
        (name, text)
    });
    loosened.collect()
}

fn without_reason(line: &str) -> String {
    let mut row: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    row["reason"] = "...".into();
    format!("{row}\n")
}
