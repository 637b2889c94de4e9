//! A fixture: a folder with the input of a plugin and what it is to give.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::Deserialize;

use crate::cli::plugin::inspect::column;
use crate::ids::BatchTime;
use crate::plugin::World;

/// What an input is called that has no name of its own.
const ONLY_INPUT: &str = "input";

/// A fixture's folder, read.
#[derive(Debug)]
pub struct Case {
    /// The folder's name.
    pub name: String,
    folder: PathBuf,
    file: CaseFile,
    /// Of each input its name, its columns in a pipeline's words, and the folder of its batches.
    inputs: Vec<(String, toml::Table, PathBuf)>,
}

/// `case.toml`.
#[derive(Debug, Deserialize)]
struct CaseFile {
    /// Columns of the one input.
    schema: Option<toml::Table>,
    /// Or several inputs, by name.
    #[serde(default)]
    inputs: toml::map::Map<String, toml::Value>,
    /// All else belongs to the step or sink that the plugin is: `config`, `group_by`, `limits` and so on.
    #[serde(flatten)]
    node: toml::Table,
}

/// What the node of the plugin is called.
pub const NODE: &str = "plugin";

impl Case {
    /// All fixtures below a folder, in the order of their names; only that called `only` if one is.
    pub fn all(folder: &Path, only: Option<&str>) -> anyhow::Result<Vec<Self>> {
        let entries = std::fs::read_dir(folder).with_context(|| {
            format!(
                "there are no fixtures in {}: make a folder there for each case",
                folder.display()
            )
        })?;
        let folders = entries.map(|entry| Ok(entry?.path()));
        let mut folders: Vec<PathBuf> = folders.collect::<std::io::Result<_>>()?;
        folders.retain(|path| path.join("case.toml").exists());
        folders.sort();
        let cases = folders.iter().map(|folder| Self::read(folder));
        let mut cases: Vec<Self> = cases.collect::<anyhow::Result<_>>()?;
        if let Some(only) = only {
            cases.retain(|case| case.name == only);
        }
        match cases.is_empty() {
            true => bail!(
                "there is no fixture {}in {}",
                only.map_or_else(String::new, |only| format!("`{only}` ")),
                folder.display()
            ),
            false => Ok(cases),
        }
    }

    fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("case.toml");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let file: CaseFile =
            toml::from_str(&text).with_context(|| format!("{} is wrong", path.display()))?;
        let batches = folder.join("input");
        let inputs = match &file.schema {
            Some(schema) => vec![(ONLY_INPUT.to_owned(), schema.clone(), batches)],
            None => file
                .inputs
                .iter()
                .map(|(name, input)| {
                    let schema = input.get("schema").and_then(toml::Value::as_table);
                    let schema = schema.with_context(|| {
                        format!("{} has no `schema` in `inputs.{name}`", path.display())
                    })?;
                    Ok((name.clone(), schema.clone(), batches.join(name)))
                })
                .collect::<anyhow::Result<_>>()?,
        };
        if inputs.is_empty() {
            bail!(
                "{} has no `schema`: the columns of the input, {{ line = \"utf8?\" }}",
                path.display()
            );
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            folder: folder.to_owned(),
            file,
            inputs,
        })
    }

    /// Where the expectations are.
    pub fn expected(&self) -> PathBuf {
        self.folder.join("expected")
    }

    /// What is remembered before the first epoch, a JSON object a key; none if nothing is.
    pub fn state(&self) -> anyhow::Result<Option<String>> {
        let path = self.folder.join("state.jsonl");
        match path.exists() {
            true => Ok(Some(std::fs::read_to_string(path)?)),
            false => Ok(None),
        }
    }

    /// The columns of each input.
    pub fn schemas(&self) -> anyhow::Result<Vec<SchemaRef>> {
        let schemas = self.inputs.iter().map(|(name, schema, _)| {
            let fields = schema.iter().map(|(column_name, data_type)| {
                let data_type = data_type.as_str().unwrap_or_default();
                column(column_name, data_type)
            });
            let fields: Result<Vec<Field>, String> = fields.collect();
            let fields = fields
                .map_err(anyhow::Error::msg)
                .with_context(|| format!("the columns of `{name}` in case `{}`", self.name))?;
            Ok(Schema::new(fields).into())
        });
        schemas.collect()
    }

    /// A setting of the plugin's node.
    pub fn setting(&self, name: &str) -> Option<&toml::Value> {
        self.file.node.get(name)
    }

    /// The batch times of all inputs, each with the files that are its input.
    pub fn batches(&self) -> anyhow::Result<BTreeMap<BatchTime, Vec<PathBuf>>> {
        let mut batches = BTreeMap::<_, Vec<PathBuf>>::new();
        for (_, _, folder) in &self.inputs {
            let entries = std::fs::read_dir(folder)
                .with_context(|| format!("{} cannot be read", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let time = name.split('.').next().and_then(|time| time.parse().ok());
                let time = time.with_context(|| {
                    format!(
                        "{} is not called by the epoch's time in milliseconds, as 1000.jsonl is",
                        path.display()
                    )
                })?;
                batches.entry(BatchTime(time)).or_default().push(path);
            }
        }
        match batches.is_empty() {
            true => bail!("case `{}` has no input", self.name),
            false => Ok(batches),
        }
    }

    /// A batch's file, as it lies below a folder of its own.
    pub fn below<'a>(&self, file: &'a Path) -> &'a Path {
        file.strip_prefix(self.folder.join("input"))
            .expect("batches lie below the folder of inputs")
    }

    /// A pipeline of queues of the batches, the plugin, and a sink for each of its ports.
    pub fn pipeline(
        &self,
        world: World,
        ports: &[String],
        component: &Path,
        input: &Path,
    ) -> String {
        let (mut steps, mut sinks) = (toml::Table::new(), toml::Table::new());
        let node = self.node(world, component);
        match world {
            World::Sink => sinks.insert(NODE.into(), node.into()),
            _ => steps.insert(NODE.into(), node.into()),
        };
        for port in ports {
            let input = match world {
                World::Reducer => NODE.to_owned(),
                _ => format!("{NODE}.{port}"),
            };
            let mut sink = diverted();
            sink.insert("input".into(), input.into());
            sinks.insert(port.clone(), sink.into());
        }
        let epoch = table([("trigger", "available-now".into())]);
        let checkpoint = table([("path", "checkpoint".into()), ("retain", 1_000_000.into())]);
        let pipeline = table([
            ("name", "fixture".into()),
            ("epoch", epoch.into()),
            ("checkpoint", checkpoint.into()),
            ("sources", self.sources(input).into()),
            ("steps", steps.into()),
            ("sinks", sinks.into()),
            ("rejected", diverted().into()),
        ]);
        pipeline.to_string()
    }

    /// A queue for each input, of the batches below `input`.
    fn sources(&self, input: &Path) -> toml::Table {
        let sources = self.inputs.iter().map(|(name, schema, _)| {
            let folder = match self.has_one_input() {
                true => input.to_owned(),
                false => input.join(name),
            };
            let source = table([
                ("type", "queue".into()),
                ("path", path(&folder)),
                ("format", "json".into()),
                ("schema", schema.clone().into()),
            ]);
            (name.clone(), source.into())
        });
        sources.collect()
    }

    /// The step or sink that the plugin is.
    fn node(&self, world: World, component: &Path) -> toml::Table {
        let mut node = self.file.node.clone();
        node.insert(NODE.into(), path(component));
        if world == World::Sink {
            node.insert("type".into(), NODE.into());
        }
        if world != World::Reducer {
            node.entry("on_error").or_insert("reject".into());
        }
        let names = self.inputs.iter().map(|(name, ..)| name.clone().into());
        match self.has_one_input() {
            true => node.insert("input".into(), ONLY_INPUT.into()),
            false => node.insert("inputs".into(), toml::Value::Array(names.collect())),
        };
        node
    }

    fn has_one_input(&self) -> bool {
        self.file.schema.is_some()
    }
}

/// A sink whose rows go where they can be looked at, whatever it says.
fn diverted() -> toml::Table {
    table([("type", "files".into()), ("path", "unused".into())])
}

fn table<const N: usize>(entries: [(&str, toml::Value); N]) -> toml::Table {
    let entries = entries.into_iter();
    entries
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn path(path: &Path) -> toml::Value {
    path.to_string_lossy().into_owned().into()
}
