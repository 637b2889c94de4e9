//! What is printed.

use arrow::array::{ArrayRef, Int64Array, StringArray};

use super::*;
use crate::checkpoint::Lineage;
use crate::ids::{BatchTime, ProcessIndex};

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("not poisoned");
        String::from_utf8(bytes.clone()).expect("UTF-8")
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const SPARK: PrintSink = PrintSink {
    format: PrintFormat::Spark,
    limit: None,
    all: false,
};

fn epoch(number: u64) -> EpochInfo {
    EpochInfo {
        epoch: Epoch(number),
        time: BatchTime(1_357_008_430_000 + number as i64),
    }
}

fn counts(words: &[(&str, Option<i64>)]) -> RecordBatch {
    let word: ArrayRef = Arc::new(StringArray::from_iter_values(
        words.iter().map(|(word, _)| word),
    ));
    let count: ArrayRef = Arc::new(Int64Array::from_iter(words.iter().map(|(_, count)| *count)));
    RecordBatch::try_from_iter_with_nullable([("word", word, false), ("n", count, true)])
        .expect("a batch")
}

fn sink(config: &PrintSink, batch: &RecordBatch, output: Output) -> Box<dyn Sink> {
    let options = super::super::OpenOptions {
        pipeline: "test".into(),
        node: "out".into(),
        process: ProcessIndex(0),
        processes: 1,
        lineage: Lineage::of_one_run(),
        output,
    };
    config.open(batch.schema(), options)
}

/// What is printed when these batches come, in this order, in one epoch.
fn printed(config: &PrintSink, batches: &[(u32, RecordBatch)]) -> String {
    let screen = Screen::default();
    let mut sink = sink(config, &batches[0].1, Output::new(screen.clone()));
    for (partition, batch) in batches {
        sink.write(epoch(0), PartitionId(*partition), batch, false)
            .expect("writes");
    }
    sink.finish(epoch(0)).expect("finishes");
    screen.text()
}

fn many(rows: usize) -> RecordBatch {
    counts(&vec![("w", Some(1)); rows])
}

#[test]
fn an_epoch_looks_as_in_spark() {
    let batches = [
        (1, counts(&[("world", None)])),
        (0, counts(&[("hello", Some(2))])),
    ];
    let expected = "\
-------------------------------------------
Time: 1357008430000 ms
-------------------------------------------
(hello,2)
(world,null)

";
    assert_eq!(printed(&SPARK, &batches), expected);
}

#[test]
fn a_single_column_prints_bare_values() {
    let batch = counts(&[("hello", Some(2))])
        .project(&[0])
        .expect("projects");
    assert!(printed(&SPARK, &[(0, batch)]).ends_with("---\nhello\n\n"));
}

#[test]
fn ten_rows_are_shown_and_dots_when_there_are_more() {
    assert_eq!(
        printed(&SPARK, &[(0, many(10))]).matches("(w,1)\n").count(),
        10
    );
    assert!(!printed(&SPARK, &[(0, many(10))]).contains("..."));
    for batches in [
        vec![(0, many(11))],
        vec![(0, many(5)), (3, many(5)), (4, many(1))],
    ] {
        let text = printed(&SPARK, &batches);
        assert!(text.ends_with("(w,1)\n...\n\n"), "{text}");
        assert_eq!(text.matches("(w,1)\n").count(), 10);
    }
}

#[test]
fn all_rows_are_shown_in_the_order_of_partitions_even_above_what_memory_holds() {
    let mut config = SPARK;
    config.show_all();
    let rows = 100_000;
    let text = printed(
        &config,
        &[
            (7, counts(&[("last", Some(0))])),
            (1, many(rows)),
            (1, many(rows)),
        ],
    );
    assert_eq!(text.matches("(w,1)\n").count(), 2 * rows);
    assert!(text.ends_with("(w,1)\n(last,0)\n\n"));
}

#[test]
fn only_the_first_rows_are_kept_in_memory() {
    let batch = many(50_000);
    let copy = held::copy_first(&batch, 11).expect("copies");
    assert_eq!(copy.num_rows(), 11);
    assert!(
        copy.get_array_memory_size() < 4096,
        "{}",
        copy.get_array_memory_size()
    );
}

