//! The `sink-webhook` plugin against a real HTTP server, through the host that runs it, and through the real binary.

use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use serde_json::{Value, json};
use wasmill::batch::ColumnType;
use wasmill::checkpoint::{Lineage, Tokens};
use wasmill::deliver::{EpochInfo, OpenOptions, Output, PluginSink, Sink};
use wasmill::error::{Failure, Fault};
use wasmill::ids::{BatchTime, Digest, Epoch, PartitionId, ProcessIndex};
use wasmill::plugin::{Component, Engine, Grants, HostPort, Limits, SinkPlugin};
use wasmill_tests::http::{Answer, Request, answering, server};
use wasmill_tests::{delivered, folder, run, wasmill};

fn webhook() -> &'static Component {
    static WEBHOOK: OnceLock<(tempfile::TempDir, Component)> = OnceLock::new();
    let (_, webhook) = WEBHOOK.get_or_init(|| {
        let file = wasmill_tests::plugins().join("sink-webhook.wasm");
        let cache = tempfile::tempdir().expect("a temporary folder");
        let engine = Engine::new(cache.path()).expect("an empty folder is a cache");
        let component = engine.load(&file).expect("it is a plugin");
        (cache, component)
    });
    webhook
}

fn rows(names: &[&str]) -> RecordBatch {
    let schema = Schema::new(vec![
        ColumnType::Utf8.field("name", false),
        ColumnType::Int64.field("length", false),
    ]);
    let lengths = Int64Array::from_iter_values(names.iter().map(|name| name.len() as i64));
    let names = StringArray::from(names.to_vec());
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(names), Arc::new(lengths)])
        .expect("a batch")
}

fn bind(to: SocketAddr, granted: &[String], deadline: Duration) -> Result<SinkPlugin, Failure> {
    let hosts = granted
        .iter()
        .map(|host| HostPort::parse(host).expect("a host"));
    SinkPlugin::new(
        webhook(),
        &"hook".into(),
        &json!({ "url": format!("http://{to}/rows"), "batch_rows": 2 }),
        &rows(&[]).schema(),
        &Limits {
            deadline,
            ..Limits::of_sinks()
        },
        &Grants {
            http: hosts.collect(),
        },
    )
}

fn lineage() -> Lineage {
    Lineage {
        id: "test".to_owned(),
        is_recorded: true,
        ..Lineage::of_one_run()
    }
}

fn sink_to(to: SocketAddr, granted: &[String], deadline: Duration, retries: u32) -> Box<dyn Sink> {
    let plugin = bind(to, granted, deadline).expect("the plugin takes these rows");
    let options = OpenOptions {
        pipeline: "demo".into(),
        node: "hook".into(),
        process: ProcessIndex(0),
        processes: 1,
        lineage: lineage(),
        output: Output::stdout(),
    };
    PluginSink { plugin, retries }
        .open(options)
        .expect("its I/O starts")
}

fn sink(to: SocketAddr) -> Box<dyn Sink> {
    sink_to(to, &[to.to_string()], Limits::of_sinks().deadline, 3)
}

const EPOCH: EpochInfo = EpochInfo {
    epoch: Epoch(7),
    time: BatchTime(0),
};

fn keys(received: &Receiver<Request>) -> Vec<String> {
    received.try_iter().map(|request| request.key).collect()
}

#[test]
fn rows_are_posted_as_json_objects_with_a_key() {
    let (address, received) = answering(&[Answer::Status(200)]);
    let mut sink = sink(address);
    let refused = sink.write(EPOCH, PartitionId(3), &rows(&["a", "bc", "def"]), true);
    assert_eq!(refused, Ok(Vec::new()));
    assert_eq!(sink.finish(EPOCH), Ok(Tokens::new()));
    let first = received.recv().expect("a request");
    assert_eq!(first.key, "demo/test/hook/7/3-0");
    assert_eq!(
        first.rows,
        json!([{ "name": "a", "length": 1 }, { "name": "bc", "length": 2 }])
    );
    let second = received.recv().expect("another");
    assert_eq!(
        (second.key.as_str(), second.rows),
        (
            "demo/test/hook/7/3-1",
            json!([{ "name": "def", "length": 3 }])
        )
    );
}

#[test]
fn rows_that_the_server_does_not_want_are_refused_one_by_one() {
    let (address, _received) = answering(&[Answer::Status(200), Answer::Status(422)]);
    let refused = sink(address)
        .write(EPOCH, PartitionId(0), &rows(&["a", "b", "c"]), true)
        .expect("the sink lives on");
    assert_eq!(
        refused
            .iter()
            .map(|refused| refused.row)
            .collect::<Vec<_>>(),
        [2]
    );
    assert!(refused[0].reason.contains("422"), "{}", refused[0].reason);
}

#[test]
fn what_is_sent_again_has_the_same_key() {
    let (address, received) = answering(&[
        Answer::Status(200),
        Answer::Status(503),
        Answer::Status(200),
    ]);
    let mut sink = sink(address);
    sink.write(EPOCH, PartitionId(0), &rows(&["a", "b", "c"]), true)
        .expect("the third answer is good");
    assert_eq!(sink.finish(EPOCH), Ok(Tokens::new()));
    let expected = [
        "demo/test/hook/7/0-0",
        "demo/test/hook/7/0-1",
        "demo/test/hook/7/0-0",
        "demo/test/hook/7/0-1",
    ];
    assert_eq!(keys(&received), expected);
}

