//! Types one node after another: which columns it reads and gives, with its plugin opened and asked.

mod native;
mod plugin;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Field, Fields, Schema, SchemaRef};
use toml::Spanned;

use crate::aggregate::Aggregate;
use crate::batch::name_of;
use crate::checkpoint::ComponentFile;
use crate::config::{Problem, Problems, Span, did_you_mean};
use crate::deliver::SinkConfig;
use crate::error::Failure;
use crate::ids::NodeName;
use crate::join::Join;
use crate::pipeline::graph::{Graph, Link, Links};
use crate::pipeline::join;
use crate::pipeline::plan::{Input, PortRef};
use crate::pipeline::prune::Carried;
use crate::pipeline::search::Find;
use crate::pipeline::select;
use crate::pipeline::spec::{NodeSpec, Settings};
use crate::plugin::{Component, Engine, Keyed, Reducer, Transform, World};
use crate::receive::TableSource;
use crate::sql::Sql;
use crate::window::WindowSpec;

/// A node whose columns are known.
pub struct Typed {
    /// What it reads, by index into the file's nodes, with all columns there could be; none for a source.
    pub inputs: Vec<Input>,
    /// Its ports, with all columns they could have.
    pub ports: Vec<TypedPort>,
    /// What it does.
    pub kind: TypedKind,
}

/// An output.
pub struct TypedPort {
    /// How `input = "node.name"` calls it; empty where a node has only one.
    pub name: String,
    /// All its columns: those that are always there, those carried, then those made.
    pub schema: SchemaRef,
    /// So many of them are there whoever reads them.
    pub fixed: usize,
    /// Which columns of the inputs are the next ones.
    pub carried: Vec<Carried>,
}

impl TypedPort {
    /// Columns that a step made, behind those of its input that they do not replace, if these are carried.
    pub fn beside(name: String, made: &Fields, input: &Schema, carry: bool) -> Self {
        let replaced = |field: &Field| made.find(field.name()).is_some();
        let carried: Vec<Carried> = (0..input.fields().len())
            .filter(|&column| carry && !replaced(input.field(column)))
            .map(|column| Carried { input: 0, column })
            .collect();
        let fields = carried
            .iter()
            .map(|carried| input.fields()[carried.column].clone())
            .chain(made.iter().cloned());
        Self {
            name,
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            fixed: 0,
            carried,
        }
    }
}

/// What a typed node does.
pub enum TypedKind {
    /// A source; its settings are in the file's node.
    Source,
    /// Rows of no epoch.
    Table(TableSource),
    /// User code.
    Transform(Transform),
    /// User code that works by key, with the key's columns in each input.
    Keyed(Keyed, Vec<Vec<usize>>),
    /// Conditions and columns in SQL.
    Sql(Sql),
    /// Native grouping, of each epoch or over windows.
    Aggregate(Aggregate, Option<WindowSpec>),
    /// User code that makes one row of many, with where the key's columns and those it reduces are.
    Reduce(Reducer, [Vec<usize>; 2], Option<WindowSpec>),
    /// Two inputs brought together by key, of each epoch or over windows, those of the left and of the right.
    Join(Join, Option<[WindowSpec; 2]>),
    /// Rows dealt out to so many partitions.
    Repartition(u32),
    /// A sink.
    Sink(SinkConfig),
}

/// Types nodes in the graph's order.
pub struct Typer<'a> {
    nodes: &'a [NodeSpec],
    problems: &'a Problems,
    engine: &'a Engine,
    find: &'a Find<'a>,
    /// Files that are the plugins of nodes, whatever these say.
    chosen: &'a BTreeMap<NodeName, PathBuf>,
    /// Loaded once, however many steps use it.
    components: HashMap<PathBuf, Result<Component, Failure>>,
    /// Those of each node.
    of_nodes: BTreeMap<NodeName, ComponentFile>,
}

