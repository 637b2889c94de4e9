//! `cargo xtask bench`: one text, one question (how often does each word occur?), answered by a hand-written program, by
//! Wasmill and, if asked, by Spark; and what a plugin call costs.
//!
//! Every answer is compared with the native program's. The programs take turns, so that a machine whose speed changes
//! is as unkind to one as to the other; figures are medians, and a ratio is the median of the ratios within one turn.

mod child;
mod counts;
mod native;
mod plugin;
mod report;
mod spark;
mod text;
mod wasmill;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use child::Finished;
use report::{Report, median, ratio};
use text::Text;

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
    /// Also measure Spark (needs Java 17 and Python; pyspark is installed on first use)
    #[arg(long)]
    spark: bool,
    /// Also write every figure as a line {"name", "value", "unit"}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Size of the text in MB
    #[arg(long, default_value_t = 120)]
    megabytes: u64,
    /// Timed runs of each program
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The `wasmill` binary
    #[arg(long, value_name = "FILE")]
    wasmill: PathBuf,
    /// The component of `split-words`
    #[arg(long, value_name = "FILE")]
    plugin: PathBuf,
    /// Where to keep the text and all output
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

fn main() -> anyhow::Result<()> {
    match Bench::parse().command {
        Command::Run(options) => run(&options),
        Command::Native { input, output } => native::main(&input, &output),
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    fs::create_dir_all(&options.dir)?;
    let dir = options.dir.canonicalize()?;
    let text = Text::prepare(&dir, options.megabytes * 1_000_000)?;
    let mut report = Report::new(&text);
    let two = end_to_end(options, &dir, &text, &mut report)?;
    plugin::measure(&options.plugin, &dir, options.runs, &mut report)?;
    if options.spark {
        spark::measure(&dir, &text, options.runs, two, &mut report)?;
    }
    report.print();
    match &options.json {
        Some(file) => report
            .write_json(file)
            .with_context(|| format!("cannot write {}", file.display())),
        None => Ok(()),
    }
}

/// Native program and Wasmill in turns; the answer is the words per second of two workers.
fn end_to_end(
    options: &Options,
    dir: &Path,
    text: &Text,
    report: &mut Report,
) -> anyhow::Result<f64> {
    let output = dir.join("native.csv");
    let mut runs: [Vec<Finished>; 3] = Default::default();
    // Turn 0 fills the page cache and Wasmill's compile cache, and is not counted.
    for turn in 0..=options.runs {
        eprintln!("turn {turn} of {}", options.runs);
        let native = native::run(&text.dir, &output)?;
        let expected = counts::of_file(&output)?;
        let [one, two] = [1, 2].map(|workers| -> anyhow::Result<Finished> {
            let pipeline = wasmill::Pipeline::write(dir, text, &options.plugin)?;
            let finished = pipeline.run(&options.wasmill, workers)?;
            counts::compare(&expected, &pipeline.counts()?, "Wasmill")?;
            Ok(finished)
        });
        let turns = [native, one?, two?];
        if turn > 0 {
            runs.iter_mut()
                .zip(turns)
                .for_each(|(runs, run)| runs.push(run));
        }
    }
    let words = counts::total(&counts::of_file(&output)?) as f64;
    let seconds = |of: usize| runs[of].iter().map(|run| run.seconds).collect::<Vec<_>>();
    for (of, name) in ["native", "wasmill_1", "wasmill_2"].into_iter().enumerate() {
        let seconds = median(&seconds(of));
        report.add(&format!("{name}_words_per_s"), words / seconds, "words/s");
        report.add(
            &format!("{name}_mb_per_s"),
            text.megabytes() / seconds,
            "MB/s",
        );
    }
    report.add(
        "wasmill_1_over_native",
        ratio(&seconds(0), &seconds(1)),
        "ratio",
    );
    report.add("wasmill_2_over_1", ratio(&seconds(1), &seconds(2)), "ratio");
    let peak = runs[1..].iter().flatten().map(|run| run.peak_bytes).max();
    report.add("peak_rss_mb", peak.unwrap_or_default() as f64 / 1e6, "MB");
    Ok(words / median(&seconds(2)))
}
