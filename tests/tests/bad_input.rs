//! Input that is not what it should be, through the real binary: nothing is lost without a trace, and the message says where.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use wasmill_tests::{
    Ended, Running, delivered, folder, peak_memory, run, serve, wait_until, wasmill,
};

const COPY: &str = r#"
name = "copy"

[epoch]
{epoch}

[sources.lines]
type = "tcp"
address = "{address}"
on_error = "{on_error}"

[sinks.out]
input = "lines"
type = "files"
path = "out"
format = "text"

[rejected]
type = "files"
path = "rejected"
"#;

fn copy(epoch: &str, address: &str, on_error: &str) -> TempDir {
    let pipeline = COPY
        .replace("{epoch}", epoch)
        .replace("{address}", address)
        .replace("{on_error}", on_error);
    folder(&[("pipeline.toml", &pipeline)])
}

/// Copies what a peer sends until it closes.
fn receive(sent: &'static [u8], on_error: &str) -> (TempDir, String, Ended) {
    let (address, peer) = serve(move |mut peer| peer.write_all(sent).expect("it reads"));
    let folder = copy("trigger = 'available-now'", &address, on_error);
    let ended = run(wasmill()
        .arg("run")
        .arg(folder.path().join("pipeline.toml"))
        .args(["--log", "json"]));
    assert!(peer.join().is_ok(), "{}", ended.err);
    (folder, address, ended)
}

/// The rows of `[rejected]`.
fn rejected(folder: &TempDir) -> Vec<Value> {
    delivered(&folder.path().join("rejected"))
        .iter()
        .map(|row| serde_json::from_str(row).expect("a row is JSON"))
        .collect()
}

const NOT_UTF8: &[u8] = b"good\nb\xffd\nfine\n";

#[test]
fn a_peer_that_sends_invalid_utf8_ends_the_run_by_default() {
    let (_folder, address, ended) = receive(NOT_UTF8, "fail");
    let ended = ended.failed_with(3);
    let error: Value = ended
        .err
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("`--log json` writes JSON"))
        .find(|line| line["level"] == "ERROR" || line["level"] == "error")
        .expect("it says what is wrong");
    assert_eq!(error["node"], "lines", "{error}");
    assert_eq!(error["epoch"], 0, "{error}");
    assert_eq!(error["origin"], format!("{address} line 2"), "{error}");
    let message = error["message"].as_str().expect("a text");
    assert!(message.contains("is not UTF-8"), "{message}");
}

#[test]
fn invalid_utf8_from_a_peer_is_counted_when_skipped() {
    let (folder, _, ended) = receive(NOT_UTF8, "skip");
    let summary = ended.succeeded().summary();
    let counts = &summary["nodes"]["lines"];
    assert_eq!(counts["skipped"], 1, "{summary}");
    assert_eq!(counts["rows_out"], 2, "{summary}");
    assert_eq!(delivered(&folder.path().join("out")), ["good", "fine"]);
}

#[test]
fn invalid_utf8_from_a_peer_is_written_aside_when_rejected() {
    let (folder, address, ended) = receive(NOT_UTF8, "reject");
    let summary = ended.succeeded().summary();
    assert_eq!(summary["nodes"]["lines"]["rejected"], 1, "{summary}");
    assert_eq!(delivered(&folder.path().join("out")), ["good", "fine"]);
    let rows = rejected(&folder);
    let [row] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    assert_eq!(row["node"], "lines");
    assert_eq!(row["origin"], format!("{address} line 2"));
    assert_eq!(row["plugin"], Value::Null);
    assert_eq!(row["reason"], "byte 1 of the record is not UTF-8");
    assert_eq!(row["row"], "b\u{fffd}d");
    assert_eq!(row["bytes"], "Yv9k");
}

#[test]
fn a_half_line_at_the_close_is_a_row_and_a_warning() {
    let (folder, address, ended) = receive(b"whole\nhalf", "fail");
    let ended = ended.succeeded();
    assert_eq!(delivered(&folder.path().join("out")), ["whole", "half"]);
    assert!(
        ended
            .err
            .lines()
            .any(|line| line.contains("WARN") && line.contains(&address)),
        "{}",
        ended.err
    );
}

/// Much more than the source may hold: its buffer of 16 MiB and a line of 1 MiB.
const ENDLESS: usize = 256 << 20;
/// What the process may have resident: those, and as much again four times for the process itself and what it has freed.
const RESIDENT: u64 = 96 << 20;

#[test]
fn an_endless_line_is_reported_before_its_end_and_never_held() {
    let (reported, report) = crossbeam_channel::bounded::<()>(0);
    let (address, peer) = serve(move |mut peer: TcpStream| {
        let part = vec![b'x'; 4 << 20];
        peer.write_all(b"first\n").expect("it reads");
        peer.write_all(&part).expect("it reads");
        // Sent on by the test once the line was seen among the rejected rows, though it has no end yet.
        report.recv().expect("the test goes on");
        for _ in 1..ENDLESS / part.len() {
            peer.write_all(&part).expect("it reads");
        }
        peer.write_all(b"\nlast\n").expect("it reads");
        // Held open until the test has seen all of it.
        report.recv().expect("the test goes on");
    });
    let folder = copy("interval = '20ms'", &address, "reject");
    let running = Running::start(
        wasmill()
            .arg("run")
            .arg(folder.path().join("pipeline.toml"))
            .args(["--log", "json"]),
    );
    wait_until("the report", || !rejected(&folder).is_empty());
    reported.send(()).expect("the peer waits");
    let out = folder.path().join("out");
    wait_until("the last line", || delivered(&out).len() == 2);
    let resident = peak_memory(running.id());
    reported.send(()).expect("the peer waits");
    running.signal("TERM");
    let summary = running.end().succeeded().summary();
    peer.join().expect("all sent");
    assert_eq!(delivered(&out), ["first", "last"]);
    assert_eq!(summary["nodes"]["lines"]["rejected"], 1, "{summary}");
    let rows = rejected(&folder);
    let [row] = rows.as_slice() else {
        panic!("{} rows", rows.len())
    };
    assert_eq!(row["origin"], format!("{address} line 2"));
    let reason = row["reason"].as_str().expect("a text");
    assert!(reason.contains("`max_record`, 1048576 bytes"), "{reason}");
    assert!(row["row"].as_str().expect("a text").len() <= 4 << 10);
    assert!(resident < RESIDENT, "{resident} bytes were resident");
}

