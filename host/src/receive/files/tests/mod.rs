//! The `files` source over real files.

mod properties;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;

use super::FilesSource;
use super::reader::FilesReader;
use crate::config::{Problems, parse};
use crate::format::RecordFormat;
use crate::receive::{Budget, Offer, OpenOptions, Range, Read, Reader, Receiver, Source, Waiting};
use crate::telemetry::NodeCounters;

const ALL: Budget = Budget {
    rows: u64::MAX,
    bytes: u64::MAX,
};

/// What a `[sources.in]` table with these lines says, or its problems.
fn configured(base: &Path, lines: &str) -> Result<FilesSource, Vec<String>> {
    let problems = Problems::default();
    let mut table = parse(lines, base, &problems).expect("TOML");
    let source = FilesSource::from_table(&mut table);
    table.finish();
    let found: Vec<_> = problems
        .take()
        .into_iter()
        .map(|problem| problem.message)
        .collect();
    if found.is_empty() {
        Ok(source.expect("no problem"))
    } else {
        Err(found)
    }
}

const DONE: Waiting = Waiting {
    bytes: 0,
    ended: true,
    time: None,
    quiet: Duration::ZERO,
};

fn source(path: &Path) -> FilesSource {
    FilesSource {
        path: path.into(),
        glob: None,
        format: RecordFormat::text(),
        watch: None,
        existing: true,
        poll_interval: Duration::ZERO,
        split: super::DEFAULT_SPLIT,
        makes_folder: false,
    }
}

fn options(available_now: bool) -> OpenOptions {
    OpenOptions {
        node: "in".into(),
        counters: Arc::new(NodeCounters::default()),
        coordinator: true,
        available_now,
        provenance: true,
    }
}

fn open(source: &FilesSource, available_now: bool) -> (Box<dyn Receiver>, Arc<dyn Reader>) {
    let Source { receiver, reader } = source.open(options(available_now)).expect("opens");
    (receiver.expect("process 0 has the receiver"), reader)
}

fn read(reader: &dyn Reader, range: &Range) -> Vec<Read> {
    let parts = reader.read(range).expect("begins");
    parts.collect::<Result<_, _>>().expect("reads")
}

/// Rows with their places, and the reasons of bad records.
fn rows(reader: &dyn Reader, range: &Range) -> (Vec<(u64, String)>, Vec<String>) {
    let mut rows = Vec::new();
    let mut bad = Vec::new();
    for part in read(reader, range) {
        let positions = part
            .positions
            .iter()
            .flat_map(|all| all.as_primitive::<UInt64Type>().values().to_vec());
        let lines = part.rows.column(0).as_string::<i32>().iter().flatten();
        rows.extend(positions.zip(lines.map(str::to_owned)));
        bad.extend(
            part.bad
                .into_iter()
                .map(|bad| format!("{}: {}", bad.origin, bad.reason)),
        );
    }
    (rows, bad)
}

fn lines(reader: &dyn Reader, offer: &Offer) -> Vec<String> {
    let all = offer.ranges.iter().flat_map(|range| rows(reader, range).0);
    all.map(|(_, line)| line).collect()
}

fn whole(path: &Path) -> Range {
    let size = fs::metadata(path).expect("is there").len();
    range(path, 0, size, size)
}

fn range(path: &Path, start: u64, end: u64, size: u64) -> Range {
    Range::File {
        path: path.to_str().expect("UTF-8").into(),
        start,
        end,
        size,
    }
}

/// A writer's way: aside, then renamed.
fn put(directory: &Path, name: &str, content: &str) {
    let aside = directory.join(format!(".{name}.tmp"));
    fs::write(&aside, content).expect("writes");
    fs::rename(aside, directory.join(name)).expect("renames");
}

fn set_age(path: &Path, seconds: u64) {
    let file = fs::File::options().append(true).open(path).expect("opens");
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
        .expect("sets");
}

#[test]
fn a_directory_gives_its_files_oldest_first_and_new_ones_once() {
    let directory = tempfile::tempdir().expect("a directory");
    put(directory.path(), "b.txt", "first\n");
    put(directory.path(), "a.txt", "second\nthird");
    set_age(&directory.path().join("b.txt"), 60);
    let source = source(directory.path());
    assert!(source.is_endless());
    let (mut receiver, reader) = open(&source, false);

    let offer = receiver.poll(ALL).expect("polls");
    assert_eq!(lines(&*reader, &offer), ["first", "second", "third"]);
    assert_eq!(
        receiver.waiting().expect("lists"),
        Waiting {
            bytes: 0,
            ended: false,
            time: None,
            quiet: Duration::ZERO,
        }
    );

    put(directory.path(), "c.txt", "fourth\r\n");
    assert_eq!(receiver.waiting().expect("lists").bytes, 8);
    assert_eq!(
        lines(&*reader, &receiver.poll(ALL).expect("polls")),
        ["fourth"]
    );
    assert!(receiver.poll(ALL).expect("polls").ranges.is_empty());
}

