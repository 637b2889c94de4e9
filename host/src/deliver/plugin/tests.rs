//! The sink's order of calls, its keys and its retries, seen through a guest that says what it was given.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::Schema;

use super::*;
use crate::batch::ColumnType;
use crate::deliver::Output;
use crate::error::Fault;
use crate::ids::{BatchTime, ProcessIndex};
use crate::plugin::testing::{SinkGuest, load};
use crate::plugin::{Grants, Limits};

fn words(words: &[&str]) -> RecordBatch {
    let schema = Schema::new(vec![ColumnType::Utf8.field("word", false)]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(StringArray::from(words.to_vec()))],
    )
    .unwrap()
}

fn open(guest: &SinkGuest<'_>, retries: u32, deadline: Duration) -> Box<dyn Sink> {
    open_in(guest, retries, deadline, lineage())
}

fn open_in(
    guest: &SinkGuest<'_>,
    retries: u32,
    deadline: Duration,
    lineage: Lineage,
) -> Box<dyn Sink> {
    let limits = Limits {
        deadline,
        ..Limits::of_sinks()
    };
    let plugin = SinkPlugin::new(
        &load(&guest.module()),
        &"hook".into(),
        &serde_json::json!({}),
        &words(&[]).schema(),
        &limits,
        &Grants::default(),
    )
    .expect("the guest describes itself");
    let options = OpenOptions {
        pipeline: "demo".into(),
        node: "hook".into(),
        process: ProcessIndex(0),
        processes: 1,
        lineage,
        output: Output::stdout(),
    };
    PluginSink { plugin, retries }
        .open(options)
        .expect("a runtime starts")
}

fn lineage() -> Lineage {
    Lineage {
        id: "test".to_owned(),
        is_recorded: true,
        ..Lineage::of_one_run()
    }
}

fn sink(guest: &SinkGuest<'_>) -> Box<dyn Sink> {
    open(guest, 3, Limits::of_sinks().deadline)
}

/// A sink that does this before it writes down what it was given.
fn writing(write: &str) -> Box<dyn Sink> {
    sink(&SinkGuest {
        write,
        ..SinkGuest::default()
    })
}

fn epoch(number: u64) -> EpochInfo {
    EpochInfo {
        epoch: Epoch(number),
        time: BatchTime(0),
    }
}

fn write(
    sink: &mut dyn Sink,
    info: EpochInfo,
    partition: u32,
    rows: &[&str],
    last: bool,
) -> Vec<Refused> {
    sink.write(info, PartitionId(partition), &words(rows), last)
        .expect("the guest takes it")
}

/// Whose fault it is, and what is said, where a row cannot be written.
fn fails(sink: &mut dyn Sink) -> (Fault, String) {
    let failure = sink
        .write(epoch(7), PartitionId(0), &words(&["a"]), true)
        .expect_err("the guest does not take it");
    (failure.fault, failure.message)
}

/// What the guest was given, as its commit says it.
fn committed(sink: &mut dyn Sink, info: EpochInfo) -> String {
    sink.finish(info).expect_err("its commit refuses").message
}

#[test]
fn interleaved_partitions_are_written_apart_and_committed_with_their_epoch() {
    let mut sink = sink(&SinkGuest::default());
    write(&mut *sink, epoch(7), 0, &["a", "b"], false);
    write(&mut *sink, epoch(7), 1, &["x"], false);
    write(&mut *sink, epoch(8), 0, &["later"], true);
    write(&mut *sink, epoch(7), 0, &["c"], true);
    write(&mut *sink, epoch(7), 1, &[], true);
    assert_eq!(
        committed(&mut *sink, epoch(7)),
        "demo/test/hook/7/0;abc;demo/test/hook/7/1;x;"
    );
    assert_eq!(committed(&mut *sink, epoch(8)), "demo/test/hook/8/0;later;");
}

#[test]
fn a_sink_without_a_grant_finds_an_hour_of_sleep_over_at_once_wherever_it_sleeps() {
    let slept = "
      (i32.store8 (i32.const 1032) (i32.const 0))
      (i32.store (i32.const 1040) (i32.const 1))
      (i64.store (i32.const 1048) (i64.const 3600000000000))
      (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 96)))";
    let mut sink = sink(&SinkGuest {
        more: r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))"#,
        describe: slept,
        write: slept,
        ..SinkGuest::default()
    });
    write(&mut *sink, epoch(7), 0, &["a"], true);
    assert_eq!(committed(&mut *sink, epoch(7)), "demo/test/hook/7/0;a;");
}

#[test]
fn a_two_phase_sink_gives_tokens_and_commits_those_of_all_processes_later() {
    let guest = SinkGuest {
        delivery: 2,
        ..SinkGuest::default()
    };
    let prepare = |partition, rows: &[&str]| {
        let mut sink = sink(&guest);
        write(&mut *sink, epoch(7), partition, rows, true);
        sink.finish(epoch(7)).expect("it is not committed yet")
    };
    let mut tokens = prepare(1, &["x"]);
    tokens.extend(prepare(0, &["a", "b"]));
    let token = |text: &str| Token(text.as_bytes().to_vec());
    let expected = [
        (PartitionId(0), token("demo/test/hook/7/0;ab")),
        (PartitionId(1), token("demo/test/hook/7/1;x")),
    ];
    assert_eq!(tokens, Tokens::from(expected));
    let prepared = Prepared {
        epoch: Epoch(7),
        time: BatchTime(0),
        tokens,
    };
    let mut fresh = sink(&guest);
    assert_eq!(fresh.abort(&prepared), Ok(()));
    let failure = fresh.commit(&prepared).expect_err("its commit refuses");
    assert_eq!(
        failure.message,
        "demo/test/hook/7/0;ab;demo/test/hook/7/1;x;"
    );
    assert_eq!(failure.place.epoch, Some(Epoch(7)));
    let empty = Prepared {
        tokens: Tokens::new(),
        ..prepared
    };
    assert_eq!(fresh.commit(&empty), Ok(None));
}

