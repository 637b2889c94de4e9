//! The contract, the SDKs and the templates of this version, as files: they are part of the program, and unpacked once.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::ids::Digest;

const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kit.tar"));

/// The unpacked files, in folders as in Wasmill's repository.
pub struct Kit {
    folder: PathBuf,
    /// Where tools of languages are installed: they outlive a version.
    tools: PathBuf,
}

impl Kit {
    /// Unpacks them below a folder, unless they are there.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(cache: &Path) -> anyhow::Result<Self> {
        let digest = Digest::of(PACKED).hex();
        let folder = cache.join("kit").join(&digest[..16]);
        if !folder.exists() {
            unpack(&folder)
                .with_context(|| format!("the SDKs cannot be unpacked to {}", folder.display()))?;
        }
        Ok(Self {
            folder,
            tools: cache.join("tools"),
        })
    }

    /// The files of the contract.
    pub fn wit(&self) -> PathBuf {
        self.folder.join("wit")
    }

    /// The SDK of a language.
    pub fn sdk(&self, language: &str) -> PathBuf {
        self.folder.join("guest-sdk").join(language)
    }

    /// A plugin in Rust that is a template.
    pub fn plugin(&self, name: &str) -> PathBuf {
        self.folder.join("plugins").join(name)
    }

    /// The folder of a tool of this name and version.
    pub fn tool(&self, name: &str, version: &str) -> PathBuf {
        self.tools.join(format!("{name}-{version}"))
    }
}

/// Whole or not at all: another process may be about to do the same.
fn unpack(folder: &Path) -> io::Result<()> {
    let parent = folder.parent().expect("it is below the cache");
    std::fs::create_dir_all(parent)?;
    let aside = tempfile::tempdir_in(parent)?;
    tar::Archive::new(PACKED).unpack(aside.path())?;
    match std::fs::rename(aside.keep(), folder) {
        Err(_) if folder.exists() => Ok(()),
        done => done,
    }
}
