//! The `wasmill` command: one subcommand, one file.
//!
//! Results go to standard output, everything about the run itself (status, log, errors, the summary) to standard error.

mod bounds;
mod check;
mod client;
mod compile;
mod completions;
mod engine;
mod epoch;
mod exit;
mod log;
mod output;
pub mod plugin;
mod progress;
mod remembered;
mod replay;
mod run;
mod runner;
mod serve;
mod shadow;
mod signals;
mod state;
mod summary;
mod terminal;
mod traces;
mod vet;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use exit::Exit;
use log::LogFormat;

/// A stream processor whose user code is WebAssembly
///
/// A pipeline is a file that names sources, steps and sinks. `wasmill check` says what is wrong with it, `wasmill run`
/// runs it, `wasmill plugin` makes and inspects the WebAssembly components that its steps run. `wasmill serve` keeps the
/// pipelines of many tenants running; `wasmill pipeline` and its kin talk to such a server.
#[derive(Debug, Parser)]
#[command(name = "wasmill", version, max_term_width = 100, after_long_help = AFTER_HELP)]
struct Wasmill {
    #[command(subcommand)]
    command: Command,

    /// How log lines, errors and the summary are written to standard error
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t
    )]
    log: LogFormat,
}

const AFTER_HELP: &str = "\
Examples:
  wasmill check pipeline.toml              Say what is wrong with a pipeline, or show its plan
  wasmill run pipeline.toml                Run it until its input ends or Ctrl-C
  wasmill run pipeline.toml --workers 4    On four threads; the result is the same
  wasmill epoch ls checkpoint              List the epochs that its checkpoint holds
  wasmill state get checkpoint totals be   Show what a step remembers of a key
  wasmill replay checkpoint --epoch 12     Run an epoch again and see what it gives
  wasmill plugin build plugins/my-plugin   Make a component of a Rust crate
  wasmill plugin inspect my-plugin         Say what a component is and what it may do
  wasmill serve --data data                Keep the pipelines of many running
  wasmill pipeline apply pipeline.toml     Let a server run it

Exit codes:
  0  done, or drained after Ctrl-C
  1  Wasmill itself failed: a bug to report
  2  the command line or the pipeline file is wrong
  3  a plugin or the data made the pipeline fail
  4  the world outside made it fail: disk, network, a peer
  5  a replay, an upgrade's shadow or a plugin's fixture gave something else
  128 + N  ended at once by signal N, given twice";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    #[command(subcommand)]
    Epoch(epoch::EpochCommand),
    #[command(subcommand)]
    State(state::StateCommand),
    Replay(replay::Replay),
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    Serve(serve::Serve),
    Login(client::login::Login),
    #[command(subcommand)]
    Context(client::login::Context),
    #[command(subcommand)]
    Pipeline(client::pipeline::PipelineCommand),
    #[command(subcommand)]
    Rejected(client::rejected::RejectedCommand),
    #[command(subcommand)]
    Tenant(client::tenant::TenantCommand),
    #[command(subcommand)]
    Admin(client::admin::AdminCommand),
    Top(client::top::Top),
    #[command(subcommand)]
    Secret(client::secret::SecretCommand),
    Audit(client::audit::Audit),
    Completions(completions::Completions),
    #[command(hide = true)]
    Runner(runner::Runner),
    #[command(hide = true)]
    Compile(compile::Compile),
    #[command(hide = true)]
    Vet(vet::Vet),
    #[command(hide = true)]
    Shadow(shadow::Shadow),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let Wasmill { command, log } = Wasmill::parse();
    // The one provider of TLS in this program; a second installation would be of the same.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let done = match command {
        Command::Run(run) => run.run(log),
        Command::Check(check) => check.run(log),
        Command::Epoch(epoch) => epoch.run().map(|()| Exit::Done),
        Command::State(state) => state.run().map(|()| Exit::Done),
        Command::Replay(replay) => replay.run(log),
        Command::Plugin(plugin) => plugin.run(),
        Command::Serve(serve) => serve.run(log),
        Command::Login(login) => login.run().map(|()| Exit::Done),
        Command::Context(context) => context.run().map(|()| Exit::Done),
        Command::Pipeline(pipeline) => pipeline.run().map(|()| Exit::Done),
        Command::Rejected(rejected) => rejected.run().map(|()| Exit::Done),
        Command::Tenant(tenant) => tenant.run().map(|()| Exit::Done),
        Command::Admin(admin) => admin.run().map(|()| Exit::Done),
        Command::Top(top) => top.run().map(|()| Exit::Done),
        Command::Secret(secret) => secret.run().map(|()| Exit::Done),
        Command::Audit(audit) => audit.run().map(|()| Exit::Done),
        Command::Completions(completions) => {
            completions.run(Wasmill::command()).map(|()| Exit::Done)
        }
        Command::Runner(runner) => runner.run(log),
        Command::Compile(compile) => compile.run(),
        Command::Vet(vet) => vet.run(),
        Command::Shadow(shadow) => shadow.run(),
    };
    let exit = done.unwrap_or_else(|error| {
        log.report(&error);
        Exit::of(&error)
    });
    exit.into()
}
