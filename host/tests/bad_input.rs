//! Whole runs over input that is not what it should be: nothing is lost without a trace, and messages name the place.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use wasmill::checkpoint::Code;
use wasmill::config::{Problems, parse};
use wasmill::deliver::SinkConfig;
use wasmill::error::Failure;
use wasmill::pipeline::plan::{EpochRules, PortRef, Trigger};
use wasmill::pipeline::{Input, Node, NodeKind, OnError, Plan};
use wasmill::receive::SourceConfig;
use wasmill::run::{self, Options, Summary};
use wasmill::state::StateConfig;

const SINK: &str = "type = 'files'\npath = 'out'\nformat = 'text'";
const REJECTED: &str = "type = 'files'\npath = 'rejected'\nformat = 'json'";

fn source(base: &Path, lines: &str) -> SourceConfig {
    let problems = Problems::default();
    let mut table = parse(lines, base, &problems).expect("TOML");
    let source = SourceConfig::from_table(&mut table);
    assert_eq!(problems.take(), []);
    source.expect("no problem")
}

fn sink(base: &Path, lines: &str) -> SinkConfig {
    let problems = Problems::default();
    let mut table = parse(lines, base, &problems).expect("TOML");
    let sink = SinkConfig::from_table(&mut table);
    assert_eq!(problems.take(), []);
    sink.expect("no problem")
}

/// Runs source -> text files until all that is there is read.
fn run(base: &Path, lines: &str, on_error: OnError) -> Result<Summary, Failure> {
    let source = source(base, lines);
    let schema = source.schema();
    let nodes = vec![
        Node {
            name: "in".into(),
            inputs: vec![],
            ports: vec![schema.clone()],
            on_error,
            kind: NodeKind::Source(source),
        },
        Node {
            name: "out".into(),
            inputs: vec![Input {
                ports: vec![PortRef { node: 0, port: 0 }],
                schema,
            }],
            ports: vec![],
            on_error: OnError::Fail,
            kind: NodeKind::Sink(sink(base, SINK)),
        },
    ];
    let plan = Plan {
        name: "test".into(),
        code: Code::new(base, lines.to_owned(), BTreeMap::new()),
        epoch: EpochRules {
            trigger: Trigger::AvailableNow,
            max_rows: u64::MAX,
            max_bytes: 64 << 20,
            max_rate: None,
            adaptive: true,
            max_in_flight: 3,
            max_live_bytes: 256 << 20,
        },
        state: StateConfig::default(),
        partitions: 8,
        nodes,
        checkpoint: None,
        rejected: (on_error == OnError::Reject).then(|| sink(base, REJECTED)),
    };
    run::run(plan, Options::unseen(2))
}

/// All lines of the visible files below a folder, sorted. A failed run may still be clearing away what it had begun.
fn lines(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for epoch in fs::read_dir(folder).into_iter().flatten() {
        let epoch = epoch.expect("an entry");
        // As all readers do: neither what is in the making nor manifests.
        if b"._".contains(&epoch.file_name().as_encoded_bytes()[0]) {
            continue;
        }
        for file in fs::read_dir(epoch.path()).expect("a folder") {
            let text = fs::read_to_string(file.expect("an entry").path()).expect("UTF-8");
            all.extend(text.lines().map(str::to_owned));
        }
    }
    all.sort();
    all
}

/// Rows in, records skipped, records rejected, by node.
fn counts(summary: &Summary) -> BTreeMap<&str, (u64, u64, u64)> {
    let nodes = summary.nodes.iter();
    nodes
        .map(|(name, counts)| {
            (
                name.as_str(),
                (counts.rows_in, counts.skipped, counts.rejected),
            )
        })
        .collect()
}

fn put(base: &Path, name: &str, content: &[u8]) {
    fs::create_dir_all(base.join("in")).expect("makes");
    fs::write(base.join("in").join(name), content).expect("writes");
}

const FILES: &str = "type = 'files'\npath = 'in'\nmax_record = 20";

