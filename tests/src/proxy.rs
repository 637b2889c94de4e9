//! A proxy for TLS that leads every host to one address: so a test reaches a server under a name that no resolver knows.

use std::io::{self, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::http::read_raw;

/// Starts one, on threads that end with the test, and gives its URL, as `HTTPS_PROXY` wants it.
pub fn to(target: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            thread::spawn(move || lead(stream, target));
        }
    });
    url
}

fn lead(mut client: TcpStream, target: SocketAddr) -> io::Result<()> {
    let Some(request) = read_raw(&client) else {
        return Ok(());
    };
    assert_eq!(request.method, "CONNECT", "{request:?}");
    let server = TcpStream::connect(target)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let back = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || copy(back.0, back.1));
    copy(client, server)
}

fn copy(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}
