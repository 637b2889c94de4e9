//! `wasmill plugin ..`: making plugins and looking into them.

mod build;
mod inspect;
mod setup;
pub mod toolchain;

pub use build::Build;
pub use inspect::Inspect;
pub use setup::Setup;

/// Make and inspect plugins
#[derive(Debug, clap::Subcommand)]
pub enum Plugin {
    /// Make a component of a plugin's folder
    Build(Build),
    /// Install what compiling plugins needs
    Setup(Setup),
    /// Say what a plugin is: its world, imports, size and digest
    Inspect(Inspect),
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
            Self::Inspect(inspect) => inspect.run(),
        }
    }
}
