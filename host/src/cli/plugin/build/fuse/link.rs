//! Modules made one, as a linker does with objects: all that they have, one after the other, with new numbers.

use std::collections::{BTreeMap, HashMap};

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, DataCountSection, DataSection, ElementSection, EntityType, ExportSection,
    FunctionSection, GlobalSection, ImportSection, Instruction, MemorySection, Module, NameMap,
    NameSection, TableSection, TypeSection,
};
use wasmparser::{FunctionBody, Import, KnownCustom, Name, Operator, Parser, Payload, TypeRef};

use super::{Each, Kind, Unfit};

/// A core module, read.
#[derive(Default)]
pub struct Part<'a> {
    /// What it imports.
    pub imports: Vec<Import<'a>>,
    types: Option<wasmparser::TypeSectionReader<'a>>,
    functions: Option<wasmparser::FunctionSectionReader<'a>>,
    tables: Option<wasmparser::TableSectionReader<'a>>,
    memories: Option<wasmparser::MemorySectionReader<'a>>,
    globals: Option<wasmparser::GlobalSectionReader<'a>>,
    exports: HashMap<&'a str, (Kind, u32)>,
    elements: Option<wasmparser::ElementSectionReader<'a>>,
    code: Vec<FunctionBody<'a>>,
    data: Option<wasmparser::DataSectionReader<'a>>,
    names: Option<wasmparser::NameSectionReader<'a>>,
}

impl<'a> Part<'a> {
    /// Reads a module.
    ///
    /// # Errors
    /// When it is broken, or has what cannot be joined to others: a function to start with, tags.
    pub fn read(bytes: &'a [u8]) -> Result<Part<'a>, Unfit> {
        let mut part = Part::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::TypeSection(section) => part.types = Some(section),
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        part.imports.push(import?);
                    }
                }
                Payload::FunctionSection(section) => part.functions = Some(section),
                Payload::TableSection(section) => part.tables = Some(section),
                Payload::MemorySection(section) => part.memories = Some(section),
                Payload::GlobalSection(section) => part.globals = Some(section),
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        let item = (export.kind.try_into()?, export.index);
                        part.exports.insert(export.name, item);
                    }
                }
                Payload::ElementSection(section) => part.elements = Some(section),
                Payload::CodeSectionEntry(body) => part.code.push(body),
                Payload::DataSection(section) => part.data = Some(section),
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        part.names = Some(names);
                    }
                }
                Payload::StartSection { .. } => {
                    return Err(Unfit::Shape("a module has a function to start with"));
                }
                Payload::TagSection(_) => return Err(Unfit::Shape("a module has tags")),
                _ => {}
            }
        }
        Ok(part)
    }
}

/// What a part's import is.
pub enum Source<'a> {
    /// An export of another part.
    Part(usize, &'a str),
    /// A function from outside, by a number that the caller chose.
    Outside(u32),
}

/// An export of the module that is made.
pub struct Wanted<'a> {
    /// Of which part.
    pub part: usize,
    /// What it is called there.
    pub export: &'a str,
    /// What it shall be called.
    pub name: String,
}

/// Where functions from outside are imported from.
pub const OUTSIDE: &str = "outside";

