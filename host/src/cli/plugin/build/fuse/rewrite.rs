//! A component written again around the one module.

use std::collections::HashMap;

use wasm_encoder::reencode::{self, Reencode, ReencodeComponent};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, Component, ComponentAliasSection, ComponentSectionId,
    InstanceSection, ModuleArg, RawSection,
};

use super::graph::{Bag, Graph, Made, Origin, Step};
use super::link::{self, OUTSIDE, Source, Wanted};
use super::{Each, Kind, Unfit};

/// The component that does the same with one module.
///
/// # Errors
/// As for [`super::fuse`].
pub fn rewrite<'a>(graph: &Graph<'a>) -> Result<Vec<u8>, Unfit> {
    let fit = graph.fit()?;
    let mut parts = Vec::new();
    let mut part_of = HashMap::new();
    for (instance, made) in (0..).zip(&graph.instances) {
        if let Made::Of { part, with, .. } = made
            && fit[instance as usize]
        {
            part_of.insert(instance, parts.len());
            parts.push((part, with));
        }
    }
    let mut outside = Vec::new();
    for (part, with) in &parts {
        for import in &part.imports {
            if let Origin::Canon { func, .. } = graph.import(with, import.module, import.name)?
                && !outside.contains(&func)
            {
                outside.push(func);
            }
        }
    }
    let mut writer = Writer {
        graph,
        part_of: &part_of,
        outside: &outside,
        out: Component::new(),
        modules: 1,
        instances: 0,
        one: None,
        others: HashMap::new(),
        counts: Each::default(),
        placed: HashMap::new(),
        wanted: Vec::new(),
    };
    for step in &graph.steps {
        writer.step(step)?;
    }
    let source = |at: usize, import: &wasmparser::Import<'a>| {
        let (_, with) = parts[at];
        Ok(match graph.import(with, import.module, import.name)? {
            Origin::Export { instance, name } => Source::Part(part_of[&instance], name),
            Origin::Canon { func, .. } => Source::Outside(func),
        })
    };
    let modules: Vec<_> = parts.iter().map(|(part, _)| part.as_ref()).collect();
    let module = link::link(&modules, source, &writer.wanted)?;
    let mut component = Component::new();
    component.section(&RawSection {
        id: ComponentSectionId::CoreModule.into(),
        data: &module,
    });
    let mut bytes = component.finish();
    bytes.extend_from_slice(&writer.out.finish()[Component::HEADER.len()..]);
    Ok(bytes)
}

struct Writer<'g, 'a> {
    graph: &'g Graph<'a>,
    /// The number of the part that each instance which goes into the one module becomes.
    part_of: &'g HashMap<u32, usize>,
    /// The functions that the one module imports.
    outside: &'g [u32],
    /// All after the one module.
    out: Component,
    modules: u32,
    instances: u32,
    /// The instance of the one module, once it is made.
    one: Option<u32>,
    /// The instances of other modules.
    others: HashMap<u32, u32>,
    counts: Each<u32>,
    placed: HashMap<(Kind, Origin<'a>), u32>,
    /// What the one module must export.
    wanted: Vec<Wanted<'a>>,
}

impl<'a> Writer<'_, 'a> {
    fn step(&mut self, step: &Step<'a>) -> Result<(), Unfit> {
        match step {
            Step::Other(id, contents) => {
                self.out.section(&RawSection {
                    id: *id,
                    data: contents,
                });
            }
            Step::Alias(alias) => {
                let mut aliases = ComponentAliasSection::new();
                aliases.alias(self.component_alias(alias.clone())?);
                self.out.section(&aliases);
            }
            Step::Instance(instance) => {
                if let Made::Of { module, part, with } = &self.graph.instances[*instance as usize]
                    && !self.part_of.contains_key(instance)
                {
                    let mut given: Vec<(&str, Bag)> = Vec::new();
                    for import in &part.imports {
                        let origin = self.graph.import(with, import.module, import.name)?;
                        let kind = link::kind_of(&import.ty)?;
                        let item = (import.name, kind, self.place(kind, origin)?);
                        match given.iter_mut().find(|(name, _)| *name == import.module) {
                            Some((_, items)) => items.push(item),
                            None => given.push((import.module, vec![item])),
                        }
                    }
                    let module = self.module(self.graph.modules[*module as usize]);
                    let made = self.instantiate(module, given);
                    self.others.insert(*instance, made);
                }
            }
            Step::Canon(function, core) => {
                let mut canons = CanonicalFunctionSection::new();
                self.parse_component_canonical(&mut canons, function.clone())?;
                self.out.section(&canons);
                if let Some(func) = *core {
                    let origin = self.graph.origin(Kind::Func, func)?;
                    let new = self.count(Kind::Func);
                    self.placed.insert((Kind::Func, origin), new);
                }
            }
        }
        Ok(())
    }

