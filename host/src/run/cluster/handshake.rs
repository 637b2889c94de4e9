//! The first words on every connection: who calls, and whether both run the same thing.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::frame;
use crate::error::Failure;
use crate::ids::{Digest, Generation, PipelineName, ProcessIndex};

/// What a connection begins with: the name and the version of the protocol.
const MAGIC: [u8; 8] = *b"WASMILL\x02";

/// How long a caller may take to say hello.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channel {
    Data,
    Control,
}

/// What a process says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub pipeline: PipelineName,
    pub plan: Digest,
    /// As process 0 says; not known before it was asked.
    pub generation: Option<Generation>,
    pub process: ProcessIndex,
    pub processes: usize,
    pub workers: usize,
    pub token: Digest,
    pub channel: Channel,
}

#[derive(Serialize, Deserialize)]
enum Reply {
    Welcome(Option<Generation>),
    Refused(String),
}

/// What came of a caller.
pub enum Arrival {
    Welcome(Channel, ProcessIndex, TcpStream),
    /// Not one of ours.
    Stranger(String),
    /// One of ours that runs something else.
    Different(Failure),
}

/// Introduces this process to `peer`, and waits until it is let in; answers what generation the peer is of.
pub fn call(
    mut stream: TcpStream,
    hello: &Hello,
    peer: usize,
    host: &str,
    deadline: Instant,
) -> Result<(TcpStream, Option<Generation>), Failure> {
    let lost = |error: io::Error| {
        Failure::external(format!(
            "process {peer} at {host} did not complete the handshake: {error}"
        ))
        .help("is something else listening on that address?")
    };
    let left = deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(100));
    stream.set_nodelay(true).map_err(lost)?;
    stream.set_read_timeout(Some(left)).map_err(lost)?;
    stream.write_all(&MAGIC).map_err(lost)?;
    frame::write(&mut stream, hello).map_err(lost)?;
    match frame::read(&mut stream).map_err(lost)? {
        Reply::Welcome(generation) => {
            stream.set_read_timeout(None).map_err(lost)?;
            Ok((stream, generation))
        }
        Reply::Refused(why) => Err(Failure::user(format!(
            "process {peer} at {host} refused this process: {why}"
        ))),
    }
}

/// Hears a caller out and lets it in if it belongs to this run.
pub fn answer(mut stream: TcpStream, own: &Hello) -> Arrival {
    let hello = match listen(&mut stream) {
        Ok(hello) => hello,
        Err(error) => return Arrival::Stranger(error.to_string()),
    };
    if hello.token != own.token {
        refuse(stream, "its token is wrong");
        return Arrival::Stranger(format!("process {} has another token", hello.process));
    }
    if let Some(difference) = difference(own, &hello) {
        refuse(stream, &difference);
        let message = format!(
            "process {} does not fit this run: {difference}",
            hello.process
        );
        return Arrival::Different(Failure::user(message).help(
            "start every process with the same pipeline file, plugins, hosts file and --workers",
        ));
    }
    match welcome(&mut stream, own) {
        Ok(()) => Arrival::Welcome(hello.channel, hello.process, stream),
        Err(error) => Arrival::Stranger(error.to_string()),
    }
}

fn listen(stream: &mut TcpStream) -> io::Result<Hello> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic)?;
    if magic[..7] != MAGIC[..7] {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it does not speak Wasmill's protocol",
        ));
    }
    if magic != MAGIC {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it speaks another version of Wasmill's protocol",
        ));
    }
    frame::read(stream)
}

fn welcome(stream: &mut TcpStream, own: &Hello) -> io::Result<()> {
    frame::write(stream, &Reply::Welcome(own.generation))?;
    stream.set_read_timeout(None)
}

fn refuse(mut stream: TcpStream, why: &str) {
    // It is turned away whether it hears why or not.
    frame::write(&mut stream, &Reply::Refused(why.to_owned())).ok();
}

fn difference(own: &Hello, other: &Hello) -> Option<String> {
    if own.pipeline != other.pipeline {
        return Some(format!(
            "one runs pipeline `{}`, the other `{}`",
            own.pipeline, other.pipeline
        ));
    }
    if own.plan != other.plan {
        return Some("the pipeline file or a plugin differs between them".to_owned());
    }
    if let (Some(own), Some(other)) = (own.generation, other.generation)
        && own != other
    {
        return Some(format!("one is of generation {own}, the other of {other}"));
    }
    if own.processes != other.processes {
        return Some(format!(
            "one has {} processes in its hosts file, the other {}",
            own.processes, other.processes
        ));
    }
    if own.workers != other.workers {
        return Some(format!(
            "one has {} workers, the other {}",
            own.workers, other.workers
        ));
    }
    None
}