#[test]
fn json_prints_every_row_as_an_object_and_nothing_else() {
    let mut config = SPARK;
    config.show_as(PrintFormat::Json);
    let text = printed(&config, &[(0, many(12)), (1, counts(&[("a\"b", None)]))]);
    let rows: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(rows.len(), 13);
    assert_eq!(rows[0], serde_json::json!({"word": "w", "n": 1}));
    assert_eq!(rows[12], serde_json::json!({"word": "a\"b"}));
}

#[test]
fn a_table_names_the_columns() {
    let mut config = SPARK;
    config.show_as(PrintFormat::Table);
    let text = printed(&config, &[(0, counts(&[("hello", Some(2))]))]);
    assert!(
        text.contains("| word  | n |\n") && text.contains("| hello | 2 |\n"),
        "{text}"
    );
}

#[test]
fn all_rows_of_small_partitions_are_one_table_and_large_ones_stay_in_order() {
    let mut config = SPARK;
    config.show_as(PrintFormat::Table);
    config.show_all();
    let small = |word| counts(&[(word, Some(1))]);
    let text = printed(
        &config,
        &[
            (0, small("a")),
            (3, small("d")),
            (1, small("b")),
            (1, small("c")),
        ],
    );
    assert_eq!(text.matches("| word | n |").count(), 1, "{text}");
    let order: Vec<_> = ["| a ", "| b ", "| c ", "| d "]
        .map(|row| text.find(row).expect("is shown"))
        .into();
    assert!(order.is_sorted(), "{text}");

    let text = printed(
        &config,
        &[
            (0, small("a")),
            (1, many(20_000)),
            (1, small("z")),
            (2, small("e")),
        ],
    );
    assert_eq!(text.matches("| w ").count(), 20_000);
    let order: Vec<_> = ["| a ", "| w ", "| z ", "| e "]
        .map(|row| text.find(row).expect("is shown"))
        .into();
    assert!(order.is_sorted());
}

#[test]
fn json_under_a_limit_refuses_what_it_cannot_hold() {
    let config = PrintSink {
        format: PrintFormat::Json,
        limit: Some(1),
        all: false,
    };
    let times = arrow::array::TimestampMicrosecondArray::from(vec![i64::MAX, 0])
        .with_timezone(crate::batch::UTC);
    let batch = RecordBatch::try_from_iter([("t", Arc::new(times) as ArrayRef)]).expect("a batch");
    let mut sink = sink(&config, &batch, Output::new(Screen::default()));
    let refused = sink
        .write(epoch(0), PartitionId(0), &batch, true)
        .expect("writes");
    assert_eq!(
        refused
            .iter()
            .map(|refused| refused.row)
            .collect::<Vec<_>>(),
        [0]
    );
}

#[test]
fn epochs_that_overlap_are_printed_apart() {
    let screen = Screen::default();
    let batch = counts(&[("a", Some(1))]);
    let mut sink = sink(&SPARK, &batch, Output::new(screen.clone()));
    sink.write(epoch(0), PartitionId(0), &batch, false)
        .expect("writes");
    sink.write(epoch(1), PartitionId(0), &counts(&[("b", Some(2))]), true)
        .expect("writes");
    sink.finish(epoch(0)).expect("finishes");
    assert!(screen.text().contains("(a,1)") && !screen.text().contains("(b,2)"));
    sink.finish(epoch(1)).expect("finishes");
    assert!(screen.text().contains("Time: 1357008430001 ms") && screen.text().contains("(b,2)"));
}

#[test]
fn a_reader_that_has_gone_ends_the_run_with_a_clear_message() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let batch = counts(&[("a", Some(1))]);
    let mut sink = sink(&SPARK, &batch, Output::new(writer));
    sink.write(epoch(0), PartitionId(0), &batch, true)
        .expect("writes");
    let failure = sink.finish(epoch(0)).expect_err("the pipe is broken");
    assert_eq!(failure.fault, crate::error::Fault::External);
    assert!(failure.to_string().contains("broken pipe"), "{failure}");
}
