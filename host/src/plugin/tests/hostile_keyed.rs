//! Keyed plugins that break the contract, each in one way: a typed error that says what, and the host lives on.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::super::{
    CallError, ErrorKind, Grants, Keyed, KeyedBatch, KeyedChanges, Limits, Op, Origin, status,
};
use super::keyed_guest::KeyedGuest;
use super::{batch, context, limits, load, schema};
use crate::batch::ColumnType;
use crate::error::Failure;

/// Three rows of numbers.
fn rows() -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    RecordBatch::try_new(schema(&[("x", ColumnType::Int64, false)]), vec![numbers]).unwrap()
}

fn bind(guest: &KeyedGuest<'_>, limits: Limits) -> Result<Keyed, Failure> {
    let config = serde_json::json!({});
    let component = load(&guest.module());
    let (keys, inputs): (SchemaRef, [SchemaRef; 1]) = (batch().schema(), [rows().schema()]);
    let (step, grants) = ("step".into(), Grants::default());
    Keyed::new(&component, &step, &config, &keys, &inputs, &limits, &grants)
}

/// Two keys, of which the second has state, with one row and two.
fn keys(keyed: &Keyed) -> KeyedBatch {
    let state: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let shape = &keyed.state().columns;
    let columns = vec![state; shape.fields().len()];
    let one = RecordBatchOptions::new().with_row_count(Some(1));
    KeyedBatch {
        keys: batch(),
        status: vec![0, status::HAS_STATE],
        state: RecordBatch::try_new_with_options(shape.clone(), columns, &one).unwrap(),
        inputs: vec![(vec![1, 3], rows())],
    }
}

fn process(keyed: &Keyed) -> Result<KeyedChanges, CallError> {
    keyed.open(&context())?.process(&context(), &keys(keyed))
}

fn error_of(guest: &KeyedGuest<'_>, limits: Limits) -> CallError {
    let keyed = bind(guest, limits).expect("the guest describes itself");
    let mut instance = match keyed.open(&context()) {
        Ok(instance) => instance,
        Err(error) => return error,
    };
    let mut call = || instance.process(&context(), &keys(&keyed));
    let error = call().expect_err("the guest misbehaves");
    if !matches!(error, CallError::Refused { .. }) {
        let again = call().expect_err("a poisoned instance is not called");
        assert!(
            again.to_string().contains("after it had trapped"),
            "{again}"
        );
    }
    assert_eq!(process(&keyed).unwrap_err(), error, "of a fresh instance");
    error
}

fn contract(process: &str) -> String {
    let guest = KeyedGuest {
        process,
        ..KeyedGuest::default()
    };
    match error_of(&guest, Limits::default()) {
        CallError::Contract(wrong) => wrong,
        other => panic!("{other:?} is no breach of the contract"),
    }
}

/// Writes a list of zeros over one of the answer, of so many bytes or elements.
fn zeros(offset: u32, count: u32) -> String {
    list(offset, "(i32.const 64)", count)
}

fn list(offset: u32, address: &str, count: u32) -> String {
    format!(
        "(call $put (i32.add (local.get $answer) (i32.const {offset})) {address} (i32.const {count}))"
    )
}

/// Where the lists of an answer of `process` are.
const OPS: u32 = 4;
const STATE: u32 = 12;
const TIMERS: u32 = 20;
const REJECTED: u32 = 36;

#[test]
fn what_keeps_the_contract_is_taken_at_its_word() {
    let keyed = bind(&KeyedGuest::default(), Limits::default()).unwrap();
    let changes = process(&keyed).unwrap();
    assert_eq!(changes.ops, [Op::Put, Op::Put]);
    assert_eq!(
        changes.state[0].as_primitive::<Int64Type>().values(),
        &[0, 0]
    );
    assert!(changes.timers.is_empty());
    let [output] = changes.outputs.as_slice() else {
        panic!("the guest makes one output")
    };
    assert!(matches!(output.origin, Origin::Same));
    assert_eq!(&output.columns[0], batch().column(0));
}

#[test]
fn operations_of_another_number_than_there_are_keys_are_refused() {
    for count in [1, 3] {
        let wrong = contract(&zeros(OPS, count));
        assert_eq!(wrong, format!("it gave {count} operations for 2 keys"));
    }
}

#[test]
fn an_operation_that_there_is_not_is_refused() {
    let wrong = contract("(i32.store8 offset=1 (local.get $ops) (i32.const 3))");
    assert_eq!(wrong, "it gave the operation 3, which there is not");
}

