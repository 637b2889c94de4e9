//! `wasmill shadow`: what `wasmill serve` starts to run an epoch with an upgrade beside what it was. Not for people.

use super::bounds::ChildOptions;
use super::check;
use super::engine::EngineOptions;
use super::exit::Exit;
use super::replay::Again;
use crate::bounded::answer;
use crate::checkpoint::Records;
use crate::error::Failure;
use crate::pipeline::{PipelineFile, Plan};
use crate::plugin::Engine;
use crate::secret::SecretSource;
use crate::server::shadow::{Beside, Compared};

/// Run an epoch of a tenant's pipeline as it was and with an upgrade, within bounds
#[derive(Debug, clap::Args)]
pub struct Shadow {
    #[command(flatten)]
    engine: EngineOptions,

    #[command(flatten)]
    child: ChildOptions,
}

impl Shadow {
    /// Asked on standard input, answers on standard output.
    ///
    /// # Errors
    /// When it cannot be limited, or nobody asks or listens.
    pub fn run(self) -> anyhow::Result<Exit> {
        self.child.impose()?;
        answer(|beside: Beside| {
            let engine = self.engine.open_hosted()?;
            engine.use_secrets(SecretSource::Given(beside.secrets.clone()));
            compare(&engine, &beside).map_err(|error| {
                let failure = error.downcast::<Failure>();
                failure.unwrap_or_else(|error| Failure::external(format!("{error:#}")))
            })
        })?;
        Ok(Exit::Done)
    }
}

fn compare(engine: &Engine, beside: &Beside) -> anyhow::Result<Compared> {
    let again = Again::of(Records::open(&beside.checkpoint)?, beside.epoch)?;
    let then = plan(engine, &again.then)?;
    let now = plan(engine, &check::read(&beside.pipeline)?)?;
    let epoch = beside.epoch.0;
    Ok(match again.run(then, Some(now), 1, beside.accept_changes) {
        Ok(shown) => Compared {
            epoch,
            differs: shown.differs(),
            report: shown.text(),
        },
        Err(failure) => Compared {
            epoch,
            differs: true,
            report: format!("epoch {epoch} fails with the change: {failure}\n"),
        },
    })
}

fn plan(engine: &Engine, file: &PipelineFile) -> Result<Plan, Failure> {
    let plan = file.check(engine).plan;
    plan.ok_or_else(|| Failure::external("a pipeline that was applied cannot run any more"))
}
