//! A webhook's server on loopback.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

/// One request as the server got it.
#[derive(Debug)]
pub struct Request {
    /// Its idempotency key.
    pub key: String,
    /// All of its headers, by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub rows: Value,
}

/// What the server does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Answers with this status, and with the body "because".
    Status(u16),
    /// Answers 503, and in how many seconds to come again.
    Later(u32),
    /// Holds the connection and says nothing.
    Silence,
}

/// A server that takes one request after another, on a thread of its own that ends with the test.
pub fn server(mut answer: impl FnMut(Request) -> Answer + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let head = match answer(read_request(&stream)) {
                Answer::Status(status) => format!("{status} -"),
                Answer::Later(seconds) => format!("503 -\r\nretry-after: {seconds}"),
                Answer::Silence => {
                    silent.push(stream);
                    continue;
                }
            };
            let answer =
                format!("HTTP/1.1 {head}\r\ncontent-length: 7\r\nconnection: close\r\n\r\nbecause");
            // The client may have given up.
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    address
}

/// A server that answers its requests in this order, the last answer again and again, and the requests it got.
pub fn answering(answers: &[Answer]) -> (SocketAddr, Receiver<Request>) {
    let (requests, received) = channel();
    let answers = answers.to_vec();
    let mut answered = 0;
    let address = server(move |request| {
        // The test may have seen enough.
        requests.send(request).ok();
        let answer = answers.get(answered).or(answers.last());
        answered += 1;
        *answer.expect("a server has an answer")
    });
    (address, received)
}

fn read_request(stream: &TcpStream) -> Request {
    let request = read_raw(stream).expect("a whole request");
    Request {
        key: request
            .headers
            .get("idempotency-key")
            .cloned()
            .unwrap_or_default(),
        headers: request.headers,
        rows: serde_json::from_slice(&request.body).expect("the body is JSON"),
    }
}

/// A request as it came.
#[derive(Debug)]
pub struct Raw {
    /// Its method.
    pub method: String,
    /// What it asks for.
    pub path: String,
    /// Its headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Reads a request; `None` if it breaks off.
pub fn read_raw(stream: &TcpStream) -> Option<Raw> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|bytes| *bytes > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let is_chunked = headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding == "chunked");
    let body = match headers.get("content-length") {
        _ if is_chunked => chunks(&mut reader)?,
        Some(length) => bytes(&mut reader, length.parse().ok()?)?,
        None => Vec::new(),
    };
    Some(Raw {
        method,
        path,
        headers,
        body,
    })
}

fn bytes(reader: &mut impl Read, length: usize) -> Option<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
        body.extend(bytes(reader, size)?);
        bytes(reader, 2)?;
        if size == 0 {
            return Some(body);
        }
    }
}
