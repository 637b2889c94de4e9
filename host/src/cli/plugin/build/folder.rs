//! A plugin's folder, and what `plugin.toml` says of it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::plugin::World;

/// A language that a plugin can be built from without being told how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// By cargo
    Rust,
    /// By componentize-py
    Python,
    /// JavaScript and TypeScript, by componentize-js
    Js,
    /// By Zig's or Debian's Clang
    C,
}

impl Language {
    /// Its name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Js => "js",
            Self::C => "c",
        }
    }
}

/// Folders that tools write, not authors.
const MADE: [&str; 4] = ["target", "node_modules", "__pycache__", ".git"];

/// Whether a folder of this name within a plugin's is a tool's.
pub fn is_made(name: &OsStr) -> bool {
    MADE.iter().any(|made| name == *made)
}

/// A plugin's folder.
#[derive(Debug)]
pub struct Folder {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// What the component is called.
    pub name: String,
    /// The world, where the file says it.
    pub kind: Option<World>,
    /// Whether it is a sink that sends requests.
    pub http: bool,
    /// How it is built.
    pub recipe: Recipe,
}

/// How a component is made of a folder.
#[derive(Debug, PartialEq, Eq)]
pub enum Recipe {
    /// As plugins of a language are.
    Of(Language),
    /// By a command of the author's, which is run in the folder and leaves the component in a file there.
    Command {
        build: Vec<String>,
        component: PathBuf,
    },
}

/// `plugin.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    kind: World,
    language: String,
    #[serde(default)]
    http: bool,
    build: Option<Vec<String>>,
    component: Option<PathBuf>,
}

const FILE: &str = "plugin.toml";

impl Folder {
    /// Reads its `plugin.toml`; a crate needs none.
    ///
    /// # Errors
    /// When there is neither, or the file is not understood.
    pub fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir
            .canonicalize()
            .with_context(|| format!("there is no folder {}", dir.display()))?;
        let file = path.join(FILE);
        if !file.exists() {
            if !path.join("Cargo.toml").exists() {
                bail!(
                    "there is no plugin in {}: it has neither a {FILE} nor a Cargo.toml; `wasmill plugin new` makes one",
                    dir.display()
                );
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return Ok(Self {
                name: name.into_owned(),
                kind: None,
                http: false,
                recipe: Recipe::Of(Language::Rust),
                path,
            });
        }
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Self::from_manifest(path, &text).with_context(|| format!("{} is wrong", file.display()))
    }

    /// The kind's name, which plugins that are no crates have to say.
    pub fn kind(&self) -> anyhow::Result<&'static str> {
        let kind = self.kind.map(World::interface);
        kind.with_context(|| format!("{FILE} says no `kind`"))
    }

    /// The name of its world in `wit/worlds.wit`.
    pub fn world(&self) -> anyhow::Result<String> {
        let http = if self.http { "http-" } else { "" };
        Ok(format!("{http}{}-plugin", self.kind()?))
    }

    fn from_manifest(path: PathBuf, text: &str) -> anyhow::Result<Self> {
        let manifest: Manifest = toml::from_str(text)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if manifest.name.is_empty() || !manifest.name.chars().all(plain) {
            bail!("`name` has other characters than letters, digits, `-` and `_`");
        }
        if manifest.http && manifest.kind != World::Sink {
            bail!("`http` is for sinks: no other plugin may send requests");
        }
        let known = <Language as clap::ValueEnum>::from_str(&manifest.language, false);
        let recipe = match (known, manifest.build, manifest.component) {
            (Ok(language), None, None) => Recipe::Of(language),
            (_, Some(build), Some(component)) if !build.is_empty() => {
                Recipe::Command { build, component }
            }
            (Ok(_), ..) => bail!("`build` and `component` stand together, or not at all"),
            (Err(_), ..) => bail!(
                "plugins in `{}` need to say how they are built: `build`, a command and its arguments, and `component`, the file that it makes",
                manifest.language
            ),
        };
        if manifest.http && recipe == Recipe::Of(Language::Rust) {
            bail!("`http` is for other languages: in Rust it is the SDK's feature of that name");
        }
        Ok(Self {
            path,
            name: manifest.name,
            kind: Some(manifest.kind),
            http: manifest.http,
            recipe,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Folder, String> {
        Folder::from_manifest("/p".into(), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_language_of_ours_needs_no_command_and_any_other_does() {
        let python = read("name = 'a'\nkind = 'keyed'\nlanguage = 'python'").unwrap();
        assert_eq!(python.recipe, Recipe::Of(Language::Python));
        let zig = "name = 'a'\nkind = 'sink'\nlanguage = 'zig'\n";
        let command = read(&format!(
            "{zig}build = ['sh', 'b.sh']\ncomponent = 'x.wasm'"
        ))
        .unwrap();
        let build = vec!["sh".to_owned(), "b.sh".to_owned()];
        let component = "x.wasm".into();
        assert_eq!(command.recipe, Recipe::Command { build, component });
        assert!(read(zig).unwrap_err().contains("how they are built"));
        assert!(read(&format!("{zig}build = []\ncomponent = 'x'")).is_err());
    }

    #[test]
    fn sinks_may_have_http_and_no_others() {
        let of = |kind: &str| {
            read(&format!(
                "name = 'a'\nkind = '{kind}'\nlanguage = 'c'\nhttp = true"
            ))
        };
        assert_eq!(of("sink").unwrap().world().unwrap(), "http-sink-plugin");
        assert!(of("transform").unwrap_err().contains("for sinks"));
        let rust = read("name = 'a'\nkind = 'sink'\nlanguage = 'rust'\nhttp = true");
        assert!(rust.unwrap_err().contains("the SDK's feature"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(read("name = 'a/b'\nkind = 'sink'\nlanguage = 'c'").is_err());
        assert!(read("name = 'a'\nkind = 'source'\nlanguage = 'c'").is_err());
        let more = "name = 'a'\nkind = 'sink'\nlanguage = 'c'\nversion = 1";
        assert!(read(more).is_err());
    }
}
