//! The `files` sink on a real disk, read back.

mod publish;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Float64Type, Int64Type};
use proptest::prelude::*;
use tempfile::TempDir;

use super::writer::PART_BUFFER;
use super::*;
use crate::batch::ColumnType;
use crate::checkpoint::{Lineage, Prepared};
use crate::deliver::{EpochInfo, Output, Refused};
use crate::ids::BatchTime;

fn config(directory: &Path, format: FileFormat) -> FilesSink {
    FilesSink {
        path: directory.join("out"),
        format,
        existing: Existing::Fail,
        sync: false,
        roll: Roll::EVERY_EPOCH,
    }
}

fn options(process: usize, processes: usize) -> OpenOptions {
    OpenOptions {
        pipeline: "test".into(),
        node: "out".into(),
        process: ProcessIndex(process),
        processes,
        lineage: Lineage::of_one_run(),
        output: Output::stdout(),
    }
}

fn epoch(number: u64) -> EpochInfo {
    EpochInfo {
        epoch: Epoch(number),
        time: BatchTime(0),
    }
}

/// As with one process and without a checkpoint.
fn finish(sink: &mut dyn Sink, epoch: EpochInfo) -> Result<(), Failure> {
    let prepared = prepare(sink, epoch)?;
    sink.commit(&prepared).map(drop)
}

fn prepare(sink: &mut dyn Sink, info: EpochInfo) -> Result<Prepared, Failure> {
    Ok(Prepared {
        epoch: info.epoch,
        time: info.time,
        tokens: sink.finish(info)?,
    })
}

fn lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> RecordBatch {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(lines));
    RecordBatch::try_from_iter([("line", column)]).expect("a batch")
}

/// Every visible file by its path below `out`, with its content; those with rows alone.
fn files(directory: &TempDir) -> BTreeMap<String, String> {
    let root = directory.path().join("out");
    let mut all = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("lists") {
            let path = entry.expect("an entry").path();
            let name = path
                .strip_prefix(&root)
                .expect("below")
                .to_str()
                .expect("UTF-8")
                .to_owned();
            if name.starts_with(['.', '_']) {
                continue;
            } else if path.is_dir() {
                folders.push(path);
            } else {
                all.insert(name, fs::read_to_string(path).expect("UTF-8"));
            }
        }
    }
    all
}

fn one_epoch(config: &FilesSink, batches: &[(u32, RecordBatch)]) -> Vec<Refused> {
    let mut sink = config
        .open(batches[0].1.schema(), options(0, 1))
        .expect("opens");
    let mut refused = Vec::new();
    for (partition, batch) in batches {
        refused.extend(
            sink.write(epoch(0), PartitionId(*partition), batch, false)
                .expect("writes"),
        );
    }
    finish(sink.as_mut(), epoch(0)).expect("finishes");
    refused
}

#[test]
fn a_file_appears_whole_when_its_epoch_is_finished() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = FilesSink {
        sync: true,
        ..config(directory.path(), FileFormat::Text)
    };
    let mut sink = config
        .open(lines([]).schema(), options(0, 1))
        .expect("opens");
    let big = "x".repeat(1 << 20);
    sink.write(epoch(12), PartitionId(3), &lines([big.as_str()]), false)
        .expect("writes");
    sink.write(epoch(12), PartitionId(3), &lines(["end"]), true)
        .expect("writes");
    sink.write(epoch(12), PartitionId(4), &lines([]), true)
        .expect("writes");
    sink.write(epoch(13), PartitionId(3), &lines(["next"]), true)
        .expect("writes");
    assert!(files(&directory).is_empty());
    finish(sink.as_mut(), epoch(12)).expect("finishes");
    let expected = BTreeMap::from([(
        "epoch-00000012/part-00003.txt".to_owned(),
        format!("{big}\nend\n"),
    )]);
    assert_eq!(files(&directory), expected);
    finish(sink.as_mut(), epoch(13)).expect("finishes");
    drop(sink);
    assert_eq!(files(&directory).len(), 2);
    assert!(
        !directory.path().join("out/.wasmill-tmp").exists(),
        "nothing is left over"
    );
}

#[test]
fn many_partitions_need_few_open_files_and_little_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), FileFormat::Text);
    let mut sink = config
        .open(lines([]).schema(), options(0, 1))
        .expect("opens");
    let line = "y".repeat(PART_BUFFER / 2);
    // More open at once than the system would allow to stay open, and three times what may be buffered.
    let partitions = 400;
    for _ in 0..2 {
        for partition in 0..partitions {
            sink.write(
                epoch(0),
                PartitionId(partition),
                &lines([line.as_str()]),
                false,
            )
            .expect("writes");
        }
    }
    finish(sink.as_mut(), epoch(0)).expect("finishes");
    let files = files(&directory);
    assert_eq!(files.len(), partitions as usize);
    assert!(
        files
            .values()
            .all(|content| *content == format!("{line}\n{line}\n"))
    );
}

