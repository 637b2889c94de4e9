//! What holds for any input of the `tcp` source.

use std::io::Write;

use arrow::array::AsArray;
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn the_buffer_gives_every_line_once_in_order_within_any_budget(
        pushes in prop::collection::vec((0u64..3, prop::collection::vec("[a-z]{0,12}", 1..20), any::<bool>()), 1..20),
        rows in 1u64..12,
        bytes in 1u64..60,
    ) {
        let buffer = Buffer::new(u64::MAX);
        for connection in 0..3 {
            buffer.connected(format!("peer {connection}"));
        }
        let mut next = [1; 3];
        let mut expected = Vec::new();
        for (connection, lines, too_long) in pushes {
            let line = &mut next[connection as usize];
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            buffer.push_lines(Position { connection, line: *line }, lines.len() as u64, text.as_bytes());
            for text in lines {
                expected.push((Position { connection, line: *line }, text));
                *line += 1;
            }
            if too_long {
                buffer.push_too_long(Position { connection, line: *line }, b"head");
                expected.push((Position { connection, line: *line }, "head".into()));
                *line += 1;
            }
        }
        let mut found = Vec::new();
        loop {
            let offer = buffer.offer(Budget { rows, bytes });
            if offer.ranges.is_empty() {
                break;
            }
            let taken: u64 = offer.ranges.iter().map(Range::bytes).sum();
            prop_assert!(offer.rows <= rows && (taken <= bytes || offer.rows == 1), "{} rows, {} bytes", offer.rows, taken);
            for range in offer.ranges {
                let Range::Held { block, .. } = range else { panic!("{range:?}") };
                for segment in buffer.take(block).expect("held") {
                    match segment {
                        Segment::Lines { mut first, bytes, lines } => {
                            let text = String::from_utf8(bytes).expect("UTF-8");
                            prop_assert_eq!(text.lines().count() as u64, lines);
                            for line in text.lines() {
                                found.push((first, line.to_owned()));
                                first.line += 1;
                            }
                        }
                        Segment::TooLong { at, head } => found.push((at, String::from_utf8(head).expect("UTF-8"))),
                    }
                }
            }
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(buffer.waiting().expect("no failure").bytes, 0);
        prop_assert_eq!(buffer.held(), 0);
    }

    #[test]
    fn a_position_survives_packing(connection in 0u64..1 << 24, line in 0u64..1 << 40) {
        let position = Position { connection, line };
        prop_assert_eq!(Position::unpack(position.pack()), position);
    }
}

/// What the bytes mean, decoded in one piece.
fn decoded(bytes: &[u8], max_record: usize) -> (Vec<String>, Vec<String>) {
    let format = RecordFormat {
        max_record,
        ..RecordFormat::text()
    };
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    let origin = |line: u64| format!("line {line}");
    let mut decoder = Decoder::new(&format, bytes.len() as u64, false, Box::new(origin));
    decoder.lines(bytes, Numbering::Lines(1));
    decoder.finish();
    while let Some(part) = decoder.part() {
        rows.extend(
            part.rows
                .column(0)
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(str::to_owned),
        );
        bad.extend(
            part.bad
                .into_iter()
                .map(|bad| format!("{}: {}", bad.origin, bad.reason)),
        );
    }
    (rows, bad)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_a_peer_sends_in_whatever_pieces_is_what_its_bytes_mean(
        pieces in prop::collection::vec(
            prop::collection::vec(prop_oneof![2 => Just(b'\n'), 1 => Just(b'\r'), 6 => Just(b'a'), 1 => any::<u8>()], 1..80),
            0..8,
        ),
        max_record in 1usize..40,
    ) {
        let server = server();
        let address = server.local_addr().expect("bound");
        let link = Link::Connect { address: address.to_string(), retry_max: DEFAULT_RETRY_MAX };
        let mut run = open(link, max_record, DEFAULT_BUFFER, true);
        let (mut peer, _) = server.accept().expect("connects");
        peer.set_nodelay(true).expect("sets");
        for piece in &pieces {
            peer.write_all(piece).expect("sends");
            std::thread::yield_now();
        }
        drop(peer);
        run.until_end();
        let (rows, bad) = decoded(&pieces.concat(), max_record);
        let bad: Vec<_> = bad.into_iter().map(|bad| format!("{address} {bad}")).collect();
        prop_assert_eq!((run.rows, run.bad), (rows, bad));
    }
}
