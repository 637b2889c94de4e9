//! What becomes visible when: manifests, rolls, and starts after a crash.

use super::*;
use crate::checkpoint::Pending;
use crate::deliver::HeldBack;
use crate::ids::Generation;

/// Every file below `out` that a reader may open, manifests too.
fn readable(directory: &TempDir) -> BTreeMap<String, String> {
    let mut all = files(directory);
    let manifests = directory.path().join("out/_manifest");
    for entry in fs::read_dir(manifests).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(OsStr::to_str).expect("UTF-8");
        let text = fs::read_to_string(&path).expect("UTF-8");
        all.insert(format!("_manifest/{name}"), text);
    }
    all
}

/// The start of a pipeline after a commit that left so much to be made visible.
fn started(generation: u64, committed: Option<Epoch>, pending: &[Prepared]) -> Lineage {
    Lineage {
        id: "test".to_owned(),
        is_recorded: true,
        committed,
        pending: Pending::from([("out".into(), pending.to_vec())]),
        generation: Generation(generation),
        ..Lineage::of_one_run()
    }
}

fn open(config: &FilesSink, process: usize, lineage: &Lineage) -> Box<dyn Sink> {
    let options = OpenOptions {
        lineage: lineage.clone(),
        ..options(process, 2)
    };
    config.open(lines([]).schema(), options).expect("opens")
}

fn write(sink: &mut dyn Sink, number: u64, partition: u32, text: &str) {
    let refused = sink.write(epoch(number), PartitionId(partition), &lines([text]), true);
    assert_eq!(refused, Ok(Vec::new()));
}

#[test]
fn a_manifest_lists_the_files_of_all_processes_and_nothing_without_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), FileFormat::Text);
    let (mut first, mut second) = (
        open(&config, 0, &started(1, None, &[])),
        open(&config, 1, &started(1, None, &[])),
    );
    write(&mut *first, 7, 2, "of process 0");
    write(&mut *second, 7, 0, "of process 1");
    let mut prepared = prepare(&mut *first, epoch(7)).expect("finishes");
    let other = prepare(&mut *second, epoch(7)).expect("finishes");
    prepared.tokens.extend(other.tokens);
    assert_eq!(readable(&directory), BTreeMap::new());
    assert_eq!(first.commit(&prepared), Ok(None));
    let empty = prepare(&mut *first, epoch(8)).expect("finishes");
    assert_eq!(first.commit(&empty), Ok(None));
    let hash = |text: &str| format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
    let manifest = format!(
        "{{\"first\":7,\"last\":7,\"rows\":2,\"bytes\":26,\"files\":[\
         {{\"path\":\"epoch-00000007/part-00000.txt\",\"rows\":1,\"bytes\":13,\"xxh3\":\"{}\"}},\
         {{\"path\":\"epoch-00000007/part-00002.txt\",\"rows\":1,\"bytes\":13,\"xxh3\":\"{}\"}}]}}\n",
        hash("of process 1\n"),
        hash("of process 0\n"),
    );
    let expected = BTreeMap::from([
        ("_manifest/epoch-00000007.json".to_owned(), manifest),
        (
            "epoch-00000007/part-00000.txt".to_owned(),
            "of process 1\n".to_owned(),
        ),
        (
            "epoch-00000007/part-00002.txt".to_owned(),
            "of process 0\n".to_owned(),
        ),
    ]);
    assert_eq!(readable(&directory), expected);
}

