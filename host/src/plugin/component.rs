//! From bytes to what they are: a component that implements one of our worlds, and the functions it imports.
//!
//! The bytes come from a file or an upload; nothing here runs or compiles them. A core module that carries wit-bindgen's
//! metadata becomes a component first, so that a plain `wasm32-unknown-unknown` build is accepted as it is.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASI_MODULE, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::Parser;
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{Resolve, WorldId, WorldItem, WorldKey};

use super::World;
use crate::error::Failure;
use crate::ids::Digest;

/// The package of the contract, without its version.
const PACKAGE: &str = "wasmill:plugin/";

/// A function that a component imports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImportedFunction {
    /// The interface with its version, `wasi:http/outgoing-handler@0.2.6`; empty for a function of the world itself.
    pub interface: String,
    /// The function, `handle`, `[method]fields.append`.
    pub function: String,
}

impl fmt::Display for ImportedFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interface.as_str() {
            "" => f.write_str(&self.function),
            interface => write!(f, "{interface}#{}", self.function),
        }
    }
}

/// A line for each interface, with the names of its first functions: `wasi:io/poll@0.2.6 ([method]pollable.block)`.
pub fn by_interface<'a>(functions: impl IntoIterator<Item = &'a ImportedFunction>) -> Vec<String> {
    const NAMED: usize = 4;
    let mut interfaces: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for function in functions {
        let names = interfaces.entry(&function.interface).or_default();
        names.push(&function.function);
    }
    let line = |(interface, names): (&str, Vec<&str>)| {
        let first = names[..names.len().min(NAMED)].join(", ");
        let rest = match names.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        match interface {
            "" => format!("{first}{rest}"),
            interface => format!("{interface} ({first}{rest})"),
        }
    };
    interfaces.into_iter().map(line).collect()
}

/// A valid component of ours.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The component, made from the module if a module was given.
    pub bytes: Vec<u8>,
    /// What it is.
    pub about: About,
}

/// What there is to know of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Of the bytes as they were given: what a user sees in the file's digest.
    pub digest: Digest,
    /// The world it implements.
    pub world: World,
    /// The version of the contract it was built for, `0.1.0`.
    pub version: String,
    /// All functions it imports, sorted. Interfaces of which it uses types only are not among them.
    pub imports: Vec<ImportedFunction>,
    /// Whether a core module was given.
    pub was_module: bool,
}

/// Says what `bytes` are.
///
/// # Errors
/// What is wrong with them, and what to do: no WebAssembly, a module without metadata, a broken component, one that
/// implements none of our worlds or two of them.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Failure> {
    let digest = Digest::of(bytes);
    let was_module = Parser::is_core_wasm(bytes);
    let bytes = if was_module {
        componentize(bytes)?
    } else if Parser::is_component(bytes) {
        bytes.to_vec()
    } else {
        return Err(Failure::user("the file is not WebAssembly")
            .help("a plugin is a component, or a core module made by wit-bindgen; `wasmill plugin build` makes one"));
    };
    let (resolve, world) = decode(&bytes)?;
    let (kind, version) = implemented(&resolve, world)?;
    Ok(Parsed {
        bytes,
        about: About {
            digest,
            world: kind,
            version,
            imports: imported_functions(&resolve, world),
            was_module,
        },
    })
}

/// The names of what a component imports and exports, types too, as its world has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interfaces {
    /// `wasmill:plugin/transform@0.1.0`
    pub exports: Vec<String>,
    /// `wasmill:plugin/host@0.1.0`
    pub imports: Vec<String>,
}

/// Reads them.
///
/// # Errors
/// When it is no valid component.
pub fn interfaces(component: &[u8]) -> Result<Interfaces, Failure> {
    let (resolve, world) = decode(component)?;
    let world = &resolve.worlds[world];
    let name = |key| resolve.name_world_key(key);
    Ok(Interfaces {
        exports: world.exports.keys().map(name).collect(),
        imports: world.imports.keys().map(name).collect(),
    })
}

fn componentize(module: &[u8]) -> Result<Vec<u8>, Failure> {
    let has_metadata = Parser::new(0)
        .parse_all(module)
        .map_while(Result::ok)
        .any(|payload| {
            matches!(payload, wasmparser::Payload::CustomSection(section) if section.name().starts_with("component-type"))
        });
    if !has_metadata {
        return Err(Failure::user("the file is a core module without the metadata that wit-bindgen leaves")
            .help("build it with `wasmill plugin build`, or make a component of it with your language's tool"));
    }
    let component = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter(WASI_MODULE, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER))
        .and_then(|encoder| encoder.encode());
    component
        .map_err(|error| Failure::user(format!("the module cannot become a component: {error:#}")))
}

fn decode(component: &[u8]) -> Result<(Resolve, WorldId), Failure> {
    wasmparser::Validator::new()
        .validate_all(component)
        .map_err(|error| Failure::user(format!("the component is not valid: {error}")))?;
    match wit_component::decode(component) {
        Ok(DecodedWasm::Component(resolve, world)) => Ok((resolve, world)),
        Ok(DecodedWasm::WitPackage(..)) => {
            Err(Failure::user("the file holds a WIT package, and no code"))
        }
        Err(error) => Err(Failure::user(format!(
            "the component's types cannot be read: {error:#}"
        ))),
    }
}

