//! The plugins of this repository as components, in the host: what their own tests cannot see.

#![expect(clippy::unwrap_used, reason = "what a test unwraps is what it asserts")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use proptest::prelude::*;
use serde_json::json;
use wasmill::ids::{BatchTime, Epoch, PartitionId};
use wasmill::plugin::{
    CallContext, CallError, Component, Engine, ErrorKind, Grants, HostPort, Limits, Origin,
    SinkInstance, SinkPlugin, Transform,
};
use wasmill_tests::http::{Answer, answering};

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
        let produced = transform.open(&CONTEXT).unwrap().process(&CONTEXT, &batch).unwrap();
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

fn open_webhook(url: &str, granted: SocketAddr) -> SinkInstance {
    let config = json!({ "url": url, "batch_rows": 2 });
    let schema = schema(&[("word", DataType::Utf8), ("n", DataType::Int64)]);
    let granted = HostPort::parse(&granted.to_string()).unwrap();
    let grants = Grants {
        http: vec![granted],
    };
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
    sink.open(&Arc::new(runtime), &CONTEXT).unwrap()
}

fn counts() -> RecordBatch {
    let schema = schema(&[("word", DataType::Utf8), ("n", DataType::Int64)]);
    let words = StringArray::from(vec!["to", "be", "or"]);
    let counts = Int64Array::from(vec![1, 2, 3]);
    RecordBatch::try_new(schema, vec![Arc::new(words), Arc::new(counts)]).unwrap()
}

#[test]
fn sink_webhook_posts_rows_to_a_granted_host() {
    let (host, received) = answering(&[Answer::Status(200), Answer::Status(422), Answer::Later(3)]);
    let mut sink = open_webhook(&format!("http://{host}/rows?x=1"), host);
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
    let seen: Vec<_> = received
        .try_iter()
        .map(|request| (request.key, request.rows))
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn sink_webhook_reaches_no_other_host() {
    let (host, received) = answering(&[Answer::Status(200)]);
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], 1));
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
    assert!(received.try_recv().is_err());
}