impl<'a> Typer<'a> {
    /// For the nodes of a file.
    pub fn new(
        nodes: &'a [NodeSpec],
        problems: &'a Problems,
        engine: &'a Engine,
        find: &'a Find<'a>,
        chosen: &'a BTreeMap<NodeName, PathBuf>,
    ) -> Self {
        Self {
            nodes,
            problems,
            engine,
            find,
            chosen,
            components: HashMap::new(),
            of_nodes: BTreeMap::new(),
        }
    }

    /// All nodes, `None` for one with a problem and for those that depend on it; and the components of those that have one.
    pub fn all(mut self, graph: &Graph) -> (Vec<Option<Typed>>, BTreeMap<NodeName, ComponentFile>) {
        let mut typed: Vec<Option<Typed>> = self.nodes.iter().map(|_| None).collect();
        for &index in &graph.order {
            let inputs = graph.inputs[index]
                .as_deref()
                .and_then(|inputs| self.inputs(inputs, &typed));
            let node = self.node(index, inputs, &typed);
            typed[index] = node;
        }
        // Behind a circle nothing has columns, but its plugins can be looked for.
        for index in (0..self.nodes.len()).filter(|index| !graph.order.contains(index)) {
            self.node(index, None, &typed);
        }
        (typed, self.of_nodes)
    }

    /// Types a node; `typed` are those before it.
    fn node(
        &mut self,
        index: usize,
        inputs: Option<Vec<Input>>,
        typed: &[Option<Typed>],
    ) -> Option<Typed> {
        let node = &self.nodes[index];
        let component = match &node.settings {
            Some(Settings::Plugin { plugin, .. }) => self.component(node, plugin),
            _ => None,
        };
        let world = component.as_ref().map(Component::world);
        let inputs = inputs.filter(|_| self.takes_its_inputs(node, world));
        let inputs = inputs.filter(|inputs| self.may_read_tables(node, inputs, typed));
        let input = inputs.as_ref().and_then(|all| all.first());
        let (ports, kind) = match node.settings.as_ref()? {
            Settings::Source(config) => (vec![only_port(config.schema())], TypedKind::Source),
            Settings::Table(config) => (
                vec![only_port(config.schema())],
                TypedKind::Table(config.clone()),
            ),
            Settings::Plugin { .. } => {
                self.plugin(node, component.as_ref()?, inputs.as_deref(), typed)?
            }
            Settings::Filter(condition) => {
                select::filter(condition, &input?.schema, self.problems)?
            }
            Settings::Select(columns) => select::select(columns, &input?.schema, self.problems)?,
            Settings::Join(spec) => self.join(node, spec, inputs.as_deref()?)?,
            Settings::Repartition(partitions) => {
                let port = TypedPort::beside(String::new(), &Fields::empty(), &input?.schema, true);
                (vec![port], TypedKind::Repartition(*partitions))
            }
            Settings::Aggregate(aggregate) => self.aggregate(node, aggregate, input?, typed)?,
            Settings::Sink(config) => {
                if let Err(reason) = config.check(&input?.schema) {
                    self.sink_refuses(node, &reason);
                    return None;
                }
                (Vec::new(), TypedKind::Sink(config.clone()))
            }
            Settings::SinkPlugin { plugin, retries } => {
                let component = self.component(node, plugin);
                let schema = &input?.schema;
                let config = self.sink_plugin(node, plugin, *retries, &component?, schema)?;
                (Vec::new(), TypedKind::Sink(config))
            }
        };
        Some(Typed {
            inputs: inputs?,
            ports,
            kind,
        })
    }

