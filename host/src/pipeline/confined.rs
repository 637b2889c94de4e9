//! The check of a file of someone who does not own this machine, as a question and an answer that can cross to another process: checking
//! runs plugins' `describe`, which is no work for a server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{PipelineFile, show};
use crate::checkpoint::Definition;
use crate::config::{Confines, Problem};
use crate::error::Failure;
use crate::ids::SecretName;
use crate::plugin::Engine;
use crate::secret::SecretSource;

/// A file to be checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfinedFile {
    /// Where it would stand.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
    /// What is added behind it by who runs it, and may reach anything; nothing in most cases.
    pub appendix: String,
    /// What it may reach.
    pub confines: Confines,
    /// Names of the secrets that settings of its plugins may name.
    pub secrets: BTreeSet<SecretName>,
    /// The file of each plugin that it names, or why there is none.
    pub plugins: BTreeMap<String, Result<PathBuf, Failure>>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Errors and warnings, in the file's order.
    pub problems: Vec<Problem>,
    /// The text with every path in it whole, so that it means the same wherever it stands.
    pub whole: String,
    /// What would run, if nothing stops it.
    pub passed: Option<Passed>,
}

/// What there is to say of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Passed {
    /// The plan, node by node, as people read it.
    pub shown: String,
    /// What its checkpoint has to know of it.
    pub definition: Definition,
}

impl ConfinedFile {
    /// Checks it.
    pub fn check(self, engine: &Engine) -> Verdict {
        let find = |written: &str| match self.plugins.get(written) {
            Some(found) => found.clone(),
            None => Err(Failure::internal(format!(
                "nobody looked for plugin `{written}`"
            ))),
        };
        let file = PipelineFile::from_text(&self.path, format!("{}{}", self.text, self.appendix));
        engine.use_secrets(SecretSource::Names(Some(self.secrets.clone())));
        let until = self.text.len();
        let (checked, whole) = file.check_confined(engine, &find, self.confines.clone(), until);
        let passed = checked.plan.map(|plan| Passed {
            shown: show::text(&plan),
            definition: plan.definition(),
        });
        Verdict {
            problems: checked.problems,
            whole,
            passed,
        }
    }
}

/// How a pipeline file calls the plugins that it names: whatever stands under the key `plugin`. A file that cannot be read names none.
pub fn plugins_named(text: &str) -> Vec<String> {
    let mut named = Vec::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        collect(&table, &mut named);
    }
    named.sort();
    named.dedup();
    named
}

fn collect(table: &toml::Table, named: &mut Vec<String>) {
    for (key, value) in table {
        match value {
            toml::Value::String(written) if key == "plugin" => named.push(written.clone()),
            toml::Value::Table(inner) => collect(inner, named),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_found_however_they_are_written() {
        let text = "steps.b = { plugin = \"b\" }\n[steps.a]\nplugin = \"a@2\"\n[sinks.c]\ntype = \"plugin\"\nplugin = \"b\"\n[rejected]\nplugin = 'd'\n";
        assert_eq!(plugins_named(text), ["a@2", "b", "d"]);
        assert!(plugins_named("steps = [").is_empty());
    }

    #[test]
    fn a_plugin_that_was_not_found_is_a_problem_at_its_place() {
        let cache = tempfile::tempdir().unwrap();
        let missing = Failure::user("there is no plugin `x`");
        let file = ConfinedFile {
            path: "/files/pipeline.toml".into(),
            text: "name = \"a\"\n[sources.s]\ntype = \"generate\"\n[steps.t]\ninput = \"s\"\nplugin = \"x\"\n".into(),
            appendix: String::new(),
            confines: Confines::default(),
            secrets: BTreeSet::new(),
            plugins: BTreeMap::from([("x".to_owned(), Err(missing))]),
        };
        let at = file.text.find("\"x\"").unwrap();
        let verdict = file.check(&Engine::new(cache.path()).unwrap());
        assert!(verdict.passed.is_none());
        let is_meant = |problem: &Problem| {
            problem.span.start == at && problem.message.contains("no plugin `x`")
        };
        assert!(
            verdict.problems.iter().any(is_meant),
            "{:?}",
            verdict.problems
        );
    }
}