#[test]
fn what_a_crash_left_of_committed_epochs_is_made_visible_at_the_start_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), FileFormat::Text);
    let mut sink = open(&config, 0, &started(1, None, &[]));
    write(&mut *sink, 3, 1, "committed");
    write(&mut *sink, 4, 0, "planned");
    let committed = prepare(&mut *sink, epoch(3)).expect("finishes");
    prepare(&mut *sink, epoch(4)).expect("finishes");
    drop(sink);
    let staged =
        || fs::read_dir(directory.path().join("out/.wasmill-tmp/out")).map_or(0, Iterator::count);
    assert_eq!(staged(), 2);
    // A crash may also have come after the file's name and before the manifest.
    let folder = config.folder(Epoch(3));
    for left in [None, Some("half\n"), Some("committed\n")] {
        if let Some(text) = left {
            fs::create_dir_all(&folder).expect("makes");
            fs::write(folder.join("part-00001.txt"), text).expect("writes");
        }
        let lineage = started(2, Some(Epoch(3)), std::slice::from_ref(&committed));
        drop(open(&config, 0, &lineage));
        assert_eq!(
            staged(),
            1,
            "a start alone changes nothing of what is committed"
        );
    }
    let lineage = started(2, Some(Epoch(3)), std::slice::from_ref(&committed));
    let mut sink = open(&config, 0, &lineage);
    assert_eq!(sink.commit(&committed), Ok(None));
    let expected = BTreeMap::from([(
        "epoch-00000003/part-00001.txt".to_owned(),
        "committed\n".to_owned(),
    )]);
    assert_eq!(files(&directory), expected);
    drop(sink);
    // It may have crashed before anybody noted that: all that has come about already is left as it is.
    let all = readable(&directory);
    let mut sink = open(&config, 0, &lineage);
    assert_eq!(sink.commit(&committed), Ok(None));
    drop(sink);
    assert_eq!(readable(&directory), all);
    assert!(
        !directory.path().join("out/.wasmill-tmp").exists(),
        "nothing is left over"
    );
}

#[test]
fn a_committed_file_that_is_not_as_it_was_ends_the_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), FileFormat::Text);
    let mut sink = open(&config, 0, &started(1, None, &[]));
    write(&mut *sink, 3, 1, "committed");
    let committed = prepare(&mut *sink, epoch(3)).expect("finishes");
    let staged = directory.path().join("out/.wasmill-tmp/out/1-3-1");
    fs::write(&staged, "cut").expect("writes");
    let failure = sink.commit(&committed).expect_err("it is shorter");
    assert!(
        failure.message.contains("has 3 bytes, and had 10"),
        "{failure}"
    );
    fs::remove_file(staged).expect("removes");
    let lineage = started(2, Some(Epoch(3)), std::slice::from_ref(&committed));
    let failure = open(&config, 0, &lineage)
        .commit(&committed)
        .expect_err("it is gone");
    assert!(
        failure
            .message
            .contains("1-3-1`, of an epoch that is committed"),
        "{failure}"
    );
    assert_eq!(readable(&directory), BTreeMap::new());
}

fn rolling(directory: &Path, format: FileFormat, roll: &str) -> FilesSink {
    let problems = crate::config::Problems::default();
    let mut table = crate::config::parse(roll, directory, &problems).expect("TOML");
    let roll = Roll::from_table(&mut table);
    table.finish();
    assert!(problems.take().is_empty(), "a roll");
    FilesSink {
        roll,
        ..config(directory, format)
    }
}

#[test]
fn the_files_of_a_roll_appear_when_it_ends_each_with_one_header() {
    let directory = tempfile::tempdir().expect("a directory");
    let format = FileFormat::Csv { header: true };
    let config = rolling(directory.path(), format, "roll = { interval = \"1s\" }");
    let mut sink = open(&config, 0, &started(1, None, &[]));
    let mut commit = |number: u64, time: i64, rows: &[(u32, &str)]| {
        for (partition, text) in rows {
            write(&mut *sink, number, *partition, text);
        }
        let info = EpochInfo {
            time: BatchTime(time),
            ..epoch(number)
        };
        let prepared = prepare(&mut *sink, info).expect("finishes");
        sink.commit(&prepared).expect("commits")
    };
    let held = Some(HeldBack {
        since: Epoch(4),
        due: Some(BatchTime(6000)),
    });
    assert_eq!(commit(3, 4000, &[]), None);
    assert_eq!(commit(4, 5000, &[(0, "a"), (1, "x")]), held);
    assert_eq!(commit(5, 5900, &[(0, "b")]), held);
    assert_eq!(readable(&directory), BTreeMap::new());
    assert_eq!(commit(6, 6000, &[]), None);
    assert_eq!(
        commit(7, 6100, &[(1, "later")]).map(|held| held.since),
        Some(Epoch(7))
    );
    let expected = BTreeMap::from([
        (
            "epoch-00000005/part-00000.csv".to_owned(),
            "line\na\nb\n".to_owned(),
        ),
        (
            "epoch-00000005/part-00001.csv".to_owned(),
            "line\nx\n".to_owned(),
        ),
    ]);
    assert_eq!(files(&directory), expected);
    sink.end().expect("publishes");
    assert_eq!(
        files(&directory)["epoch-00000007/part-00001.csv"],
        "line\nlater\n"
    );
}