/// A request that leaves something behind in its instance is noticed when 10,000 of them, as many as there is room for, have done so.
#[test]
fn an_instance_may_send_more_requests_than_it_may_hold_resources() {
    let (address, received) = answering(&[Answer::Status(200)]);
    let mut sink = sink(address);
    let names = ["a"; 1000];
    for partition in (0..21).map(PartitionId) {
        sink.write(EPOCH, partition, &rows(&names), true)
            .expect("the server takes them");
    }
    assert_eq!(keys(&received).len(), 10_500);
}

#[test]
fn a_server_that_stays_broken_ends_the_run() {
    let (address, received) = answering(&[Answer::Status(503)]);
    let mut sink = sink_to(
        address,
        &[address.to_string()],
        Limits::of_sinks().deadline,
        1,
    );
    let failure = sink
        .write(EPOCH, PartitionId(0), &rows(&["a"]), true)
        .expect_err("it never works");
    assert_eq!(failure.fault, Fault::External);
    assert!(
        failure
            .to_string()
            .starts_with("`hook`, epoch 7, partition 0: "),
        "{failure}"
    );
    assert_eq!(keys(&received).len(), 2);
}

#[test]
fn a_call_that_waits_for_a_silent_server_is_given_up_and_made_again() {
    let (address, received) = answering(&[Answer::Silence, Answer::Status(200)]);
    let mut sink = sink_to(
        address,
        &[address.to_string()],
        Duration::from_millis(500),
        1,
    );
    sink.write(EPOCH, PartitionId(0), &rows(&["a"]), true)
        .expect("the second answer comes");
    assert_eq!(
        keys(&received),
        ["demo/test/hook/7/0-0", "demo/test/hook/7/0-0"]
    );
}

#[test]
fn a_server_that_stays_silent_ends_the_run() {
    let (address, _received) = answering(&[Answer::Silence]);
    let mut sink = sink_to(
        address,
        &[address.to_string()],
        Duration::from_millis(300),
        0,
    );
    let failure = sink
        .write(EPOCH, PartitionId(0), &rows(&["a"]), true)
        .expect_err("nobody answers");
    assert_eq!(
        (failure.fault, failure.message.as_str()),
        (Fault::External, "the plugin did not return within 300ms")
    );
}

#[test]
fn a_host_that_is_not_granted_is_never_reached() {
    let (address, received) = answering(&[Answer::Status(200)]);
    let (other, _) = answering(&[Answer::Status(200)]);
    let mut sink = sink_to(
        address,
        &[other.to_string()],
        Limits::of_sinks().deadline,
        0,
    );
    let failure = sink
        .write(EPOCH, PartitionId(0), &rows(&["a"]), true)
        .expect_err("it is denied");
    assert!(
        failure.message.contains("does not grant requests to"),
        "{failure}"
    );
    assert_eq!(keys(&received), Vec::<String>::new());
}

#[test]
fn without_a_grant_the_plugin_is_refused_before_it_runs() {
    let failure = bind(([127, 0, 0, 1], 1).into(), &[], Duration::from_secs(1))
        .expect_err("nothing is granted");
    assert!(
        failure.message.contains("wasi:http/outgoing-handler"),
        "{failure}"
    );
    assert!(
        failure
            .help
            .expect("there is a way")
            .contains("grants = { http = [")
    );
}

const REJECTING: &str = r#"
name = "rejecting"

[epoch]
trigger = "available-now"

[sources.lines]
type = "files"
path = "in.txt"

[steps.words]
input = "lines"
plugin = "split-words"

[sinks.hook]
input = "words"
type = "plugin"
plugin = "sink-webhook"
config = { url = "http://{address}/rows", batch_rows = 1 }
grants = { http = ["{address}"] }
on_error = "reject"

[rejected]
type = "files"
path = "rejected"
"#;

#[test]
fn rows_that_the_server_does_not_want_are_written_aside_with_where_they_came_from() {
    let wants = |request: Request| match request.rows[0]["word"] == "bad" {
        true => Answer::Status(422),
        false => Answer::Status(200),
    };
    let address = server(wants).to_string();
    let folder = folder(&[
        ("pipeline.toml", &REJECTING.replace("{address}", &address)),
        ("in.txt", "one two\nthree bad four\n\nbad\n"),
    ]);
    let ended = run(wasmill()
        .arg("run")
        .arg(folder.path().join("pipeline.toml"))
        .args(["--log", "json"]));
    let summary = ended.succeeded().summary();
    let counts = &summary["nodes"]["hook"];
    assert_eq!(counts["rows_in"], 6, "{summary}");
    assert_eq!(counts["rows_out"], 4, "{summary}");
    assert_eq!(counts["rejected"], 2, "{summary}");

    let component = std::fs::read(wasmill_tests::plugins().join("sink-webhook.wasm"));
    let digest = Digest::of(&component.expect("a file")).to_string();
    let rejected = delivered(&folder.path().join("rejected"));
    assert_eq!(rejected.len(), 2, "{rejected:?}");
    for (row, byte) in rejected.iter().zip([8, 24]) {
        let row: Value = serde_json::from_str(row).expect("a row is JSON");
        let file = folder.path().join("in.txt");
        assert_eq!((&row["epoch"], &row["partition"]), (&json!(0), &json!(0)));
        assert_eq!(row["node"], "hook");
        assert_eq!(row["origin"], format!("{} at byte {byte}", file.display()));
        assert_eq!(row["plugin"], digest);
        let reason = format!("http://{address}/rows answered 422: because");
        assert_eq!(row["reason"], reason);
        assert_eq!(row["row"], json!({ "word": "bad" }));
    }
}