    /// The new number of a core item, which is taken out of its instance if that has not been done.
    fn place(&mut self, kind: Kind, origin: Origin<'a>) -> Result<u32, Unfit> {
        if let Some(&new) = self.placed.get(&(kind, origin)) {
            return Ok(new);
        }
        let Origin::Export { instance, name } = origin else {
            return Err(Unfit::Shape("a function is used before it is there"));
        };
        let (instance, name) = match self.part_of.get(&instance) {
            Some(&part) => {
                let new = format!("{part}:{name}");
                self.wanted.push(Wanted {
                    part,
                    export: name,
                    name: new.clone(),
                });
                (self.one()?, new)
            }
            None => (self.others[&instance], name.to_owned()),
        };
        let mut aliases = ComponentAliasSection::new();
        aliases.alias(Alias::CoreInstanceExport {
            instance,
            kind: kind.into(),
            name: &name,
        });
        self.out.section(&aliases);
        let new = self.count(kind);
        self.placed.insert((kind, origin), new);
        Ok(new)
    }

    /// The instance of the one module, made at the first use.
    fn one(&mut self) -> Result<u32, Unfit> {
        if let Some(one) = self.one {
            return Ok(one);
        }
        let names: Vec<String> = self.outside.iter().map(u32::to_string).collect();
        let mut items = Vec::with_capacity(names.len());
        for (func, name) in self.outside.iter().zip(&names) {
            let origin = self.graph.origin(Kind::Func, *func)?;
            items.push((name.as_str(), Kind::Func, self.place(Kind::Func, origin)?));
        }
        let given = if items.is_empty() {
            Vec::new()
        } else {
            vec![(OUTSIDE, items)]
        };
        let one = self.instantiate(0, given);
        self.one = Some(one);
        Ok(one)
    }

    fn module(&mut self, bytes: &[u8]) -> u32 {
        self.out.section(&RawSection {
            id: ComponentSectionId::CoreModule.into(),
            data: bytes,
        });
        self.modules += 1;
        self.modules - 1
    }

    fn instantiate(&mut self, module: u32, given: Vec<(&str, Bag)>) -> u32 {
        let mut section = InstanceSection::new();
        let first = self.instances;
        let mut args = Vec::new();
        for (name, items) in given {
            section.export_items(
                items
                    .into_iter()
                    .map(|(name, kind, item)| (name, wasm_encoder::ExportKind::from(kind), item)),
            );
            args.push((name, ModuleArg::Instance(first + args.len() as u32)));
        }
        self.instances += args.len() as u32 + 1;
        section.instantiate(module, args);
        self.out.section(&section);
        self.instances - 1
    }

    fn count(&mut self, kind: Kind) -> u32 {
        self.counts[kind] += 1;
        self.counts[kind] - 1
    }
}

/// What functions between core modules and the component mention is placed before they are written.
impl Reencode for Writer<'_, '_> {
    type Error = Unfit;

    fn function_index(&mut self, func: u32) -> Result<u32, reencode::Error<Unfit>> {
        Ok(self.place(Kind::Func, self.graph.origin(Kind::Func, func)?)?)
    }

    fn memory_index(&mut self, memory: u32) -> Result<u32, reencode::Error<Unfit>> {
        Ok(self.place(Kind::Memory, self.graph.origin(Kind::Memory, memory)?)?)
    }
}

impl ReencodeComponent for Writer<'_, '_> {}