#[test]
fn states_of_another_number_than_were_put_are_refused() {
    let bytes = |count: u32| format!("(i32.store offset=20 (local.get $puts) (i32.const {count}))");
    let told = "in its state, column `n` (int64, 2 rows) has";
    let few = contract(&bytes(8));
    assert_eq!(
        few,
        format!("{told} 8 bytes of data where its rows take 16")
    );
    assert!(contract(&bytes(24)).contains("24 bytes of data where its rows take 16"));
    // No operations keep all states.
    let none_put = contract(&zeros(OPS, 0));
    assert!(
        none_put.contains("(int64, 0 rows) has 16 bytes of data where its rows take 0"),
        "{none_put}"
    );
}

#[test]
fn columns_of_state_that_are_not_planned_are_refused() {
    for count in [0, 2] {
        let columns = list(STATE, "(local.get $puts)", count);
        let wrong = contract(&columns);
        assert_eq!(
            wrong,
            format!("it gave {count} columns of state where its plan says 1")
        );
    }
    let nothing = zeros(STATE, 0);
    let guest = KeyedGuest {
        describe: &nothing,
        ..KeyedGuest::default()
    };
    assert_eq!(
        error_of(&guest, Limits::default()),
        CallError::Contract("it put a state, and its plan has no state".into())
    );
}

#[test]
fn nulls_and_offsets_in_a_state_that_has_none_are_refused() {
    let null = "(call $put (local.get $puts) (i32.const 64) (i32.const 1))";
    assert!(contract(null).contains("in its state, column `n` (int64, 2 rows) has 2 nulls"));
    let offsets =
        "(call $put (i32.add (local.get $puts) (i32.const 8)) (i32.const 64) (i32.const 12))";
    assert!(contract(offsets).contains("has offsets, which its type does not have"));
}

#[test]
fn timers_of_another_number_than_there_are_keys_are_refused() {
    for bytes in [1, 8, 15, 17, 24] {
        let wrong = contract(&zeros(TIMERS, bytes));
        assert_eq!(wrong, format!("it gave {bytes} bytes of timers for 2 keys"));
    }
}

#[test]
fn a_timer_of_a_key_without_state_is_refused() {
    let timers = zeros(TIMERS, 16);
    let wrong = "it set a timer for a key without state";
    // The second key has state, and loses it.
    for ops in [[0, 1], [1, 2]] {
        let [first, second] = ops;
        let ops = format!(
            "(i32.store8 (local.get $ops) (i32.const {first})) (i32.store8 offset=1 (local.get $ops) (i32.const {second}))"
        );
        assert_eq!(contract(&(ops + &timers)), wrong);
    }
}

#[test]
fn outputs_that_do_not_fit_the_keys_are_refused() {
    let same = contract("(i32.store offset=4 (local.get $output) (i32.const 3))");
    assert!(
        same.contains("made 3 rows of 2 and says that they are row for row the same"),
        "{same}"
    );
    let parents = "(i32.store8 offset=8 (local.get $output) (i32.const 1))
        (i32.store offset=68 (i32.const 0) (i32.const 2))
        (call $put (i32.add (local.get $output) (i32.const 12)) (i32.const 64) (i32.const 2))";
    assert_eq!(
        contract(parents),
        "in port `out`, it named a parent 2 of 2 rows"
    );
    let port = contract("(i32.store (local.get $output) (i32.const 1))");
    assert_eq!(port, "it wrote to port 1 of 1");
    let columns = contract("(i32.store offset=24 (local.get $output) (i32.const 0))");
    assert_eq!(
        columns,
        "in port `out`, it made 0 columns where its plan says 1"
    );
    let short = contract("(i32.store offset=20 (local.get $keys) (i32.const 2))");
    assert!(
        short.starts_with("in port `out`, column `word` (utf8, 2 rows) has 2 bytes of data"),
        "{short}"
    );
}

#[test]
fn rejected_rows_of_other_inputs_and_rows_that_are_not_there_are_refused() {
    assert_eq!(
        contract(&zeros(REJECTED, 2)),
        "it rejected rows of 2 inputs, and has 1"
    );
    // Row 5, for an empty reason: its offsets are 0 and 0.
    let row = "(i32.store offset=128 (i32.const 0) (i32.const 5))
        (call $put (i32.const 256) (i32.const 128) (i32.const 1))
        (call $put (i32.const 272) (i32.const 64) (i32.const 8))";
    let rejects = row.to_owned() + &list(REJECTED, "(i32.const 256)", 1);
    assert_eq!(contract(&rejects), "it rejected row 5 of 3");
}

