//! Made-up rows.

use std::collections::BTreeSet;

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;
use crate::telemetry::NodeCounters;

const DONE: Waiting = Waiting {
    bytes: 0,
    ended: true,
    time: None,
    quiet: Duration::ZERO,
};

fn config() -> GenerateSource {
    GenerateSource {
        rows_per_second: 4,
        rows: Some(1000),
        keys: Some(7),
        words: Some(5),
        seed: 42,
        partitions: 3,
    }
}

fn open(config: &GenerateSource, available_now: bool) -> Result<Source, Failure> {
    config.open(OpenOptions {
        node: "in".into(),
        counters: Arc::new(NodeCounters::default()),
        coordinator: true,
        available_now,
        provenance: false,
    })
}

fn rows(reader: &dyn Reader, ranges: &[Range]) -> RecordBatch {
    let mut parts = Vec::new();
    for part in ranges.iter().flat_map(|range| reader.read(range).unwrap()) {
        parts.push(part.expect("reads").rows);
    }
    concat_batches(&reader.schema(), &parts).expect("equal schemas")
}

proptest! {
    #[test]
    fn rows_are_the_same_however_they_are_cut(cuts in prop::collection::btree_set(1u64..1000, 0..6)) {
        let reader = open(&config(), true).expect("opens").reader;
        let mut bounds: BTreeSet<u64> = cuts;
        bounds.extend([0, 1000]);
        let bounds: Vec<_> = bounds.into_iter().collect();
        let range = |first, end| Range::Rows { first, count: end - first, since: 5 };
        let cut: Vec<_> = bounds.windows(2).map(|bound| range(bound[0], bound[1])).collect();
        prop_assert_eq!(rows(&*reader, &cut), rows(&*reader, &[range(0, 1000)]));
    }
}

#[test]
fn columns_are_what_the_settings_say() {
    let reader = open(&config(), true).expect("opens").reader;
    let batch = rows(
        &*reader,
        &[Range::Rows {
            first: 8,
            count: 100,
            since: 1_000_000,
        }],
    );
    let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(
        times.values()[..2],
        [3_000_000, 3_250_000],
        "four rows a second"
    );
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), 8);
    let keys: BTreeSet<_> = batch
        .column(2)
        .as_primitive::<Int64Type>()
        .values()
        .iter()
        .copied()
        .collect();
    assert_eq!(keys, (0..7).collect());
    for text in batch.column(3).as_string::<i32>().iter().flatten() {
        assert_eq!(text.split(' ').count(), 5);
        assert!(text.split(' ').all(|word| WORDS.contains(&word)), "{text}");
    }
    let plain = GenerateSource {
        keys: None,
        words: None,
        ..config()
    };
    assert_eq!(plain.schema().fields().len(), 2);
}

#[test]
fn another_seed_makes_other_rows() {
    let range = [Range::Rows {
        first: 0,
        count: 100,
        since: 0,
    }];
    let with = |seed| {
        rows(
            &*open(&GenerateSource { seed, ..config() }, true)
                .expect("opens")
                .reader,
            &range,
        )
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

#[test]
fn available_now_gives_all_rows_within_the_budget_and_ends() {
    let mut receiver = open(&config(), true)
        .expect("opens")
        .receiver
        .expect("process 0");
    let budget = Budget {
        rows: 400,
        bytes: u64::MAX,
    };
    let mut next = 0;
    let mut ended = false;
    while !ended {
        let offer = receiver.poll(budget).expect("polls");
        assert!(offer.rows <= 400 && offer.ranges.len() <= 3);
        for range in offer.ranges {
            let Range::Rows { first, count, .. } = range else {
                panic!("{range:?}")
            };
            assert_eq!(first, next, "no gap");
            next += count;
        }
        ended = receiver.waiting().expect("known") == DONE;
    }
    assert_eq!(next, 1000);
}

#[test]
fn available_now_without_an_end_is_refused() {
    let endless = GenerateSource {
        rows: None,
        ..config()
    };
    assert!(endless.is_endless());
    let failure = open(&endless, true).err().expect("refused");
    assert!(failure.to_string().contains("set `rows`"), "{failure}");
}

#[test]
fn rows_come_due_at_the_rate() {
    assert_eq!(due(Duration::from_millis(999), 1), 0);
    assert_eq!(due(Duration::from_millis(2500), 10), 25);
    assert_eq!(due(Duration::from_secs(1 << 40), 1 << 40), u64::MAX);
}

#[test]
fn after_stop_no_more_rows_are_made() {
    let mut receiver = open(&config(), true)
        .expect("opens")
        .receiver
        .expect("process 0");
    receiver.stop();
    let offer = receiver
        .poll(Budget {
            rows: u64::MAX,
            bytes: u64::MAX,
        })
        .expect("polls");
    assert!(offer.ranges.is_empty());
    assert_eq!(receiver.waiting().expect("known"), DONE);
}
