//! `wasmill plugin sdk`: where the SDK of a language is.

use clap::ValueEnum;

use super::build::kit::Kit;
use crate::cli::engine::EngineOptions;
use crate::cli::output;

/// Print the folder of an SDK of this version of wasmill
///
/// Its sources are part of the program and lie in its cache folder: for editors, and for a plugin's own tests. The SDK for Rust is a crate.
#[derive(Debug, clap::Args)]
pub struct Sdk {
    /// The language
    language: Packed,

    #[command(flatten)]
    engine: EngineOptions,
}

/// A language whose SDK is source that is part of the program.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Packed {
    Python,
    Js,
    C,
}

impl Sdk {
    /// Prints it.
    ///
    /// # Errors
    /// When it cannot be unpacked.
    pub fn run(self) -> anyhow::Result<()> {
        let name = match self.language {
            Packed::Python => "python",
            Packed::Js => "js",
            Packed::C => "c",
        };
        let folder = Kit::open(&self.engine.folder()?)?.sdk(name);
        output::write(format!("{}\n", folder.display()).as_bytes())
    }
}