#[test]
fn lists_outside_the_guests_memory_are_refused() {
    for offset in [OPS, STATE, TIMERS, REJECTED] {
        let outside = list(offset, "(i32.const 0x7ffffff8)", 16);
        let wrong = contract(&outside);
        assert!(wrong.contains("out of bounds"), "{wrong}");
    }
}

#[test]
fn a_trap_an_endless_loop_and_bombs_are_told_apart() {
    let called = |process: &str, limits| {
        let guest = KeyedGuest {
            process,
            more: limits::DEEPER,
            ..KeyedGuest::default()
        };
        error_of(&guest, limits)
    };
    let opened = |open: &str, limits| {
        let guest = KeyedGuest {
            open,
            ..KeyedGuest::default()
        };
        error_of(&guest, limits)
    };
    limits::are_told_apart(called, opened, &zeros(OPS, 70_000));
}

#[test]
fn an_error_of_the_plugin_is_no_breach_of_the_contract() {
    let refuse = "(i32.store (local.get $answer) (i32.const 1)) (i32.store offset=4 (local.get $answer) (i32.const 2))
        (call $put (i32.add (local.get $answer) (i32.const 8)) (i32.const 16) (i32.const 3))
        (call $put (i32.add (local.get $answer) (i32.const 16)) (i32.const 64) (i32.const 0))
        (i32.store (i32.add (local.get $answer) (i32.const 24)) (i32.const 0))";
    let guest = KeyedGuest {
        process: refuse,
        ..KeyedGuest::default()
    };
    let expected = CallError::Refused {
        kind: ErrorKind::Fatal,
        message: "out".into(),
        rows: Vec::new(),
        after: None,
    };
    assert_eq!(error_of(&guest, Limits::default()), expected);
}

#[test]
fn migrated_states_of_another_number_are_refused_and_a_trap_is_one() {
    let migrate = |migrate| {
        let guest = KeyedGuest {
            migrate,
            ..KeyedGuest::default()
        };
        let keyed = bind(&guest, Limits::default()).unwrap();
        let mut instance = keyed.open(&context()).unwrap();
        instance.migrate(&context(), 1, &rows())
    };
    // The old columns, of numbers as well.
    let same = "(call $put (i32.add (local.get $answer) (i32.const 4)) (local.get $state) (local.get $columns))";
    let migrated = migrate(same).unwrap();
    assert_eq!(migrated[0].len(), 3);
    let contract = |wrong: &str| Some(CallError::Contract(wrong.to_owned()));
    assert_eq!(
        migrate("").err(),
        contract("it gave 0 columns of state where its plan says 1")
    );
    let short = format!("{same} (i32.store offset=20 (local.get $state) (i32.const 16))");
    assert_eq!(
        migrate(&short).err(),
        contract(
            "in its state, column `n` (int64, 3 rows) has 16 bytes of data where its rows take 24"
        )
    );
    let trap = migrate("unreachable").unwrap_err();
    assert!(matches!(trap, CallError::Trap { .. }), "{trap:?}");
}

#[test]
fn a_plan_that_cannot_be_is_refused() {
    let failure = |describe: &str| {
        let guest = KeyedGuest {
            describe,
            ..KeyedGuest::default()
        };
        let failure = bind(&guest, Limits::default()).expect_err("the plan cannot be");
        failure.to_string()
    };
    let inputs = failure(&zeros(4, 2));
    assert!(
        inputs.contains("plans 2 inputs, and the step has 1"),
        "{inputs}"
    );
    let another =
        failure("(call $put (i32.load (local.get $columns)) (i32.const 16) (i32.const 3))");
    assert!(
        another.contains("asks for the column `out`, which its input does not have"),
        "{another}"
    );
    let unknown = failure("(i32.store offset=12 (local.get $state) (i32.const 3))");
    assert!(
        unknown.contains("plans a column `n` of its state: `int` is not a column type"),
        "{unknown}"
    );
    let endless = "(loop $for_ever (br $for_ever))";
    let limits = Limits {
        deadline: Duration::from_millis(50),
        ..Limits::default()
    };
    let guest = KeyedGuest {
        describe: endless,
        ..KeyedGuest::default()
    };
    assert_eq!(
        bind(&guest, limits).unwrap_err().message,
        "plugin `guest` failed in `describe`: the plugin did not return within 50ms"
    );
}
