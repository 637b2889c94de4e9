//! `cargo xtask plugins`: the `wasmill` binary, then every plugin with its `plugin build`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::sh;

/// Build every plugin of this repository as a component
///
/// Each goes to plugins/NAME.wasm in cargo's target folder. Installs what compiling them needs, if it is not there.
#[derive(Debug, Default, clap::Args)]
pub struct Plugins {
    /// Use a release build of wasmill; the plugins are the same
    #[arg(long)]
    pub release: bool,
}

/// What was built.
pub struct Built {
    /// The `wasmill` binary.
    pub wasmill: PathBuf,
    /// The folder of components.
    pub plugins: PathBuf,
}

impl Plugins {
    pub fn run(&self) -> anyhow::Result<Built> {
        let target = sh::target_dir();
        let wasmill = self.build_wasmill(target)?;
        sh::run(sh::command(&wasmill).args(["plugin", "setup"]))?;
        let mut folders: Vec<PathBuf> = std::fs::read_dir("plugins")?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .context("the folder of plugins")?;
        folders.retain(|folder| folder.join("Cargo.toml").exists());
        folders.sort();
        for folder in &folders {
            sh::run(sh::command(&wasmill).args(["plugin", "build"]).arg(folder))?;
        }
        Ok(Built {
            wasmill,
            plugins: target.join("plugins"),
        })
    }

    fn build_wasmill(&self, target: &Path) -> anyhow::Result<PathBuf> {
        let mut build = sh::cargo();
        let profile = if self.release {
            build.args(["build", "--release", "--package", "wasmill"]);
            "release"
        } else {
            // With all of the workspace, its features are those of the tests: nothing is compiled twice.
            build.args(["build", "--workspace", "--bins"]);
            "debug"
        };
        sh::run(&mut build)?;
        Ok(target.join(profile).join("wasmill"))
    }
}
