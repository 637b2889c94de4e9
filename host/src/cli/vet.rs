//! `wasmill vet`: what `wasmill serve` starts for each pipeline file that it is to apply. Not for people.

use super::bounds::ChildOptions;
use super::engine::EngineOptions;
use super::exit::Exit;
use crate::bounded::answer;
use crate::pipeline::confined::ConfinedFile;

/// Check a pipeline file of a tenant, within bounds
#[derive(Debug, clap::Args)]
pub struct Vet {
    #[command(flatten)]
    engine: EngineOptions,

    #[command(flatten)]
    child: ChildOptions,
}

impl Vet {
    /// Asked on standard input, answers on standard output.
    ///
    /// # Errors
    /// When it cannot be limited, or nobody asks or listens.
    pub fn run(self) -> anyhow::Result<Exit> {
        self.child.impose()?;
        answer(|file: ConfinedFile| Ok(file.check(&self.engine.open_hosted()?)))?;
        Ok(Exit::Done)
    }
}
