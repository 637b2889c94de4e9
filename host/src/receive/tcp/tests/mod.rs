//! The `tcp` source over real sockets.

mod properties;

use std::io::{Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;

use super::buffer::{Position, Segment};
use super::*;
use crate::format::{Decoder, Numbering};
use crate::receive::{Range, Reader};
use crate::telemetry::NodeCounters;

const ALL: Budget = Budget {
    rows: u64::MAX,
    bytes: u64::MAX,
};
/// A test that waits longer than this has failed; nothing here takes a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open source with all that came of it.
struct Run {
    receiver: TcpReceiver,
    reader: Arc<TcpReader>,
    counters: Arc<NodeCounters>,
    rows: Vec<String>,
    bad: Vec<String>,
}

fn open(link: Link, max_record: usize, limit: u64, available_now: bool) -> Run {
    let format = RecordFormat {
        max_record,
        ..RecordFormat::text()
    };
    let buffer = Arc::new(Buffer::new(limit));
    let counters = Arc::new(NodeCounters::default());
    let options = OpenOptions {
        node: "in".into(),
        counters: counters.clone(),
        coordinator: true,
        available_now,
        provenance: true,
    };
    Run {
        reader: Arc::new(TcpReader::new(format, true, buffer.clone())),
        receiver: TcpReceiver {
            intake: Intake::start(link, max_record, buffer.clone(), options).expect("starts"),
            buffer,
        },
        counters,
        rows: Vec::new(),
        bad: Vec::new(),
    }
}

fn connect(server: &TcpListener, available_now: bool) -> Run {
    let address = server.local_addr().expect("bound").to_string();
    let link = Link::Connect {
        address,
        retry_max: Duration::from_millis(200),
    };
    open(link, 1000, DEFAULT_BUFFER, available_now)
}

fn listening(max_connections: usize, limit: u64) -> (Run, SocketAddr) {
    let listener = listen("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("bound");
    let link = Link::Listen {
        listener,
        max_connections,
    };
    (open(link, 1000, limit, false), address)
}

fn server() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("binds")
}

impl Run {
    /// Takes what is there.
    fn take(&mut self, budget: Budget) -> Offer {
        let offer = self.receiver.poll(budget).expect("polls");
        for range in &offer.ranges {
            let (rows, bad) = (&mut self.rows, &mut self.bad);
            let mut of_range = 0;
            for part in self.reader.read(range).expect("begins") {
                let part = part.expect("reads");
                let lines = part.rows.column(0).as_string::<i32>();
                let positions = part
                    .positions
                    .as_ref()
                    .expect("asked for")
                    .as_primitive::<UInt64Type>();
                assert_eq!(lines.len(), positions.len());
                of_range += (lines.len() + part.bad.len()) as u64;
                rows.extend(lines.iter().flatten().map(str::to_owned));
                bad.extend(
                    part.bad
                        .into_iter()
                        .map(|bad| format!("{}: {}", bad.origin, bad.reason)),
                );
            }
            let Range::Held { rows, .. } = range else {
                panic!("{range:?}")
            };
            assert_eq!(of_range, *rows, "a range says how many records it holds");
        }
        offer
    }

    /// Takes until there are so many rows and bad records.
    fn until(&mut self, count: usize) {
        self.wait(|run| {
            run.take(ALL);
            run.rows.len() + run.bad.len() >= count
        });
    }

    /// Takes until the source ends.
    fn until_end(&mut self) {
        self.wait(|run| {
            run.take(ALL);
            run.receiver.waiting().expect("no failure")
                == Waiting {
                    bytes: 0,
                    ended: true,
                    time: None,
                    quiet: Duration::MAX,
                }
        });
    }

    fn wait(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(
                begun.elapsed() < PATIENCE,
                "rows {:?}, bad {:?}",
                self.rows,
                self.bad
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn lines_of_a_peer_are_read_until_it_closes() {
    let server = server();
    let mut run = connect(&server, true);
    let (mut peer, _) = server.accept().expect("connects");
    peer.write_all(b"to be\r\nor").expect("sends");
    run.until(1);
    peer.write_all(b" not\n\n").expect("sends");
    drop(peer);
    run.until_end();
    assert_eq!(run.rows, ["to be", "or not", ""]);
}

#[test]
fn a_half_line_at_close_is_a_record() {
    let server = server();
    let mut run = connect(&server, true);
    let (mut peer, _) = server.accept().expect("connects");
    peer.write_all(b"whole\nha").expect("sends");
    peer.write_all(b"lf").expect("sends");
    drop(peer);
    run.until_end();
    assert_eq!(run.rows, ["whole", "half"]);
}

#[test]
fn invalid_utf8_spoils_only_its_own_lines() {
    let server = server();
    let mut run = connect(&server, true);
    let address = server.local_addr().expect("bound");
    let (mut peer, _) = server.accept().expect("connects");
    peer.write_all(b"good\nb\xffad\nfine \xc3\xa9\n\xc3")
        .expect("sends");
    drop(peer);
    run.until_end();
    assert_eq!(run.rows, ["good", "fine \u{e9}"]);
    let expected = [
        format!("{address} line 2: byte 1 of the record is not UTF-8"),
        format!("{address} line 4: byte 0 of the record is not UTF-8"),
    ];
    assert_eq!(run.bad, expected);
}

#[test]
fn an_endless_line_is_reported_at_once_and_skipped_without_being_held() {
    let server = server();
    let mut run = connect(&server, false);
    let (mut peer, _) = server.accept().expect("connects");
    peer.write_all(b"before\n").expect("sends");
    peer.write_all(&vec![b'x'; 300_000]).expect("sends");
    run.until(2);
    let address = server.local_addr().expect("bound");
    assert_eq!(
        run.bad,
        [format!(
            "{address} line 2: the record is longer than `max_record`, 1000 bytes"
        )]
    );
    // Much more of it than the buffer holds passes by.
    for _ in 0..64 {
        peer.write_all(&vec![b'x'; 1 << 20]).expect("sends");
        assert_eq!(run.receiver.waiting().expect("no failure").bytes, 0);
    }
    peer.write_all(b"\nafter\n").expect("sends");
    run.until(3);
    assert_eq!(run.rows, ["before", "after"]);
    assert_eq!(run.bad.len(), 1);
}

#[test]
fn a_peer_that_closes_is_connected_to_again_and_counted() {
    let server = server();
    let mut run = connect(&server, false);
    for (index, line) in ["one", "two", "three"].into_iter().enumerate() {
        let (mut peer, _) = server.accept().expect("connects");
        writeln!(peer, "{line}").expect("sends");
        run.until(index + 1);
    }
    assert_eq!(run.rows, ["one", "two", "three"]);
    assert_eq!(run.counters.read().reconnects, 2);
}

#[test]
fn a_peer_that_is_not_there_yet_is_waited_for() {
    let address = server().local_addr().expect("bound");
    let link = Link::Connect {
        address: address.to_string(),
        retry_max: Duration::from_millis(200),
    };
    let mut run = open(link, 1000, DEFAULT_BUFFER, false);
    run.wait(|run| run.counters.read().reconnects > 0);
    let server = TcpListener::bind(address).expect("binds again");
    let (mut peer, _) = server.accept().expect("connects");
    peer.write_all(b"at last\n").expect("sends");
    run.until(1);
}

#[test]
fn available_now_does_not_wait_for_a_peer_that_is_not_there() {
    let address = server().local_addr().expect("bound").to_string();
    let link = Link::Connect {
        address: address.clone(),
        retry_max: DEFAULT_RETRY_MAX,
    };
    let mut run = open(link, 1000, DEFAULT_BUFFER, true);
    let mut failure = None;
    run.wait(|run| {
        failure = run.receiver.waiting().err();
        failure.is_some()
    });
    let failure = failure.expect("waited for");
    assert_eq!(failure.fault, crate::error::Fault::External);
    assert!(
        failure
            .to_string()
            .contains(&format!("cannot connect to {address}")),
        "{failure}"
    );
}

#[test]
fn many_peers_are_heard_at_once_and_each_keeps_its_order() {
    let (mut run, address) = listening(8, DEFAULT_BUFFER);
    let mut peers: Vec<_> = (0..8)
        .map(|_| TcpStream::connect(address).expect("connects"))
        .collect();
    for round in 0..50 {
        for (index, peer) in peers.iter_mut().enumerate() {
            // In two pieces, so that lines of several peers are in the making at once.
            write!(peer, "{index} ").expect("sends");
            peer.flush().expect("sends");
            writeln!(peer, "{round}").expect("sends");
        }
    }
    run.until(400);
    for index in 0..8 {
        let own: Vec<_> = run
            .rows
            .iter()
            .filter(|row| row.starts_with(&format!("{index} ")))
            .collect();
        let expected: Vec<_> = (0..50).map(|round| format!("{index} {round}")).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_connection_over_the_limit_waits_for_a_place() {
    let (mut run, address) = listening(1, DEFAULT_BUFFER);
    let mut first = TcpStream::connect(address).expect("connects");
    first.write_all(b"first\n").expect("sends");
    run.until(1);
    let mut second = TcpStream::connect(address).expect("is queued by the system");
    second
        .write_all(b"second\n")
        .expect("is buffered by the system");
    first.write_all(b"still first\n").expect("sends");
    run.until(2);
    drop(first);
    run.until(3);
    assert_eq!(run.rows, ["first", "still first", "second"]);
}

#[test]
fn a_fast_peer_waits_while_the_buffer_is_full() {
    const LIMIT: u64 = 256 << 10;
    let (mut run, address) = listening(1, LIMIT);
    let line = format!("{}\n", "z".repeat(99));
    let lines = 200_000;
    let sender = std::thread::spawn(move || {
        let mut peer = TcpStream::connect(address).expect("connects");
        let block = line.repeat(1000);
        for _ in 0..lines / 1000 {
            peer.write_all(block.as_bytes()).expect("sends");
        }
    });
    run.wait(|run| run.receiver.waiting().expect("no failure").bytes >= LIMIT - 4096);
    // Full: whatever the peer does now, no more than one read comes on top.
    std::thread::sleep(Duration::from_millis(50));
    assert!(run.receiver.waiting().expect("no failure").bytes < LIMIT + (64 << 10));
    let budget = Budget {
        rows: 1500,
        bytes: u64::MAX,
    };
    run.wait(|run| {
        let offer = run.take(budget);
        assert!(offer.rows <= budget.rows);
        assert!(run.receiver.waiting().expect("no failure").bytes < LIMIT + (64 << 10));
        run.rows.len() == lines
    });
    sender.join().expect("sent all");
}

#[test]
fn after_stop_what_was_received_is_available_and_a_line_cut_off_is_counted() {
    let server = server();
    let mut run = connect(&server, false);
    let (mut peer, _) = server.accept().expect("connects");
    peer.write_all(b"kept\nbegun").expect("sends");
    run.wait(|run| run.receiver.waiting().expect("no failure").bytes > 0);
    run.receiver.stop();
    run.until_end();
    assert_eq!(run.rows, ["kept"]);
    assert_eq!(run.counters.read().skipped, 1);
    assert_eq!(peer.read(&mut [0]).expect("closed"), 0);
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it() {
    let taken = server();
    let address = taken.local_addr().expect("bound").to_string();
    let failure = listen(&address).expect_err("taken");
    assert!(
        failure
            .to_string()
            .contains(&format!("cannot listen on `{address}`")),
        "{failure}"
    );
}

#[test]
fn a_block_is_read_once() {
    let server = server();
    let mut run = connect(&server, true);
    let (mut peer, _) = server.accept().expect("connects");
    peer.write_all(b"x\n").expect("sends");
    drop(peer);
    run.wait(|run| run.receiver.waiting().expect("no failure").bytes > 0);
    let offer = run.take(ALL);
    let again = run.reader.read(&offer.ranges[0]).err();
    assert_eq!(again.expect("taken").fault, crate::error::Fault::Internal);
}