    /// Reports a step that is given more or fewer inputs than it takes; `world` is that of its plugin.
    fn takes_its_inputs(&self, node: &NodeSpec, world: Option<World>) -> bool {
        let (wanted, help) = match &node.settings {
            Some(Settings::Source(_) | Settings::Table(_)) | None => return true,
            // A keyed plugin says itself how many it takes; of one that was not found nobody knows.
            Some(Settings::Plugin { .. }) if matches!(world, None | Some(World::Keyed)) => {
                return true;
            }
            Some(Settings::Join(_)) => (
                2,
                "name the left and the right one: inputs = [\"clicks\", \"users\"]",
            ),
            Some(_) => (
                1,
                "rows of several nodes become one input with `input`: input = [\"a\", \"b\"]",
            ),
        };
        let given = node.inputs.len();
        // A step that is given none has been told so.
        if given == wanted || given == 0 {
            return given == wanted;
        }
        let name = node.name.get_ref();
        let message = format!("step `{name}` takes {wanted} inputs, and is given {given}");
        let message = message.replacen("1 inputs", "1 input", 1);
        let last = &node.inputs[given.min(wanted + 1) - 1];
        let span = last
            .first()
            .map_or(node.name.span(), |entry| entry.node.span());
        self.problems.add(span, message, Some(help.into()));
        false
    }

    /// Reports a table that is read by anything but a join that looks its rows up.
    fn may_read_tables(&self, node: &NodeSpec, inputs: &[Input], typed: &[Option<Typed>]) -> bool {
        let is_table = |port: &PortRef| {
            let read = typed[port.node].as_ref();
            read.is_some_and(|read| matches!(read.kind, TypedKind::Table(_)))
        };
        let mut may = true;
        for (place, (input, written)) in inputs.iter().zip(&node.inputs).enumerate() {
            let entries = input.ports.iter().zip(written);
            for (_, entry) in entries.filter(|(port, _)| is_table(port)) {
                may &= join::may_look_up(node, place, &entry.node, self.problems);
            }
        }
        may
    }

    /// The inputs of a node; `None` after a problem, here or before.
    fn inputs(&self, inputs: &[Links], typed: &[Option<Typed>]) -> Option<Vec<Input>> {
        let inputs: Vec<_> = inputs
            .iter()
            .map(|links| self.input(links, typed))
            .collect();
        inputs.into_iter().collect()
    }

    /// The united columns of what comes in by one input; `None` after a problem, here or before.
    fn input(&self, links: &[Link], typed: &[Option<Typed>]) -> Option<Input> {
        let mut ports = Vec::new();
        for link in links {
            let read = typed[link.node].as_ref();
            ports.push(read.and_then(|read| Some((link, self.port(link, read)?))));
        }
        let ports: Vec<(&Link, PortRef)> = ports.into_iter().collect::<Option<_>>()?;
        let schema_of = |port: &PortRef| {
            let node = typed[port.node].as_ref().expect("its port was just found");
            node.ports[port.port].schema.clone()
        };
        let mut schemas = ports.iter().map(|(link, port)| (link, schema_of(port)));
        let (first, mut united) = schemas.next()?;
        for (link, schema) in schemas {
            united = match unite(&united, &schema) {
                Ok(schema) => schema,
                Err(difference) => {
                    let name = |link: &Link| self.nodes[link.node].name.get_ref();
                    let message = format!(
                        "`{}` and `{}` cannot be united: {difference}",
                        name(first),
                        name(link)
                    );
                    self.problems.push(
                        Problem::error(link.span.clone(), message)
                            .also(
                                first.span.clone(),
                                format!("this gives {}", columns(&united)),
                            )
                            .help(format!("`{}` gives {}", name(link), columns(&schema))),
                    );
                    return None;
                }
            };
        }
        Some(Input {
            ports: ports.iter().map(|(_, port)| *port).collect(),
            schema: united,
        })
    }

    fn port(&self, link: &Link, read: &Typed) -> Option<PortRef> {
        let index = match &link.port {
            None => 0,
            Some(port) => {
                let found = read
                    .ports
                    .iter()
                    .position(|known| known.name == *port.get_ref());
                let Some(found) = found else {
                    let name = self.nodes[link.node].name.get_ref();
                    let known: Vec<_> = read
                        .ports
                        .iter()
                        .filter(|known| !known.name.is_empty())
                        .map(|known| known.name.as_str())
                        .collect();
                    let help = did_you_mean(port.get_ref(), known.iter().copied());
                    let message = format!("`{name}` has no port `{}`", port.get_ref());
                    let help = help.unwrap_or_else(|| format!("write `{name}` alone"));
                    self.problems.add(port.span(), message, Some(help));
                    return None;
                };
                found
            }
        };
        Some(PortRef {
            node: link.node,
            port: index,
        })
    }

