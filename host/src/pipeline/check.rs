//! Makes a [`Plan`] of a pipeline file, or says everything that is wrong with it.
//!
//! [`super::spec`] reads it, [`super::graph`] resolves who reads whom, [`super::types`] opens plugins and types
//! columns, [`super::assemble`] leaves out what nobody reads; what is left is the plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::again;
use super::assemble::assemble;
use super::graph::Graph;
use super::plan::{OnError, Plan, Trigger};
use super::search::{Find, SearchPath};
use super::spec::{self, Rejected, Settings, Spec};
use super::types::Typer;
use crate::checkpoint::Code;
use crate::config::{self, Confined, Confines, Level, Paths, Problem, Problems, Table};
use crate::deliver::rejected_schema;
use crate::error::Failure;
use crate::ids::NodeName;
use crate::plugin::Engine;

/// A pipeline file as it is on disk.
#[derive(Clone, Debug)]
pub struct PipelineFile {
    path: PathBuf,
    text: String,
    /// Components of nodes, instead of those that the text names.
    plugins: BTreeMap<NodeName, PathBuf>,
}

/// What checking found.
#[derive(Debug)]
pub struct Checked {
    /// Errors and warnings, in the file's order.
    pub problems: Vec<Problem>,
    /// The plan, if nothing stops it.
    pub plan: Option<Plan>,
}

impl PipelineFile {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::user(format!(
                "the pipeline file `{}` cannot be read: {error}",
                path.display()
            ))
        })?;
        Ok(Self::from_text(path, text))
    }

    /// A file that would stand at `path`.
    pub fn from_text(path: &Path, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
            plugins: BTreeMap::new(),
        }
    }

    /// The same with these files as the components of some nodes, whatever it says itself.
    pub fn with_plugins(mut self, plugins: impl IntoIterator<Item = (NodeName, PathBuf)>) -> Self {
        self.plugins.extend(plugins);
        self
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Draws problems found in it.
    pub fn draw(&self, problems: &[Problem], colour: bool) -> String {
        config::render(problems, &self.path.to_string_lossy(), &self.text, colour)
    }

    /// The folder that its paths count from.
    fn base(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Checks it all: opens plugins, types columns, reports every problem.
    pub fn check(&self, engine: &Engine) -> Checked {
        let variable = std::env::var_os("WASMILL_PLUGINS");
        let search = SearchPath::new(self.base(), variable.as_deref());
        let problems = Problems::default();
        let table = config::parse(&self.text, self.base(), &problems);
        self.check_table(table, engine, &|plugin| search.find(plugin), problems)
    }

    /// Checks a file of someone who does not own this machine: its plugins are those that `find` gives, and what it may
    /// reach is what `confines` allow, but for what stands behind the first `until` bytes. Gives the text as well, with every path in it
    /// whole, so that it means the same wherever it stands.
    pub fn check_confined(
        &self,
        engine: &Engine,
        find: &Find<'_>,
        confines: Confines,
        until: usize,
    ) -> (Checked, String) {
        let confined = Rc::new(Confined::new(confines, until));
        let problems = Problems::default();
        let table = config::parse_confined(&self.text, self.base(), &problems, &confined);
        let checked = self.check_table(table, engine, find, problems);
        (checked, with_whole_paths(&self.text, confined.paths()))
    }

    fn check_table(
        &self,
        table: Option<Table<'_>>,
        engine: &Engine,
        find: &Find<'_>,
        problems: Problems,
    ) -> Checked {
        let plan = table.and_then(|table| check(spec::read(table), self, engine, find, &problems));
        let problems = problems.take();
        let stopped = problems.iter().any(|problem| problem.level == Level::Error);
        Checked {
            plan: plan.filter(|_| !stopped),
            problems,
        }
    }
}

fn with_whole_paths(text: &str, paths: Paths) -> String {
    let mut whole = text.to_owned();
    // From the end, so that the places before stay where they are.
    for (span, path) in paths.into_values().rev() {
        let path = toml::Value::String(path.to_string_lossy().into_owned());
        whole.replace_range(span, &path.to_string());
    }
    whole
}

fn check(
    spec: Spec,
    file: &PipelineFile,
    engine: &Engine,
    find: &Find<'_>,
    problems: &Problems,
) -> Option<Plan> {
    check_trigger(&spec, problems);
    let graph = Graph::new(&spec.nodes, problems);
    let typer = Typer::new(&spec.nodes, problems, engine, find, &file.plugins);
    let (typed, components) = typer.all(&graph);
    let rejected = check_rejected(&spec, problems);
    if problems.has_errors() {
        return None;
    }
    let mut nodes = assemble(&spec.nodes, typed, &graph, problems)?;
    if let Some(folder) = rejected
        .as_ref()
        .and_then(|rejected| rejected.again.as_ref())
    {
        nodes = again::with_rows_again(nodes, folder);
    }
    Some(Plan {
        name: spec.name?.into_inner().into(),
        code: Code::new(&file.path, file.text.clone(), components),
        epoch: spec.epoch,
        state: spec.state,
        partitions: spec.partitions,
        checkpoint: spec.checkpoint,
        nodes,
        rejected: rejected.map(|rejected| rejected.sink),
    })
}

fn check_trigger(spec: &Spec, problems: &Problems) {
    if spec.epoch.trigger != Trigger::AvailableNow {
        return;
    }
    for node in &spec.nodes {
        if let Some(Settings::Source(source)) = &node.settings
            && !source.can_drain()
        {
            let name = node.name.get_ref();
            problems.push(
                Problem::error(
                    node.name.span(),
                    format!("source `{name}` never ends, but `available-now` waits for the end of what is there"),
                )
                .also(spec.trigger_span.clone(), "the trigger")
                .help("give the source an end if it can have one, or `[epoch]` an `interval` instead of the trigger"),
            );
        }
    }
}

fn check_rejected(spec: &Spec, problems: &Problems) -> Option<Rejected> {
    let rejecting: Vec<_> = spec
        .nodes
        .iter()
        .filter_map(|node| node.on_error.as_ref())
        .filter(|on_error| *on_error.get_ref() == OnError::Reject)
        .collect();
    let Some(rejected) = &spec.rejected else {
        for on_error in rejecting {
            problems.add(
                on_error.span(),
                "rows are rejected here, but the pipeline has no `[rejected]` sink to write them to",
                Some("add a table: [rejected] with type = \"files\", format = \"json\" and a path".into()),
            );
        }
        return None;
    };
    if rejecting.is_empty() {
        problems.push(
            Problem::warning(
                rejected.span(),
                "nothing is rejected: no source, step or sink has `on_error = \"reject\"`",
            )
            .help("set it where bad rows are expected"),
        );
    }
    let config = rejected.get_ref().as_ref()?;
    if let Err(reason) = config.sink.check(&rejected_schema()) {
        let message = format!("`[rejected]` cannot hold rejected rows: {reason}");
        let help = "its rows have several columns: use format = \"json\"";
        problems.add(rejected.span(), message, Some(help.into()));
    }
    // Without a node that rejects, the sink would only make empty files.
    Some(config.clone()).filter(|_| !rejecting.is_empty())
}
