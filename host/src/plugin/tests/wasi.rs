//! Guests that use WASI, as core modules of WASI 0.1: every question is answered, and the same way in every run.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::super::{CallContext, CallError, Transform};
use super::guests::Guest;
use super::{bind, context, load, schema};
use crate::batch::ColumnType;
use crate::ids::BatchTime;

const IMPORTS: &str = r#"
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (data (i32.const 512) "no such colour\n")"#;

fn numbers() -> SchemaRef {
    schema(&[("n", ColumnType::Int64, false)])
}

/// A guest whose answer is the number that `instructions` leave at 64.
fn guest(instructions: &str) -> Transform {
    let process = format!(
        "{instructions}
         (call $produced (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)
           (call $column (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 8))
           (i32.const 1))"
    );
    let guest = Guest {
        more: IMPORTS,
        process: Some(&process),
        ..Guest::default()
    };
    bind(&load(&guest.module()), &numbers()).expect("WASI needs no grant")
}

fn call(transform: &Transform, context: &CallContext) -> Result<i64, CallError> {
    let row = Int64Array::from(vec![0]);
    let rows =
        RecordBatch::try_new(numbers(), vec![Arc::new(row)]).expect("the schema is the row's");
    let produced = transform.open(context)?.process(context, &rows)?;
    let columns = &produced.outputs[0].columns;
    Ok(columns[0].as_primitive::<Int64Type>().value(0))
}

fn answer(instructions: &str) -> i64 {
    call(&guest(instructions), &context()).expect("it is answered")
}

#[test]
fn the_clocks_stand_at_the_batch_time() {
    for clock in 0..2 {
        let time = format!("(drop (call $clock (i32.const {clock}) (i64.const 1) (i32.const 64)))");
        assert_eq!(answer(&time), 1_000_000_000, "clock {clock}");
        let earlier = CallContext {
            time: BatchTime(-5),
            ..context()
        };
        assert_eq!(
            call(&guest(&time), &earlier),
            Ok(0),
            "WASI has no time before 1970"
        );
    }
}

#[test]
fn an_hour_of_sleep_is_over_at_once() {
    let slept = "
      (i32.store8 (i32.const 1032) (i32.const 0))
      (i32.store (i32.const 1040) (i32.const 1))
      (i64.store (i32.const 1048) (i64.const 3600000000000))
      (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 96)))
      (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 64)))";
    assert_eq!(answer(slept), 3_601_000_000_000);
}

#[test]
fn random_numbers_follow_from_the_seed_and_the_call() {
    let transform = guest("(drop (call $random (i32.const 64) (i32.const 8)))");
    let drawn = |call_number, seed| {
        let context = CallContext {
            call: call_number,
            seed,
            ..context()
        };
        call(&transform, &context).expect("it is answered")
    };
    assert_eq!(drawn(0, 1), drawn(0, 1));
    assert_ne!(drawn(0, 1), drawn(1, 1));
    assert_ne!(drawn(0, 1), drawn(0, 2));
}

#[test]
fn there_is_no_environment_and_there_are_no_files() {
    let environ = "(i64.store (i32.const 64) (i64.const -1))
      (drop (call $environ (i32.const 64) (i32.const 68)))";
    assert_eq!(answer(environ), 0);
    let opened = |descriptor: u32| {
        answer(&format!(
            "(i64.store (i32.const 64) (i64.extend_i32_u (call $open (i32.const {descriptor}) (i32.const 0)
               (i32.const 512) (i32.const 2) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 96))))"
        ))
    };
    const NO_DESCRIPTOR: i64 = 8;
    assert_eq!([opened(3), opened(4)], [NO_DESCRIPTOR; 2]);
}

#[test]
fn what_a_guest_prints_before_it_traps_is_in_the_message() {
    let transform = guest(
        "(i32.store (i32.const 96) (i32.const 512)) (i32.store (i32.const 100) (i32.const 15))
         (drop (call $write (i32.const 2) (i32.const 96) (i32.const 1) (i32.const 104))) unreachable",
    );
    let error = call(&transform, &context()).unwrap_err().to_string();
    assert!(
        error.starts_with("the plugin trapped: no such colour ("),
        "{error}"
    );
}

#[test]
fn a_guest_can_use_wasi_while_it_describes_itself() {
    let guest = Guest {
        more: IMPORTS,
        describe: "(drop (call $clock (i32.const 0) (i64.const 1) (i32.const 64)))
          (if (i64.ne (i64.load (i32.const 64)) (i64.const 0)) (then unreachable))
          (i64.store (i32.const 64) (i64.const 0))",
        ..Guest::default()
    };
    bind(&load(&guest.module()), &numbers()).expect("its clock stands at 1970");
}
