//! Traces: what a collector gets to know of each epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use wasmill_tests::collector::{Collector, Span, text, value};
use wasmill_tests::pipeline::{Pipeline, WORDS};
use wasmill_tests::server::{Server, apply, push};
use wasmill_tests::wait_until;

#[test]
fn an_epoch_is_a_trace_with_a_part_for_each_node_that_worked_on_it() {
    let (collector, url) = Collector::start();
    let pipeline = Pipeline::remembering(&WORDS);
    pipeline
        .start(&["--workers", "2", "--traces", &url])
        .succeeded();
    let mut traces: BTreeMap<Vec<u8>, Vec<Span>> = BTreeMap::new();
    for span in collector.spans() {
        traces.entry(span.trace_id.clone()).or_default().push(span);
    }
    assert_eq!(traces.len(), WORDS.len());
    let mut bytes = Vec::new();
    for spans in traces.values() {
        let ids: BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
        assert_eq!(ids.len(), spans.len(), "{spans:?}");
        let names: BTreeSet<&str> = spans.iter().map(|span| &*span.name).collect();
        let all = [
            "commit", "epoch", "lines", "out", "plan", "recent", "totals", "windows", "words",
        ];
        assert_eq!(Vec::from_iter(names), all);
        let epoch = spans.iter().find(|span| span.name == "epoch").unwrap();
        assert!(epoch.parent_span_id.is_empty(), "{epoch:?}");
        let Value::IntValue(read) = value(&epoch.attributes, "wasmill.bytes_in") else {
            panic!("{epoch:?}");
        };
        bytes.push(*read);
        for span in spans.iter().filter(|span| span.name != "epoch") {
            assert_eq!(span.parent_span_id, epoch.span_id, "{span:?}");
            assert_eq!(text(&span.attributes, "wasmill.pipeline"), "remembers");
            let number = |span: &Span| value(&span.attributes, "wasmill.epoch").clone();
            assert_eq!(number(span), number(epoch));
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            // Two clocks meet in a moment: what was measured is right to a millisecond.
            let slack = 1_000_000;
            assert!(span.start_time_unix_nano + slack >= epoch.start_time_unix_nano);
            // An epoch is committed when it is delivered.
            let is_within = span.end_time_unix_nano <= epoch.end_time_unix_nano + slack;
            assert!(is_within || span.name == "commit", "{span:?} of {epoch:?}");
        }
    }
    bytes.sort_unstable();
    let mut given = WORDS.map(|(_, text)| text.len() as i64);
    given.sort_unstable();
    assert_eq!(bytes, given);
}

#[test]
fn a_collector_that_is_not_there_is_nothing_to_a_run() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", gone.local_addr().unwrap());
    drop(gone);
    let pipeline = Pipeline::remembering(&WORDS);
    let ended = pipeline.start(&["--traces", &url]).succeeded();
    assert!(
        ended.err.contains("telemetry data will be lost"),
        "{}",
        ended.err
    );
    let refused = pipeline.start(&["--traces", "nowhere"]).failed_with(2);
    assert!(
        refused.err.contains("spans cannot be sent to `nowhere`"),
        "{}",
        refused.err
    );
}

#[test]
fn a_server_tells_whose_pipeline_an_epoch_is_of() {
    let (collector, url) = Collector::start();
    let server = Server::start(&["--traces", &url]);
    let token = server.tenant("acme");
    push(&server, &token, "acme", "split-words", "split-words");
    let pipeline = "name = \"words\"\n[epoch]\ninterval = \"50ms\"\n[sources.made]\ntype = \"generate\"\nrows_per_second = 100\nwords = 3\n\
        [steps.words]\ninput = \"made\"\nplugin = \"split-words\"\nconfig = { column = \"text\" }\n[sinks.out]\ninput = \"words\"\ntype = \"files\"\npath = \"out\"\n";
    let applied = apply(&server, &token, "acme", pipeline);
    assert_eq!(applied.status, 200, "{applied:?}");
    wait_until("a span of the plugin", || {
        let spans = collector.spans();
        let found = spans.iter().find(|span| span.name == "words");
        found.is_some_and(|span| {
            text(&span.attributes, "wasmill.tenant") == "acme"
                && text(&span.attributes, "wasmill.pipeline") == "words"
        })
    });
}