#[test]
fn a_partition_without_rows_is_nothing_to_the_plugin() {
    let mut sink = sink(&SinkGuest::default());
    write(&mut *sink, epoch(1), 0, &[], true);
    assert_eq!(sink.finish(epoch(1)), Ok(Tokens::new()));
}

#[test]
fn a_failure_says_where() {
    let failure = writing("unreachable")
        .write(epoch(3), PartitionId(2), &words(&["a"]), true)
        .unwrap_err();
    assert!(
        failure
            .to_string()
            .starts_with("`hook`, epoch 3, partition 2: the plugin trapped: "),
        "{failure}"
    );
    assert_eq!(failure.fault, Fault::User);
}

/// Refuses while it was written to fewer times than that.
fn refusing(kind: u32, times: u32) -> String {
    format!(
        "(if (i32.lt_u (global.get $writes) (i32.const {times})) (then
           (call $refuse (local.get $answer) (i32.const {kind}) (i32.const 16) (i32.const 5))
           (i32.store offset=24 (local.get $answer) (i32.const 1))
           (i32.store offset=28 (local.get $answer) (i32.const 1))
           (br $done)))"
    )
}

#[test]
fn after_a_retryable_error_the_partition_begins_again_with_all_its_rows() {
    // The first two writes are taken, the third and the fourth (the partition's first, again) are not.
    let write_code = refusing(0, 5).replace(
        "(i32.lt_u (global.get $writes) (i32.const 5))",
        "(i32.and (i32.ge_u (global.get $writes) (i32.const 3)) (i32.lt_u (global.get $writes) (i32.const 5)))",
    );
    let mut sink = writing(&write_code);
    for (rows, last) in [(["a"], false), (["b"], false), (["c"], true)] {
        write(&mut *sink, epoch(7), 0, &rows, last);
    }
    assert_eq!(committed(&mut *sink, epoch(7)), "demo/test/hook/7/0;abc;");
}

#[test]
fn a_retryable_error_that_stays_is_the_outsides_fault() {
    let mut sink = writing(&refusing(0, 100));
    assert_eq!(fails(&mut *sink), (Fault::External, "again".into()));
}

#[test]
fn a_fatal_error_is_not_repeated() {
    let mut sink = writing(&refusing(2, 2));
    assert_eq!(fails(&mut *sink), (Fault::User, "again".into()));
}

#[test]
fn a_call_that_does_not_return_is_given_up() {
    let endless = "(loop $for_ever (br $for_ever))";
    let mut sink = open(
        &SinkGuest {
            write: endless,
            ..SinkGuest::default()
        },
        1,
        Duration::from_millis(30),
    );
    let message = "the plugin did not return within 30ms".into();
    assert_eq!(fails(&mut *sink), (Fault::External, message));
}

#[test]
fn rows_that_an_error_blames_are_refused_and_the_others_written() {
    // Blames its row 1 the first time: two rows of one number each, of which the second is 1.
    let blame = "(if (i32.eq (global.get $writes) (i32.const 1)) (then
        (call $refuse (local.get $answer) (i32.const 1) (i32.const 16) (i32.const 5))
        (i32.store (i32.const 32) (i32.const 1))
        (call $put (i32.add (local.get $answer) (i32.const 16)) (i32.const 32) (i32.const 1))
        (br $done)))";
    let mut sink = writing(blame);
    let refused = write(&mut *sink, epoch(7), 0, &["a", "b", "c"], true);
    assert_eq!(
        refused,
        [Refused {
            row: 1,
            reason: "again".into()
        }]
    );
    assert_eq!(committed(&mut *sink, epoch(7)), "demo/test/hook/7/0;ac;");
}

#[test]
fn a_marker_sink_is_not_given_what_it_holds() {
    let mut sink = sink(&SinkGuest {
        delivery: 1,
        ..SinkGuest::default()
    });
    write(&mut *sink, epoch(5), 0, &["held"], true);
    assert_eq!(sink.finish(epoch(5)), Ok(Tokens::new()));
    write(&mut *sink, epoch(6), 0, &["new"], true);
    assert_eq!(committed(&mut *sink, epoch(6)), "demo/test/hook/6/0;new;");
}

#[test]
fn what_a_marker_sink_holds_of_other_runs_is_no_reason_to_skip() {
    let guest = SinkGuest {
        delivery: 1,
        ..SinkGuest::default()
    };
    let mut sink = open_in(
        &guest,
        3,
        Limits::of_sinks().deadline,
        Lineage::of_one_run(),
    );
    write(&mut *sink, epoch(5), 0, &["new"], true);
    let held = committed(&mut *sink, epoch(5));
    assert!(held.ends_with("/hook/5/0;new;"), "{held}");
}

#[test]
fn a_batch_is_cut_into_calls_that_a_plugin_can_take() {
    let mut sink =
        writing("(if (i32.gt_u (local.get $rows) (i32.const 65536)) (then unreachable))");
    let rows = vec![""; (64 << 10) + 1];
    write(&mut *sink, epoch(7), 0, &rows, true);
    assert_eq!(committed(&mut *sink, epoch(7)), "demo/test/hook/7/0;;");
}