#[test]
fn a_text_that_holds_a_line_break_is_refused_and_the_others_are_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let refused = one_epoch(
        &config(directory.path(), FileFormat::Text),
        &[(0, lines(["a", "b\nc", "", "d"]))],
    );
    let [refused] = refused.as_slice() else {
        panic!("{refused:?}")
    };
    assert_eq!(refused.row, 1);
    assert!(
        refused.reason.contains("column `line` holds a line break"),
        "{}",
        refused.reason
    );
    assert_eq!(
        files(&directory)["epoch-00000000/part-00000.txt"],
        "a\n\nd\n"
    );
}

#[test]
fn a_json_column_is_written_as_json_and_refused_when_it_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let field = ColumnType::Json.field("j", true);
    let values = StringArray::from(vec![Some("{\"a\":\n [1, 2]}"), Some("{no"), None]);
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(values)]).expect("a batch");
    let refused = one_epoch(&config(directory.path(), FileFormat::Json), &[(0, batch)]);
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0].row == 1 && refused[0].reason.contains("is not JSON"),
        "{refused:?}"
    );
    assert_eq!(
        files(&directory)["epoch-00000000/part-00000.json"],
        "{\"j\":{\"a\":  [1, 2]}}\n{}\n"
    );
}

#[test]
fn a_time_without_a_form_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let times = TimestampMicrosecondArray::from(vec![0, i64::MAX, i64::MIN])
        .with_timezone(crate::batch::UTC);
    let schema = Arc::new(Schema::new(vec![ColumnType::Timestamp.field("t", false)]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(times)]).expect("a batch");
    let refused = one_epoch(&config(directory.path(), FileFormat::Json), &[(0, batch)]);
    assert_eq!(
        refused
            .iter()
            .map(|refused| refused.row)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(
        files(&directory)["epoch-00000000/part-00000.json"],
        "{\"t\":\"1970-01-01T00:00:00Z\"}\n"
    );
}

#[test]
fn csv_has_one_header_a_file_or_none() {
    for (header, expected) in [
        (true, "line\na\n\"b,\"\"c\"\"\"\n"),
        (false, "a\n\"b,\"\"c\"\"\"\n"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let config = config(directory.path(), FileFormat::Csv { header });
        one_epoch(&config, &[(0, lines(["a"])), (0, lines(["b,\"c\""]))]);
        assert_eq!(files(&directory)["epoch-00000000/part-00000.csv"], expected);
    }
}

#[test]
fn text_takes_one_text_column_only() {
    let two = Schema::new(vec![
        ColumnType::Utf8.field("a", false),
        ColumnType::Int64.field("b", false),
    ]);
    let reason = FileFormat::Text.check(&two).expect_err("two columns");
    assert!(reason.contains("`a` (utf8), `b` (int64)"), "{reason}");
    assert!(FileFormat::Json.check(&two).is_ok());
    let list = Schema::new(vec![Field::new_list(
        "l",
        Field::new_list_field(arrow::datatypes::DataType::Int64, true),
        true,
    )]);
    assert!(FileFormat::Csv { header: true }.check(&list).is_err());
}

#[test]
fn epochs_of_an_earlier_run_are_never_mixed_with_new_ones() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), FileFormat::Text);
    one_epoch(&config, &[(0, lines(["old"])), (5, lines(["old"]))]);
    let before = files(&directory);
    let failure = config
        .open(lines([]).schema(), options(0, 1))
        .err()
        .expect("refused");
    assert!(
        failure
            .to_string()
            .contains("already holds the epochs of an earlier run"),
        "{failure}"
    );
    assert_eq!(files(&directory), before);

    let config = FilesSink {
        existing: Existing::Replace,
        ..config
    };
    one_epoch(&config, &[(0, lines(["new"]))]);
    assert_eq!(
        files(&directory),
        BTreeMap::from([("epoch-00000000/part-00000.txt".into(), "new\n".into())])
    );
}

#[test]
fn a_second_writer_of_the_same_file_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), FileFormat::Text);
    let schema = lines([]).schema();
    let mut first = config.open(schema.clone(), options(0, 1)).expect("opens");
    let other = OpenOptions {
        pipeline: "test".into(),
        node: "second".into(),
        ..options(0, 1)
    };
    let mut second = config.open(schema, other).expect("opens");
    for sink in [&mut first, &mut second] {
        sink.write(epoch(0), PartitionId(0), &lines(["x"]), true)
            .expect("writes");
    }
    finish(first.as_mut(), epoch(0)).expect("finishes");
    let failure = finish(second.as_mut(), epoch(0)).expect_err("the file is there");
    assert!(
        failure.to_string().contains("is there already"),
        "{failure}"
    );
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("out"), "a file").expect("writes");
    let config = config(directory.path(), FileFormat::Text);
    let failure = config
        .open(lines([]).schema(), options(0, 1))
        .err()
        .expect("fails");
    assert!(
        failure.fault == crate::error::Fault::External && failure.to_string().contains("/out"),
        "{failure}"
    );
}