#[test]
fn files_in_the_making_and_empty_ones_are_passed_over() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in [".hidden", "_marker", "half.tmp", "half._COPYING_"] {
        fs::write(directory.path().join(name), "no\n").expect("writes");
    }
    fs::write(directory.path().join("empty"), "").expect("writes");
    fs::create_dir(directory.path().join("sub")).expect("makes");
    put(&directory.path().join("sub"), "deeper", "no\n");
    let (mut receiver, reader) = open(&source(directory.path()), false);
    assert!(receiver.poll(ALL).expect("polls").ranges.is_empty());

    // A file that was empty when it was first seen has not been read.
    fs::write(directory.path().join("empty"), "now\n").expect("writes");
    assert_eq!(
        lines(&*reader, &receiver.poll(ALL).expect("polls")),
        ["now"]
    );
}

#[test]
fn existing_false_takes_only_what_comes_later() {
    let directory = tempfile::tempdir().expect("a directory");
    put(directory.path(), "old", "old\n");
    let source = FilesSource {
        existing: false,
        ..source(directory.path())
    };
    let (mut receiver, reader) = open(&source, false);
    put(directory.path(), "new", "new\n");
    assert_eq!(
        lines(&*reader, &receiver.poll(ALL).expect("polls")),
        ["new"]
    );
    assert!(
        source.open(options(true)).is_err(),
        "nothing could ever be read"
    );
}

#[test]
fn a_pattern_reaches_as_deep_as_it_says() {
    let directory = tempfile::tempdir().expect("a directory");
    for (folder, name) in [
        ("", "a.txt"),
        ("x", "b.txt"),
        ("x/y", "c.txt"),
        ("x", "d.log"),
    ] {
        let folder = directory.path().join(folder);
        fs::create_dir_all(&folder).expect("makes");
        put(&folder, name, &format!("{name}\n"));
    }
    let found = |pattern: &str| {
        let source = configured(directory.path(), &format!("path = \"{pattern}\"")).expect("good");
        let (mut receiver, reader) = open(&source, true);
        let offer = receiver.poll(ALL).expect("polls");
        assert_eq!(receiver.waiting().expect("lists"), DONE);
        let mut lines = lines(&*reader, &offer);
        lines.sort();
        lines
    };
    assert_eq!(found("*.txt"), ["a.txt"]);
    assert_eq!(found("x/*"), ["b.txt", "d.log"]);
    assert_eq!(found("**/*.txt"), ["a.txt", "b.txt", "c.txt"]);
    assert_eq!(found("{a,x/y/c}.txt"), ["a.txt", "c.txt"]);
}

#[test]
fn a_single_file_is_read_once_and_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    put(directory.path(), "only.txt", "one\ntwo\n");
    let source = source(&directory.path().join("only.txt"));
    assert!(!source.is_endless());
    let (mut receiver, reader) = open(&source, false);
    let offer = receiver.poll(ALL).expect("polls");
    assert_eq!(lines(&*reader, &offer), ["one", "two"]);
    assert_eq!(receiver.waiting().expect("lists"), DONE);
}

#[test]
fn settings_are_read_and_wrong_ones_reported() {
    let directory = tempfile::tempdir().expect("a directory");
    let base = directory.path();
    let source = configured(
        base,
        "path = 'in'\nglob = '*.json'\nwatch = false\nexisting = false\npoll_interval = '5s'\nsplit = '1MiB'\nformat = 'json'\nschema = { n = 'int64' }\nmax_record = 100",
    )
    .expect("good");
    assert_eq!(
        (source.path.as_path(), source.glob.as_deref()),
        (base.join("in").as_path(), Some("*.json"))
    );
    assert!(!source.is_endless() && !source.existing);
    assert_eq!(
        (source.poll_interval, source.split, source.format.max_record),
        (Duration::from_secs(5), 1 << 20, 100)
    );
    assert_eq!(source.schema().field(0).name(), "n");

    let wrong = |lines| configured(base, lines).expect_err(lines);
    assert!(wrong("glob = '*'")[0].contains("needs `path`"));
    assert!(wrong("path = 'a[b'")[0].contains("is not a file pattern"));
    assert!(wrong("path = 'a*'\nglob = 'b*'")[0].contains("is a pattern already"));
    assert!(wrong("path = 'in'\nformat = 'json'")[0].contains("needs `schema`"));
    assert!(wrong("path = 'in'\nmax_record = '2GiB'")[0].contains("at most 1GiB"));
    assert!(wrong("path = 'in'\nsplt = 1")[0].contains("has no setting `splt`"));
}

