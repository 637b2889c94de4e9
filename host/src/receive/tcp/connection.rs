//! The sockets of a `tcp` source, on a thread of their own: connects or accepts, reads, and cuts into lines.

use std::io;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::buffer::{Buffer, Position};
use crate::error::Failure;
use crate::format::{Frame, Framer};
use crate::receive::OpenOptions;
use crate::telemetry::count;
use crate::thread::Log;

const CHUNK: usize = 64 << 10;
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// A host that drops packets answers nothing at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where bytes come from.
#[derive(Debug)]
pub enum Link {
    /// We connect, again and again.
    Connect {
        /// Host and port.
        address: String,
        /// Longest pause between two attempts.
        retry_max: Duration,
    },
    /// Peers connect.
    Listen {
        /// Bound and non-blocking.
        listener: TcpListener,
        /// How many at once; others wait in the system's queue.
        max_connections: usize,
    },
}

/// The running thread.
#[derive(Debug)]
pub struct Intake {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Intake {
    /// Starts it; it ends `buffer` when nothing more will come.
    pub fn start(
        link: Link,
        max_record: usize,
        buffer: Arc<Buffer>,
        options: OpenOptions,
    ) -> Result<Self, Failure> {
        let (stop, stopped) = watch::channel(false);
        let name = options.node.clone();
        let peer = Peer {
            buffer,
            max_record,
            options: Arc::new(options),
            stopped,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| {
                Failure::external(format!("cannot start socket input: {error}")).at_node(&name)
            })?;
        let log = Log::here();
        let thread = std::thread::Builder::new()
            .name(format!("tcp:{name}"))
            .spawn(move || {
                let buffer = peer.buffer.clone();
                let ended = log.hear(|| {
                    runtime.block_on(async {
                        match link {
                            Link::Connect { address, retry_max } => {
                                connect(peer, address, retry_max).await
                            }
                            Link::Listen {
                                listener,
                                max_connections,
                            } => accept(peer, listener, max_connections).await,
                        }
                    })
                });
                buffer.end(ended.err());
                // A name look-up cannot be interrupted; the thread does not wait for it.
                runtime.shutdown_background();
            })
            .map_err(|error| {
                Failure::external(format!("cannot start a thread: {error}")).at_node(&name)
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Asks it to close its sockets.
    pub fn stop(&self) {
        // Fails if the thread has ended already, which is what is wanted.
        self.stop.send(true).ok();
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A panic has been reported on its thread.
            thread.join().ok();
        }
    }
}

/// What every connection of a source needs.
#[derive(Clone)]
struct Peer {
    buffer: Arc<Buffer>,
    max_record: usize,
    options: Arc<OpenOptions>,
    stopped: watch::Receiver<bool>,
}

/// How a connection came to its end.
enum End {
    Closed,
    Failed(io::Error),
    Stopped,
}

async fn until_stopped(stopped: &mut watch::Receiver<bool>) {
    // An error means that the receiver has gone, which is a stop too.
    stopped.wait_for(|stopped| *stopped).await.ok();
}

/// Keeps one connection, and makes it again when it ends.
async fn connect(mut peer: Peer, address: String, retry_max: Duration) -> Result<(), Failure> {
    let node = peer.options.node.clone();
    let available_now = peer.options.available_now;
    let mut pause = FIRST_RETRY;
    let mut connections = 0;
    loop {
        let attempt = tokio::select! {
            () = until_stopped(&mut peer.stopped) => return Ok(()),
            attempt = timeout(CONNECT_TIMEOUT, TcpStream::connect(&address)) => attempt,
        };
        let attempt = attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let what = match attempt {
            Ok(stream) => {
                connections += 1;
                tracing::info!(source = %node, "connected to {address}");
                let name = match connections {
                    1 => address.clone(),
                    _ => format!("{address} (connection {connections})"),
                };
                let (end, received) = peer.receive(stream, name).await;
                if received {
                    pause = FIRST_RETRY;
                }
                match end {
                    End::Stopped => return Ok(()),
                    End::Closed if available_now => return Ok(()),
                    End::Closed => format!("{address} has closed the connection"),
                    End::Failed(error) => format!("the connection to {address} broke: {error}"),
                }
            }
            Err(error) => format!("cannot connect to {address}: {error}"),
        };
        if available_now {
            return Err(Failure::external(what)
                .help("`trigger = \"available-now\"` reads what the peer sends until it closes, and does not wait for it")
                .at_node(&node));
        }
        let wait = pause.mul_f64(jitter());
        tracing::warn!(source = %node, "{what}; connecting again in {} ms", wait.as_millis());
        tokio::select! {
            () = until_stopped(&mut peer.stopped) => return Ok(()),
            () = sleep(wait) => {}
        }
        count(&peer.options.counters.reconnects, 1);
        pause = (pause * 2).min(retry_max);
    }
}

/// Between a half and one, so that many sources that lost the same peer do not all come back at the same moment.
fn jitter() -> f64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    0.5 + f64::from(since.subsec_nanos() % 1_000_000) / 2_000_000.0
}

/// Accepts connections, `most` at once.
async fn accept(mut peer: Peer, listener: TcpListener, most: usize) -> Result<(), Failure> {
    let node = peer.options.node.clone();
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|error| Failure::external(format!("cannot listen: {error}")).at_node(&node))?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(source = %node, "listening on {address}");
    }
    let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = until_stopped(&mut peer.stopped) => break,
            Some(_) = connections.join_next() => {
                if peer.options.available_now && connections.is_empty() {
                    break;
                }
            }
            (place, accepted) = accepted => match accepted {
                Ok((stream, address)) => {
                    tracing::info!(source = %node, "{address} has connected");
                    let mut peer = peer.clone();
                    connections.spawn(async move {
                        let _place = place;
                        let (end, _) = peer.receive(stream, address.to_string()).await;
                        let node = &peer.options.node;
                        match end {
                            End::Closed => tracing::info!(source = %node, "{address} has closed the connection"),
                            End::Failed(error) => {
                                tracing::warn!(source = %node, "the connection of {address} broke: {error}");
                            }
                            End::Stopped => {}
                        }
                    });
                }
                // Out of file descriptors, or the peer gave up: neither is cured by trying at once.
                Err(error) => {
                    tracing::warn!(source = %node, "cannot accept a connection: {error}");
                    sleep(FIRST_RETRY).await;
                }
            }
        }
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

