//! Packs what `wasmill plugin new` and `wasmill plugin build` need beside the tools of each language: the contract, the SDKs of languages whose
//! SDK is source, and the plugins that are templates. So a `wasmill` builds plugins with the SDKs of its own version, wherever it is.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Folders of the repository. Nothing that a tool has made of them is taken along.
const PACKED: [&str; 9] = [
    "wit",
    "guest-sdk/python",
    "guest-sdk/js",
    "guest-sdk/c",
    "plugins/split-words",
    "plugins/parse-json",
    "plugins/running-count",
    "plugins/longest-word",
    "plugins/sink-log",
];
const MADE: [&str; 5] = [
    "node_modules",
    "target",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("..");
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("kit.tar");
    let mut files = Vec::new();
    for folder in PACKED {
        println!("cargo::rerun-if-changed=../{folder}");
        list(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut archive = tar::Builder::new(File::create(out)?);
    // Without times and owners: the same files are the same archive.
    archive.mode(tar::HeaderMode::Deterministic);
    for file in files {
        archive.append_path_with_name(&file, file.strip_prefix(&root)?)?;
    }
    archive.finish()?;
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_file() {
            files.push(path);
        } else if !MADE.contains(&name.as_ref()) && !name.ends_with(".egg-info") {
            list(&path, files)?;
        }
    }
    Ok(())
}
