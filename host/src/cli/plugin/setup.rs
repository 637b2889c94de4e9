//! `wasmill plugin setup`

use super::toolchain::Toolchain;

/// Install what compiling plugins needs
///
/// Adds the target wasm32-unknown-unknown with rustup. Where rustup cannot, and this is Debian and you are root, installs
/// Debian's compiler and the source of its standard library instead. Does nothing if plugins can be compiled already.
#[derive(Debug, clap::Args)]
pub struct Setup {}

impl Setup {
    /// Finds a toolchain or installs one, and says which.
    ///
    /// # Errors
    /// What to install by hand.
    pub fn run(self) -> anyhow::Result<()> {
        let toolchain = Toolchain::find().or_else(|_| Toolchain::install())?;
        println!("plugins are compiled with {toolchain}");
        Ok(())
    }
}
