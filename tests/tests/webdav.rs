//! `sink-webdav`, a plugin of two phases, against a server: every row is there once, whenever the pipeline is killed.

use std::process::Command;
use std::sync::{Arc, Mutex};

use wasmill_tests::torture::killed;
use wasmill_tests::webdav::{WebDav, When};
use wasmill_tests::{Running, folder, run, wasmill};

const PIPELINE: &str = r#"
name = "archive"

[epoch]
trigger = "available-now"
max_bytes = "64B"

[checkpoint]
path = "checkpoint"
commit_every = 2

[sources.lines]
type = "files"
path = "in"

[sinks.archive]
input = "lines"
type = "plugin"
plugin = "sink-webdav"
config = { url = "http://ADDRESS/" }
grants = { http = ["ADDRESS"] }
"#;

/// A server, and a folder with the pipeline that writes to it and some lines to write.
fn prepared() -> (WebDav, tempfile::TempDir, Vec<String>) {
    let server = WebDav::start();
    let lines: Vec<String> = (0..100).map(|line| format!("line {line:02}")).collect();
    let pipeline = PIPELINE.replace("ADDRESS", &server.address.to_string());
    let folder = folder(&[
        ("pipeline.toml", &pipeline),
        ("in/lines.txt", &lines.join("\n")),
    ]);
    (server, folder, lines)
}

fn command(folder: &tempfile::TempDir) -> Command {
    let mut command = wasmill();
    command
        .arg("run")
        .arg(folder.path().join("pipeline.toml"))
        .arg("--quiet");
    command
}

/// The lines that a reader finds, in the order of epochs and partitions.
fn found(server: &WebDav) -> Vec<String> {
    let files = server.files();
    let staged: Vec<_> = files.keys().filter(|name| name.starts_with('.')).collect();
    assert!(staged.is_empty(), "left behind: {staged:?}");
    let rows = files.values().flat_map(|text| text.lines());
    let line = |row: &str| {
        let row: serde_json::Value = serde_json::from_str(row).expect("a row is JSON");
        row["line"].as_str().expect("a text").to_owned()
    };
    rows.map(line).collect()
}

#[test]
fn a_crash_before_and_after_every_step_of_a_commit_loses_and_repeats_nothing() {
    let (server, folder, lines) = prepared();
    for point in [
        "prepare-before",
        "prepare-after",
        "commit-before",
        "commit-after",
    ] {
        for count in [0, 1] {
            let mut command = command(&folder);
            command.env("FAILPOINTS", format!("{point}={count}*off->1*return"));
            let ended = run(&mut command);
            assert_eq!(ended.status.code(), None, "{point}: {}", ended.err);
        }
    }
    run(&mut command(&folder)).succeeded();
    assert_eq!(found(&server), lines);
}

#[test]
fn a_pipeline_killed_while_it_stages_or_renames_delivers_every_row_once() {
    for (method, when) in [
        ("PUT", When::Before),
        ("PUT", When::After),
        ("MOVE", When::Before),
        ("MOVE", When::After),
    ] {
        let (server, folder, lines) = prepared();
        let victim = Arc::new(Mutex::new(None::<Running>));
        let (shared, mut requests) = (victim.clone(), 0);
        server.at_each(move |asked, _, at| {
            if (asked, at) == (method, when) {
                requests += 1;
                if requests == 3 {
                    let victim = shared.lock().expect("one at a time");
                    victim.as_ref().expect("it asks, so it runs").signal("KILL");
                }
            }
        });
        let mut held = victim.lock().expect("one at a time");
        *held = Some(Running::start(&mut command(&folder)));
        drop(held);
        wasmill_tests::wait_until("its end", || {
            let mut held = victim.lock().expect("one at a time");
            held.as_mut().expect("started").has_ended()
        });
        let ended = victim
            .lock()
            .expect("one at a time")
            .take()
            .expect("started")
            .end();
        assert_eq!(ended.status.code(), None, "{method}: {}", ended.err);
        run(&mut command(&folder)).succeeded();
        assert_eq!(found(&server), lines, "{method} {when:?}");
    }
}

#[test]
fn so_does_one_that_is_killed_at_random_on_one_and_two_processes() {
    let (server, folder, lines) = prepared();
    killed(&folder.path().join("pipeline.toml"), &[2, 1], 5, 6);
    assert_eq!(found(&server), lines);
}

#[test]
fn without_a_checkpoint_epochs_are_committed_when_they_are_delivered() {
    let (server, folder, lines) = prepared();
    let file = folder.path().join("pipeline.toml");
    let text = std::fs::read_to_string(&file).expect("written");
    let text = text.replace(
        "[checkpoint]\npath = \"checkpoint\"\ncommit_every = 2\n",
        "",
    );
    std::fs::write(&file, text).expect("writable");
    run(&mut command(&folder)).succeeded();
    assert_eq!(found(&server), lines);
}
