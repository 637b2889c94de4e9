//! A pipeline with a checkpoint, killed at any moment and started again, ends with the output that it would have had.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use wasmill_tests::torture::{Random, killed};
use wasmill_tests::{Running, delivered, folder, manifest, wait_until, wasmill};

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

/// The same with files of several epochs, and commits of several.
fn rolled() -> String {
    PIPELINE
        .replace("path = \"out\"", "path = \"out\"\nroll = { epochs = 5 }")
        .replace(
            "path = \"checkpoint\"",
            "path = \"checkpoint\"\ncommit_every = 2",
        )
}

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
    for sink in ["out", "rejected"] {
        manifest::check_below(&folder.join(sink));
    }
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

/// Kills the pipeline again and again, and lets it end.
fn tortured(folder: &Path, processes: &[usize], seed: u64, kills: usize) -> Vec<String> {
    killed(&folder.join("pipeline.toml"), processes, seed, kills);
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

/// Runs the pipeline once, expecting it to crash at a failpoint.
fn crash(folder: &Path, failpoints: &str) {
    let mut command = wasmill();
    command
        .arg("run")
        .arg(folder.join("pipeline.toml"))
        .args(["--quiet", "--workers", "2"])
        .env("FAILPOINTS", failpoints);
    let ended = wasmill_tests::run(&mut command);
    assert_eq!(ended.status.code(), None, "{failpoints}: {}", ended.err);
}

#[test]
fn a_crash_before_and_after_every_durable_step_loses_and_repeats_nothing() {
    for pipeline in [PIPELINE, &rolled()] {
        let expected = undisturbed(pipeline);
        let folder = prepared(pipeline);
        for point in [
            "plan-before",
            "plan-after",
            "prepare-before",
            "prepare-after",
            "commit-before",
            "commit-after",
            "publish",
            "manifest-before",
            "manifest-after",
        ] {
            for count in [0, 2] {
                crash(folder.path(), &format!("{point}={count}*off->1*return"));
            }
        }
        same(&tortured(folder.path(), &[1], 1, 0), &expected, 0);
    }
}

#[test]
fn files_of_several_epochs_are_as_undisturbed_wherever_their_rows_were_read() {
    let expected = undisturbed(&rolled());
    for seed in 21..=22 {
        let folder = prepared(&rolled());
        let found = tortured(folder.path(), &[2, 1, 2], seed, 5);
        same(&found, &expected, seed);
    }
}

#[test]
fn a_commit_of_several_epochs_is_told_of_each() {
    let folder = prepared(&rolled());
    crash(folder.path(), "commit-before=1*off->1*return");
    let look = |arguments: &[&str]| {
        let mut command = wasmill();
        command.args(arguments);
        wasmill_tests::run(command.current_dir(folder.path()))
    };
    let listed = look(&["epoch", "ls", "checkpoint", "--format", "json"]).succeeded();
    let commits: Vec<_> = listed
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|epoch| (epoch["state"].clone(), epoch["commit"].clone()))
        .collect();
    assert_eq!(commits[0], ("committed".into(), 1.into()));
    assert_eq!(commits[1], ("committed".into(), 1.into()));
    assert_eq!(commits[2], ("planned".into(), serde_json::Value::Null));
    let shown = look(&["epoch", "show", "checkpoint", "0"]).succeeded().out;
    assert!(
        shown.contains("committed, by the commit of epoch 1\n"),
        "{shown}"
    );
    let covered = look(&["state", "ls", "checkpoint", "--epoch", "0"]).failed_with(3);
    assert!(covered.err.contains("say --epoch 1"), "{}", covered.err);
}

const LIVE: &str = r#"
name = "live"

[epoch]
interval = "20ms"

[checkpoint]
path = "checkpoint"
retain = 5

[sources.lines]
type = "tcp"
address = "ADDRESS"
retry_max = "200ms"

[sinks.out]
input = "lines"
type = "files"
path = "out"
format = "text"
"#;

