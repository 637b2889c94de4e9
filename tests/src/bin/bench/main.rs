//! `cargo xtask bench`: what Wasmill does in a second, beside a hand-written program, Spark, or itself under other conditions.
//!
//! What is compared takes turns, so that a machine whose speed changes is as unkind to one as to the other; figures are
//! medians, and a ratio is the median of the ratios within one turn. docs/benchmarks.md says what each figure means.

mod child;
mod counts;
mod hosting;
mod keyed;
mod languages;
mod latency;
mod native;
mod plugin;
mod report;
mod resume;
mod spark;
mod text;
mod touched;
mod wasmill;
mod windows;
mod words;

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use report::Report;
use wasmill::Wasmill;

#[derive(Parser)]
#[command(about = "Measures Wasmill; `cargo xtask bench` builds what it needs and runs it")]
struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure and print a table
    Run(Options),
    /// The hand-written program: counts the words of the files in INPUT
    Native { input: PathBuf, output: PathBuf },
}

#[derive(clap::Args)]
struct Options {
    /// Measure only this; may be given several times
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Part>,
    /// Also measure Spark (needs Java 17 and Python; pyspark is installed on first use)
    #[arg(long)]
    spark: bool,
    /// Also write every figure as a line {"name", "value", "unit"}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Size of the text in MB
    #[arg(long, default_value_t = 120)]
    megabytes: u64,
    /// Timed runs of each program [default: 7 of words and plugin, 3 of the others]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// The `wasmill` binary
    #[arg(long, value_name = "FILE")]
    wasmill: PathBuf,
    /// The folder of components
    #[arg(long, value_name = "DIR")]
    plugins: PathBuf,
    /// Where to keep all input and output
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// What can be measured for itself.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The word count of a text, beside a hand-written program and Spark
    Words,
    /// What a plugin call costs
    Plugin,
    /// A plugin that remembers a million keys, with and without a checkpoint, beside a native aggregate
    Keyed,
    /// Few active keys of many
    Touched,
    /// A sliding window beside a tumbling one
    Windows,
    /// The start with a large state
    Resume,
    /// From a socket to a sink at half of peak load
    Latency,
    /// A server with 500 idle pipelines, and with a tenant who means harm
    Hosting,
    /// The same plugins in every language; only when asked for (needs Python and Node)
    Languages,
}

fn main() -> anyhow::Result<()> {
    match Bench::parse().command {
        Command::Run(options) => run(&options),
        Command::Native { input, output } => native::main(&input, &output),
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    fs::create_dir_all(&options.dir)?;
    let wasmill = Wasmill {
        binary: options.wasmill.clone(),
        plugins: options.plugins.clone(),
        dir: options.dir.canonicalize()?,
    };
    let mut report = Report::default();
    let is_asked_for = |part: &&Part| match options.only.as_slice() {
        [] => **part != Part::Languages,
        only => only.contains(part),
    };
    for part in Part::value_variants().iter().filter(is_asked_for) {
        match part {
            Part::Words => words::measure(options, &wasmill, &mut report),
            Part::Plugin => plugin::measure(options, &wasmill, &mut report),
            Part::Keyed => keyed::measure(options, &wasmill, &mut report),
            Part::Touched => touched::measure(options, &wasmill, &mut report),
            Part::Windows => windows::measure(options, &wasmill, &mut report),
            Part::Resume => resume::measure(options, &wasmill, &mut report),
            Part::Latency => latency::measure(&wasmill, &mut report),
            Part::Hosting => hosting::measure(&wasmill, &mut report),
            Part::Languages => languages::measure(options, &wasmill, &mut report),
        }?;
    }
    report.print();
    match &options.json {
        Some(file) => report
            .write_json(file)
            .with_context(|| format!("cannot write {}", file.display())),
        None => Ok(()),
    }
}
