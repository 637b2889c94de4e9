//! Runs a fixture in the real host: at one go, with a start anew after every epoch, and every epoch once more.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::before;
use super::case::{Case, NODE};
use super::described::Described;
use super::expected::diff;
use super::logged::Logged;
use crate::checkpoint::Records;
use crate::cli::remembered::Remembered;
use crate::config::Level;
use crate::error::{Failure, Fault};
use crate::ids::{BatchTime, Epoch, NodeName};
use crate::pipeline::{Checked, PipelineFile, Plan};
use crate::plugin::{Component, Engine, Grants, Limits, World};
use crate::replay::{Diverted, replay};
use crate::run::{self, Options, REJECTED};

/// What a plugin gives, as the files that would expect it: their names below `expected`, and their texts.
pub type Given = BTreeMap<String, String>;

/// Whether a file is of rejected rows.
pub fn is_rejected(name: &str) -> bool {
    name.split('/').next() == Some(REJECTED)
}

/// What the plugin logs.
const LOG: &str = "log.txt";

/// A fixture about to be run.
pub struct Trial<'a> {
    case: &'a Case,
    engine: &'a Engine,
    plugin: &'a Path,
    component: Component,
    logged: &'a Logged,
    batches: BTreeMap<BatchTime, Vec<PathBuf>>,
    folder: TempDir,
}

