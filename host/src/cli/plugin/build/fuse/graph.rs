//! What a component makes of its core modules: which are instantiated, with what, and what is taken of them.

use wasmparser::{
    CanonicalFunction, CanonicalOption, Chunk, ComponentAlias, Instance, InstantiationArgKind,
    Parser, Payload,
};

use super::link::Part;
use super::{Each, Kind, Unfit};

/// A component, in the order in which it is written.
pub struct Graph<'a> {
    /// What it consists of.
    pub steps: Vec<Step<'a>>,
    /// The core modules it holds.
    pub modules: Vec<&'a [u8]>,
    /// The core instances it makes.
    pub instances: Vec<Made<'a>>,
    /// Where each core item comes from, by its index.
    items: Each<Vec<Item<'a>>>,
}

/// A part of a component.
pub enum Step<'a> {
    /// A section in which nothing of core modules is mentioned: its id and its contents.
    Other(u8, &'a [u8]),
    /// An alias of something that is not in a core instance.
    Alias(ComponentAlias<'a>),
    /// A core instance.
    Instance(u32),
    /// A function between core modules and the component. One that becomes a core function has the index of it.
    Canon(CanonicalFunction, Option<u32>),
}

/// A core instance.
pub enum Made<'a> {
    /// Of a module, with instances under the names that it imports.
    Of {
        /// Which module.
        module: u32,
        /// Its imports, read.
        part: Box<Part<'a>>,
        /// Names and instances.
        with: Vec<(&'a str, u32)>,
    },
    /// Of items that are there.
    Bag(Bag<'a>),
}

/// Names of items, and which they are.
pub type Bag<'a> = Vec<(&'a str, Kind, u32)>;

/// A core item, as the component has it.
#[derive(Clone, Copy)]
enum Item<'a> {
    Export { instance: u32, name: &'a str },
    Canon { free: bool },
}

/// Where a core item really comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin<'a> {
    /// An export of the instance of a module.
    Export {
        /// The instance.
        instance: u32,
        /// The export.
        name: &'a str,
    },
    /// A function that the component makes, by its index.
    Canon {
        /// Its index.
        func: u32,
        /// Whether it can be made before there is any core instance.
        free: bool,
    },
}

