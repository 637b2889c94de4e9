//! `wasmill plugin ..`: making plugins.

mod build;
mod setup;
pub mod toolchain;

pub use build::Build;
pub use setup::Setup;

/// Make plugins.
#[derive(Debug, clap::Subcommand)]
pub enum Plugin {
    /// Make a component of a plugin's folder
    Build(Build),
    /// Install what compiling plugins needs
    Setup(Setup),
}

impl Plugin {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// What kept it from its end.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Build(build) => build.run(),
            Self::Setup(setup) => setup.run(),
        }
    }
}
