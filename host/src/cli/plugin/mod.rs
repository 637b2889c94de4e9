//! `wasmill plugin ..`: making plugins, looking into them, and pushing them to a server.

mod bench;
mod build;
mod conform;
mod dev;
mod granted;
mod inspect;
mod new;
mod replay;
mod sdk;
mod setup;
mod test;

pub use bench::Bench;
pub use build::Build;
pub use conform::Conform;
pub use dev::Dev;
pub use inspect::Inspect;
pub use new::New;
pub use replay::Replay;
pub use sdk::Sdk;
pub use setup::Setup;
pub use test::Test;

use super::client::plugin as remote;
use super::exit::Exit;

/// Make, test, inspect and push plugins
#[derive(Debug, clap::Subcommand)]
pub enum Plugin {
    /// Begin a plugin
    New(New),
    /// Make a component of a plugin's folder
    Build(Build),
    /// Test a plugin with its fixtures
    Test(Test),
    /// Build and test a plugin whenever its sources change
    Dev(Dev),
    /// Measure what a plugin costs
    Bench(Bench),
    /// Make a call again that failed elsewhere
    Replay(Replay),
    /// Check that a plugin does what one of Wasmill's own does
    Conform(Conform),
    /// Install what compiling plugins needs
    Setup(Setup),
    /// Print the folder of an SDK of this version of wasmill
    Sdk(Sdk),
    /// Say what a plugin is: its world, imports, size and digest
    Inspect(Inspect),
    /// Push a component to a server, as the next version of a plugin, or to an OCI registry
    Push(remote::Push),
    /// List the plugins on a server
    Ls(remote::Ls),
    /// Show a plugin on a server
    Show(remote::Named),
    /// List the versions of a plugin on a server
    Versions(remote::Named),
    /// Get a component back from a server, or from an OCI registry
    Pull(remote::Pull),
    /// Remove a version of a plugin from a server
    Rm(remote::Named),
}

impl Plugin {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// What kept it from its end.
    pub fn run(self) -> anyhow::Result<Exit> {
        let done = match self {
            Self::Test(test) => return test.run(),
            Self::Conform(conform) => return conform.run(),
            Self::Replay(replay) => return replay.run(),
            Self::Dev(dev) => dev.run(),
            Self::Bench(bench) => bench.run(),
            Self::New(new) => new.run(),
            Self::Sdk(sdk) => sdk.run(),
            Self::Build(build) => build.run(),
            Self::Setup(setup) => setup.run(),
            Self::Inspect(inspect) => inspect.run(),
            Self::Push(push) => push.run(),
            Self::Ls(ls) => ls.run(),
            Self::Show(named) => named.show(),
            Self::Versions(named) => named.versions(),
            Self::Pull(pull) => pull.run(),
            Self::Rm(named) => named.rm(),
        };
        done.map(|()| Exit::Done)
    }
}