impl<'a> Graph<'a> {
    /// Reads a component.
    ///
    /// # Errors
    /// When it is broken, or does what is not known here.
    pub fn read(bytes: &'a [u8]) -> Result<Graph<'a>, Unfit> {
        let mut graph = Graph {
            steps: Vec::new(),
            modules: Vec::new(),
            instances: Vec::new(),
            items: Each::default(),
        };
        let mut parser = Parser::new(0);
        let mut rest = bytes;
        loop {
            let Chunk::Parsed { consumed, payload } = parser.parse(rest, true)? else {
                return Err(Unfit::Shape("it ends too soon"));
            };
            rest = &rest[consumed..];
            match payload {
                Payload::End(_) => return Ok(graph),
                Payload::ModuleSection {
                    unchecked_range, ..
                } => {
                    graph.modules.push(&bytes[place(&unchecked_range)]);
                    rest = &bytes[place(&unchecked_range).end..];
                }
                Payload::ComponentSection {
                    unchecked_range, ..
                } => {
                    let id = wasm_encoder::ComponentSectionId::Component as u8;
                    let contents = &bytes[place(&unchecked_range)];
                    graph.steps.push(Step::Other(id, contents));
                    rest = &bytes[place(&unchecked_range).end..];
                }
                other => graph.add(bytes, other)?,
            }
        }
    }

    fn add(&mut self, bytes: &'a [u8], payload: Payload<'a>) -> Result<(), Unfit> {
        match payload {
            Payload::InstanceSection(section) => {
                for instance in section {
                    let made = self.made(instance?)?;
                    self.steps.push(Step::Instance(index(self.instances.len())));
                    self.instances.push(made);
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    match alias? {
                        ComponentAlias::CoreInstanceExport {
                            kind,
                            instance_index: instance,
                            name,
                        } => {
                            self.items[kind.try_into()?].push(Item::Export { instance, name });
                        }
                        other => self.steps.push(Step::Alias(other)),
                    }
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    let function = function?;
                    let free = match &function {
                        CanonicalFunction::Lift { .. } => None,
                        CanonicalFunction::Lower { options, .. } => Some(is_free(options)),
                        CanonicalFunction::ResourceNew { .. }
                        | CanonicalFunction::ResourceDrop { .. }
                        | CanonicalFunction::ResourceRep { .. } => Some(true),
                        _ => return Err(Unfit::Shape("it is asynchronous")),
                    };
                    let funcs = &mut self.items[Kind::Func];
                    let core = free.map(|free| {
                        funcs.push(Item::Canon { free });
                        index(funcs.len() - 1)
                    });
                    self.steps.push(Step::Canon(function, core));
                }
            }
            Payload::ComponentStartSection { .. } | Payload::CoreTypeSection(_) => {
                return Err(Unfit::Shape(
                    "it has core types, or a function to start with",
                ));
            }
            // It counts what is counted anew.
            Payload::CustomSection(section) if section.name() == "component-name" => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    self.steps.push(Step::Other(id, &bytes[place(&range)]));
                }
            }
        }
        Ok(())
    }

    fn made(&self, instance: Instance<'a>) -> Result<Made<'a>, Unfit> {
        Ok(match instance {
            Instance::Instantiate { module_index, args } => Made::Of {
                module: module_index,
                part: Box::new(Part::read(self.modules[module_index as usize])?),
                with: args
                    .iter()
                    .map(|arg| match arg.kind {
                        InstantiationArgKind::Instance => (arg.name, arg.index),
                    })
                    .collect(),
            },
            Instance::FromExports(exports) => Made::Bag(
                exports
                    .iter()
                    .map(|export| Ok((export.name, export.kind.try_into()?, export.index)))
                    .collect::<Result<_, Unfit>>()?,
            ),
        })
    }

    /// Where the core item of an index comes from.
    ///
    /// # Errors
    /// When there is none.
    pub fn origin(&self, kind: Kind, item: u32) -> Result<Origin<'a>, Unfit> {
        match self.items[kind].get(item as usize) {
            Some(&Item::Canon { free }) => Ok(Origin::Canon { func: item, free }),
            Some(&Item::Export { instance, name }) => self.exported(instance, name),
            None => Err(Unfit::Shape("it uses what is not there")),
        }
    }

    /// Where what an instance exports comes from.
    ///
    /// # Errors
    /// When it exports no such thing.
    pub fn exported(&self, instance: u32, name: &'a str) -> Result<Origin<'a>, Unfit> {
        match &self.instances[instance as usize] {
            Made::Of { .. } => Ok(Origin::Export { instance, name }),
            Made::Bag(items) => match items.iter().find(|(item, ..)| *item == name) {
                Some(&(_, kind, item)) => self.origin(kind, item),
                None => Err(Unfit::Shape("it uses what is not there")),
            },
        }
    }

    /// Where a module's import comes from, given what the module is instantiated with.
    ///
    /// # Errors
    /// When it is not given.
    pub fn import(
        &self,
        with: &[(&'a str, u32)],
        module: &str,
        name: &'a str,
    ) -> Result<Origin<'a>, Unfit> {
        match with.iter().find(|(given, _)| *given == module) {
            Some(&(_, instance)) => self.exported(instance, name),
            None => Err(Unfit::Shape("a module is not given what it imports")),
        }
    }

    /// For each core instance, whether it is one that the others can be made one with: of a module that needs nothing but them and functions
    /// which are there before.
    ///
    /// # Errors
    /// As for [`Graph::import`].
    pub fn fit(&self) -> Result<Vec<bool>, Unfit> {
        let mut fit: Vec<bool> = Vec::with_capacity(self.instances.len());
        for made in &self.instances {
            let Made::Of { part, with, .. } = made else {
                fit.push(false);
                continue;
            };
            let mut all = true;
            for import in &part.imports {
                all &= match self.import(with, import.module, import.name)? {
                    Origin::Export { instance, .. } => fit[instance as usize],
                    Origin::Canon { free, .. } => free,
                };
            }
            fit.push(all);
        }
        Ok(fit)
    }
}

/// Where a part of what is in memory lies.
fn place(range: &std::ops::Range<u64>) -> std::ops::Range<usize> {
    range.start as usize..range.end as usize
}

fn is_free(options: &[CanonicalOption]) -> bool {
    options.iter().all(|option| {
        matches!(
            option,
            CanonicalOption::UTF8 | CanonicalOption::UTF16 | CanonicalOption::CompactUTF16
        )
    })
}

fn index(len: usize) -> u32 {
    u32::try_from(len).expect("a component has less than 4 GiB")
}
