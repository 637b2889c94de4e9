//! A pipeline with a checkpoint, killed at any moment and started again, ends with the output that it would have had.

use std::path::Path;
use std::time::Duration;

use wasmill_tests::{delivered, folder, start_cluster, wasmill};

/// Enough lines for some dozens of epochs of `MAX_BYTES`.
const LINES: usize = 6_000;
const PIPELINE: &str = r#"
name = "recovered"

[epoch]
trigger = "available-now"
max_bytes = "8KiB"

[checkpoint]
path = "checkpoint"

[sources.lines]
type = "files"
path = "in"
on_error = "reject"

[steps.words]
input = "lines"
plugin = "split-words"

[steps.counts]
input = "words"
group_by = ["word"]
aggregate = { n = "count()" }

[sinks.out]
input = "counts"
type = "files"
path = "out"
format = "csv"

[rejected]
type = "files"
path = "rejected"
"#;

/// Lines over a few hundred words; some of them are not UTF-8.
fn input() -> Vec<u8> {
    let mut random = Random(7);
    let mut text = Vec::new();
    for line in 0..LINES {
        for _ in 0..1 + random.below(9) {
            text.extend_from_slice(format!("word{} ", random.below(300)).as_bytes());
        }
        if line % 500 == 499 {
            text.push(0xff);
        }
        text.push(b'\n');
    }
    text
}

/// Marsaglia's xorshift: the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A folder with the pipeline and its input in files of different sizes.
fn prepared(pipeline: &str) -> tempfile::TempDir {
    let folder = folder(&[("pipeline.toml", pipeline)]);
    let input = input();
    std::fs::create_dir(folder.path().join("in")).expect("the folder is writable");
    let (mut start, mut number) = (0, 0);
    while start < input.len() {
        let end = (start + 7_000 * (number + 1)).min(input.len());
        let end = input[end..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(input.len(), |at| end + at + 1);
        std::fs::write(
            folder.path().join(format!("in/{number:02}.txt")),
            &input[start..end],
        )
        .expect("the folder is writable");
        (start, number) = (end, number + 1);
    }
    folder
}

/// What both sinks hold, every file with its name. Without the batch time, which is the clock's.
fn output(folder: &Path) -> Vec<String> {
    let rejected = delivered(&folder.join("rejected")).into_iter().map(|line| {
        let mut row: serde_json::Value =
            serde_json::from_str(&line).expect("rejected rows are JSON");
        row.as_object_mut()
            .expect("a row is an object")
            .remove("batch_time");
        let origin = row["origin"]
            .as_str()
            .expect("a text")
            .replace(&*folder.to_string_lossy(), "");
        row["origin"] = origin.into();
        row.to_string()
    });
    delivered(&folder.join("out"))
        .into_iter()
        .chain(rejected)
        .collect()
}

fn undisturbed(pipeline: &str) -> Vec<String> {
    let folder = prepared(pipeline);
    let mut command = wasmill();
    command.arg("run").arg(folder.path().join("pipeline.toml"));
    wasmill_tests::run(&mut command).succeeded();
    let output = output(folder.path());
    assert!(output.len() > 5_000, "{} lines", output.len());
    output
}

/// Runs the pipeline until it ends by itself, on other numbers of workers each time, and kills it again and again before.
fn tortured(folder: &Path, processes: &[usize], seed: u64, kills: usize) -> Vec<String> {
    let file = folder.join("pipeline.toml");
    let mut random = Random(seed);
    for kill in 0..=kills {
        let count = processes[kill % processes.len()];
        let workers = 1 + random.below(3) as usize;
        let mut running = start_cluster(&file, count, workers, |_, command| {
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
    output(folder)
}

fn same(found: &[String], expected: &[String], seed: u64) {
    let lines = found.iter().zip(expected);
    let different = lines
        .clone()
        .position(|(found, expected)| found != expected);
    if let Some(line) = different {
        panic!(
            "seed {seed}, line {line}:\n{}\nexpected:\n{}",
            found[line], expected[line]
        );
    }
    assert_eq!(found.len(), expected.len(), "lines of seed {seed}");
}

#[test]
fn a_pipeline_killed_at_random_ends_with_the_output_it_would_have_had() {
    let expected = undisturbed(PIPELINE);
    for seed in 1..=3 {
        let folder = prepared(PIPELINE);
        same(&tortured(folder.path(), &[1], seed, 6), &expected, seed);
    }
}

#[test]
fn so_does_one_that_runs_on_one_process_now_and_on_two_then() {
    let expected = undisturbed(PIPELINE);
    for seed in 11..=12 {
        let folder = prepared(PIPELINE);
        same(
            &tortured(folder.path(), &[2, 1, 2], seed, 5),
            &expected,
            seed,
        );
    }
}