const VANISHING: &str = r#"
name = "vanishing"

[epoch]
trigger = "available-now"
max_bytes = "1MiB"
max_in_flight = 1

[sources.lines]
type = "files"
path = "in"
on_error = "{on_error}"

[sinks.out]
input = "lines"
type = "print"
format = "json"

[rejected]
type = "files"
path = "rejected"
"#;

/// Reads three files, of which the second vanishes between listing and reading.
fn vanish(on_error: &str) -> (TempDir, Ended) {
    let folder = folder(&[
        ("pipeline.toml", &VANISHING.replace("{on_error}", on_error)),
        ("in/a.txt", &"a line\n".repeat((1 << 20) / 7 + 1)),
        ("in/b.txt", "never read\n"),
        ("in/c.txt", "the last\n"),
    ]);
    let mut child = wasmill()
        .arg("run")
        .arg(folder.path().join("pipeline.toml"))
        .args(["--log", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // The folder was listed. Its first file fills an epoch, which is printed into a pipe that is full: no second epoch begins.
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut first = String::new();
    out.read_line(&mut first).expect("it prints");
    std::fs::remove_file(folder.path().join("in/b.txt")).expect("not read yet");
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("it prints");
    let output = child.wait_with_output().expect("it ends");
    let ended = Ended {
        status: output.status,
        out: rest,
        err: String::from_utf8(output.stderr).expect("wasmill writes utf8"),
    }
    .succeeded();
    assert!(ended.out.ends_with("{\"line\":\"the last\"}\n"));
    assert!(!ended.out.contains("never read"));
    (folder, ended)
}

/// What a log of `--log json` warns of in the source.
fn warnings(ended: &Ended) -> Vec<String> {
    let lines = ended.err.lines();
    let lines = lines.map(|line| serde_json::from_str(line).expect("`--log json` writes JSON"));
    lines
        .filter(|line: &Value| line["level"] == "WARN" && line["source"] == "lines")
        .map(|line| line["message"].as_str().expect("a text").to_owned())
        .collect()
}

#[test]
fn a_file_that_vanishes_is_named_in_the_log_when_skipped() {
    let (_folder, ended) = vanish("skip");
    let summary = ended.summary();
    assert_eq!(summary["nodes"]["lines"]["skipped"], 1, "{summary}");
    let warnings = warnings(&ended);
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}")
    };
    assert!(warning.contains("in/b.txt"), "{warning}");
}

#[test]
fn the_log_names_the_first_records_that_an_epoch_skips_and_counts_the_others() {
    let good = "good\n".repeat(10);
    let pipeline = VANISHING.replace("{on_error}", "skip");
    let folder = folder(&[("pipeline.toml", &pipeline), ("in/a.txt", &good)]);
    let bad = [good.as_bytes(), &b"b\xffd\n".repeat(20)].concat();
    std::fs::write(folder.path().join("in/b.txt"), bad).expect("writable");
    let ended = run(wasmill()
        .arg("run")
        .arg(folder.path().join("pipeline.toml"))
        .args(["--log", "json"]))
    .succeeded();
    let warnings = warnings(&ended);
    let [named @ .., counted] = warnings.as_slice() else {
        panic!("{warnings:?}")
    };
    assert_eq!(named.len(), 5, "{warnings:?}");
    for (number, warning) in named.iter().enumerate() {
        let place = format!("in/b.txt at byte {}: ", 50 + 4 * number);
        assert!(warning.contains(&place), "{warning}");
        assert!(warning.ends_with("is not UTF-8"), "{warning}");
    }
    assert_eq!(counted, "skipped 15 more in epoch 0");
}

#[test]
fn a_file_that_vanishes_between_listing_and_reading_is_one_bad_record() {
    let (folder, ended) = vanish("reject");
    let summary = ended.summary();
    assert_eq!(summary["nodes"]["lines"]["rejected"], 1, "{summary}");
    let rows = rejected(&folder);
    let [row] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    let origin = row["origin"].as_str().expect("a text");
    assert!(origin.contains("in/b.txt"), "{row}");
}

#[test]
fn a_typo_in_the_pipeline_file_is_shown_with_its_place_and_the_nearest_name() {
    let typo = COPY
        .replace("{epoch}", "intervall = '1s'")
        .replace("{address}", "127.0.0.1:9")
        .replace("{on_error}", "skipp")
        .replace("input = \"lines\"", "input = \"linse\"");
    let folder = folder(&[("pipeline.toml", &typo)]);
    for command in ["run", "check"] {
        let ended = run(wasmill()
            .arg(command)
            .arg(folder.path().join("pipeline.toml")))
        .failed_with(2);
        for text in [
            "pipeline.toml:5:1",
            "`interval`",
            "pipeline.toml:10:12",
            "`skip`",
            "pipeline.toml:13:9",
            "`lines`",
        ] {
            assert!(ended.err.contains(text), "no `{text}` in:\n{}", ended.err);
        }
    }
}