impl<'a> Trial<'a> {
    /// Of a component's file.
    pub fn new(
        case: &'a Case,
        engine: &'a Engine,
        plugin: &'a Path,
        logged: &'a Logged,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            case,
            engine,
            plugin,
            component: engine.load(plugin)?,
            logged,
            batches: case.batches()?,
            folder: tempfile::tempdir().context("a temporary folder cannot be made")?,
        })
    }

    /// What it gives.
    pub fn at_one_go(&self) -> anyhow::Result<Given> {
        self.logged.take();
        let times: Vec<BatchTime> = self.batches.keys().copied().collect();
        let mut given = self.caught(|| self.run("whole", &[times.as_slice()], 1))?;
        let lines = self.logged.take();
        if !lines.is_empty() {
            given.insert(LOG.to_owned(), lines);
        }
        Ok(given)
    }

    /// Whether it gives the same otherwise as at one go; how not, if not.
    pub fn is_deterministic(&self, given: &Given) -> anyhow::Result<String> {
        let mut others = vec![(
            "when the process starts anew after every epoch, with three workers",
            self.with_restarts()?,
        )];
        if let Some(again) = self.again()? {
            others.push(("when an epoch is run again", again));
        }
        // What is logged is what it gave at one go.
        let mut silent = given.clone();
        silent.remove(LOG);
        let mut text = String::new();
        for (how, other) in others {
            let other = diff(&silent, &other);
            if !other.is_empty() {
                // Writing to a String cannot fail.
                writeln!(
                    text,
                    "the plugin is not deterministic: {how} it gives something else\n{other}"
                )
                .ok();
            }
        }
        Ok(text)
    }

    /// What it gives when the process ends after every epoch and another one goes on, with other workers.
    fn with_restarts(&self) -> anyhow::Result<Given> {
        let times: Vec<BatchTime> = self.batches.keys().copied().collect();
        let lives: Vec<&[BatchTime]> = (1..=times.len()).map(|end| &times[..end]).collect();
        self.caught(|| self.run("restarted", &lives, 3))
    }

    /// What every epoch gives that is run again on the input and state that it had. A sink is not called again, and gives nothing.
    fn again(&self) -> anyhow::Result<Option<Given>> {
        if self.component.world() == World::Sink {
            return Ok(None);
        }
        let given = self.caught(|| {
            let plan = self.plan("whole")?;
            let records = Self::records(&plan)?;
            let mut given = Given::new();
            let mut after = None;
            for (epoch, time) in self.epochs()? {
                let replayed = replay(&records, epoch, plan.clone(), 1, false)?;
                add_rows(&mut given, replayed.outputs, time)?;
                after = Some((replayed.records, epoch));
            }
            if let Some((records, epoch)) = after {
                add_state(&mut given, records, epoch)?;
            }
            Ok(given)
        });
        given.map(Some)
    }

    /// A failure of the plugin's is what it gives; any other ends the test.
    fn caught(&self, run: impl FnOnce() -> anyhow::Result<Given>) -> anyhow::Result<Given> {
        match run() {
            Err(error) => match error.downcast_ref::<Failure>() {
                Some(failure) if failure.fault == Fault::User => {
                    // Whoever else implements the same is called otherwise.
                    let name = format!("plugin `{}`", self.component.name());
                    let text = format!("{}\n", failure.message.replace(&name, "the plugin"));
                    Ok(Given::from([("error.txt".to_owned(), text)]))
                }
                _ => Err(error),
            },
            given => given,
        }
    }

    /// Runs the pipeline once for each of `lives`, over the batches up to then.
    fn run(&self, name: &str, lives: &[&[BatchTime]], workers: usize) -> anyhow::Result<Given> {
        let folder = self.folder.path().join(name);
        let mut plan = self.plan(name)?;
        if let Some(state) = self.case.state()? {
            before::put(&plan, &state)?;
        }
        let to = folder.join("given");
        let sinks = match self.component.world() {
            World::Sink => Diverted::rejected(&mut plan, &to),
            _ => Diverted::all(&mut plan, &to),
        };
        for times in lives {
            self.lay_out(&folder, times)?;
            run::run(plan.clone(), Options::unseen(workers))?;
        }
        let (mut given, epochs) = (Given::new(), self.epochs()?);
        for (epoch, time) in &epochs {
            add_rows(&mut given, sinks.rows(*epoch)?, *time)?;
        }
        if let Some((last, _)) = epochs.last() {
            add_state(&mut given, Self::records(&plan)?, *last)?;
        }
        Ok(given)
    }

    /// The epochs of the batches: state before the first is an epoch of its own.
    fn epochs(&self) -> anyhow::Result<Vec<(Epoch, BatchTime)>> {
        let first = u64::from(self.case.state()?.is_some());
        let times = self.batches.keys().copied();
        Ok((first..).map(Epoch).zip(times).collect())
    }

    /// Puts batches where the pipeline reads them.
    fn lay_out(&self, folder: &Path, times: &[BatchTime]) -> anyhow::Result<()> {
        for file in times.iter().flat_map(|time| &self.batches[time]) {
            let to = folder.join("input").join(self.case.below(file));
            let parent = to.parent().expect("it is below a folder");
            std::fs::create_dir_all(parent)?;
            std::fs::copy(file, &to)?;
        }
        Ok(())
    }

    fn records(plan: &Plan) -> Result<Records, Failure> {
        let checkpoint = plan.checkpoint.as_ref();
        checkpoint.expect("the pipeline has one").records()
    }

    fn plan(&self, name: &str) -> anyhow::Result<Plan> {
        let folder = self.folder.path().join(name);
        let ports = self.ports()?;
        let world = self.component.world();
        let input = folder.join("input");
        let text = self.case.pipeline(world, &ports, self.plugin, &input);
        let file = PipelineFile::from_text(&folder.join("pipeline.toml"), text);
        let Checked { problems, plan } = file.check(self.engine);
        let errors = problems
            .iter()
            .filter(|problem| problem.level == Level::Error);
        let messages: Vec<&str> = errors.map(|problem| problem.message.as_str()).collect();
        Ok(plan.ok_or_else(|| Failure::user(messages.join("\n")))?)
    }

    /// The names of the ports of what the plugin makes of the case's columns.
    fn ports(&self) -> anyhow::Result<Vec<String>> {
        let (limits, grants) = (
            Limits::default(),
            Grants::of_no_host(self.component.world()),
        );
        let ports = match Described::new(&self.component, self.case, &limits, &grants)? {
            Described::Transform(transform) => transform.ports().to_vec(),
            Described::Keyed(keyed) => keyed.ports().to_vec(),
            Described::Reducer(_) => return Ok(vec!["out".to_owned()]),
            Described::Sink(_) => return Ok(Vec::new()),
        };
        Ok(ports.into_iter().map(|port| port.name).collect())
    }
}

fn add_rows(
    given: &mut Given,
    rows: BTreeMap<NodeName, String>,
    time: BatchTime,
) -> anyhow::Result<()> {
    for (name, mut rows) in rows {
        if name.as_str() == REJECTED {
            let shown = rows.lines().map(rejected);
            rows = shown.collect::<anyhow::Result<_>>()?;
        }
        if !rows.is_empty() {
            given.insert(format!("{name}/{time}.jsonl"), rows);
        }
    }
    Ok(())
}

/// A rejected row without what is the same in every one, or another one in every run.
fn rejected(line: &str) -> anyhow::Result<String> {
    let all: Value = serde_json::from_str(line).context("a rejected row is not JSON")?;
    let shown = json!({ "reason": all["reason"], "row": all["row"] });
    Ok(format!("{shown}\n"))
}

fn add_state(given: &mut Given, records: Records, last: Epoch) -> anyhow::Result<()> {
    let remembered = Remembered::after(records, Some(last))?;
    if remembered.steps.contains_key(&NodeName::from(NODE)) {
        let rows = remembered.rows(NODE)?;
        let lines: String = rows.iter().map(|(_, row)| format!("{row}\n")).collect();
        if !lines.is_empty() {
            given.insert("state.jsonl".to_owned(), lines);
        }
    }
    Ok(())
}
