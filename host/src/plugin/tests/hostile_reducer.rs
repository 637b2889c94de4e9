//! Reducers that break the contract, each in one way: a typed error that says what, and the host lives on.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use super::super::{CallError, Grants, Limits, Reduced, Reducer};
use super::reducer_guest::ReducerGuest;
use super::{context, limits, load, schema};
use crate::batch::ColumnType;
use crate::error::Failure;

/// Three rows of numbers, in groups that end before rows 2 and 3.
fn rows() -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![5, 6, 7]));
    RecordBatch::try_new(schema(&[("x", ColumnType::Int64, false)]), vec![numbers]).unwrap()
}

const ENDS: [u32; 2] = [2, 3];

fn bind(guest: &ReducerGuest<'_>, limits: Limits) -> Result<Reducer, Failure> {
    let config = serde_json::json!({});
    let component = load(&guest.module());
    let (step, grants) = ("step".into(), Grants::default());
    Reducer::new(
        &component,
        &step,
        &config,
        &rows().schema(),
        &limits,
        &grants,
    )
}

fn reduce(reducer: &Reducer) -> Result<Vec<ArrayRef>, CallError> {
    let mut instance = reducer.open(&context())?;
    instance.reduce(&context(), &ENDS, &rows(), Reduced::Not)
}

fn error_of(guest: &ReducerGuest<'_>, limits: Limits) -> CallError {
    let reducer = bind(guest, limits).expect("the guest describes itself");
    let mut instance = match reducer.open(&context()) {
        Ok(instance) => instance,
        Err(error) => return error,
    };
    let mut call = |reduced| instance.reduce(&context(), &ENDS, &rows(), reduced);
    let error = call(Reduced::Not).expect_err("the guest misbehaves");
    let again = call(Reduced::Already).expect_err("a poisoned instance is not called");
    assert!(
        again.to_string().contains("after it had trapped"),
        "{again}"
    );
    assert_eq!(reduce(&reducer).unwrap_err(), error, "of a fresh instance");
    error
}

fn contract(reduce: &str) -> String {
    let guest = ReducerGuest {
        reduce,
        ..ReducerGuest::default()
    };
    match error_of(&guest, Limits::default()) {
        CallError::Contract(wrong) => wrong,
        other => panic!("{other:?} is no breach of the contract"),
    }
}

#[test]
fn what_keeps_the_contract_is_taken_at_its_word() {
    let reducer = bind(&ReducerGuest::default(), Limits::default()).unwrap();
    let reduced = reduce(&reducer).unwrap();
    assert_eq!(reduced[0].as_primitive::<Int64Type>().values(), &[5, 6]);
}

#[test]
fn results_of_another_number_than_there_are_groups_are_refused() {
    for (groups, bytes) in [(0, 0), (1, 8), (3, 24)] {
        let data = format!("(i32.store offset=20 (local.get $input) (i32.const {bytes}))");
        let wrong = contract(&data);
        assert_eq!(
            wrong,
            format!("column `x` (int64, 2 rows) has {bytes} bytes of data where its rows take 16"),
            "{groups} groups"
        );
    }
}

#[test]
fn columns_that_are_not_planned_are_refused() {
    for count in [0, 2] {
        let columns = format!("(i32.store offset=8 (local.get $answer) (i32.const {count}))");
        let wrong = contract(&columns);
        assert_eq!(
            wrong,
            format!("it gave {count} columns where its plan says 1")
        );
    }
}

#[test]
fn nulls_and_offsets_where_the_input_has_none_are_refused() {
    let nulls = contract("(call $put (local.get $input) (i32.const 64) (i32.const 1))");
    assert!(
        nulls.starts_with("column `x` (int64, 2 rows) has 2 nulls"),
        "{nulls}"
    );
    let validity = contract("(call $put (local.get $input) (i32.const 64) (i32.const 2))");
    assert!(validity.contains("2 bytes of validity"), "{validity}");
    let offsets =
        "(call $put (i32.add (local.get $input) (i32.const 8)) (i32.const 64) (i32.const 12))";
    assert!(contract(offsets).contains("has offsets, which its type does not have"));
}

#[test]
fn what_is_outside_the_guests_memory_and_what_is_no_result_is_refused() {
    let outside = "(call $put (i32.add (local.get $answer) (i32.const 4)) (i32.const 0x7ffffff8) (i32.const 1))";
    assert!(contract(outside).contains("out of bounds"));
    let data = "(i32.store offset=16 (local.get $input) (i32.const 0x7ffffff8))";
    assert!(contract(data).contains("out of bounds"));
    assert!(contract("(i32.store (local.get $answer) (i32.const 7))").contains("discriminant"));
}

#[test]
fn a_trap_an_endless_loop_and_bombs_are_told_apart() {
    let called = |reduce: &str, limits| {
        let guest = ReducerGuest {
            reduce,
            more: limits::DEEPER,
            ..ReducerGuest::default()
        };
        error_of(&guest, limits)
    };
    let opened = |open: &str, limits| {
        let guest = ReducerGuest {
            open,
            ..ReducerGuest::default()
        };
        error_of(&guest, limits)
    };
    limits::are_told_apart(
        called,
        opened,
        "(i32.store offset=20 (local.get $input) (i32.const 70000))",
    );
}

#[test]
fn a_plan_that_cannot_be_is_refused() {
    let failure = |describe: &str| {
        let guest = ReducerGuest {
            describe,
            ..ReducerGuest::default()
        };
        let failure = bind(&guest, Limits::default()).expect_err("the plan cannot be");
        failure.to_string()
    };
    let nothing = failure("(i32.store offset=8 (local.get $answer) (i32.const 0))");
    assert!(nothing.contains("plans to reduce no column"), "{nothing}");
    let another =
        failure("(call $put (i32.load offset=4 (local.get $answer)) (i32.const 16) (i32.const 3))");
    assert!(
        another.contains("asks for the column `out`, which its input does not have"),
        "{another}"
    );
    let twice = "(i64.store (i32.const 64) (i64.load (i32.load offset=4 (local.get $answer))))
        (i64.store (i32.const 72) (i64.load (i32.const 64)))
        (call $put (i32.add (local.get $answer) (i32.const 4)) (i32.const 64) (i32.const 2))";
    let twice = failure(twice);
    assert!(twice.contains("asks for the column `x` twice"), "{twice}");
}
