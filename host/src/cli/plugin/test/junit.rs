//! How fixtures went, for people and for CI.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// How a fixture went.
pub struct Verdict {
    /// The fixture's name.
    pub name: String,
    /// How long it took.
    pub time: Duration,
    /// What is wrong, if anything is.
    pub wrong: Option<String>,
}

impl Verdict {
    /// Of a case; `wrong` is empty if all is well.
    pub fn new(name: &str, time: Duration, wrong: String) -> Self {
        Self {
            name: name.to_owned(),
            time,
            wrong: Some(wrong).filter(|wrong| !wrong.is_empty()),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let (name, seconds) = (&self.name, self.time.as_secs_f64());
        match &self.wrong {
            None => format!("passed  {name} ({seconds:.2} s)\n"),
            Some(wrong) => format!("FAILED  {name} ({seconds:.2} s)\n{wrong}"),
        }
    }
}

/// Writes a report in JUnit's form.
pub fn write(file: &Path, plugin: &Path, verdicts: &[Verdict]) -> anyhow::Result<()> {
    let name = plugin.file_stem().unwrap_or_default().to_string_lossy();
    let mut suite = TestSuite::new(name.clone().into_owned());
    for verdict in verdicts {
        let status = match &verdict.wrong {
            None => TestCaseStatus::success(),
            Some(wrong) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message("the plugin gives something else than is expected");
                status.set_description(wrong.clone());
                status
            }
        };
        let mut case = TestCase::new(verdict.name.clone(), status);
        case.set_classname(name.clone().into_owned());
        case.set_time(verdict.time);
        suite.add_test_case(case);
    }
    let mut report = Report::new(name.into_owned());
    report.add_test_suite(suite);
    let text = report.to_string().context("the report")?;
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
