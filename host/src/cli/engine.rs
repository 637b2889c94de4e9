//! The plugin engine as commands share it: one compile cache per user.

use std::path::PathBuf;

use crate::error::Failure;
use crate::plugin::{Engine, sweep};

/// Where compiled plugins are kept.
#[derive(Clone, Debug, clap::Args)]
pub struct EngineOptions {
    /// Folder for compiled plugins [default: wasmill in the user's cache folder]
    #[arg(
        long,
        value_name = "DIR",
        env = "WASMILL_CACHE",
        hide_env_values = true
    )]
    cache: Option<PathBuf>,
}

impl EngineOptions {
    /// Opens the engine of a user, of whose cache goes what was not used for a month.
    ///
    /// # Errors
    /// When no folder is known or it cannot be used.
    pub fn open(self) -> Result<Engine, Failure> {
        let folder = self.folder()?;
        let engine = Engine::new(&folder)?;
        if let Err(error) = sweep(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "old code stays in the compile cache");
        }
        Ok(engine)
    }

    /// Opens the engine of a server's child. What the cache keeps, its catalog says.
    ///
    /// # Errors
    /// When no folder is known or it cannot be used.
    pub fn open_hosted(self) -> Result<Engine, Failure> {
        Engine::new(&self.folder()?)
    }

    /// The folder.
    ///
    /// # Errors
    /// When none is known.
    pub fn folder(&self) -> Result<PathBuf, Failure> {
        self.cache.clone().or_else(user_cache).ok_or_else(|| {
            Failure::external("there is no folder to keep compiled plugins in: neither XDG_CACHE_HOME nor HOME is set")
                .help("name one with --cache or WASMILL_CACHE")
        })
    }
}

fn user_cache() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = folder("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(folder("HOME")?).join(".cache"));
    Some(cache.or_else(home)?.join("wasmill"))
}
