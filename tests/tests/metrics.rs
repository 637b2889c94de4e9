//! `/metrics`: Prometheus's own tool finds nothing wrong with it, it is what the documentation says, and tenants see no others.

#![expect(clippy::unwrap_used, reason = "what a test unwraps is what it asserts")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use wasmill_tests::s3::S3Server;
use wasmill_tests::server::{Server, apply, push};
use wasmill_tests::wait_until;

/// Rows go through a plugin for ever.
fn pipeline(name: &str) -> String {
    format!(
        r#"name = "{name}"

[epoch]
interval = "50ms"

[sources.made]
type = "generate"
rows_per_second = 100
words = 3

[steps.words]
input = "made"
plugin = "split-words"
config = {{ column = "text" }}

[sinks.out]
input = "words"
type = "files"
path = "out"
"#
    )
}

/// A server on which acme and other run a pipeline each, with their tokens, once these have delivered something.
fn running() -> (Server, String, String) {
    running_on(Server::start(&[]))
}

fn running_on(server: Server) -> (Server, String, String) {
    let tokens = ["acme", "other"].map(|tenant| {
        let token = server.tenant(tenant);
        push(&server, &token, tenant, "split-words", "split-words");
        let applied = apply(&server, &token, tenant, &pipeline(&format!("{tenant}s")));
        assert_eq!(applied.status, 200, "{applied:?}");
        wait_until("an epoch", || {
            let text = metrics(&server, &token);
            let delivered = sum(&text, "wasmill_pipeline_epochs_delivered_total");
            delivered > 0.0 && sum(&text, "wasmill_plugin_calls_total") > 0.0
        });
        token
    });
    let [own, other] = tokens;
    (server, own, other)
}

/// The text, as a scraper gets it.
fn metrics(server: &Server, token: &str) -> String {
    let mut stream = server.connect();
    let ask = format!(
        "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    body.to_owned()
}

/// The samples of a text: name, labels as written, value.
fn samples(text: &str) -> Vec<(String, String, f64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (what, value) = line.rsplit_once(' ').expect("a sample has a value");
        let (name, labels) = what.split_once('{').unwrap_or((what, "}"));
        let labels = labels.strip_suffix('}').expect("labels end");
        (
            name.to_owned(),
            labels.to_owned(),
            value.parse().expect("a value is a number"),
        )
    };
    lines.map(sample).collect()
}

fn sum(text: &str, name: &str) -> f64 {
    let samples = samples(text).into_iter();
    samples
        .filter(|sample| sample.0 == name)
        .map(|sample| sample.2)
        .sum()
}

/// What there is of each metric: its type, and the labels of its samples.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

fn served(text: &str) -> Metrics {
    let types = text.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some((name.to_owned(), (kind.to_owned(), BTreeSet::new())))
    });
    let mut metrics: Metrics = types.collect();
    for (name, labels, _) in samples(text) {
        let known = metrics.get_mut(&name).expect("a sample has a type");
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        known.1.extend(labels.map(|(label, _)| label.to_owned()));
    }
    metrics
}

fn documented() -> Metrics {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `wasmill_"));
    let row = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[2]
            .split(',')
            .map(|label| label.trim().replace('`', ""));
        let labels = labels.filter(|label| !label.is_empty()).collect();
        let name = format!("wasmill_{}", cells[0].replace('`', ""));
        (name, (cells[1].to_owned(), labels))
    };
    rows.map(row).collect()
}

#[test]
fn the_documentation_has_every_metric_with_its_type_and_labels_and_prometheus_reads_them() {
    let bucket = S3Server::start();
    let server = Server::knowing(&bucket.variables(), &["--store", "s3://bucket/all"]);
    let (server, ..) = running_on(server);
    let text = metrics(&server, &server.admin);
    assert_eq!(served(&text), documented());
    let copied = sum(&text, "wasmill_server_copied_time_seconds");
    assert!(copied >= sum(&text, "wasmill_server_start_time_seconds"));

    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the test needs promtool: on Debian, apt-get install prometheus");
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let checked = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(
        checked.status.success() && said.is_empty(),
        "{said}\n{text}"
    );
}

#[test]
fn a_tenant_sees_its_own_figures_and_neither_anothers_nor_the_servers() {
    let (server, own, other) = running();
    for (token, tenant) in [(&own, "acme"), (&other, "other")] {
        let text = metrics(&server, token);
        for (name, labels, _) in samples(&text) {
            let whose = format!("tenant=\"{tenant}\"");
            assert!(labels.starts_with(&whose), "{name}{{{labels}}}");
        }
        assert!(sum(&text, "wasmill_node_rows_in_total") > 0.0);
    }
    let all = metrics(&server, &server.admin);
    let phases = samples(&all).into_iter();
    let running = phases.filter(|(name, labels, value)| {
        name == "wasmill_pipeline_phase" && labels.ends_with("phase=\"running\"") && *value == 1.0
    });
    assert_eq!(running.count(), 2);
}

#[test]
fn requests_are_counted_by_route_and_code_and_strangers_make_no_new_ones() {
    let server = Server::start(&[]);
    for path in ["/v1/tenants/nobody", "/v1/tenants/noone"] {
        assert_eq!(server.ask(&server.admin, "GET", path, b"").status, 404);
    }
    for path in ["/a", "/b"] {
        assert_eq!(server.exchange("", "BREW", path, b"").status, 404);
    }
    let text = metrics(&server, &server.admin);
    for line in [
        r#"wasmill_http_requests_total{method="GET",route="/v1/tenants/{tenant}",code="404"} 2"#,
        r#"wasmill_http_requests_total{method="other",route="none",code="404"} 2"#,
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
}
