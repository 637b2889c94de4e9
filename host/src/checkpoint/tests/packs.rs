//! Segments that lie together in objects, and each is read for itself.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

/// So many keys from 0 on, each with this value.
fn keys(count: usize, value: i64) -> RecordBatch {
    let all = |value| Arc::new(Int64Array::from(vec![value; count])) as _;
    RecordBatch::try_from_iter([
        ("live", Arc::new(BooleanArray::from(vec![true; count])) as _),
        ("timer", all(0)),
        (
            "k",
            Arc::new(Int64Array::from_iter_values(0..count as i64)) as _,
        ),
        ("n", all(value)),
    ])
    .unwrap()
}

/// More than a pack takes, of partitions with many parts each.
#[test]
fn packs_of_an_epoch_replace_none_of_each_other() {
    let objects = Objects::default();
    let store = undisturbed(&objects).store_of(Generation(1));
    let (node, epoch) = (NodeName::from("s"), Epoch(99));
    let mut unwritten = Unwritten::new(&node, epoch);
    let mut kept = BTreeMap::new();
    for partition in [0, 1, 2].map(PartitionId) {
        let parts = (0..60).map(|pane| {
            let segment = Segment {
                first: Epoch(pane),
                last: epoch,
                generation: Generation::default(),
                version: 0,
                pane: Some(pane as i64),
                rows: 0,
                bytes: 0,
                pack: None,
            };
            (
                segment,
                keys(1_000, i64::from(partition.0) * 100 + pane as i64),
            )
        });
        let (parts, mut segments) = (Vec::from_iter(parts), Vec::new());
        let all = parts.iter().map(|(segment, _)| segment.clone()).collect();
        let replaced = store.replace(&mut unwritten, partition, &mut segments, parts, all);
        replaced.unwrap();
        kept.insert(partition, segments);
    }
    store.write_all(unwritten).unwrap();
    let (written, parts) = (objects.lock().unwrap().len(), kept.values().flatten());
    let bytes = parts.map(|segment| segment.bytes).sum::<u64>();
    assert!(
        (2..=3).contains(&written) && bytes > 2 << 20,
        "{written} objects of {bytes} bytes"
    );
    for (partition, segments) in &kept {
        for (pane, segment) in (0..).zip(segments) {
            let found = store.read((&node, *partition), segment).unwrap();
            assert_eq!(found, keys(1_000, i64::from(partition.0) * 100 + pane));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two processes have every other partition each. What is small lies together, what is large alone.
    #[test]
    fn what_lies_together_is_read_apart_and_stays_until_none_of_it_is_needed(
        epochs in vec(btree_map(0..6_u32, prop_oneof![4 => 1..50_usize, 1 => 3_000..9_000_usize], 0..6), 1..24)
    ) {
        let objects = Objects::default();
        let records = undisturbed(&objects);
        let store = records.store_of(Generation(1));
        let node = NodeName::from("s");
        let mut state = Manifest::new();
        let mut twin = BTreeMap::<PartitionId, BTreeMap<i64, i64>>::new();
        for (epoch, changes) in (0..).map(Epoch).zip(&epochs) {
            let before = state.clone();
            let mut processes = [(); 2].map(|()| Unwritten::new(&node, epoch));
            let kept = state.entry(node.clone()).or_default();
            for (partition, count) in changes {
                let unwritten = &mut processes[*partition as usize % 2];
                let partition = PartitionId(*partition);
                let delta = keys(*count, epoch.0 as i64);
                let segments = &mut kept.partitions.entry(partition).or_default().segments;
                store.add(unwritten, partition, segments, &delta, 0, 1).unwrap();
                let rows = (0..*count as i64).map(|key| (key, epoch.0 as i64));
                twin.entry(partition).or_default().extend(rows);
            }
            for unwritten in processes {
                store.write_all(unwritten).unwrap();
            }
            for name in state::superseded(&before, &state) {
                records.storage.delete(&name).unwrap();
            }
            let there = BTreeSet::from_iter(objects.lock().unwrap().keys().cloned());
            prop_assert_eq!(there, state::names(&state));
        }
        for (partition, state) in &state[&node].partitions {
            let mut found = BTreeMap::new();
            for (_, rows) in store.rows((&node, *partition), state, 1).unwrap() {
                let column = |at: usize| rows.column(at).as_primitive::<Int64Type>().values().iter().copied();
                found.extend(column(1).zip(column(2)));
            }
            prop_assert_eq!(&found, &twin[partition]);
        }
    }
}
