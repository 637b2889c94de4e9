//! What planned an epoch, kept beside its records: the text of the pipeline file and the components of its plugins.
//!
//! `code/DIGEST` is the text, with the digest of each node's component; `component/DIGEST` is the bytes of one. Both are written before the first epoch
//! that they plan, and go with a start that finds no epoch of theirs any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record;
use super::records::Records;
use crate::error::Failure;
use crate::ids::{Digest, NodeName};

const CODE: &str = "code";
const COMPONENTS: &str = "component";

/// A pipeline as its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Of the text and all components: another digest may mean another output.
    pub digest: Digest,
    /// The pipeline file, from whose folder its paths count.
    pub file: PathBuf,
    /// The folder that the process was in: files of a source that are recorded by relative paths are seen from there.
    pub folder: PathBuf,
    /// Its text.
    pub text: String,
    /// The component of each node that has one.
    pub components: BTreeMap<NodeName, ComponentFile>,
}

/// A component on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it was when it was looked at.
    pub digest: Digest,
}

#[derive(Debug, Serialize, Deserialize)]
struct CodeRecord {
    file: PathBuf,
    folder: PathBuf,
    text: String,
    components: BTreeMap<NodeName, ComponentRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ComponentRecord {
    /// How its author calls it.
    name: String,
    digest: Digest,
}

impl Code {
    /// Of the file at `file`.
    pub fn new(file: &Path, text: String, components: BTreeMap<NodeName, ComponentFile>) -> Self {
        let digests = components.iter();
        let digests = digests.map(|(node, one)| format!("\n{node} {}", one.digest));
        let all: String = std::iter::once(text.clone()).chain(digests).collect();
        Self {
            digest: Digest::of(all.as_bytes()),
            // An epoch may be looked at from another folder.
            file: std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
            folder: std::env::current_dir().unwrap_or_default(),
            text,
            components,
        }
    }
}

/// Keeps the code that plans the epochs from here on.
pub(super) fn keep(records: &Records, code: &Code) -> Result<(), Failure> {
    let storage = &*records.storage;
    let known = listed(records, COMPONENTS)?;
    let mut components = BTreeMap::new();
    for (node, component) in &code.components {
        let digest = component.digest;
        if !known.contains(&digest) {
            let bytes = component.read().map_err(|failure| failure.at_node(node))?;
            let name = name(COMPONENTS, digest);
            records.on_disk(storage.put(&name, &record::sealed(bytes)))?;
        }
        let called = component.path.file_stem().unwrap_or_default();
        let name = called.to_string_lossy().into_owned();
        components.insert(node.clone(), ComponentRecord { name, digest });
    }
    let record = record::encode(&CodeRecord {
        file: code.file.clone(),
        folder: code.folder.clone(),
        text: code.text.clone(),
        components,
    });
    // The same again, if it is there.
    records.on_disk(storage.put(&name(CODE, code.digest), &record))
}

impl ComponentFile {
    fn read(&self) -> Result<Vec<u8>, Failure> {
        let path = self.path.display();
        let bytes = std::fs::read(&self.path)
            .map_err(|error| Failure::external(format!("plugin {path} cannot be read: {error}")))?;
        if Digest::of(&bytes) != self.digest {
            let message = format!("plugin {path} was replaced while the pipeline started");
            return Err(Failure::external(message).help("start it again"));
        }
        Ok(bytes)
    }
}

/// Removes code of which no epoch is left; `used` are the digests that epochs name, `own` that of this start.
pub(super) fn forget_unused(
    records: &Records,
    used: impl FnOnce() -> Result<BTreeSet<Digest>, Failure>,
    own: &Code,
) -> Result<(), Failure> {
    let storage = &*records.storage;
    let mut needed: BTreeSet<Digest> = own.components.values().map(|one| one.digest).collect();
    let mut others = listed(records, CODE)?;
    others.retain(|digest| *digest != own.digest);
    if !others.is_empty() {
        let used = used()?;
        for digest in others {
            let name = name(CODE, digest);
            if !used.contains(&digest) {
                records.on_disk(storage.delete(&name))?;
            } else if let Some(code) = records.read::<CodeRecord>(&name)? {
                needed.extend(code.components.into_values().map(|one| one.digest));
            }
        }
    }
    for component in listed(records, COMPONENTS)? {
        if !needed.contains(&component) {
            records.on_disk(storage.delete(&name(COMPONENTS, component)))?;
        }
    }
    Ok(())
}

fn listed(records: &Records, kind: &str) -> Result<Vec<Digest>, Failure> {
    let names = records.on_disk(records.storage.list(kind))?;
    let digests = names
        .into_iter()
        .map(|hex| format!("sha256:{hex}").try_into());
    Ok(digests.filter_map(Result::ok).collect())
}

impl Records {
    /// The code of a digest, its components put into a folder below `folder` for each node.
    ///
    /// # Errors
    /// When it is not there as it was, or the folder cannot be written.
    pub fn code(&self, digest: Digest, folder: &Path) -> Result<Code, Failure> {
        let kept = self.code_record(digest)?;
        let mut components = BTreeMap::new();
        for (node, component) in kept.components {
            let bytes = self.content(&self::name(COMPONENTS, component.digest))?;
            let path = folder
                .join(node.as_str())
                .join(format!("{}.wasm", component.name));
            let digest = Digest::of(&bytes);
            write(&path, &bytes).map_err(|error| {
                Failure::external(format!("`{}` cannot be written: {error}", path.display()))
            })?;
            components.insert(node, ComponentFile { path, digest });
        }
        Ok(Code {
            folder: kept.folder,
            ..Code::new(&kept.file, kept.text, components)
        })
    }

    /// The folder from which an epoch of this code has read files.
    pub(super) fn folder(&self, code: Digest) -> Result<PathBuf, Failure> {
        Ok(self.code_record(code)?.folder)
    }

    fn code_record(&self, digest: Digest) -> Result<CodeRecord, Failure> {
        let name = name(CODE, digest);
        let record = self.read(&name)?;
        record.ok_or_else(|| self.damaged(&format!("`{name}` is not there")))
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, bytes)
}

fn name(kind: &str, digest: Digest) -> String {
    format!("{kind}/{}", digest.hex())
}