#[test]
fn a_name_that_looks_like_a_pattern_but_is_there_is_that_file() {
    let directory = tempfile::tempdir().expect("a directory");
    put(directory.path(), "a[1].txt", "this\n");
    put(directory.path(), "a1.txt", "not this\n");
    let source = configured(directory.path(), "path = 'a[1].txt'").expect("good");
    let (mut receiver, reader) = open(&source, true);
    assert_eq!(
        lines(&*reader, &receiver.poll(ALL).expect("polls")),
        ["this"]
    );
}

#[test]
fn a_path_that_is_not_there_is_the_users_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = source(&directory.path().join("nowhere"));
    let failure = missing.open(options(false)).err().expect("fails");
    assert!(failure.to_string().contains("nowhere"), "{failure}");
    let below = configured(directory.path(), "path = 'nowhere/*.txt'").expect("good");
    assert!(below.open(options(false)).is_err());
}

#[test]
fn a_file_is_cut_into_ranges_within_the_budget() {
    let directory = tempfile::tempdir().expect("a directory");
    put(
        directory.path(),
        "big",
        &"0123456789abcde\n".repeat(64 << 10),
    );
    let source = FilesSource {
        split: 300 << 10,
        ..source(directory.path())
    };
    let (mut receiver, reader) = open(&source, true);
    let budget = Budget {
        rows: u64::MAX,
        bytes: 512 << 10,
    };
    let mut all = Vec::new();
    loop {
        let offer = receiver.poll(budget).expect("polls");
        let bytes: u64 = offer.ranges.iter().map(Range::bytes).sum();
        assert!(bytes <= budget.bytes, "{bytes}");
        all.extend(lines(&*reader, &offer));
        let waiting = receiver.waiting().expect("lists");
        if waiting == DONE {
            break;
        }
        assert_eq!(waiting.bytes + all.len() as u64 * 16, 1 << 20);
    }
    assert_eq!(all.len(), 64 << 10);
    assert!(all.iter().all(|line| line == "0123456789abcde"));
}

#[test]
fn without_a_limit_of_rows_no_byte_is_read_ahead() {
    let directory = tempfile::tempdir().expect("a directory");
    put(directory.path(), "a", "1\n2\n");
    let (mut receiver, _) = open(&source(directory.path()), true);
    // What another source has taken of no limit leaves no limit.
    let offer = receiver
        .poll(Budget {
            rows: u64::MAX - 1000,
            bytes: u64::MAX,
        })
        .expect("polls");
    assert_eq!((offer.ranges.len(), offer.rows), (1, 0), "not counted");
}

#[test]
fn a_finite_budget_of_rows_is_kept_exactly() {
    let directory = tempfile::tempdir().expect("a directory");
    put(directory.path(), "a", "1\n2\n\n4\n5");
    put(directory.path(), "b", "6\n7\n");
    set_age(&directory.path().join("a"), 60);
    let (mut receiver, reader) = open(&source(directory.path()), true);
    let budget = Budget {
        rows: 3,
        bytes: u64::MAX,
    };
    let mut epochs = Vec::new();
    loop {
        let offer = receiver.poll(budget).expect("polls");
        let lines = lines(&*reader, &offer);
        assert_eq!(lines.len() as u64, offer.rows);
        epochs.push(lines);
        if receiver.waiting().expect("lists") == DONE {
            break;
        }
    }
    assert_eq!(epochs, [vec!["1", "2", ""], vec!["4", "5", "6"], vec!["7"]]);
}

