//! A source that is twice as fast as the pipeline behind it: memory stays bounded, late epochs do not pile up, they become as small as it
//! takes, and nothing is lost.
//!
//! The pipeline is as fast as the server that its sink plugin posts to. Some seconds here; `cargo xtask overload --minutes N` has as
//! many minutes as one likes, and sets `OVERLOAD_SECONDS`.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use wasmill_tests::http::{Answer, Request, server};
use wasmill_tests::{
    Running, folder, peak_memory, run, serve, wait_until, wait_until_read, wasmill,
};

const PIPELINE: &str = r#"
name = "overload"

[epoch]
interval = "500ms"

[checkpoint]
path = "checkpoint"

[sources.rows]
{source}

[sinks.out]
input = "rows"
type = "plugin"
plugin = "sink-webhook"
config = { url = "http://{address}/", batch_rows = 100 }
grants = { http = ["{address}"] }
"#;

/// What the server takes at most: a request of so many rows in so long a time.
const BATCH_ROWS: u64 = 100;
const BATCH_TIME: Duration = Duration::from_millis(10);
const ROWS_PER_SECOND: u64 = BATCH_ROWS * 1000 / BATCH_TIME.as_millis() as u64;
const EPOCHS_PER_SECOND: u64 = 2;
/// Epochs after which most are of the size that the rate asks for.
const SETTLED: u64 = 8;
/// Epochs that are cut and not committed, by default.
const MAX_IN_FLIGHT: u64 = 3;
/// Of a line with its end; what a source holds back would be tens of MB.
const LINE_BYTES: usize = 400;
/// What the whole run may need more than its first half: caches and fragments, but no part of a backlog, which would be 4 MB a second.
const MARGIN: u64 = 16 << 20;

fn span() -> Duration {
    let set = std::env::var("OVERLOAD_SECONDS").ok();
    Duration::from_secs(set.map_or(20, |text| text.parse().expect("a number")))
}

/// A pipeline behind a server that takes its time.
struct Overloaded {
    folder: tempfile::TempDir,
    running: Running,
    /// Rows that came to the server.
    came: Arc<AtomicU64>,
}

impl Overloaded {
    fn start(source: &str) -> Self {
        let came = Arc::new(AtomicU64::new(0));
        let count = came.clone();
        let address = server(move |request: Request| {
            sleep(BATCH_TIME);
            let rows = request.rows.as_array().expect("a list of rows").len();
            count.fetch_add(rows as u64, Ordering::Relaxed);
            Answer::Status(200)
        });
        let pipeline = PIPELINE
            .replace("{source}", source)
            .replace("{address}", &address.to_string());
        let folder = folder(&[("pipeline.toml", &pipeline)]);
        let running = Running::start(
            wasmill()
                .arg("run")
                .arg(folder.path().join("pipeline.toml"))
                .args(["--workers", "2", "--log", "json"]),
        );
        Self {
            folder,
            running,
            came,
        }
    }

    /// Looks on for so long: epochs in flight all the time, and memory at half of it and at the end.
    fn stays_bounded(&self) {
        let (began, span) = (Instant::now(), span());
        let mut early = 0;
        let mut most = 0;
        while began.elapsed() < span {
            sleep(Duration::from_millis(20));
            // In this order: an epoch that is committed in between is not counted.
            let planned = next_after(&self.folder.path().join("checkpoint/plan"));
            let committed = next_after(&self.folder.path().join("checkpoint/commit"));
            most = most.max(planned.saturating_sub(committed));
            if began.elapsed() < span / 2 {
                early = peak_memory(self.running.id());
            }
        }
        let peak = peak_memory(self.running.id());
        let came = self.came.load(Ordering::Relaxed);
        println!("{early} bytes were resident after half of the run, {peak} at the end");
        println!("at most {most} epochs were in flight; {came} rows came in {span:?}");
        assert!(peak < early + MARGIN, "{early} bytes became {peak}");
        assert!((2..=MAX_IN_FLIGHT).contains(&most), "{most} in flight");
        // Where this test is given little of the processor it takes longer until epochs have found their size.
        wait_until("epochs enough to find their size", || {
            next_after(&self.folder.path().join("checkpoint/commit")) >= SETTLED
        });
    }