/// The one of our worlds that the exports make, and the version of our package.
fn implemented(resolve: &Resolve, world: WorldId) -> Result<(World, String), Failure> {
    let exports: Vec<String> = resolve.worlds[world]
        .exports
        .keys()
        .map(|key| resolve.name_world_key(key))
        .collect();
    let mut worlds = exports.iter().filter_map(|export| {
        let (interface, version) = export.strip_prefix(PACKAGE)?.split_once('@')?;
        let world = World::ALL
            .into_iter()
            .find(|world| world.interface() == interface)?;
        Some((world, version.to_owned()))
    });
    match (worlds.next(), worlds.next()) {
        (Some(world), None) => Ok(world),
        (Some((one, _)), Some((other, _))) => Err(Failure::user(format!(
            "the component is both a {one} and a {other}"
        ))
        .help("make two plugins of it")),
        (None, _) => Err(Failure::user(format!(
            "the component exports none of `{PACKAGE}transform`, `reducer`, `keyed` and `sink`, but {}",
            if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
        ))
        .help("a plugin implements one of the worlds `transform-plugin`, `reducer-plugin`, `keyed-plugin` and `sink-plugin` of `wasmill:plugin`")),
    }
}

fn imported_functions(resolve: &Resolve, world: WorldId) -> Vec<ImportedFunction> {
    let mut functions = Vec::new();
    for (key, item) in &resolve.worlds[world].imports {
        match item {
            WorldItem::Interface { id, .. } => {
                let names = resolve.interfaces[*id].functions.keys();
                functions.extend(names.map(|function| ImportedFunction {
                    interface: resolve.name_world_key(key),
                    function: function.clone(),
                }));
            }
            WorldItem::Function(function) => functions.push(ImportedFunction {
                interface: String::new(),
                function: match key {
                    WorldKey::Name(name) => name.clone(),
                    WorldKey::Interface(_) => function.name.clone(),
                },
            }),
            WorldItem::Type { .. } => {}
        }
    }
    functions.sort();
    functions
}

#[cfg(test)]
mod tests {
    use wit_component::{StringEncoding, dummy_module, embed_component_metadata};
    use wit_parser::{LiftLowerAbi, ManglingAndAbi};

    use super::*;

    /// A module that implements a world of `wit`, beside our own package, by trapping.
    fn module(wit: &str, world: &str) -> Vec<u8> {
        let mut resolve = Resolve::default();
        resolve
            .push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit"))
            .expect("our WIT is valid");
        let package = resolve
            .push_str("test.wit", wit)
            .expect("the test's WIT is valid");
        let world = resolve
            .select_world(&[package], Some(world))
            .expect("the world is there");
        let mut module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
            .expect("a module takes metadata");
        module
    }

    const WORLDS: &str = "
        package test:plugins;
        interface clock { type time = u64; now: func() -> time; }
        interface words { type word = string; }
        world filter { include wasmill:plugin/transform-plugin@0.1.0; import clock; import words; import pause: func(); }
        world both { include wasmill:plugin/transform-plugin@0.1.0; include wasmill:plugin/sink-plugin@0.1.0; }
        world neither { export clock; }
        world writer { include wasmill:plugin/sink-plugin@0.1.0; }
    ";

    #[test]
    fn a_module_with_metadata_becomes_a_component() {
        let module = module(WORLDS, "writer");
        let parsed = parse(&module).expect("the module is a sink");
        assert!(parsed.about.was_module && Parser::is_component(&parsed.bytes));
        assert_eq!(
            (parsed.about.world, parsed.about.version.as_str()),
            (World::Sink, "0.1.0")
        );
        assert_eq!(parsed.about.digest, Digest::of(&module));

        let names = interfaces(&parsed.bytes).expect("it is a component");
        assert_eq!(names.exports, ["wasmill:plugin/sink@0.1.0"]);
        assert!(
            names
                .imports
                .contains(&"wasmill:plugin/host@0.1.0".to_owned())
        );

        let again = parse(&parsed.bytes).expect("its component is one too");
        assert!(!again.about.was_module);
        assert_eq!(
            (again.about.world, again.about.imports, again.bytes),
            (parsed.about.world, parsed.about.imports, parsed.bytes)
        );
    }

    #[test]
    fn functions_are_imports_and_types_are_not() {
        let parsed = parse(&module(WORLDS, "filter")).expect("the module is a transform");
        let imports: Vec<_> = parsed
            .about
            .imports
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(parsed.about.world, World::Transform);
        assert_eq!(
            imports,
            [
                "pause",
                "test:plugins/clock#now",
                "wasmill:plugin/host@0.1.0#log"
            ]
        );
    }

    #[test]
    fn many_functions_of_an_interface_are_counted() {
        let function = |interface: &str, function: &str| ImportedFunction {
            interface: interface.into(),
            function: function.into(),
        };
        let mut functions: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| function("x:y/z", name))
            .into();
        functions.push(function("", "pause"));
        assert_eq!(by_interface(&functions), ["pause", "x:y/z (a, b, c, d)"]);
        functions.push(function("x:y/z", "e"));
        assert_eq!(
            by_interface(&functions),
            ["pause", "x:y/z (a, b, c, d, and 1 more)"]
        );
    }

    #[test]
    fn what_is_no_plugin_of_ours_is_told_apart() {
        let message = |bytes: &[u8]| parse(bytes).expect_err("not a plugin").message;
        assert!(message(b"#!/bin/sh").contains("not WebAssembly"));
        assert!(message(b"\0asm\x01\0\0\0").contains("without the metadata"));
        assert!(message(&module(WORLDS, "neither")).contains("but test:plugins/clock"));
        assert!(message(&module(WORLDS, "both")).contains("both a transform and a sink"));
        let whole = parse(&module(WORLDS, "writer")).expect("a sink").bytes;
        assert!(message(&whole[..whole.len() - 7]).contains("not valid"));
    }
}