#[test]
fn a_file_that_vanishes_is_named_in_a_bad_record() {
    let directory = tempfile::tempdir().expect("a directory");
    put(directory.path(), "gone.txt", "x\n");
    let (mut receiver, reader) = open(&source(directory.path()), false);
    let offer = receiver.poll(ALL).expect("polls");
    fs::remove_file(directory.path().join("gone.txt")).expect("removes");
    let (rows, bad) = rows(&*reader, &offer.ranges[0]);
    assert!(rows.is_empty());
    let [reason] = bad.as_slice() else {
        panic!("{bad:?}")
    };
    assert!(
        reason.contains("gone.txt") && reason.contains("has gone since it was listed"),
        "{reason}"
    );
}

#[test]
fn a_file_that_shrinks_is_named_in_a_bad_record() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("short.txt");
    fs::write(&path, "one\ntwo\n").expect("writes");
    let range = whole(&path);
    fs::write(&path, "one\n").expect("writes");
    let reader = FilesReader::new(RecordFormat::text(), true);
    let (rows, bad) = rows(&reader, &range);
    assert!(rows.is_empty());
    assert!(bad[0].contains("has shrunk from 8 to 4 bytes"), "{bad:?}");
}

#[test]
fn of_a_file_that_grows_the_half_record_at_its_listed_end_is_bad_and_whole_ones_are_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    fs::write(&path, "one\ntw").expect("writes");
    let range = whole(&path);
    fs::write(&path, "one\ntwo\n").expect("writes");
    let reader = FilesReader::new(RecordFormat::text(), true);
    let (rows, bad) = rows(&reader, &range);
    assert_eq!(rows, [(0, "one".to_owned())]);
    assert!(
        bad[0].starts_with(&format!(
            "{} at byte 4: the file was still being written",
            path.display()
        )),
        "{bad:?}"
    );
}

#[test]
fn a_file_that_changes_after_it_was_taken_is_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    put(directory.path(), "a", "one\n");
    let options = options(false);
    let counters = options.counters.clone();
    let mut receiver = source(directory.path())
        .open(options)
        .expect("opens")
        .receiver
        .expect("process 0");
    receiver.poll(ALL).expect("polls");
    put(directory.path(), "a", "one and more\n");
    assert!(receiver.poll(ALL).expect("polls").ranges.is_empty());
    assert_eq!(counters.read().skipped, 1);
    receiver.poll(ALL).expect("polls");
    assert_eq!(counters.read().skipped, 1, "counted once");
}

#[test]
fn after_stop_nothing_more_is_offered() {
    let directory = tempfile::tempdir().expect("a directory");
    put(directory.path(), "a", "one\n");
    let (mut receiver, _) = open(&source(directory.path()), false);
    receiver.stop();
    let offer = receiver.poll(ALL).expect("polls");
    assert!(offer.ranges.is_empty());
    assert_eq!(receiver.waiting().expect("lists"), DONE);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_record_however_small_the_ranges() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("marked");
    fs::write(&path, "\u{feff}one\n\u{feff}two\n").expect("writes");
    let size = fs::metadata(&path).expect("is there").len();
    let reader = FilesReader::new(RecordFormat::text(), true);
    for split in [1, 2, 5, size] {
        let mut found = Vec::new();
        for start in (0..size).step_by(split as usize) {
            found.extend(
                rows(
                    &reader,
                    &range(&path, start, (start + split).min(size), size),
                )
                .0,
            );
        }
        assert_eq!(
            found,
            [(3, "one".to_owned()), (7, "\u{feff}two".to_owned())]
        );
    }
}

#[test]
fn a_record_over_the_limit_does_not_make_its_range_read_the_rest_of_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("endless");
    fs::write(
        &path,
        [b"ok\n".to_vec(), vec![b'x'; 5 << 20], b"\nend\n".to_vec()].concat(),
    )
    .expect("writes");
    let size = fs::metadata(&path).expect("is there").len();
    let reader = FilesReader::new(RecordFormat::text(), true);
    let first = range(&path, 0, 2 << 20, size);
    let consumed: u64 = read(&reader, &first).iter().map(|part| part.bytes).sum();
    assert!(consumed <= 3, "{consumed} bytes were counted");
    let (rows_of_first, bad) = rows(&reader, &first);
    assert_eq!(rows_of_first, [(0, "ok".to_owned())]);
    assert_eq!(bad.len(), 1);
    assert_eq!(
        rows(&reader, &range(&path, 2 << 20, 4 << 20, size)),
        (vec![], vec![])
    );
    let last = rows(&reader, &range(&path, 4 << 20, size, size));
    assert_eq!(last, (vec![((5 << 20) + 4, "end".to_owned())], vec![]));
}