impl Peer {
    /// Reads a connection to its end. Also says whether anything came.
    async fn receive(&mut self, mut stream: TcpStream, name: String) -> (End, bool) {
        let number = self.buffer.connected(name.clone());
        let mut framer = Framer::new(self.max_record, 0);
        let mut next = Position {
            connection: number,
            line: 1,
        };
        let mut chunk = vec![0; CHUNK];
        let mut received = false;
        let end = loop {
            let read = async {
                self.buffer.wait_for_space().await;
                stream.read(&mut chunk).await
            };
            let read = tokio::select! {
                biased;
                () = until_stopped(&mut self.stopped) => break End::Stopped,
                read = read => read,
            };
            match read {
                Ok(0) => break End::Closed,
                Ok(bytes) => {
                    received = true;
                    fail::fail_point!("tcp-received");
                    // The buffer takes every frame: this never breaks.
                    let _ = framer.push(&chunk[..bytes], |frame| {
                        push(&self.buffer, &mut next, frame)
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break End::Failed(error),
            }
        };
        if framer.is_unfinished() && !framer.is_skipping() {
            self.half_line(framer, &mut next, &name, &end);
        }
        (end, received)
    }

    /// A peer that closes in the middle of a line has sent a last record, as files have one. If we close, it has not.
    fn half_line(&self, mut framer: Framer, next: &mut Position, name: &str, end: &End) {
        let node = &self.options.node;
        let line = next.line;
        if matches!(end, End::Stopped) {
            count(&self.options.counters.skipped, 1);
            tracing::warn!(source = %node, "stopped in the middle of line {line} of {name}: what came of it is dropped");
            return;
        }
        tracing::warn!(source = %node, "{name} ended in the middle of line {line}: what came of it is taken as a record");
        // Nor does this.
        let _ = framer.finish(|frame| push(&self.buffer, next, frame));
    }
}

fn push(buffer: &Buffer, next: &mut Position, frame: Frame<'_>) -> ControlFlow<()> {
    match frame {
        Frame::Lines { bytes, .. } => {
            let unended = u64::from(!bytes.ends_with(b"\n"));
            let lines = memchr::memchr_iter(b'\n', bytes).count() as u64 + unended;
            buffer.push_lines(*next, lines, bytes);
            next.line += lines;
        }
        Frame::TooLong { head, .. } => {
            buffer.push_too_long(*next, head);
            next.line += 1;
        }
    }
    ControlFlow::Continue(())
}
