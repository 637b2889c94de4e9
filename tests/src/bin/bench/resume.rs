//! The start with a state of 1 GB: from the start of the process to its first commit.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use wasmill_tests::{Running, peak_memory, wait_until};

use crate::Options;
use crate::child;
use crate::report::{Report, median};
use crate::wasmill::Wasmill;

/// Every row is a key of its own, with a text of some 230 bytes as its state.
const PIPELINE: &str = r#"name = "resume"

[epoch]
{epoch}

[checkpoint]
path = "resume"
retain = 1

[sources.rows]
type = "generate"
words = 45
{source}

[steps.last]
input = "rows"
plugin = "last-pages"
group_by = ["value"]
config = { page = "text", n = 1 }

[steps.epoch]
input = "last"
aggregate = { keys = "count()" }

[sinks.out]
input = "epoch"
type = "print"
"#;

const WORKERS: u32 = 2;
const KEYS: u64 = 4_400_000;
const TURNS: u32 = 3;

/// Adds `resume_state_mb`, `resume_1gb_s`, and `resume_rss_mb`: the memory that the process holds when it goes on.
pub fn measure(options: &Options, wasmill: &Wasmill, report: &mut Report) -> anyhow::Result<()> {
    let checkpoint = prepare(wasmill)?;
    let endless = pipeline("interval = \"100ms\"", "rows_per_second = 1000");
    let (mut seconds, mut peak) = (Vec::new(), 0);
    for turn in 1..=options.runs.unwrap_or(TURNS) {
        eprintln!("resume, turn {turn}");
        let mut command = wasmill.command(&endless, WORKERS)?;
        let before = last_commit(&checkpoint)?;
        let started = Instant::now();
        let running = Running::start(&mut command);
        wait_until("a commit", || {
            last_commit(&checkpoint).is_ok_and(|now| now > before)
        });
        seconds.push(started.elapsed().as_secs_f64());
        peak = peak.max(peak_memory(running.id()));
        running.signal("TERM");
        running.end().succeeded();
    }
    let bytes = size(&checkpoint.join("state"))?;
    report.add("resume_state_mb", bytes as f64 / 1e6, "MB");
    report.add("resume_1gb_s", median(&seconds), "s");
    report.add("resume_rss_mb", peak as f64 / 1e6, "MB");
    Ok(())
}

fn pipeline(epoch: &str, source: &str) -> String {
    let pipeline = PIPELINE.replace("{epoch}", epoch);
    pipeline.replace("{source}", source)
}

/// A checkpoint with the state, made if there is none.
fn prepare(wasmill: &Wasmill) -> anyhow::Result<PathBuf> {
    let (checkpoint, done) = (wasmill.dir.join("resume"), wasmill.dir.join("resume.done"));
    if !done.exists() {
        eprintln!("resume: making the state");
        wasmill.removed("resume")?;
        let rows = format!("rows = {KEYS}");
        let pipeline = pipeline("trigger = \"available-now\"", &rows);
        child::run(&mut wasmill.command(&pipeline, WORKERS)?)?;
        fs::write(done, "")?;
    }
    Ok(checkpoint)
}

/// The name of the last commit record, which is its epoch with leading zeros.
fn last_commit(checkpoint: &Path) -> anyhow::Result<Option<OsString>> {
    let names = fs::read_dir(checkpoint.join("commit"))?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<_> = names.collect::<anyhow::Result<_>>()?;
    Ok(names.into_iter().max())
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => size(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}
