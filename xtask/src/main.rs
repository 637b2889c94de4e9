//! `cargo xtask`: everything that a contributor or a newcomer runs. Each task does its own set-up.

mod bench;
mod ci;
mod demo;
mod overload;
mod plugins;
mod sh;
mod test;
mod torture;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Wasmill's tasks
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Count the words of a live stream for some seconds
    Demo(demo::Demo),
    /// Build the plugins and run every test
    Test(test::Test),
    Torture(torture::Torture),
    Overload(overload::Overload),
    Bench(bench::Bench),
    /// Build every plugin of this repository as a component
    Plugins(plugins::Plugins),
    /// Check format, lints and documentation
    Ci,
}

fn main() -> ExitCode {
    let task = Xtask::parse().task;
    let done = sh::enter_workspace().and_then(|()| match task {
        Task::Demo(demo) => demo.run(),
        Task::Test(test) => test.run(),
        Task::Torture(torture) => torture.run(),
        Task::Overload(overload) => overload.run(),
        Task::Bench(bench) => bench.run(),
        Task::Plugins(plugins) => plugins.run().map(drop),
        Task::Ci => ci::run(),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