proptest! {
    #[test]
    fn json_and_csv_read_back_are_the_rows_that_were_written(
        rows in prop::collection::vec((any::<String>(), any::<Option<i64>>(), prop::option::of(-1e300f64..1e300)), 1..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.0)));
        let ints: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1)));
        let floats: ArrayRef = Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.2)));
        let columns = [("t", texts, false), ("i", ints, true), ("f", floats, true)];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
        let fields = batch.schema();
        let nullable = fields.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let nullable = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let cut = cut.index(rows.len());
        let batches = [(0, batch.slice(0, cut)), (0, batch.slice(cut, rows.len() - cut))];
        for format in [FileFormat::Json, FileFormat::Csv { header: true }] {
            let directory = tempfile::tempdir().expect("a directory");
            prop_assert_eq!(one_epoch(&config(directory.path(), format), &batches), vec![]);
            let files = files(&directory);
            let content = files.values().next().expect("one file").as_bytes();
            let read: Vec<RecordBatch> = match format {
                FileFormat::Json => arrow::json::ReaderBuilder::new(batch.schema())
                    .build(content)
                    .and_then(|reader| reader.collect())
                    .expect("JSON"),
                _ => arrow::csv::ReaderBuilder::new(nullable.clone())
                    .with_header(true)
                    .build(content)
                    .and_then(|reader| reader.collect())
                    .expect("CSV"),
            };
            let read = arrow::compute::concat_batches(&read[0].schema(), &read).expect("equal schemas");
            prop_assert_eq!(read.num_rows(), rows.len());
            let (texts, ints) = (read.column(0).as_string::<i32>(), read.column(1).as_primitive::<Int64Type>());
            let floats = read.column(2).as_primitive::<Float64Type>();
            for (index, row) in rows.iter().enumerate() {
                // CSV has one form for null and for the empty text.
                prop_assert_eq!(if texts.is_null(index) { "" } else { texts.value(index) }, row.0.as_str());
                prop_assert_eq!(ints.iter().nth(index).expect("a row"), row.1);
                prop_assert_eq!(floats.iter().nth(index).expect("a row"), row.2);
            }
        }
    }
}

#[test]
fn every_type_has_its_form_in_json_and_csv() {
    use arrow::array::{BinaryArray, BooleanArray, Date32Array, Decimal128Array};
    let columns: Vec<(ColumnType, ArrayRef)> = vec![
        (
            ColumnType::Boolean,
            Arc::new(BooleanArray::from(vec![Some(true), None])),
        ),
        (
            ColumnType::Int64,
            Arc::new(Int64Array::from(vec![Some(-1), None])),
        ),
        (
            ColumnType::Float64,
            Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(0.1)])),
        ),
        (
            ColumnType::Decimal {
                precision: 5,
                scale: 2,
            },
            Arc::new(
                Decimal128Array::from(vec![Some(150), Some(-7)])
                    .with_precision_and_scale(5, 2)
                    .expect("in bounds"),
            ),
        ),
        (
            ColumnType::Date,
            Arc::new(Date32Array::from(vec![Some(1), None])),
        ),
        (
            ColumnType::Timestamp,
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_500_000), None])
                    .with_timezone(crate::batch::UTC),
            ),
        ),
        (
            ColumnType::Utf8,
            Arc::new(StringArray::from(vec![Some("a\nb"), Some("")])),
        ),
        (
            ColumnType::Binary,
            Arc::new(BinaryArray::from(vec![Some(&[0u8, 255][..]), None])),
        ),
        (
            ColumnType::Json,
            Arc::new(StringArray::from(vec![Some("[1]"), None])),
        ),
    ];
    let field = |(index, (kind, _)): (usize, &(ColumnType, ArrayRef))| {
        kind.field(format!("c{index}"), true)
    };
    let fields: Vec<_> = columns.iter().enumerate().map(field).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(
        schema,
        columns.into_iter().map(|(_, column)| column).collect(),
    )
    .expect("a batch");
    let expected = [
        (
            FileFormat::Json,
            concat!(
                r#"{"c0":true,"c1":-1,"c2":"NaN","c3":1.50,"c4":"1970-01-02","c5":"1970-01-01T00:00:01.500Z","#,
                r#""c6":"a\nb","c7":"00ff","c8":[1]}"#,
                "\n",
                r#"{"c2":0.1,"c3":-0.07,"c6":""}"#,
                "\n",
            ),
        ),
        (
            FileFormat::Csv { header: false },
            "true,-1,NaN,1.50,1970-01-02,1970-01-01T00:00:01.500Z,\"a\nb\",00ff,[1]\n,,0.1,-0.07,,,,,\n",
        ),
    ];
    for (format, expected) in expected {
        let mut out = Vec::new();
        assert_eq!(format.encode(&batch, true, &mut out).expect("encodes"), []);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }
}
