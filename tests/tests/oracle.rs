//! Spark is the oracle: the golden cases `spark-*` give what Spark's DStreams gave from the same batches.
//!
//! Such a case has, beside what every case has, `spark.jsonl`: what Spark gave, written by `tests/oracle/spark.py`. The lines of it that
//! Wasmill gives no row for are in `unlike-spark.jsonl` too, and the case's `pipeline.toml` says why. Nothing here needs Spark.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wasmill_tests::golden::{cases, run};

/// What a row holds, by column.
type Columns = BTreeMap<String, Value>;

/// A row as it is compared: where it came out, and its columns as JSON, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    /// The batch time of its epoch, in milliseconds.
    time: u64,
    sink: String,
    columns: String,
}

impl Row {
    fn new(time: u64, sink: &str, columns: &Columns) -> Self {
        Self {
            time,
            sink: sink.to_owned(),
            columns: serde_json::to_string(columns).expect("it was JSON"),
        }
    }
}

/// The times of a case's batches, which are those of its epochs: of every file below the folder that is named after one.
fn batch_times(folder: &Path) -> BTreeSet<u64> {
    let mut times = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a case has input") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            times.extend(batch_times(&path));
        } else {
            let name = path.file_stem().and_then(|name| name.to_str());
            times.extend(name.and_then(|name| name.parse::<u64>().ok()));
        }
    }
    times
}

/// The rows that Wasmill gave, in files `SINK/epoch-NUMBER/part-NUMBER.json`.
fn rows_of_wasmill(files: &BTreeMap<PathBuf, String>, times: &BTreeSet<u64>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (path, text) in files {
        let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        let [sink, epoch, _] = parts.as_slice() else {
            panic!("{} is not of a sink below its own folder", path.display());
        };
        let epoch = epoch.strip_prefix("epoch-").expect("a folder an epoch");
        let epoch: usize = epoch.parse().expect("epochs are numbered");
        let time = *times.iter().nth(epoch).expect("an epoch for each batch");
        for line in text.lines() {
            let columns: Columns = serde_json::from_str(line).expect("the sinks write JSON");
            rows.push(Row::new(time, sink, &columns));
        }
    }
    rows
}

/// The rows that Spark gave, `{"time": 3000, "sink": "counts", "row": {"word": "be", "n": 2}}` a line.
///
/// Where there is no batch at a time, Spark has an empty one and Wasmill no epoch: what a window gives then is due in the
/// first epoch after it.
fn rows_of_spark(text: &str, times: &BTreeSet<u64>) -> Vec<Row> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("spark.py writes JSON");
        let time = line["time"].as_u64().expect("the time of a batch");
        let epoch = times.range(time..).next().expect("a batch at the end");
        let sink = line["sink"].as_str().expect("the name of a sink");
        let columns = line["row"].as_object().expect("the columns of a row");
        rows.push(Row::new(
            *epoch,
            sink,
            &columns.clone().into_iter().collect(),
        ));
    }
    rows
}

/// Takes the rows out that Wasmill is known not to give.
fn leave_out(unlike: &[Row], rows: &mut Vec<Row>) {
    for row in unlike {
        let place = rows.iter().position(|other| other == row);
        let place = place.unwrap_or_else(|| panic!("Spark did not give {row:?}"));
        rows.remove(place);
    }
}

/// What one gave and the other did not, whatever the order.
fn differences(wasmill: &[Row], spark: &[Row]) -> Vec<String> {
    let mut balance: BTreeMap<&Row, i64> = BTreeMap::new();
    for row in wasmill {
        *balance.entry(row).or_default() += 1;
    }
    for row in spark {
        *balance.entry(row).or_default() -= 1;
    }
    balance
        .into_iter()
        .filter(|(_, more)| *more != 0)
        .map(|(row, more)| {
            let who = if more > 0 { "Wasmill" } else { "Spark" };
            let Row {
                time,
                sink,
                columns,
            } = row;
            format!("only {who} gave `{sink}` at {time} {columns}")
        })
        .collect()
}

#[test]
fn wasmill_gives_what_spark_gave_from_the_same_batches() {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for case in cases() {
        let name = case.file_name().expect("a folder").to_string_lossy();
        if !name.starts_with("spark-") {
            continue;
        }
        compared += 1;
        let times = batch_times(&case.join("input"));
        let text = fs::read_to_string(case.join("spark.jsonl")).expect("spark.py has been run");
        let mut spark = rows_of_spark(&text, &times);
        if let Ok(unlike) = fs::read_to_string(case.join("unlike-spark.jsonl")) {
            leave_out(&rows_of_spark(&unlike, &times), &mut spark);
        }
        assert!(!spark.is_empty(), "{name}: Spark gave nothing");
        let wasmill = rows_of_wasmill(&run(&case, 1, 3), &times);
        for difference in differences(&wasmill, &spark) {
            wrong.push(format!("{name}: {difference}"));
        }
    }
    assert!(compared > 0, "there is no case `spark-*`");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_row_that_differs_is_told() {
    let times = BTreeSet::from([1000, 2000, 5000]);
    let files = |epoch: &str, rows: &str| {
        let path = Path::new("counts").join(epoch).join("part-00000.json");
        rows_of_wasmill(&BTreeMap::from([(path, rows.to_owned())]), &times)
    };
    let spark = |text: &str| rows_of_spark(text, &times);
    let two = "{\"n\":2,\"word\":\"be\"}\n";

    let at_two = spark(r#"{"time": 2000, "sink": "counts", "row": {"word": "be", "n": 2}}"#);
    assert!(differences(&files("epoch-00000001", two), &at_two).is_empty());
    // Another count, another epoch, a row too many, one too few.
    let three = "{\"n\":3,\"word\":\"be\"}\n";
    assert_eq!(
        differences(&files("epoch-00000001", three), &at_two),
        [
            r#"only Spark gave `counts` at 2000 {"n":2,"word":"be"}"#,
            r#"only Wasmill gave `counts` at 2000 {"n":3,"word":"be"}"#,
        ]
    );
    assert_eq!(differences(&files("epoch-00000002", two), &at_two).len(), 2);
    let twice = two.repeat(2);
    assert_eq!(
        differences(&files("epoch-00000001", &twice), &at_two),
        [r#"only Wasmill gave `counts` at 2000 {"n":2,"word":"be"}"#]
    );
    assert_eq!(differences(&[], &at_two).len(), 1);

    // Between two batches: in the epoch after it.
    let at_three = spark(r#"{"time": 3000, "sink": "counts", "row": {"word": "be", "n": 2}}"#);
    assert!(differences(&files("epoch-00000002", two), &at_three).is_empty());
    assert!(!differences(&files("epoch-00000001", two), &at_three).is_empty());
}

const TWO_COUNTS: &str = r#"{"time": 1000, "sink": "counts", "row": {"n": 0}}
{"time": 1000, "sink": "sums", "row": {"n": 0}}"#;

#[test]
fn a_row_that_is_unlike_is_left_out_alone() {
    let mut rows = rows_of_spark(TWO_COUNTS, &BTreeSet::from([1000]));
    leave_out(&[rows[0].clone()], &mut rows);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].sink, "sums");
}

#[test]
#[should_panic(expected = "Spark did not give")]
fn a_row_that_is_unlike_and_that_spark_did_not_give_is_told() {
    let mut rows = rows_of_spark(TWO_COUNTS, &BTreeSet::from([1000]));
    leave_out(&[rows.remove(0)], &mut rows);
}
