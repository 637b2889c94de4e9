//! The `wasmill` command: one subcommand, one file.

pub mod plugin;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A stream processor whose user code is WebAssembly
#[derive(Debug, Parser)]
#[command(name = "wasmill", version)]
struct Wasmill {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(subcommand)]
    Plugin(plugin::Plugin),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let done = match Wasmill::parse().command {
        Command::Plugin(plugin) => plugin.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
