//! The plugins of this repository as components, in the host: what their own tests cannot see.

#![expect(clippy::unwrap_used, reason = "what a test unwraps is what it asserts")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use proptest::prelude::*;
use serde_json::{Value, json};
use wasmill::ids::{BatchTime, Epoch, PartitionId};
use wasmill::plugin::{
    CallContext, CallError, Component, Engine, ErrorKind, Grants, HostPort, Limits, Origin,
    SinkInstance, SinkPlugin, Transform,
};

fn load(name: &str) -> Component {
    let cache = tempfile::tempdir().unwrap();
    // `cargo xtask plugins` builds them there.
    let plugins = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("plugins");
    let engine = Engine::new(cache.path()).unwrap();
    engine.load(&plugins.join(format!("{name}.wasm"))).unwrap()
}

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), false);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

const CONTEXT: CallContext = CallContext {
    epoch: Epoch(7),
    time: BatchTime(0),
    partition: PartitionId(0),
    call: 0,
    seed: 0,
};

/// Lines that take the vector code of `Text::words` through all of its turns: words across the bounds of its 64 bytes,
/// long ones, every white space, characters of several bytes, a column that ends anywhere.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![
        "[a-z]{1,17}",
        "[\u{b}\u{a0}\u{e9}\u{4e16}]{1,5}",
        "[a-z]{60,140}",
    ];
    let piece = (word, "[ \t\n\r\u{c}]{0,3}").prop_map(|(word, space)| word + &space);
    let line = ("[ ]{0,2}", proptest::collection::vec(piece, 0..30));
    proptest::collection::vec(
        line.prop_map(|(space, pieces)| space + &pieces.concat()),
        0..20,
    )
}

#[test]
fn split_words_finds_the_words_of_any_text() {
    let component = load("split-words");
    let schema = schema(&[("line", DataType::Utf8)]);
    let transform = Transform::new(
        &component,
        &"words".into(),
        &json!({}),
        &schema,
        &Limits::default(),
        &Grants::default(),
    )
    .unwrap();
    proptest!(|(lines in lines())| {
        let column = Arc::new(StringArray::from(lines.clone()));
        let batch = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
        let produced = transform.open().unwrap().process(&CONTEXT, &batch).unwrap();
        let of_line = |(at, line): (usize, &String)| {
            line.split_ascii_whitespace().map(|word| (at as u32, word.to_owned())).collect::<Vec<_>>()
        };
        let expected: Vec<_> = lines.iter().enumerate().flat_map(of_line).collect();
        let output = &produced.outputs[0];
        let Origin::Parents(parents) = &output.origin else {
            panic!("words have parents");
        };
        let words = output.columns[0].as_string::<i32>().iter().flatten().map(str::to_owned);
        let found: Vec<_> = parents.values().iter().copied().zip(words).collect();
        prop_assert_eq!(found, expected);
    });
}

/// A request's idempotency key and body.
type Seen = Vec<(String, Value)>;

/// A server that gives each request the next of these answers.
fn server(answers: &'static [&'static str]) -> (HostPort, JoinHandle<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = HostPort::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    let serve = move || {
        let answer = |answer: &&str| {
            let (peer, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(peer);
            let (mut key, mut length, mut line) = (String::new(), 0, String::new());
            while reader.read_line(&mut line).unwrap() > 2 {
                let lower = line.trim().to_ascii_lowercase();
                match lower.split_once(": ") {
                    Some(("idempotency-key", value)) => key = value.to_owned(),
                    Some(("content-length", value)) => length = value.parse().unwrap(),
                    _ => {}
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let head = format!(
                "HTTP/1.1 {answer}\r\nContent-Length: 7\r\nConnection: close\r\n\r\nbecause"
            );
            reader.get_mut().write_all(head.as_bytes()).unwrap();
            (key, serde_json::from_slice(&body).unwrap())
        };
        answers.iter().map(answer).collect()
    };
    (host, thread::spawn(serve))
}

fn open_webhook(url: &str, grants: Vec<HostPort>) -> SinkInstance {
    let config = json!({ "url": url, "batch_rows": 2 });
    let schema = schema(&[("word", DataType::Utf8), ("n", DataType::Int64)]);
    let grants = Grants { http: grants };
    let sink = SinkPlugin::new(
        &load("sink-webhook"),
        &"out".into(),
        &config,
        &schema,
        &Limits::of_sinks(),
        &grants,
    )
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    sink.open(&Arc::new(runtime)).unwrap()
}

fn counts() -> RecordBatch {
    let schema = schema(&[("word", DataType::Utf8), ("n", DataType::Int64)]);
    let words = StringArray::from(vec!["to", "be", "or"]);
    let counts = Int64Array::from(vec![1, 2, 3]);
    RecordBatch::try_new(schema, vec![Arc::new(words), Arc::new(counts)]).unwrap()
}

#[test]
fn sink_webhook_posts_rows_to_a_granted_host() {
    let (host, server) = server(&["200 OK", "422 No", "503 Busy\r\nRetry-After: 3"]);
    let mut sink = open_webhook(&format!("http://{host}/rows?x=1"), vec![host]);
    sink.begin(&CONTEXT, "key").unwrap();
    let rejected = sink.write(&CONTEXT, &counts()).unwrap();
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].row, 2);
    assert!(
        rejected[0].reason.ends_with("answered 422: because"),
        "{}",
        rejected[0].reason
    );
    match sink.write(&CONTEXT, &counts()).unwrap_err() {
        CallError::Refused { kind, after, .. } => {
            assert_eq!(
                (kind, after),
                (
                    ErrorKind::Retryable,
                    Some(std::time::Duration::from_secs(3))
                )
            );
        }
        other => panic!("{other}"),
    }
    let first = json!([{"word": "to", "n": 1}, {"word": "be", "n": 2}]);
    let expected = [
        ("key-0".to_owned(), first.clone()),
        ("key-1".to_owned(), json!([{"word": "or", "n": 3}])),
        ("key-2".to_owned(), first),
    ];
    assert_eq!(server.join().unwrap(), expected);
}

#[test]
fn sink_webhook_reaches_no_other_host() {
    let (host, _server) = server(&[]);
    let elsewhere = vec![HostPort::parse("127.0.0.1:1").unwrap()];
    let mut sink = open_webhook(&format!("http://{host}/"), elsewhere);
    sink.begin(&CONTEXT, "key").unwrap();
    match sink.write(&CONTEXT, &counts()).unwrap_err() {
        CallError::Refused {
            kind: ErrorKind::Fatal,
            message,
            ..
        } => {
            assert_eq!(
                message,
                format!("the pipeline file does not grant requests to {host}")
            );
        }
        other => panic!("{other}"),
    }
}
