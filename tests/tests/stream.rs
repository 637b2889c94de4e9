//! A live stream through the real binary: drains, peers that come and go, readers that leave, and what a person sees.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use wasmill_tests::http::{Answer, answering};
use wasmill_tests::{Running, delivered, folder, run, wait_until, wait_until_read, wasmill};

/// Epochs are cut when a kilobyte waits, never by the clock: what comes after the last one only a drain delivers.
const WORD_COUNT: &str = r#"
name = "word-count"

[epoch]
interval = "1h"
max_bytes = "1kB"

[sources.lines]
type = "tcp"
{link}

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
"#;

/// A word count of what comes over `link`.
struct WordCount {
    folder: TempDir,
    running: Running,
}

impl WordCount {
    fn start(link: &str, failpoints: Option<&str>) -> Self {
        let folder = folder(&[("pipeline.toml", &WORD_COUNT.replace("{link}", link))]);
        let mut command = wasmill();
        command
            .arg("run")
            .arg(folder.path().join("pipeline.toml"))
            .args(["--log", "json"]);
        if let Some(failpoints) = failpoints {
            command.env("FAILPOINTS", failpoints);
        }
        let running = Running::start(&mut command);
        Self { folder, running }
    }

    /// With a server that it has connected to.
    fn connected(failpoints: Option<&str>) -> (Self, TcpStream) {
        let server = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = server.local_addr().expect("bound");
        let this = Self::start(&format!("address = '{address}'"), failpoints);
        let (peer, _) = server.accept().expect("it connects");
        (this, peer)
    }

    fn epochs(&self) -> usize {
        epochs(self.folder.path())
    }

    /// Drains it. Every line of `sent` must have been counted, and the summary must say so.
    fn drains(self, signal: &str, sent: &[String]) -> Value {
        self.running.signal(signal);
        let ended = self.running.end().succeeded();
        let mut expected = BTreeMap::<String, u64>::new();
        for word in sent.iter().flat_map(|line| line.split_whitespace()) {
            *expected.entry(word.to_owned()).or_default() += 1;
        }
        assert_eq!(counts(self.folder.path()), expected, "{}", ended.err);
        let summary = ended.summary();
        assert_eq!(summary["drained"], true, "{summary}");
        assert_eq!(summary["epochs"], epochs(self.folder.path()), "{summary}");
        let nodes = &summary["nodes"];
        assert_eq!(nodes["lines"]["rows_out"], sent.len(), "{summary}");
        assert_eq!(nodes["words"]["rows_in"], sent.len(), "{summary}");
        let words: u64 = expected.values().sum();
        assert_eq!(nodes["words"]["rows_out"], words, "{summary}");
        for node in ["lines", "words", "counts", "out"] {
            assert_eq!(nodes[node]["skipped"], 0, "{summary}");
            assert_eq!(nodes[node]["rejected"], 0, "{summary}");
        }
        summary
    }
}

/// How many epochs are visible.
fn epochs(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder.join("out")).into_iter().flatten();
    let names = entries.map(|entry| entry.expect("readable").file_name());
    names
        .filter(|name| name.as_encoded_bytes().starts_with(b"epoch-"))
        .count()
}

/// How often each word was counted over all epochs.
fn counts(folder: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for row in delivered(&folder.join("out")) {
        let row: Value = serde_json::from_str(&row).expect("a row is JSON");
        let word = row["word"].as_str().expect("a text");
        *counts.entry(word.to_owned()).or_default() += row["n"].as_u64().expect("a number");
    }
    counts
}

/// Some lines, whose words do not depend on what was sent before.
fn lines(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|line| format!("to be or not to be {}", line % 7))
}

/// Sends lines and notes them.
fn send(peer: &mut TcpStream, sent: &mut Vec<String>, lines: impl Iterator<Item = String>) {
    let from = sent.len();
    sent.extend(lines);
    let text: String = sent[from..]
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    peer.write_all(text.as_bytes()).expect("it reads");
}

/// Three epochs, and then something that no epoch has taken when the signal comes.
fn drains_on(signal: &str) {
    let (run, mut peer) = WordCount::connected(None);
    let mut sent = Vec::new();
    for epoch in 1..=3 {
        send(&mut peer, &mut sent, lines(60));
        wait_until("an epoch", || run.epochs() >= epoch);
    }
    send(
        &mut peer,
        &mut sent,
        ["and the last line".to_owned()].into_iter(),
    );
    wait_until_read(&peer);
    run.drains(signal, &sent);
}

#[test]
fn sigterm_drains_and_every_line_that_was_read_is_counted() {
    drains_on("TERM");
}

#[test]
fn sigint_drains_and_every_line_that_was_read_is_counted() {
    drains_on("INT");
}