/// Makes one module of the parts. What comes from outside it imports from the module [`OUTSIDE`], under the numbers.
///
/// # Errors
/// An import that is not there, and what cannot be written again.
pub fn link<'a>(
    parts: &[&Part<'a>],
    source: impl Fn(usize, &Import<'a>) -> Result<Source<'a>, Unfit>,
    wanted: &[Wanted<'a>],
) -> Result<Vec<u8>, Unfit> {
    let mut linker = Linker::default();
    let mut imports = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        let sources = part
            .imports
            .iter()
            .map(|import| Ok((import.ty, source(at, import)?)))
            .collect::<Result<Vec<_>, Unfit>>()?;
        linker.open(part, &sources)?;
        imports.push(sources);
    }
    for (at, part) in parts.iter().enumerate() {
        linker.declare(at, part, parts, &imports[at])?;
    }
    let wanted = wanted
        .iter()
        .map(|wanted| {
            let (kind, index) = linker.export(parts, wanted.part, wanted.export)?;
            Ok((wanted.name.as_str(), kind, index))
        })
        .collect::<Result<Vec<_>, Unfit>>()?;
    linker.find_constants(parts, &wanted)?;
    for (at, part) in parts.iter().enumerate() {
        linker.define(at, part)?;
    }
    Ok(linker.finish(&wanted))
}

/// New numbers of what a part has, by the old ones.
#[derive(Default)]
struct Numbers {
    types: u32,
    elements: u32,
    data: u32,
    items: Each<Vec<u32>>,
}

#[derive(Default)]
struct Linker {
    numbers: Vec<Numbers>,
    /// How many there are so far.
    counts: Each<u32>,
    outside: HashMap<u32, u32>,
    /// What globals are to begin with, where it is one number.
    begin: HashMap<u32, i32>,
    /// The globals that are never anything else.
    constants: HashMap<u32, i32>,
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    elements: ElementSection,
    code: CodeSection,
    data: DataSection,
    names: BTreeMap<u32, String>,
}

impl Linker {
    /// Takes a part's types, and what it imports from outside: imports are numbered before all else.
    fn open(&mut self, part: &Part, imports: &[(TypeRef, Source)]) -> Result<(), Unfit> {
        self.numbers.push(Numbers {
            types: self.types.len(),
            ..Numbers::default()
        });
        let at = self.numbers.len() - 1;
        let mut renumber = Renumber::new(&self.numbers[at], &self.constants);
        if let Some(section) = part.types.clone() {
            renumber.parse_type_section(&mut self.types, section)?;
        }
        for (ty, source) in imports {
            let Source::Outside(number) = source else {
                continue;
            };
            let EntityType::Function(ty) = renumber.entity_type(*ty)? else {
                return Err(Unfit::Shape("the host gives what is no function"));
            };
            if self.outside.contains_key(number) {
                continue;
            }
            self.outside.insert(*number, self.counts[Kind::Func]);
            self.counts[Kind::Func] += 1;
            self.imports
                .import(OUTSIDE, &number.to_string(), EntityType::Function(ty));
        }
        Ok(())
    }

    /// Numbers a part's items, and takes all of them but their contents.
    fn declare(
        &mut self,
        at: usize,
        part: &Part,
        parts: &[&Part],
        imports: &[(TypeRef, Source)],
    ) -> Result<(), Unfit> {
        for (ty, source) in imports {
            let (kind, index) = match source {
                Source::Outside(number) => (Kind::Func, self.outside[number]),
                Source::Part(other, export) => self.export(parts, *other, export)?,
            };
            if kind_of(ty)? != kind {
                return Err(Unfit::Shape(
                    "a module is given another kind of thing than it imports",
                ));
            }
            self.numbers[at].items[kind].push(index);
        }
        if let Some(section) = part.functions.clone() {
            self.number(at, Kind::Func, section.count());
            Renumber::new(&self.numbers[at], &self.constants)
                .parse_function_section(&mut self.functions, section)?;
        }
        if let Some(section) = part.tables.clone() {
            self.number(at, Kind::Table, section.count());
            Renumber::new(&self.numbers[at], &self.constants)
                .parse_table_section(&mut self.tables, section)?;
        }
        if let Some(section) = part.memories.clone() {
            self.number(at, Kind::Memory, section.count());
            Renumber::new(&self.numbers[at], &self.constants)
                .parse_memory_section(&mut self.memories, section)?;
        }
        for global in part.globals.clone().into_iter().flatten() {
            let global = global?;
            self.number(at, Kind::Global, 1);
            let index = self.counts[Kind::Global] - 1;
            let mut renumber = Renumber::new(&self.numbers[at], &self.constants);
            let mut begin = global.init_expr.get_operators_reader();
            let value = match renumber.instruction(begin.read()?)? {
                Instruction::I32Const(value) if begin.is_end_then_eof() => Some(value),
                _ => None,
            };
            let mutable = global.ty.mutable;
            renumber.parse_global(&mut self.globals, global)?;
            if let Some(value) = value {
                self.begin.insert(index, value);
                if !mutable {
                    self.constants.insert(index, value);
                }
            }
        }
        Ok(())
    }

    /// Finds the globals that nobody writes to: addresses, which are known when all modules are.
    fn find_constants(
        &mut self,
        parts: &[&Part],
        wanted: &[(&str, Kind, u32)],
    ) -> Result<(), Unfit> {
        let mut constants = std::mem::take(&mut self.begin);
        for (_, kind, index) in wanted {
            if *kind == Kind::Global {
                constants.remove(index);
            }
        }
        for (part, numbers) in parts.iter().zip(&self.numbers) {
            for body in &part.code {
                for operator in body.get_operators_reader()? {
                    if let Operator::GlobalSet { global_index } = operator? {
                        constants.remove(&numbers.items[Kind::Global][global_index as usize]);
                    }
                }
            }
        }
        self.constants = constants;
        Ok(())
    }

    /// Takes a part's contents: elements, code, data, names.
    fn define(&mut self, at: usize, part: &Part) -> Result<(), Unfit> {
        self.numbers[at].elements = self.elements.len();
        self.numbers[at].data = self.data.len();
        let mut renumber = Renumber::new(&self.numbers[at], &self.constants);
        if let Some(section) = part.elements.clone() {
            renumber.parse_element_section(&mut self.elements, section)?;
        }
        for body in &part.code {
            renumber.parse_function_body(&mut self.code, body.clone())?;
        }
        if let Some(section) = part.data.clone() {
            renumber.parse_data_section(&mut self.data, section)?;
        }
        for names in part.names.clone().into_iter().flatten() {
            if let Name::Function(functions) = names? {
                for naming in functions {
                    let naming = naming?;
                    let functions = &self.numbers[at].items[Kind::Func];
                    if let Some(index) = functions.get(naming.index as usize) {
                        self.names
                            .entry(*index)
                            .or_insert_with(|| naming.name.to_owned());
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(self, wanted: &[(&str, Kind, u32)]) -> Vec<u8> {
        let mut exports = ExportSection::new();
        for (name, kind, index) in wanted {
            exports.export(name, (*kind).into(), *index);
        }
        let mut functions = NameMap::new();
        for (index, name) in &self.names {
            functions.append(*index, name);
        }
        let mut names = NameSection::new();
        names.functions(&functions);
        let mut module = Module::new();
        module
            .section(&self.types)
            .section(&self.imports)
            .section(&self.functions)
            .section(&self.tables)
            .section(&self.memories)
            .section(&self.globals)
            .section(&exports)
            .section(&self.elements)
            .section(&DataCountSection {
                count: self.data.len(),
            })
            .section(&self.code)
            .section(&self.data)
            .section(&names);
        module.finish()
    }

    fn number(&mut self, at: usize, kind: Kind, count: u32) {
        let first = self.counts[kind];
        self.counts[kind] += count;
        self.numbers[at].items[kind].extend(first..first + count);
    }

    /// The new number of what a part exports.
    fn export(&self, parts: &[&Part], at: usize, name: &str) -> Result<(Kind, u32), Unfit> {
        let &(kind, index) = parts[at]
            .exports
            .get(name)
            .ok_or(Unfit::Shape("it uses what is not there"))?;
        Ok((kind, lookup(&self.numbers[at].items[kind], index)?))
    }
}

/// Gives what is written again its new numbers.
struct Renumber<'a> {
    numbers: &'a Numbers,
    constants: &'a HashMap<u32, i32>,
}

impl<'a> Renumber<'a> {
    fn new(numbers: &'a Numbers, constants: &'a HashMap<u32, i32>) -> Self {
        Self { numbers, constants }
    }
}

impl Reencode for Renumber<'_> {
    type Error = Unfit;

    fn type_index(&mut self, ty: u32) -> Result<u32, reencode::Error<Unfit>> {
        Ok(self.numbers.types + ty)
    }

    fn element_index(&mut self, element: u32) -> Result<u32, reencode::Error<Unfit>> {
        Ok(self.numbers.elements + element)
    }

    fn data_index(&mut self, data: u32) -> Result<u32, reencode::Error<Unfit>> {
        Ok(self.numbers.data + data)
    }

    fn function_index(&mut self, func: u32) -> Result<u32, reencode::Error<Unfit>> {
        Ok(lookup(&self.numbers.items[Kind::Func], func)?)
    }

    fn table_index(&mut self, table: u32) -> Result<u32, reencode::Error<Unfit>> {
        Ok(lookup(&self.numbers.items[Kind::Table], table)?)
    }

    fn memory_index(&mut self, memory: u32) -> Result<u32, reencode::Error<Unfit>> {
        Ok(lookup(&self.numbers.items[Kind::Memory], memory)?)
    }

    fn global_index(&mut self, global: u32) -> Result<u32, reencode::Error<Unfit>> {
        Ok(lookup(&self.numbers.items[Kind::Global], global)?)
    }

    fn instruction<'a>(
        &mut self,
        operator: Operator<'a>,
    ) -> Result<Instruction<'a>, reencode::Error<Unfit>> {
        if let Operator::GlobalGet { global_index } = operator
            && let Some(value) = self.constants.get(&self.global_index(global_index)?)
        {
            return Ok(Instruction::I32Const(*value));
        }
        reencode::utils::instruction(self, operator)
    }
}

impl From<Unfit> for reencode::Error<Unfit> {
    fn from(unfit: Unfit) -> reencode::Error<Unfit> {
        reencode::Error::UserError(unfit)
    }
}

fn lookup(numbers: &[u32], index: u32) -> Result<u32, Unfit> {
    numbers
        .get(index as usize)
        .copied()
        .ok_or(Unfit::Shape("a module uses what is not there"))
}

/// The kind of an import.
///
/// # Errors
/// A tag, which is not known here.
pub fn kind_of(ty: &TypeRef) -> Result<Kind, Unfit> {
    match ty {
        TypeRef::Func(_) => Ok(Kind::Func),
        TypeRef::Table(_) => Ok(Kind::Table),
        TypeRef::Memory(_) => Ok(Kind::Memory),
        TypeRef::Global(_) => Ok(Kind::Global),
        _ => Err(Unfit::Shape("a module imports a tag")),
    }
}
