//! `wasmill plugin setup`

use super::build::{self, folder::Language};
use crate::cli::engine::EngineOptions;
use crate::cli::output;

/// Install what building plugins needs
///
/// Of rust, adds the target wasm32-unknown-unknown with rustup; where rustup cannot, and this is Debian and you are root, installs
/// Debian's compiler and the source of its standard library instead. Of python, js and c, installs componentize-py, componentize-js and
/// ziglang from PyPI and npm into wasmill's cache folder. Does nothing if it is there already.
#[derive(Debug, clap::Args)]
pub struct Setup {
    /// The language of the plugins; may be given several times
    #[arg(long, value_enum, default_value = "rust")]
    lang: Vec<Language>,

    #[command(flatten)]
    engine: EngineOptions,
}

impl Setup {
    /// Finds or installs what there has to be, and says which.
    ///
    /// # Errors
    /// What to install by hand.
    pub fn run(self) -> anyhow::Result<()> {
        for language in self.lang {
            let with = build::set_up(language, &self.engine)?;
            output::write(format!("plugins are compiled with {with}\n").as_bytes())?;
        }
        Ok(())
    }
}