#[test]
fn a_drain_waits_for_what_a_socket_has_just_read() {
    let (run, mut peer) = WordCount::connected(Some("tcp-received=sleep(1000)"));
    let mut sent = Vec::new();
    send(&mut peer, &mut sent, lines(3));
    wait_until_read(&peer);
    run.drains("TERM", &sent);
}

#[test]
fn a_peer_that_closes_and_comes_back_is_connected_to_again_and_nothing_is_lost() {
    let server = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = server.local_addr().expect("bound");
    let run = WordCount::start(&format!("address = '{address}'"), None);
    let mut sent = Vec::new();
    let (mut peer, _) = server.accept().expect("it connects");
    send(&mut peer, &mut sent, lines(100));
    drop((peer, server));
    run.running.wait_for("has closed the connection");
    let pauses = [(); 3].map(|()| {
        let line = run.running.wait_for("cannot connect to");
        let (_, pause) = line.split_once("again in ").expect("it says when");
        let (pause, _) = pause.split_once(" ms").expect("in milliseconds");
        pause.parse::<u64>().expect("a number")
    });
    // 100 ms was the first one, after the connection was lost; each is shortened by up to half.
    for (pause, longest) in pauses.into_iter().zip([200, 400, 800]) {
        assert!((longest / 2..=longest).contains(&pause), "{pauses:?}");
    }
    let server = TcpListener::bind(address).expect("still free");
    let (mut peer, _) = server.accept().expect("it connects again");
    send(&mut peer, &mut sent, lines(100));
    wait_until_read(&peer);
    let summary = run.drains("TERM", &sent);
    assert!(
        summary["nodes"]["lines"]["reconnects"].as_u64() >= Some(4),
        "{summary}"
    );
}

#[test]
fn lines_of_two_peers_that_connect_at_once_are_all_counted() {
    let run = WordCount::start("listen = '127.0.0.1:0'", None);
    let line = run.running.wait_for("listening on ");
    let line: Value = serde_json::from_str(&line).expect("`--log json` writes JSON");
    let message = line["message"].as_str().expect("a text");
    let address = message.trim_start_matches("listening on ");
    let mut peers = [(); 2].map(|()| TcpStream::connect(address).expect("it listens"));
    let mut sent = Vec::new();
    for _ in 0..20 {
        for peer in &mut peers {
            send(peer, &mut sent, lines(5));
        }
    }
    for peer in &peers {
        wait_until_read(peer);
    }
    run.drains("TERM", &sent);
}

const COUNTER: &str = r#"
name = "counter"

[epoch]
interval = "50ms"

[sources.rows]
type = "generate"
rows_per_second = 200

[sinks.out]
input = "rows"
"#;

/// Rows that come all the time, and a sink with these settings.
fn counter(sink: &str) -> TempDir {
    folder(&[("pipeline.toml", &format!("{COUNTER}{sink}"))])
}

