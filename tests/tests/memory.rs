//! A pipeline that multiplies its rows in front of a slow sink needs no more memory for more input, in however many epochs it comes.

use std::collections::HashSet;
use std::time::Duration;

use wasmill_tests::http::{Answer, Request, server};
use wasmill_tests::{PATIENCE, Running, folder, peak_memory, wasmill};

const WORDS: usize = 1000;
const MAX_LIVE_BYTES: u64 = 512 << 10;

const PIPELINE: &str = r#"
name = "burst"

[epoch]
trigger = "available-now"
max_rows = {lines}
max_in_flight = 3
max_live_bytes = {max_live_bytes}

[sources.lines]
type = "generate"
rows = {rows}
words = {words}

[steps.words]
input = "lines"
plugin = "split-words"
config = { column = "text" }

[sinks.out]
input = "words"
type = "plugin"
plugin = "sink-webhook"
config = { url = "http://{address}/", batch_rows = 10000 }
grants = { http = ["{address}"] }
"#;

/// Sends so many epochs of so many lines, split into words, to a server that takes its time; answers the most memory that was resident when all rows had come.
fn peak_of(epochs: usize, lines: usize) -> u64 {
    let rows = epochs * lines;
    let mut missing = rows * WORDS;
    let mut keys = HashSet::new();
    let (all_came, came) = crossbeam_channel::bounded::<()>(0);
    let (go_on, told) = crossbeam_channel::bounded::<()>(0);
    let address = server(move |request: Request| {
        std::thread::sleep(Duration::from_millis(10));
        assert!(keys.insert(request.key), "each part is sent once");
        missing -= request.rows.as_array().expect("a list of rows").len();
        if missing == 0 {
            // The process still runs: it waits for this answer.
            all_came.send(()).expect("the test waits");
            told.recv().expect("the test goes on");
        }
        Answer::Status(200)
    });
    let pipeline = PIPELINE
        .replace("{lines}", &lines.to_string())
        .replace("{max_live_bytes}", &MAX_LIVE_BYTES.to_string())
        .replace("{rows}", &rows.to_string())
        .replace("{words}", &WORDS.to_string())
        .replace("{address}", &address.to_string());
    let folder = folder(&[("pipeline.toml", &pipeline)]);
    let running = Running::start(
        wasmill()
            .arg("run")
            .arg(folder.path().join("pipeline.toml"))
            .args(["--workers", "2", "--log", "json"]),
    );
    came.recv_timeout(5 * PATIENCE).expect("all rows come");
    let peak = peak_memory(running.id());
    go_on.send(()).expect("the server waits");
    let summary = running.end().succeeded().summary();
    let nodes = &summary["nodes"];
    assert_eq!(summary["epochs"], epochs, "{summary}");
    assert_eq!(nodes["words"]["rows_in"], rows, "{summary}");
    assert_eq!(nodes["words"]["rows_out"], rows * WORDS, "{summary}");
    assert_eq!(nodes["out"]["rows_out"], rows * WORDS, "{summary}");
    let live = summary["peak_live_bytes"].as_u64().expect("a number");
    // Above the limit, what is made already is let through, never more than a few calls' output.
    assert!(
        (MAX_LIVE_BYTES..4 * MAX_LIVE_BYTES).contains(&live),
        "{summary}"
    );
    peak
}

/// What the long run may need more: a part of the tens of MB of rows that it makes more.
const MARGIN: u64 = 8 << 20;

fn needs_no_more(short: u64, long: u64) {
    println!("{short} bytes were resident in the short run, {long} in the long one");
    assert!(long < short + MARGIN, "{short} bytes became {long}");
}

#[test]
fn eight_times_as_many_epochs_need_no_more_memory() {
    needs_no_more(peak_of(8, 40), peak_of(64, 40));
}

#[test]
fn an_epoch_eight_times_as_long_needs_no_more_memory() {
    needs_no_more(peak_of(1, 640), peak_of(1, 5120));
}
