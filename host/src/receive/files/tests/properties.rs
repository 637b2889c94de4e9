//! What holds for any input of the `files` source.

use std::fs;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn records_over_range_bounds_are_neither_lost_nor_doubled(
        content in prop::collection::vec(prop_oneof![3 => Just(b'\n'), 1 => Just(b'\r'), 4 => Just(b'a'), 1 => any::<u8>()], 0..120),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        max_record in 1usize..12,
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, &content).expect("writes");
        let size = content.len() as u64;
        let mut cuts: Vec<u64> = cuts.iter().map(|cut| cut.index(content.len() + 1) as u64).collect();
        cuts.extend([0, size]);
        cuts.sort_unstable();
        cuts.dedup();
        let format = RecordFormat { max_record, ..RecordFormat::text() };
        let reader = FilesReader::new(format, true);
        let mut found = (Vec::new(), Vec::new());
        for cut in cuts.windows(2) {
            let (rows, bad) = rows(&reader, &range(&path, cut[0], cut[1], size));
            found.0.extend(rows);
            found.1.extend(bad);
        }
        let expected = if size > 0 { rows(&reader, &range(&path, 0, size, size)) } else { Default::default() };
        let ends = content.iter().filter(|byte| **byte == b'\n').count();
        let unended = usize::from(content.last().is_some_and(|byte| *byte != b'\n'));
        prop_assert_eq!(expected.0.len() + expected.1.len(), ends + unended);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_budget_of_rows_is_never_exceeded_and_every_record_is_offered_once(
        content in prop::collection::vec(prop_oneof![2 => Just(b'\n'), 3 => Just(b'a')], 1..200),
        split in 1u64..40,
        budgets in prop::collection::vec((1u64..9, 1u64..60), 1..5),
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, &content).expect("writes");
        let source = FilesSource { split, ..source(&path) };
        let (mut receiver, reader) = open(&source, true);
        let mut found = Vec::new();
        for (rows, bytes) in budgets.into_iter().cycle() {
            let offer = receiver.poll(Budget { rows, bytes }).expect("polls");
            let lines = lines(&*reader, &offer);
            prop_assert_eq!(lines.len() as u64, offer.rows);
            prop_assert!(offer.rows <= rows);
            found.extend(lines);
            if receiver.waiting().expect("lists") == DONE {
                break;
            }
            prop_assert!(!offer.ranges.is_empty(), "no progress");
        }
        let expected = String::from_utf8(content).expect("ASCII");
        prop_assert_eq!(found, expected.lines().collect::<Vec<_>>());
    }
}
