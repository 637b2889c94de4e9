//! `wasmill compile`: what `wasmill serve` and its runners start for each component that has no code yet. Not for people.

use std::path::PathBuf;

use super::bounds::ChildOptions;
use super::engine::EngineOptions;
use super::exit::Exit;
use crate::bounded::answer;
use crate::plugin::compilers_give_way;

/// Compile a component into the cache, within bounds, and say what it is
#[derive(Debug, clap::Args)]
pub struct Compile {
    /// The component's file
    file: PathBuf,

    #[command(flatten)]
    engine: EngineOptions,

    #[command(flatten)]
    child: ChildOptions,
}

impl Compile {
    /// Answers on standard output.
    ///
    /// # Errors
    /// When it cannot be limited, or nobody listens.
    pub fn run(self) -> anyhow::Result<Exit> {
        self.child.impose()?;
        compilers_give_way();
        answer(|()| {
            let component = self.engine.open_hosted()?.load(&self.file)?;
            Ok(component.about().clone())
        })?;
        Ok(Exit::Done)
    }
}
