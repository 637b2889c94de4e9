//! Lines to rows, against a slow twin.

use std::iter;
use std::ops::ControlFlow;

use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use proptest::prelude::*;

use super::super::{Frame, Framer, KEPT_BYTES};
use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Row(u64, String),
    Bad(String, String),
}

/// The slow twin: the same rules, a line at a time over the whole input.
fn twin(input: &[u8], max_record: usize) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut at = 0;
    while at < input.len() {
        let end = input[at..].iter().position(|byte| *byte == b'\n');
        let (mut line, next) = match end {
            Some(length) => (&input[at..at + length], at + length + 1),
            None => (&input[at..], input.len()),
        };
        if end.is_some() && line.last() == Some(&b'\r') {
            line = &line[..line.len() - 1];
        }
        let outcome = if line.len() > max_record {
            Outcome::Bad(
                at.to_string(),
                format!("the record is longer than `max_record`, {max_record} bytes"),
            )
        } else {
            match std::str::from_utf8(line) {
                Ok(text) => Outcome::Row(at as u64, text.to_owned()),
                Err(error) => Outcome::Bad(
                    at.to_string(),
                    format!("byte {} of the record is not UTF-8", error.valid_up_to()),
                ),
            }
        };
        outcomes.push(outcome);
        at = next;
    }
    outcomes
}

fn decode(format: &RecordFormat, chunks: &[&[u8]]) -> Vec<Read> {
    let origin = |position: u64| position.to_string();
    let mut decoder = Decoder::new(format, 0, true, Box::new(origin));
    let mut framer = Framer::new(format.max_record, 0);
    let mut frame = |frame: Frame<'_>| {
        match frame {
            Frame::Lines { bytes, at } => decoder.lines(bytes, Numbering::Bytes(at)),
            Frame::TooLong { head, at } => decoder.too_long(head, at),
        }
        ControlFlow::Continue(())
    };
    for chunk in chunks {
        assert!(framer.push(chunk, &mut frame).is_continue());
    }
    assert!(framer.finish(&mut frame).is_continue());
    decoder.finish();
    iter::from_fn(|| decoder.part()).collect()
}

/// What came out, rows and bad records each in their order.
fn outcomes(parts: &[Read]) -> (Vec<Outcome>, Vec<Outcome>) {
    let mut rows = Vec::new();
    let mut bad = Vec::new();
    for part in parts {
        let lines = part.rows.column(0).as_string::<i32>();
        let positions = part
            .positions
            .as_ref()
            .expect("asked for")
            .as_primitive::<UInt64Type>();
        assert_eq!(lines.len(), positions.len());
        rows.extend(
            lines
                .iter()
                .flatten()
                .zip(positions.values())
                .map(|(line, at)| Outcome::Row(*at, line.to_owned())),
        );
        bad.extend(
            part.bad
                .iter()
                .map(|bad| Outcome::Bad(bad.origin.clone(), bad.reason.clone())),
        );
    }
    (rows, bad)
}

fn with_limit(max_record: usize) -> RecordFormat {
    RecordFormat {
        max_record,
        ..RecordFormat::text()
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\n".to_vec()),
        1 => Just(b"\r".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        4 => "[a-z]{0,8}".prop_map(String::into_bytes),
        1 => Just("\u{e9}\u{20ac}".as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn lines_are_those_of_the_slow_twin_whatever_the_chunks(
        input in bytes(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        max_record in 1usize..24,
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|cut| &input[cut[0]..cut[1]]).collect();
        let found = outcomes(&decode(&with_limit(max_record), &chunks));
        let expected: (Vec<_>, Vec<_>) =
            twin(&input, max_record).into_iter().partition(|outcome| matches!(outcome, Outcome::Row(..)));
        prop_assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn part_bounds_do_not_depend_on_chunks(
        lengths in prop::collection::vec(0usize..60_000, 1..40),
        chunk in 1usize..300_000,
    ) {
        let input: Vec<u8> = lengths.iter().flat_map(|length| [vec![b'x'; *length], vec![b'\n']].concat()).collect();
        let format = with_limit(50_000);
        let rows = |parts: Vec<Read>| -> Vec<_> {
            parts.iter().map(|part| (part.rows.num_rows(), part.bad.clone())).collect()
        };
        let whole = rows(decode(&format, &[&input]));
        let chunked = rows(decode(&format, &input.chunks(chunk).collect::<Vec<_>>()));
        prop_assert_eq!(whole, chunked);
    }
}

#[test]
fn parts_stay_within_their_bounds() {
    let input = "0123456789\n".repeat(2 * PART_ROWS);
    for part in decode(&RecordFormat::text(), &[input.as_bytes()]) {
        let lines = part.rows.column(0).as_string::<i32>();
        assert!(lines.values().len() <= PART_BYTES && lines.len() <= PART_ROWS);
        assert_eq!(part.bytes, 11 * lines.len() as u64);
    }
    let empty = "\n".repeat(PART_ROWS + 1);
    let parts = decode(&RecordFormat::text(), &[empty.as_bytes()]);
    assert_eq!(
        parts
            .iter()
            .map(|part| part.rows.num_rows())
            .collect::<Vec<_>>(),
        [PART_ROWS, 1]
    );
}

#[test]
fn bad_records_do_not_pile_up_without_bound() {
    let record = [0xff; 10_000];
    let line = [record.as_slice(), b"\n"].concat();
    let parts = decode(&RecordFormat::text(), &[&line.repeat(200)]);
    assert_eq!(parts.iter().map(|part| part.bad.len()).sum::<usize>(), 200);
    let whole = Kept::record(&record);
    for part in parts {
        assert!(part.bad.iter().all(|bad| bad.kept.as_ref() == Some(&whole)));
        let held = part.bad.len() * whole.size();
        assert!(held <= PART_BYTES + whole.size(), "{held} bytes");
    }
}

#[test]
fn a_bad_record_is_kept_whole_up_to_a_limit_and_in_its_first_bytes_beyond_it() {
    for (bytes, cut) in [(KEPT_BYTES, false), (KEPT_BYTES + 1, true)] {
        let format = with_limit(2 * KEPT_BYTES);
        let parts = decode(&format, &[&vec![0xff; bytes]]);
        let [part] = parts.as_slice() else {
            panic!("one part")
        };
        let kept = part.bad[0].kept.as_ref().expect("a record");
        assert_eq!((kept.cut, kept.bytes.is_none()), (cut, cut));
    }
}

#[test]
fn a_line_longer_than_the_limit_is_reported_with_its_beginning_and_the_rest_go_on() {
    let input = [b"one\n".to_vec(), vec![b'x'; 10_000], b"\ntwo\n".to_vec()].concat();
    for chunk in [1, 7, 4096, input.len()] {
        let parts = decode(&with_limit(100), &input.chunks(chunk).collect::<Vec<_>>());
        let [part] = parts.as_slice() else {
            panic!("one part")
        };
        assert_eq!(
            part.rows
                .column(0)
                .as_string::<i32>()
                .iter()
                .flatten()
                .collect::<Vec<_>>(),
            ["one", "two"]
        );
        let [bad] = part.bad.as_slice() else {
            panic!("one bad record")
        };
        assert_eq!(
            (bad.origin.as_str(), bad.reason.as_str()),
            ("4", "the record is longer than `max_record`, 100 bytes")
        );
        let kept = bad.kept.as_ref().expect("a record");
        assert!(kept.cut && kept.text.starts_with("xxx"));
        assert!(kept.text.len() <= BEGINNING_BYTES);
    }
}