#[test]
fn a_roll_that_ended_with_its_run_is_not_repeated_by_another_roll() {
    let directory = tempfile::tempdir().expect("a directory");
    let three = rolling(directory.path(), FileFormat::Text, "roll = { epochs = 3 }");
    let mut sink = open(&three, 0, &started(1, None, &[]));
    let mut pending = Vec::new();
    for number in 0..2 {
        write(&mut *sink, number, 0, "once");
        pending.push(prepare(&mut *sink, epoch(number)).expect("finishes"));
        sink.commit(&pending[number as usize]).expect("commits");
    }
    sink.end().expect("publishes");
    drop(sink);
    let all = readable(&directory);
    assert!(all.contains_key("epoch-00000001/part-00000.txt"), "{all:?}");
    let mut sink = open(
        &config(directory.path(), FileFormat::Text),
        0,
        &started(2, Some(Epoch(1)), &pending),
    );
    for prepared in &pending {
        assert_eq!(sink.commit(prepared), Ok(None));
    }
    assert_eq!(readable(&directory), all);
}

/// Lives through some epochs on two processes; before those of `crashes` all of it dies and starts again, with an epoch half done
/// and with the commit record of the epoch before.
fn lived(config: &FilesSink, epochs: &[Vec<bool>], crashes: &[u64]) {
    let mut generation = 1;
    let (mut record, mut committed) = (Vec::<Prepared>::new(), None);
    let start = |generation, committed, record: &[Prepared]| {
        let lineage = started(generation, committed, record);
        [open(config, 0, &lineage), open(config, 1, &lineage)]
    };
    let mut sinks = start(generation, committed, &record);
    let mut visible = Epoch(0);
    for (number, partitions) in (0u64..).zip(epochs) {
        let dies = crashes.contains(&number);
        for attempt in 0..=u64::from(dies) {
            let mut tokens = crate::checkpoint::Tokens::new();
            for (partition, has_rows) in (0u32..).zip(partitions) {
                if *has_rows {
                    let reader = (u64::from(partition) + number + attempt) as usize % 2;
                    write(
                        &mut *sinks[reader],
                        number,
                        partition,
                        &format!("{number}/{partition}"),
                    );
                }
            }
            for sink in &mut sinks {
                tokens.extend(sink.finish(epoch(number)).expect("finishes"));
            }
            if attempt == 0 && dies {
                generation += 1;
                // The older run may end when the newer has begun.
                sinks = start(generation, committed, &record);
                for prepared in &record {
                    let held = sinks[0].commit(prepared).expect("commits again");
                    visible = held.map_or(Epoch(prepared.epoch.0 + 1), |held| held.since);
                }
                continue;
            }
            record.retain(|prepared| prepared.epoch >= visible);
            let prepared = Prepared {
                epoch: Epoch(number),
                time: BatchTime(0),
                tokens,
            };
            record.push(prepared.clone());
            committed = Some(Epoch(number));
            let held = sinks[0].commit(&prepared).expect("commits");
            visible = held.map_or(Epoch(number + 1), |held| held.since);
        }
    }
    sinks[0].end().expect("publishes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn crashes_between_commits_change_no_file_and_no_manifest(
        epochs in prop::collection::vec(prop::collection::vec(any::<bool>(), 3), 1..12),
        crashes in prop::collection::vec(0u64..12, 0..5),
        roll in prop::sample::select(vec!["", "roll = { epochs = 3 }", "roll = { bytes = \"8B\" }"]),
    ) {
        let (calm, rough) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        lived(&rolling(calm.path(), FileFormat::Text, roll), &epochs, &[]);
        lived(&rolling(rough.path(), FileFormat::Text, roll), &epochs, &crashes);
        let expected = readable(&calm);
        prop_assert_eq!(&readable(&rough), &expected);
        // The rows are those that were written, whatever the files.
        let mut rows: Vec<String> = files(&calm).values().flat_map(|text| text.lines().map(str::to_owned)).collect();
        rows.sort();
        let written = (0u64..).zip(&epochs).flat_map(|(number, partitions)| {
            let there = (0..).zip(partitions).filter(|(_, has_rows)| **has_rows);
            there.map(move |(partition, _)| format!("{number}/{partition}"))
        });
        let mut written: Vec<String> = written.collect();
        written.sort();
        prop_assert_eq!(rows, written);
        prop_assert_eq!(expected.is_empty(), epochs.iter().flatten().all(|has_rows| !has_rows));
    }
}
