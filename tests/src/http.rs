//! A webhook's server on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

/// One request as the server got it.
#[derive(Debug)]
pub struct Request {
    /// Its idempotency key.
    pub key: String,
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
    let mut reader = BufReader::new(stream);
    let (mut key, mut length, mut chunked) = (String::new(), 0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line of the head");
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => key = value.to_owned(),
            "content-length" => length = value.parse().expect("a number"),
            "transfer-encoding" => chunked = value == "chunked",
            _ => {}
        }
    }
    let body = if chunked {
        chunks(&mut reader)
    } else {
        bytes(&mut reader, length)
    };
    Request {
        key,
        rows: serde_json::from_slice(&body).expect("the body is JSON"),
    }
}

fn bytes(reader: &mut impl Read, length: usize) -> Vec<u8> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the whole body");
    body
}

fn chunks(reader: &mut impl BufRead) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).expect("a chunk's size");
        let size = usize::from_str_radix(size.trim_end(), 16).expect("a number");
        body.extend(bytes(reader, size));
        bytes(reader, 2);
        if size == 0 {
            return body;
        }
    }
}