    /// Drains it: what the source gave has come to the server, each row once, in epochs of a size that the server can take.
    fn drains(self, row_bytes: u64) -> u64 {
        self.running.signal("TERM");
        let summary = self.running.end().succeeded().summary();
        let given = &summary["nodes"]["rows"]["rows_out"];
        let written = &summary["nodes"]["out"];
        assert_eq!(given, self.came.load(Ordering::Relaxed), "{summary}");
        assert_eq!(given, &written["rows_out"], "{summary}");
        assert_eq!(written["rejected"], 0, "{summary}");
        assert_eq!(written["skipped"], 0, "{summary}");
        let rows = rows_per_epoch(&self.folder.path().join("checkpoint"), row_bytes);
        println!("an epoch had {rows} rows; {summary}");
        let lasting_an_interval = ROWS_PER_SECOND / EPOCHS_PER_SECOND;
        assert!(rows < 2 * lasting_an_interval, "{rows} rows an epoch");
        given.as_u64().expect("a number")
    }
}

/// The mean over the later half of the epochs that a checkpoint holds.
fn rows_per_epoch(checkpoint: &Path, row_bytes: u64) -> u64 {
    let mut list = wasmill();
    list.args(["epoch", "ls", "--format", "json"])
        .arg(checkpoint);
    let epochs = run(&mut list).succeeded().out;
    let bytes = epochs.lines().map(|line| {
        let epoch: Value = serde_json::from_str(line).expect("an object a line");
        epoch["bytes"].as_u64().expect("a number")
    });
    let bytes: Vec<u64> = bytes.collect();
    let late = &bytes[bytes.len() / 2..];
    late.iter().sum::<u64>() / late.len() as u64 / row_bytes
}

/// The number after the last of a folder's records, which are named by theirs.
fn next_after(records: &Path) -> u64 {
    let names = fs::read_dir(records).into_iter().flatten();
    let numbers = names.filter_map(|name| name.ok()?.file_name().to_str()?.parse::<u64>().ok());
    numbers.max().map_or(0, |last| last + 1)
}

/// Sends twice as many lines as the server takes, as long as they are wanted and as far as the connection takes them; answers how many.
fn send(peer: &mut TcpStream, wanted: &AtomicBool) -> u64 {
    let line = "x".repeat(LINE_BYTES - 1) + "\n";
    let lines = line.repeat(BATCH_ROWS as usize);
    let mut sent = 0;
    while wanted.load(Ordering::Relaxed) {
        peer.write_all(lines.as_bytes()).expect("it reads");
        sent += BATCH_ROWS;
        sleep(BATCH_TIME / 2);
    }
    sent
}

#[test]
fn a_peer_twice_as_fast_as_the_pipeline_waits_and_all_of_its_lines_are_delivered() {
    let wanted = Arc::new(AtomicBool::new(true));
    let go_on = wanted.clone();
    let (told, sent) = crossbeam_channel::bounded(1);
    let (end, ended) = crossbeam_channel::bounded::<()>(0);
    let (address, peer) = serve(move |mut peer| {
        let sent = send(&mut peer, &go_on);
        wait_until_read(&peer);
        told.send(sent).expect("the test waits");
        // Open until the run is over: a peer that closes is connected to again.
        ended.recv().ok();
    });
    let overloaded = Overloaded::start(&format!("type = 'tcp'\naddress = '{address}'"));
    overloaded.stays_bounded();
    wanted.store(false, Ordering::Relaxed);
    let sent = sent.recv().expect("it has sent");
    let given = overloaded.drains(LINE_BYTES as u64);
    drop(end);
    peer.join().expect("it has ended");
    assert_eq!(given, sent);
}

/// What a row of this source is counted as.
const GENERATED_BYTES: u64 = 64;

#[test]
fn rows_due_twice_as_fast_as_the_pipeline_wait_and_all_that_are_made_are_delivered() {
    let rate = 2 * ROWS_PER_SECOND;
    let source = format!("type = 'generate'\nrows_per_second = {rate}\nwords = 60");
    let overloaded = Overloaded::start(&source);
    overloaded.stays_bounded();
    overloaded.drains(GENERATED_BYTES);
}