    fn column(
        &self,
        name: &Spanned<String>,
        input: &Input,
        node: &NodeSpec,
        typed: &[Option<Typed>],
    ) -> Option<usize> {
        let found = input.schema.index_of(name.get_ref()).ok();
        if found.is_none() {
            let message = format!(
                "the input of `{}` has no column `{}`",
                node.name.get_ref(),
                name.get_ref()
            );
            let mut problem = Problem::error(name.span(), message);
            if let Some(step) = self.loser(name.get_ref(), &input.ports, typed) {
                let words = format!("this is given `{}` and does not pass it on", name.get_ref());
                problem = problem.also(step.name.span(), words);
            }
            let fields = input.schema.fields().iter();
            problem.help = did_you_mean(name.get_ref(), fields.map(|field| field.name().as_str()));
            self.problems.push(problem);
        }
        found
    }

    /// The step on the way to `ports` that has a column of this name in its input and not in its output.
    fn loser(&self, column: &str, ports: &[PortRef], typed: &[Option<Typed>]) -> Option<&NodeSpec> {
        ports.iter().find_map(|port| {
            let mut inputs = typed[port.node].as_ref()?.inputs.iter();
            inputs.find_map(|input| match input.schema.index_of(column) {
                Ok(_) => Some(&self.nodes[port.node]),
                Err(_) => self.loser(column, &input.ports, typed),
            })
        })
    }

    fn sink_refuses(&self, node: &NodeSpec, reason: &str) {
        let span = node
            .inputs
            .first()
            .and_then(|input| input.first())
            .map_or(node.name.span(), |input| input.node.span());
        let message = format!(
            "sink `{}` cannot take its input: {reason}",
            node.name.get_ref()
        );
        self.problems.add(span, message, None);
    }

    fn reported<T>(&self, span: &Span, result: Result<T, Failure>) -> Option<T> {
        result
            .map_err(|failure| self.problems.fail(span.clone(), failure))
            .ok()
    }
}

/// The port of a node that gives all it has.
fn only_port(schema: SchemaRef) -> TypedPort {
    TypedPort {
        name: String::new(),
        fixed: schema.fields().len(),
        schema,
        carried: Vec::new(),
    }
}

/// One schema for both, or how they differ: same names and types in the same order; a column may be null if either may.
fn unite(left: &Schema, right: &Schema) -> Result<SchemaRef, String> {
    let (few, many) = (left.fields().len(), right.fields().len());
    if few != many {
        return Err(format!("one has {few} columns, the other {many}"));
    }
    let pairs = left.fields().iter().zip(right.fields()).enumerate();
    let fields = pairs.map(|(index, (left, right))| {
        let same = left.name() == right.name()
            && left.data_type() == right.data_type()
            && left.metadata() == right.metadata();
        if !same {
            let (left, right) = (column(left), column(right));
            return Err(format!(
                "column {} is `{left}` in one, `{right}` in the other",
                index + 1
            ));
        }
        let nullable = left.is_nullable() || right.is_nullable();
        Ok(left.as_ref().clone().with_nullable(nullable))
    });
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn column(field: &Field) -> String {
    format!("{}: {}", field.name(), name_of(field))
}

/// A schema as messages and `wasmill check` show it, `word: utf8, n: int64`.
pub fn columns(schema: &Schema) -> String {
    match schema.fields().is_empty() {
        true => "no columns".to_owned(),
        false => {
            let fields: Vec<_> = schema.fields().iter().map(|field| column(field)).collect();
            fields.join(", ")
        }
    }
}
