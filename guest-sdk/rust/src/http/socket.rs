//! Requests over a plain socket, for native tests. HTTP/1.0, whose answers end with the connection.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use super::{MAX_BODY, Request, Response};
use crate::Error;

pub(super) fn send(request: Request) -> Result<Response, Error> {
    if request.secure {
        return Err("a native test has no TLS: use an address of http://".into());
    }
    exchange(&request)
        .map_err(|error| Error::retryable(format!("no answer from {}: {error}", request.authority)))
}

fn exchange(request: &Request) -> std::io::Result<Response> {
    let has_port = request
        .authority
        .rsplit(':')
        .next()
        .is_some_and(|port| port.parse::<u16>().is_ok());
    let address = if has_port {
        request.authority.clone()
    } else {
        format!("{}:80", request.authority)
    };
    let address = address
        .to_socket_addrs()?
        .next()
        .ok_or(std::io::ErrorKind::NotFound)?;
    let mut peer = TcpStream::connect_timeout(&address, request.timeout)?;
    peer.set_read_timeout(Some(request.timeout))?;
    let mut head = format!(
        "{} {} HTTP/1.0\r\nHost: {}\r\n",
        request.method, request.path, request.authority
    );
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", request.body.len());
    peer.write_all(head.as_bytes())?;
    peer.write_all(&request.body)?;
    let mut answer = Vec::new();
    peer.take(2 * MAX_BODY as u64).read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let body = &answer[end + 4..];
    Some(Response {
        status,
        headers: lines.filter_map(header).collect(),
        body: body[..body.len().min(MAX_BODY)].to_vec(),
    })
}