#[test]
fn print_whose_reader_goes_away_ends_the_run_with_4() {
    let folder = counter("type = 'print'");
    let mut child = wasmill()
        .arg("run")
        .arg(folder.path().join("pipeline.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut String::new()).expect("it prints");
    drop(out);
    let output = child.wait_with_output().expect("it ends");
    let err = String::from_utf8(output.stderr).expect("wasmill writes utf8");
    assert_eq!(output.status.code(), Some(4), "{err}");
    let last = err.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: `out`, epoch "), "{err}");
    assert!(
        last.ends_with("nobody reads standard output any more (broken pipe)"),
        "{err}"
    );
}

/// A webhook at this address, granted or not.
fn webhook(address: impl std::fmt::Display, grants: &str) -> String {
    format!(
        "type = 'plugin'\nplugin = 'sink-webhook'\nconfig = {{ url = 'http://{address}/rows' }}\n{grants}"
    )
}

#[test]
fn a_second_signal_ends_a_run_at_once_whose_drain_hangs() {
    for (second, code) in [("TERM", 143), ("INT", 130)] {
        let (address, requests) = answering(&[Answer::Silence]);
        let grants = format!("grants = {{ http = ['{address}'] }}\nlimits = {{ deadline = '1h' }}");
        let folder = counter(&webhook(address, &grants));
        let running = Running::start(
            wasmill()
                .arg("run")
                .arg(folder.path().join("pipeline.toml")),
        );
        requests.recv().expect("a request");
        running.signal("TERM");
        running.wait_for("draining");
        running.signal(second);
        let ended = running.end().failed_with(code);
        assert!(!ended.err.contains("epochs"), "{}", ended.err);
    }
}

#[test]
fn sink_webhook_delivers_every_row_of_a_run_to_the_host_it_is_granted() {
    let (address, requests) = answering(&[Answer::Status(503), Answer::Status(200)]);
    let folder = counter(&webhook(
        address,
        &format!("grants = {{ http = ['{address}'] }}"),
    ));
    let running = Running::start(
        wasmill()
            .arg("run")
            .arg(folder.path().join("pipeline.toml"))
            .args(["--log", "json"]),
    );
    let mut seen: Vec<_> = [(); 10]
        .map(|()| requests.recv().expect("rows come"))
        .into();
    running.signal("TERM");
    let ended = running.end().succeeded();
    seen.extend(requests.try_iter());
    assert!(
        seen.iter()
            .all(|request| request.key.starts_with("counter/") && request.key.contains("/out/"))
    );
    // A key comes again when its rows do, after the first answer.
    let by_key: BTreeMap<&str, &Value> = seen
        .iter()
        .map(|request| (request.key.as_str(), &request.rows))
        .collect();
    assert_eq!(by_key.len() + 1, seen.len());
    let rows = by_key
        .values()
        .flat_map(|rows| rows.as_array().expect("a list"));
    let mut numbers: Vec<u64> = rows
        .map(|row| row["value"].as_u64().expect("a number"))
        .collect();
    numbers.sort_unstable();
    let expected: Vec<u64> = (0..numbers.len() as u64).collect();
    assert_eq!(numbers, expected);
    let summary = ended.summary();
    assert_eq!(
        summary["nodes"]["out"]["rows_out"],
        numbers.len(),
        "{summary}"
    );
}

#[test]
fn sink_webhook_without_its_grant_is_refused_before_anything_runs() {
    let (address, requests) = answering(&[Answer::Status(200)]);
    let folder = counter(&webhook(address, ""));
    for command in ["check", "run"] {
        let ended = run(wasmill()
            .arg(command)
            .arg(folder.path().join("pipeline.toml")))
        .failed_with(2);
        for text in [
            "pipeline.toml:14:10",
            "wasi:http/outgoing-handler",
            "grants = { http = [",
        ] {
            assert!(ended.err.contains(text), "no `{text}` in:\n{}", ended.err);
        }
    }
    assert!(requests.try_recv().is_err());
}

/// How the status line is taken away.
const ERASED: &str = "\r\x1b[2K";

#[test]
fn on_a_terminal_a_status_line_stands_below_the_rows_and_is_gone_at_the_end() {
    let folder = counter("type = 'print'\nformat = 'json'");
    // Without `noflsh` a terminal throws away at Ctrl-C what it has not shown yet.
    let command = format!(
        "stty -echo noflsh cols 200; exec {} run {}",
        wasmill().get_program().to_string_lossy(),
        folder.path().join("pipeline.toml").display(),
    );
    let (keys, mut keyboard) = std::io::pipe().expect("the system has pipes");
    let running = Running::start(
        Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .stdin(keys),
    );
    running.wait_for("rows/s");
    keyboard.write_all(b"\x03").expect("Ctrl-C");
    let shown = running.end().succeeded().out;

    let (mut drawn, mut left) = (Vec::new(), Vec::new());
    for line in shown.lines() {
        let mut pieces: Vec<&str> = line.split(ERASED).collect();
        left.push(pieces.pop().expect("split gives one at least"));
        drawn.extend(pieces);
    }
    let mut with_figures = 0;
    for line in drawn {
        let mut words = line.split_whitespace();
        assert!(
            words
                .next()
                .is_none_or(|spinner| spinner.chars().count() == 1)
        );
        let words: Vec<&str> = words.collect();
        if !words.is_empty() {
            let units = ["epoch", "rows/s", "processing", "delay", "waiting", "alive"];
            assert!(units.iter().all(|unit| words.contains(unit)), "{line:?}");
            with_figures += 1;
        }
    }
    assert!(with_figures > 0, "{shown:?}");
    let rows: Vec<Value> = left
        .iter()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).expect("a row is JSON and alone in its line"))
        .collect();
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row["value"], number);
    }
    let others: Vec<&str> = left
        .into_iter()
        .filter(|line| !line.starts_with('{'))
        .collect();
    let [draining, ended, _header, source, sink] = others.as_slice() else {
        panic!("{others:#?}")
    };
    assert!(
        draining.contains("draining; the same again ends at once"),
        "{draining:?}"
    );
    assert!(ended.starts_with("counter: drained after "), "{ended:?}");
    for (line, node) in [(source, "rows"), (sink, "out")] {
        let begin: Vec<&str> = line.split_whitespace().take(2).collect();
        assert_eq!(begin, [node, &rows.len().to_string()], "{line:?}");
    }
}
