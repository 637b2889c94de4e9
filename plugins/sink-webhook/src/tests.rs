use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use serde_json::json;
use wasmill_sdk::ErrorKind;
use wasmill_sdk::testing::{self, SinkTest};

use super::*;

/// What the server saw: the idempotency key and the body of each request.
type Seen = Vec<(String, String)>;

/// Answers one request after another with these status lines and headers, then ends.
fn server(answers: &'static [&'static str]) -> (String, JoinHandle<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/rows", listener.local_addr().unwrap());
    let serve = move || {
        let mut seen = Vec::new();
        for answer in answers {
            let (mut peer, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(peer.try_clone().unwrap());
            let (mut key, mut length) = (String::new(), 0);
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                let (name, value) = line.trim().split_once(": ").unwrap_or_default();
                match name.to_ascii_lowercase().as_str() {
                    "idempotency-key" => key = value.to_owned(),
                    "content-length" => length = value.parse().unwrap(),
                    _ => {}
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            seen.push((key, String::from_utf8(body).unwrap()));
            write!(peer, "HTTP/1.1 {answer}\r\n\r\nbecause").unwrap();
        }
        seen
    };
    (url, thread::spawn(serve))
}

fn test(config: serde_json::Value) -> SinkTest<Webhook> {
    testing::sink::<Webhook>().config(config).key("p-7-0").json(
        &[("word", "utf8"), ("n", "int64?")],
        [
            r#"{"word": "a", "n": 1}"#,
            r#"{"word": "\u00e9\"", "n": null}"#,
            r#"{"word": "c", "n": 3}"#,
        ],
    )
}

#[test]
fn rows_arrive_in_batches_each_under_its_own_key() {
    let (url, server) = server(&["200 OK", "204 No Content"]);
    let run = test(json!({"url": url, "batch_rows": 2})).run().unwrap();
    assert!(run.rejected().is_empty());
    let expected = [
        (
            "p-7-0-0",
            "[{\"word\":\"a\",\"n\":1},{\"word\":\"\u{e9}\\\"\",\"n\":null}]",
        ),
        ("p-7-0-1", "[{\"word\":\"c\",\"n\":3}]"),
    ];
    assert_eq!(
        server.join().unwrap(),
        expected.map(|(key, body)| (key.to_owned(), body.to_owned()))
    );
}

#[test]
fn a_busy_server_is_tried_again_when_it_says() {
    let (url, server) = server(&["503 Busy\r\nRetry-After: 7"]);
    let error = test(json!({"url": url})).run().map(drop).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retryable);
    assert_eq!(error.after, Some(Duration::from_secs(7)));
    assert_eq!(error.message, format!("{url} answered 503: because"));
    server.join().unwrap();
}

#[test]
fn a_chunk_that_is_written_again_has_the_same_keys() {
    let (url, server) = server(&["200 OK", "500 Oh", "200 OK", "200 OK"]);
    test(json!({"url": url, "batch_rows": 2}))
        .retries(1)
        .run()
        .unwrap();
    let seen = server.join().unwrap();
    assert_eq!(seen[0], seen[2]);
    assert_eq!(seen[1], seen[3]);
}

#[test]
fn no_server_is_tried_again() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = test(json!({"url": format!("http://{closed}/")}))
        .run()
        .map(drop)
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retryable);
}

#[test]
fn rows_that_the_server_refuses_are_rejected_and_the_others_go_on() {
    let (url, server) = server(&["422 Unprocessable", "200 OK"]);
    let run = test(json!({"url": url, "batch_rows": 2})).run().unwrap();
    let reason = format!("{url} answered 422: because");
    assert_eq!(run.rejected(), [(0, reason.clone()), (1, reason)]);
    assert_eq!(server.join().unwrap().len(), 2);
}

#[test]
fn a_refusal_ends_the_pipeline_if_it_is_to() {
    let (url, server) = server(&["401 Unauthorized"]);
    let error = test(json!({"url": url, "on_4xx": "fail"}))
        .run()
        .map(drop)
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fatal);
    server.join().unwrap();
}

#[test]
fn a_wrong_setting_is_told_before_the_sink_is_opened() {
    for url in ["example.com", "https://", "http:///rows"] {
        let error = test(json!({"url": url})).describe().unwrap_err();
        let told = format!(
            "the configuration is wrong: `url`: `{url}` is not an address as https://example.com/path"
        );
        assert_eq!(error.message, told);
    }
    let error = test(json!({"url": "http://x/", "batch": 1}))
        .describe()
        .unwrap_err();
    assert!(error.message.contains("no setting `batch`"), "{error}");
}