#[test]
fn what_a_peer_has_sent_is_delivered_once_if_it_was_planned_before_the_crash() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("bound").to_string();
    let folder = folder(&[("pipeline.toml", &LIVE.replace("ADDRESS", &address))]);
    let out = folder.path().join("out");
    let mut next = 0;
    for point in ["plan-after", "commit-before", "commit-after", "publish"] {
        let mut command = wasmill();
        command
            .arg("run")
            .arg(folder.path().join("pipeline.toml"))
            .arg("--quiet")
            .env("FAILPOINTS", format!("{point}=3*off->1*return"));
        let running = Running::start(&mut command);
        let (mut peer, _) = listener.accept().expect("wasmill connects");
        // Slow enough for several epochs, until the other side is gone.
        while writeln!(peer, "line {next}").is_ok() {
            next += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(running.end().status.code(), None, "{point}");
    }
    let mut command = wasmill();
    command.arg("run").arg(folder.path().join("pipeline.toml"));
    let running = Running::start(&mut command);
    let (mut peer, _) = listener.accept().expect("wasmill connects");
    writeln!(peer, "the end").expect("connected");
    wait_until("the end", || {
        delivered(&out).last().is_some_and(|line| line == "the end")
    });
    running.signal("TERM");
    running.end().succeeded();
    // Lines of a crash that no plan held are lost with the connection; all others are there once, in order.
    let lines = delivered(&out);
    let numbers: Vec<u32> = lines[..lines.len() - 1]
        .iter()
        .map(|line| {
            line.strip_prefix("line ")
                .expect("a line")
                .parse()
                .expect("whole")
        })
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
    let gaps = numbers
        .windows(2)
        .filter(|pair| pair[0] + 1 != pair[1])
        .count();
    assert!(gaps <= 4, "{gaps} gaps for 4 crashes: {numbers:?}");
    assert!(numbers.len() > 20, "{numbers:?}");
    let kept = |kind: &str| {
        std::fs::read_dir(folder.path().join("checkpoint").join(kind)).map_or(0, Iterator::count)
    };
    assert_eq!((kept("commit"), kept("plan")), (5, 5), "`retain` is 5");
    assert!(kept("input") <= 5);
}

#[test]
fn files_of_an_interval_end_though_no_more_rows_come() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("bound").to_string();
    let rolled = LIVE.replace(
        "format = \"text\"",
        "format = \"text\"\nroll = { interval = \"200ms\" }",
    );
    let folder = folder(&[("pipeline.toml", &rolled.replace("ADDRESS", &address))]);
    let out = folder.path().join("out");
    let run = || {
        let mut command = wasmill();
        command
            .arg("run")
            .arg(folder.path().join("pipeline.toml"))
            .arg("--quiet");
        let running = Running::start(&mut command);
        let (peer, _) = listener.accept().expect("wasmill connects");
        (running, peer)
    };
    let staged = || std::fs::read_dir(out.join(".wasmill-tmp/out")).map_or(0, Iterator::count);
    let (running, mut peer) = run();
    writeln!(peer, "only").expect("connected");
    wait_until("the line", || manifest::listed(&out) == ["only"]);
    wait_until("the end of its roll", || staged() == 0);
    // Another one is held back by its roll when the process is killed, and by that of the next.
    writeln!(peer, "last").expect("connected");
    wait_until("the other line", || {
        staged() > 0 || delivered(&out).len() == 2
    });
    running.signal("KILL");
    running.end();
    let (running, _peer) = run();
    wait_until("the other line", || manifest::listed(&out).len() == 2);
    running.signal("TERM");
    running.end().succeeded();
    assert_eq!(manifest::listed(&out), ["only", "last"]);
}

