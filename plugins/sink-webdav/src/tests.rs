use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::json;
use wasmill_sdk::ErrorKind;
use wasmill_sdk::testing::{self, SinkTest};

use super::*;

/// Answers one request after another with these status lines, and says what each asked for: its first line, `Destination` and body.
fn server(answers: &'static [&'static str]) -> (String, Receiver<[String; 3]>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/dav", listener.local_addr().unwrap());
    let (tell, asked) = channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut peer, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(peer.try_clone().unwrap());
            let (mut first, mut target, mut length) = (String::new(), String::new(), 0);
            reader.read_line(&mut first).unwrap();
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                let (name, value) = line.trim().split_once(": ").unwrap_or_default();
                match name.to_ascii_lowercase().as_str() {
                    "destination" => target = value.to_owned(),
                    "content-length" => length = value.parse().unwrap(),
                    _ => {}
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let first = first.trim().trim_end_matches(" HTTP/1.0").to_owned();
            tell.send([first, target, String::from_utf8(body).unwrap()])
                .unwrap();
            write!(peer, "HTTP/1.1 {answer}\r\n\r\nbecause").unwrap();
        }
    });
    (url, asked)
}

fn test(url: &str) -> SinkTest<WebDav> {
    let rows = [
        r#"{"word": "a", "n": 1}"#,
        r#"{"word": "\u00e9", "n": null}"#,
    ];
    let test = testing::sink::<WebDav>().config(json!({ "url": url }));
    test.key("p/l/archive/0/0")
        .json(&[("word", "utf8"), ("n", "int64?")], rows)
}

const STAGED: &str = "/dav/.staged-p-l-archive-0-0.jsonl";

fn request(method: &str, path: &str) -> [String; 3] {
    [format!("{method} {path}"), String::new(), String::new()]
}

#[test]
fn rows_are_staged_and_then_renamed() {
    let (url, asked) = server(&["201 Created", "201 Created"]);
    let run = test(&url).run().unwrap();
    let mut put = request("PUT", STAGED);
    put[2] = "{\"word\":\"a\",\"n\":1}\n{\"word\":\"\u{e9}\",\"n\":null}\n".to_owned();
    assert_eq!(asked.recv().unwrap(), put);
    run.commit(0).unwrap();
    let mut renamed = request("MOVE", STAGED);
    renamed[1] = format!("{url}/epoch-00000000-part-00000.jsonl");
    assert_eq!(asked.recv().unwrap(), renamed);
}

#[test]
fn what_was_renamed_before_is_looked_for_under_its_name() {
    let (url, asked) = server(&["201 -", "404 -", "200 -", "404 -", "404 -"]);
    let run = test(&url).run().unwrap();
    run.commit(0).unwrap();
    let head = request("HEAD", "/dav/epoch-00000000-part-00000.jsonl");
    assert_eq!(asked.iter().nth(2).unwrap(), head);
    let lost = run.commit(0).unwrap_err();
    assert_eq!(lost.kind, ErrorKind::Fatal);
    assert!(lost.message.contains("answered 404"), "{}", lost.message);
}

#[test]
fn an_abort_removes_what_was_staged_if_it_is_there() {
    let (url, asked) = server(&["201 -", "204 -", "404 -", "500 -"]);
    let run = test(&url).run().unwrap();
    run.abort(0).unwrap();
    assert_eq!(asked.iter().nth(1).unwrap(), request("DELETE", STAGED));
    run.abort(0).unwrap();
    assert_eq!(run.abort(0).unwrap_err().kind, ErrorKind::Retryable);
}

#[test]
fn a_server_that_is_locked_is_tried_again_and_a_wrong_address_is_told_at_once() {
    let (url, _asked) = server(&["423 Locked"]);
    assert_eq!(test(&url).run().err().unwrap().kind, ErrorKind::Retryable);
    let wrong = test("dav.example.com").describe().unwrap_err();
    assert!(
        wrong.message.contains("is not an address"),
        "{}",
        wrong.message
    );
}
