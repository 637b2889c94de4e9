//! Pipelines that are killed at random moments and started again, and what they should end with.
//!
//! A case is a file of `tests/torture/`: a pipeline that reads `in`, a folder of batches that is made here, and writes with `files`
//! sinks below `out`. It is run once undisturbed; then by seeds, each run killed several times with SIGKILL on
//! changing numbers of workers and processes, until it ends by itself. The bytes of all files must be equal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{run, start_cluster, wasmill};

/// Epochs of a case: enough to be killed in the middle of, again and again.
const BATCHES: u64 = 100;
/// Batch times are so far apart, in milliseconds.
const STEP: u64 = 200;

/// Marsaglia's xorshift: the same on every machine.
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// All cases, by name.
pub fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("torture");
    let files = fs::read_dir(folder).expect("the folder of cases");
    let mut cases: Vec<PathBuf> = files.map(|entry| entry.expect("readable").path()).collect();
    cases.sort();
    cases
}

/// A folder with the pipeline of a case and its input.
fn prepared(case: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let batches = folder.path().join("in");
    fs::create_dir(&batches).expect("writable");
    fs::copy(case, folder.path().join("pipeline.toml")).expect("copied");
    let mut random = Random(7);
    for batch in 1..=BATCHES {
        // Some are empty: only time goes on.
        let rows = random.below(40).saturating_sub(4);
        let mut text = String::new();
        for _ in 0..rows {
            let (key, user, n) = (random.below(50), random.below(9), random.below(1000));
            let x = random.below(1 << 50) as f64 / 3e14 - 1.5;
            let time = batch * STEP - random.below(STEP);
            writeln!(
                text,
                r#"{{"key":"key{key}","user":"user{user}","n":{n},"x":{x},"time":"1970-01-01T00:{:02}:{:02}.{:03}Z"}}"#,
                time / 60_000,
                time / 1000 % 60,
                time % 1000,
            )
            .expect("a String takes everything");
        }
        fs::write(batches.join(format!("{}.jsonl", batch * STEP)), text).expect("writable");
    }
    folder
}

/// Every file below `out`, by its path.
type Files = BTreeMap<PathBuf, String>;

fn output(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![folder.join("out")];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below it").to_owned();
                files.insert(name, fs::read_to_string(&path).expect("output is text"));
            }
        }
    }
    files
}

/// What a case gives when nothing happens to it.
///
/// # Panics
/// When it fails, or gives next to nothing: then a comparison would show nothing.
pub fn undisturbed(case: &Path) -> Files {
    let folder = prepared(case);
    let mut command = wasmill();
    command.arg("run").arg(folder.path().join("pipeline.toml"));
    run(&mut command).succeeded();
    let files = output(folder.path());
    let lines: usize = files.values().map(|text| text.lines().count()).sum();
    assert!(lines > 100, "{} gives {lines} lines", case.display());
    files
}

/// Kills a case again and again, lets it end, and compares.
///
/// # Panics
/// When it ends with anything else than `expected`; the message has the seed.
pub fn torture(case: &Path, expected: &Files, seed: u64, kills: usize) {
    let folder = prepared(case);
    killed(&folder.path().join("pipeline.toml"), &[1, 2], seed, kills);
    crate::manifest::check_below(&folder.path().join("out"));
    let found = output(folder.path());
    let of = format!("{}, seed {seed}", case.display());
    for (path, text) in expected {
        let found = found.get(path).map(String::as_str);
        assert_eq!(found, Some(text.as_str()), "{} of {of}", path.display());
    }
    assert_eq!(found.len(), expected.len(), "files of {of}");
}

/// Runs a pipeline until it ends by itself, on 1 to 3 workers of one of the numbers of processes in turn; before that it is killed
/// `kills` times.
pub fn killed(pipeline: &Path, processes: &[usize], seed: u64, kills: usize) {
    let mut random = Random(seed);
    for kill in 0..=kills {
        let count = processes[kill % processes.len()];
        let workers = 1 + random.below(3) as usize;
        let mut running = start_cluster(pipeline, count, workers, |_, command| {
            command.arg("--quiet");
            if count > 1 {
                // One may be killed before it has met the other.
                command.args(["--start-timeout", "2s"]);
            }
        });
        if kill < kills {
            let victim = random.below(count as u64) as usize;
            std::thread::sleep(Duration::from_millis(30 + random.below(250)));
            running[victim].signal("KILL");
            running.drain(..).for_each(|process| drop(process.end()));
        } else {
            running
                .drain(..)
                .for_each(|process| drop(process.end().succeeded()));
        }
    }
}