#[test]
fn a_damaged_record_is_noticed_before_anything_is_read() {
    let folder = prepared(PIPELINE);
    crash(folder.path(), "commit-before=3*off->1*return");
    let plans = folder.path().join("checkpoint/plan");
    let mut names: Vec<_> = std::fs::read_dir(&plans)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let newest = names.last().unwrap();
    let whole = std::fs::read(newest).unwrap();
    let mut flipped = whole.clone();
    flipped[10] ^= 1;
    for (bytes, wrong) in [
        (&flipped[..], "does not match its checksum"),
        (&whole[..9], "is cut off"),
    ] {
        std::fs::write(newest, bytes).unwrap();
        let mut command = wasmill();
        let ended = wasmill_tests::run(command.arg("run").arg(folder.path().join("pipeline.toml")));
        let ended = ended.failed_with(4);
        assert!(
            ended.err.contains("is damaged: `plan/") && ended.err.contains(wrong),
            "{}",
            ended.err
        );
    }
    std::fs::write(newest, whole).unwrap();
    same(
        &tortured(folder.path(), &[1], 1, 0),
        &undisturbed(PIPELINE),
        0,
    );
}

#[test]
fn a_checkpoint_has_one_writer_and_is_of_one_pipeline() {
    let endless = LIVE.replace("ADDRESS", "127.0.0.1:9");
    let folder = folder(&[
        ("pipeline.toml", &endless),
        (
            "renamed.toml",
            &endless
                .replace("sources.lines", "sources.rows")
                .replace("\"lines\"", "\"rows\""),
        ),
    ]);
    let run = |file: &str, more: &[&str]| {
        let mut command = wasmill();
        command.arg("run").arg(folder.path().join(file)).args(more);
        command
    };
    let first = Running::start(&mut run("pipeline.toml", &[]));
    wait_until("the claim", || {
        folder.path().join("checkpoint/pipeline").exists()
    });
    let second = wasmill_tests::run(&mut run("pipeline.toml", &[])).failed_with(4);
    assert!(
        second
            .err
            .contains("another process is running on the checkpoint"),
        "{}",
        second.err
    );
    first.signal("TERM");
    first.end().succeeded();
    let renamed = wasmill_tests::run(&mut run("renamed.toml", &[])).failed_with(3);
    assert!(
        renamed.err.contains("the source `lines` is gone"),
        "{}",
        renamed.err
    );
    let confirmed = Running::start(&mut run("renamed.toml", &["--accept-changes"]));
    confirmed.wait_for("connecting again");
    confirmed.signal("TERM");
    confirmed.end().succeeded();
}

#[test]
fn the_epochs_of_a_checkpoint_can_be_looked_at() {
    let folder = prepared(PIPELINE);
    crash(folder.path(), "commit-before=2*off->1*return");
    let look = |arguments: &[&str]| {
        let mut command = wasmill();
        command.arg("epoch").args(arguments);
        wasmill_tests::run(command.current_dir(folder.path()))
    };
    let listed = look(&["ls", "checkpoint", "--format", "json"]).succeeded();
    let listed: Vec<serde_json::Value> = listed
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let states: Vec<_> = listed.iter().map(|epoch| &epoch["state"]).collect();
    assert_eq!(states[..3], ["committed", "committed", "planned"]);
    assert!(
        listed
            .iter()
            .all(|epoch| epoch["bytes"].as_u64() <= Some(8 << 10))
    );
    let table = look(&["ls", "checkpoint"]).succeeded().out;
    assert_eq!(table.lines().count(), listed.len() + 1, "{table}");
    let shown = look(&["show", "checkpoint", "1"]).succeeded().out;
    assert!(
        shown.contains("epoch 1 of ") && shown.contains("in/01.txt, bytes 0 to "),
        "{shown}"
    );
    let gone = look(&["show", "checkpoint", "1000"]).failed_with(3);
    assert!(gone.err.contains("holds no epoch 1000"), "{}", gone.err);
    let none = look(&["ls", "in"]).failed_with(3);
    assert!(
        none.err.contains("there is no checkpoint in `in`"),
        "{}",
        none.err
    );
}
