//! `wasmill plugin build`: from a plugin's folder to a component, in one step, whatever its language.

mod c;
pub mod folder;
mod fuse;
mod immortal;
mod js;
pub mod kit;
mod python;
mod rust;
mod tool;
pub mod toolchain;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::cli::engine::EngineOptions;
use crate::cli::output;
use crate::plugin::component::{self, Parsed};
use folder::{Folder, Language, Recipe};
use kit::Kit;
use toolchain::Toolchain;

/// Make a component of a plugin's folder
///
/// Reads plugin.toml there: `name`, `kind` and `language`, and `http = true` for a sink that sends requests. A plugin in rust is compiled
/// by cargo, one in python by componentize-py, one in js by componentize-js, one in c by Zig's or Debian's Clang, all with the SDKs of
/// this version of wasmill; `wasmill plugin setup` installs the tools. One in any other language says how: `build`, a command and its
/// arguments, and `component`, the file that it makes. A crate needs no plugin.toml.
///
/// The component is checked to implement one of Wasmill's worlds, and written to target/plugins/NAME.wasm in the folder, for a crate
/// in cargo's target folder.
#[derive(Debug, clap::Args)]
pub struct Build {
    /// The plugin's folder
    #[arg(default_value = ".")]
    dir: PathBuf,

    /// Where to write the component
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Keep what says which line an instruction comes from, in languages that are compiled; traps then show lines
    #[arg(long)]
    debug: bool,

    #[command(flatten)]
    engine: EngineOptions,
}

impl Build {
    /// Builds, and prints what was made.
    ///
    /// # Errors
    /// A missing tool, code that does not compile, a folder that is no plugin.
    pub fn run(self) -> anyhow::Result<()> {
        let (made, parsed) = made(&self.dir, self.out, self.debug, &self.engine)?;
        output::write(report(&made, &parsed).as_bytes())
    }
}

/// What was made of a folder.
pub struct Made {
    /// The plugin's name.
    pub name: String,
    /// Its version, in languages that have one.
    pub version: Option<String>,
    /// A component, or a core module with the metadata of one.
    pub bytes: Vec<u8>,
    /// Where it is put.
    pub out: PathBuf,
}

/// Which plugin a command is about: a folder's, or a component that is there.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The plugin's folder
    #[arg(default_value = ".")]
    pub dir: PathBuf,

    /// A component, instead of building the folder's
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
}

impl Which {
    /// The component's file, built if it is the folder's; an absolute path, as pipelines that name it lie in other folders.
    ///
    /// # Errors
    /// As for [`Build::run`].
    pub fn component(&self, engine: &EngineOptions) -> anyhow::Result<PathBuf> {
        match &self.plugin {
            Some(plugin) => std::path::absolute(plugin).map_err(Into::into),
            None => made(&self.dir, None, false, engine).map(|(made, _)| made.out),
        }
    }
}

fn made(
    dir: &Path,
    out: Option<PathBuf>,
    debug: bool,
    engine: &EngineOptions,
) -> anyhow::Result<(Made, Parsed)> {
    let folder = Folder::read(dir)?;
    let kit = || Kit::open(&engine.folder()?);
    let mut made = match &folder.recipe {
        Recipe::Of(Language::Rust) => rust::build(&folder.path, debug)?,
        Recipe::Of(Language::Python) => of_folder(&folder, python::build(&folder, &kit()?)?),
        Recipe::Of(Language::Js) => of_folder(&folder, js::build(&folder.path, &kit()?)?),
        Recipe::Of(Language::C) => of_folder(&folder, c::build(&folder, &kit()?, debug)?),
        Recipe::Command { build, component } => {
            let mut command = Command::new(&build[0]);
            command.args(&build[1..]).current_dir(&folder.path);
            tool::run(command)?;
            let file = folder.path.join(component);
            let bytes = std::fs::read(&file)
                .with_context(|| format!("the command has not made {}", file.display()))?;
            of_folder(&folder, bytes)
        }
    };
    if let Some(out) = out {
        made.out = out;
    }
    let parsed = component::parse(&made.bytes)
        .with_context(|| format!("`{}` is not a plugin", made.name))?;
    if let Some(kind) = folder.kind
        && kind != parsed.about.world
    {
        anyhow::bail!(
            "plugin.toml says that `{}` is a {kind}, and it is a {}",
            made.name,
            parsed.about.world
        );
    }
    write(&made.out, &parsed.bytes)?;
    Ok((made, parsed))
}

fn of_folder(folder: &Folder, bytes: Vec<u8>) -> Made {
    let file = format!("{}.wasm", folder.name);
    Made {
        name: folder.name.clone(),
        version: None,
        bytes,
        out: folder.path.join("target").join("plugins").join(file),
    }
}

/// Installs what building plugins of a language needs, and says what that is.
///
/// # Errors
/// What to install by hand.
pub fn set_up(language: Language, engine: &EngineOptions) -> anyhow::Result<String> {
    let kit = || Kit::open(&engine.folder()?);
    let tool = match language {
        Language::Rust => {
            let toolchain = Toolchain::find().or_else(|_| Toolchain::install())?;
            return Ok(toolchain.to_string());
        }
        Language::Python => python::tool(&kit()?),
        Language::Js => js::tool(&kit()?)?,
        Language::C => c::tool(&kit()?),
    };
    tool.install()?;
    Ok(format!("{} in {}", tool.name, tool.file.display()))
}

/// Writes the file whole or not at all: a running pipeline may be about to load it.
fn write(out: &Path, component: &[u8]) -> anyhow::Result<()> {
    let folder = out
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let written = std::fs::create_dir_all(folder).and_then(|()| {
        let aside = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)?;
        std::fs::write(aside.path(), component)?;
        aside.persist(out).map_err(|error| error.error)?;
        Ok(())
    });
    written.with_context(|| format!("cannot write {}", out.display()))
}

fn report(made: &Made, parsed: &Parsed) -> String {
    let world = parsed.about.world;
    let imports = match component::by_interface(&parsed.about.imports) {
        none if none.is_empty() => "nothing".to_owned(),
        interfaces => interfaces.join("\n          "),
    };
    let version = made.version.as_deref().map(|version| format!(" {version}"));
    format!(
        "{}{}\n  file    {}\n  world   {world} (wasmill:plugin@{})\n  size    {} KiB\n  imports {imports}\n  digest  {}\n",
        made.name,
        version.unwrap_or_default(),
        made.out.display(),
        parsed.about.version,
        parsed.bytes.len().div_ceil(1024),
        crate::ids::Digest::of(&parsed.bytes),
    )
}