#[test]
fn bad_lines_end_the_run_by_default_and_the_message_names_the_place() {
    let base = tempfile::tempdir().expect("a directory");
    put(base.path(), "a.txt", b"good\nb\xffd\n");
    let failure = run(base.path(), FILES, OnError::Fail).expect_err("fails");
    let text = failure.to_string();
    assert!(
        text.contains("`in`")
            && text.contains("in/a.txt at byte 5")
            && text.contains("is not UTF-8"),
        "{text}"
    );
    assert_eq!(lines(&base.path().join("out")), Vec::<String>::new());
}

#[test]
fn bad_lines_are_counted_when_skipped() {
    let base = tempfile::tempdir().expect("a directory");
    put(
        base.path(),
        "a.txt",
        b"good\nb\xffd\nmuch longer than the limit allows\nfine",
    );
    let summary = run(base.path(), FILES, OnError::Skip).expect("goes on");
    assert_eq!(counts(&summary)["in"], (2, 2, 0));
    assert_eq!(lines(&base.path().join("out")), ["fine", "good"]);
}

#[test]
fn bad_lines_are_written_with_place_and_reason_when_rejected() {
    let base = tempfile::tempdir().expect("a directory");
    put(base.path(), "a.txt", b"good\nb\xffd\n");
    let summary = run(base.path(), FILES, OnError::Reject).expect("goes on");
    assert_eq!(counts(&summary)["in"], (1, 0, 1));
    let rejected = lines(&base.path().join("rejected"));
    let [row] = rejected.as_slice() else {
        panic!("{rejected:?}")
    };
    let row: serde_json::Value = serde_json::from_str(row).expect("JSON");
    assert_eq!(
        (&row["node"], &row["row"], &row["bytes"]),
        (&"in".into(), &"b\u{fffd}d".into(), &"Yv9k".into())
    );
    assert!(
        row["origin"]
            .as_str()
            .expect("a text")
            .ends_with("in/a.txt at byte 5"),
        "{row}"
    );
    assert_eq!(row["reason"], "byte 1 of the record is not UTF-8");
    assert!(
        row["batch_time"].as_str().expect("a text").ends_with('Z'),
        "{row}"
    );
}

#[test]
fn a_bad_json_line_is_rejected_and_the_others_go_on() {
    let base = tempfile::tempdir().expect("a directory");
    put(
        base.path(),
        "a.json",
        b"{\"line\":\"x\"}\n{\"line\":1}\n{\"line\":\"y\"}\n",
    );
    let lines_of = "type = 'files'\npath = 'in'\nformat = 'json'\nschema = { line = 'utf8' }";
    run(base.path(), lines_of, OnError::Reject).expect("goes on");
    assert_eq!(lines(&base.path().join("out")), ["x", "y"]);
    let rejected = lines(&base.path().join("rejected"));
    assert!(
        rejected.len() == 1 && rejected[0].contains("column `line`"),
        "{rejected:?}"
    );
}

#[test]
fn what_a_peer_sends_is_judged_line_by_line() {
    let base = tempfile::tempdir().expect("a directory");
    let server = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = server.local_addr().expect("bound");
    let peer = std::thread::spawn(move || {
        let (mut peer, _) = server.accept().expect("connects");
        peer.write_all(b"good\n\xc3(\n").expect("sends");
        peer.write_all(&vec![b'x'; 1 << 20]).expect("sends");
        // Time for the run to cut an epoch in the middle of the endless line.
        std::thread::sleep(Duration::from_millis(50));
        peer.write_all(b"\nhalf").expect("sends");
    });
    let lines_of = format!("type = 'tcp'\naddress = '{address}'\nmax_record = 1000");
    let summary = run(base.path(), &lines_of, OnError::Reject).expect("goes on");
    peer.join().expect("sent all");
    assert_eq!(counts(&summary)["in"], (2, 0, 2));
    assert_eq!(lines(&base.path().join("out")), ["good", "half"]);
    let rejected = lines(&base.path().join("rejected")).join("\n");
    for place in [format!("{address} line 2"), format!("{address} line 3")] {
        assert!(rejected.contains(&place), "{rejected}");
    }
}
