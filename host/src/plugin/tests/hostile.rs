//! Guests that break the contract, each in one way: a typed error that says what, and the host lives on.

use std::time::Duration;

use super::super::{CallError, ErrorKind, Limits, Rejected};
use super::guests::Guest;
use super::{batch, bind, bind_with, context, load, process};

fn error_of(guest: Guest<'_>, limits: Limits) -> CallError {
    let batch = batch();
    let transform = bind_with(&load(&guest.module()), &batch.schema(), limits)
        .expect("the guest describes itself");
    let mut instance = match transform.open(&context()) {
        Ok(instance) => instance,
        Err(error) => return error,
    };
    let error = instance
        .process(&context(), &batch)
        .expect_err("the guest misbehaves");
    if !matches!(error, CallError::Refused { .. }) {
        let again = instance
            .process(&context(), &batch)
            .expect_err("a poisoned instance is not called");
        assert!(
            again.to_string().contains("after it had trapped"),
            "{again}"
        );
        process(&transform, &batch).expect_err("a fresh instance of it misbehaves in the same way");
    }
    error
}

fn error(process: &str) -> CallError {
    error_of(
        Guest {
            process: Some(process),
            ..Guest::default()
        },
        Limits::default(),
    )
}

fn contract(process: &str) -> String {
    match error(process) {
        CallError::Contract(wrong) => wrong,
        other => panic!("{other:?} is no breach of the contract"),
    }
}

/// An answer of `rows` rows, row for row the same, of one column.
fn column(rows: u32, validity: &str, offsets: &str, data: &str) -> String {
    format!(
        "(call $produced (i32.const {rows}) (i32.const 0) (i32.const 0) (i32.const 0)
           (call $column {validity} {offsets} {data}) (i32.const 1))"
    )
}

const NONE: &str = "(i32.const 0) (i32.const 0)";

/// Writes numbers behind one another and leaves their address and their size.
fn numbers(numbers: &[u32]) -> (String, String) {
    let mut code = format!(
        "(local.set $at (call $alloc (i32.const 8) (i32.const {})))",
        numbers.len() * 4
    );
    for (index, number) in numbers.iter().enumerate() {
        code += &format!(
            "(i32.store offset={} (local.get $at) (i32.const {number}))",
            index * 4
        );
    }
    (
        code,
        format!("(local.get $at) (i32.const {})", numbers.len() * 4),
    )
}

/// The same words as came in, at other offsets.
fn at_offsets(offsets: &[u32]) -> String {
    let (code, offsets) = numbers(offsets);
    let data = "(i32.load offset=16 (local.get $input)) (i32.load offset=20 (local.get $input))";
    code + &column(2, NONE, &offsets, data)
}

#[test]
fn a_trap_names_the_guests_functions_innermost_first() {
    let guest = Guest {
        more: "(func $deep_inside unreachable)",
        process: Some("(call $deep_inside) (i32.const 0)"),
        ..Guest::default()
    };
    let CallError::Trap { message, stack } = error_of(guest, Limits::default()) else {
        panic!("not a trap")
    };
    assert!(message.contains("unreachable"), "{message}");
    assert_eq!(stack[0], "deep_inside");
    assert!(stack.len() >= 2, "{stack:?}");
}

#[test]
fn a_trap_says_what_the_guest_logged_last_as_an_error() {
    let guest = Guest {
        more: r#"(import "wasmill:plugin/host@0.1.0" "log" (func $log (param i32 i32 i32))) (data (i32.const 64) "no word")"#,
        process: Some("(call $log (i32.const 4) (i32.const 64) (i32.const 7)) unreachable"),
        ..Guest::default()
    };
    let error = error_of(guest, Limits::default()).to_string();
    assert!(
        error.starts_with("the plugin trapped: no word ("),
        "{error}"
    );
}

#[test]
fn an_endless_loop_ends_at_its_deadline() {
    let deadline = Duration::from_millis(50);
    let limits = Limits {
        deadline,
        ..Limits::default()
    };
    for guest in [
        Guest {
            process: Some("(loop $for_ever (br $for_ever)) unreachable"),
            ..Guest::default()
        },
        Guest {
            open: "(loop $for_ever (br $for_ever))",
            ..Guest::default()
        },
    ] {
        assert_eq!(
            error_of(guest, limits.clone()),
            CallError::Deadline(deadline)
        );
    }
}

#[test]
fn a_memory_bomb_meets_the_limit_of_memory() {
    let limits = Limits {
        memory: 1 << 20,
        ..Limits::default()
    };
    let guest = Guest {
        process: Some("(loop $more (drop (memory.grow (i32.const 1))) (br $more)) unreachable"),
        ..Guest::default()
    };
    assert_eq!(
        error_of(guest, limits),
        CallError::Limit("1MiB of memory".into())
    );
}

#[test]
fn a_table_bomb_meets_the_limit_of_elements() {
    let limits = Limits {
        table_elements: 1000,
        ..Limits::default()
    };
    let guest = Guest {
        process: Some(
            "(loop $more (drop (table.grow $table (ref.null func) (i32.const 100))) (br $more)) unreachable",
        ),
        ..Guest::default()
    };
    assert_eq!(
        error_of(guest, limits),
        CallError::Limit("1000 table elements".into())
    );
}

#[test]
fn endless_recursion_meets_the_limit_of_stack() {
    for stack in [128 << 10, Limits::default().stack] {
        let guest = Guest {
            more: "(func $deeper (call $deeper) (call $deeper))",
            process: Some("(call $deeper) (i32.const 0)"),
            ..Guest::default()
        };
        let error = error_of(
            guest,
            Limits {
                stack,
                ..Limits::default()
            },
        );
        assert_eq!(
            error,
            CallError::Limit(format!("{}KiB of stack", stack >> 10))
        );
    }
}

#[test]
fn output_beyond_its_limit_is_an_error_of_its_own() {
    let huge = column(2, NONE, NONE, "(i32.const 0) (i32.const 70000)");
    let limits = Limits {
        output: 65_536,
        ..Limits::default()
    };
    let guest = Guest {
        process: Some(&huge),
        ..Guest::default()
    };
    assert_eq!(
        error_of(guest, limits),
        CallError::OutputTooLarge { limit: 65_536 }
    );
}

#[test]
fn offsets_that_lie_are_found() {
    assert!(
        contract(&at_offsets(&[0, 4])).contains("has 8 bytes of offsets where its rows take 12")
    );
    assert!(contract(&at_offsets(&[1, 4, 5])).contains("do not rise from 0"));
    assert!(contract(&at_offsets(&[0, 6, 5])).contains("do not rise from 0"));
    assert!(contract(&at_offsets(&[0, 0x8000_0000, 5])).contains("do not rise from 0"));
    assert!(
        contract(&at_offsets(&[0, 4, 4]))
            .contains("has 5 bytes of data where its offsets end at 4")
    );
    assert!(
        contract(&at_offsets(&[0, 4, 9]))
            .contains("has 5 bytes of data where its offsets end at 9")
    );
    assert!(contract(&at_offsets(&[0, 2, 5])).contains("row 1 begin inside a UTF-8 character"));
}

#[test]
fn texts_that_are_not_utf8_are_found_with_their_row() {
    let (code, bytes) = numbers(&[0xfffe_6161]);
    let (offsets, place) = numbers(&[0, 1, 4]);
    let place = place.replace("$at", "$call");
    let process = code + &offsets.replace("$at", "$call") + &column(2, NONE, &place, &bytes);
    let wrong = contract(&process);
    assert_eq!(
        wrong,
        "in port `out`, column `word` (utf8, 2 rows) is not UTF-8 at its row 1"
    );
}

#[test]
fn buffers_outside_the_guests_memory_are_refused() {
    let outside = "(i32.const 0x7fffffff) (i32.const 100)";
    assert!(contract(&column(2, NONE, NONE, outside)).contains("out of bounds"));
}

#[test]
fn nulls_where_none_are_declared_are_refused() {
    let (code, offsets) = numbers(&[0, 4, 5]);
    let validity = "(call $alloc (i32.const 8) (i32.const 1)) (i32.const 1)";
    let data = "(i32.load offset=16 (local.get $input)) (i32.load offset=20 (local.get $input))";
    let wrong = contract(&(code + &column(2, validity, &offsets, data)));
    assert!(
        wrong.contains("has 2 nulls, but the plugin's plan says that it has none"),
        "{wrong}"
    );
}

#[test]
fn too_few_columns_are_refused() {
    let none = format!("(call $produced (i32.const 2) (i32.const 0) {NONE} {NONE})");
    assert_eq!(
        contract(&none),
        "in port `out`, it made 0 columns where its plan says 1"
    );
}

#[test]
fn another_type_than_the_planned_one_is_refused() {
    let (code, data) = numbers(&[1, 0, 2, 0]);
    assert!(contract(&(code + &column(2, NONE, NONE, &data))).contains("0 bytes of offsets"));
}

#[test]
fn rows_that_are_not_the_inputs_cannot_be_the_same() {
    let (code, offsets) = numbers(&[0]);
    let wrong = contract(&(code + &column(0, NONE, &offsets, NONE)));
    assert!(
        wrong.contains("made 0 rows of 2 and says that they are row for row the same"),
        "{wrong}"
    );
}

#[test]
fn parents_out_of_range_and_of_another_number_are_refused() {
    let with_parents = |parents: &[u32], rows: usize| {
        let (code, place) = numbers(parents);
        let size = format!("(i32.const {})", parents.len() * 4);
        let place = place.replace(&size, &format!("(i32.const {})", parents.len()));
        code + &format!(
            "(call $produced (i32.const {rows}) (i32.const 1) {place} (local.get $input) (local.get $columns))"
        )
    };
    assert!(contract(&with_parents(&[0, 2], 2)).contains("named a parent 2 of 2 rows"));
    assert!(contract(&with_parents(&[0], 2)).contains("made 2 rows and named 1 parents"));
}

#[test]
fn a_port_that_is_not_planned_is_refused() {
    let process = "(local.set $at (call $produced (local.get $rows) (i32.const 0) (i32.const 0) (i32.const 0) (local.get $input) (local.get $columns)))
        (i32.store (i32.load offset=4 (local.get $at)) (i32.const 9)) (local.get $at)";
    assert_eq!(contract(process), "it wrote to port 9 of 1");
}

#[test]
fn an_answer_that_is_no_result_is_refused() {
    let process = "(local.set $at (call $alloc (i32.const 8) (i32.const 44))) (i32.store (local.get $at) (i32.const 7)) (local.get $at)";
    assert!(contract(process).contains("discriminant"));
}

/// An answer that rejects rows, each for the reason "b".
fn rejecting(rows: &[u32]) -> String {
    let (code, place) = numbers(rows);
    let bytes = rows.len() * 4;
    let list = place.replace(
        &format!("(i32.const {bytes})"),
        &format!("(i32.const {})", rows.len()),
    );
    let offsets: Vec<u32> = (0..=rows.len() as u32).collect();
    let (more, offsets) = numbers(&offsets);
    let (more, offsets) = (
        more.replace("$at", "$call"),
        offsets.replace("$at", "$call"),
    );
    code + &more
        + &format!(
            "(local.set $partition (call $produced (local.get $rows) (i32.const 0) {NONE} (local.get $input) (local.get $columns)))
             (call $put (i32.add (local.get $partition) (i32.const 12)) {list})
             (call $put (i32.add (local.get $partition) (i32.const 28)) {offsets})
             (call $put (i32.add (local.get $partition) (i32.const 36)) (i32.const 16) (i32.const {}))
             (local.get $partition)",
            rows.len()
        )
}

#[test]
fn rejected_rows_come_in_order_with_their_reasons() {
    let guest = Guest {
        process: Some(&rejecting(&[1, 0])),
        ..Guest::default()
    };
    let transform = bind(&load(&guest.module()), &batch().schema()).unwrap();
    let produced = process(&transform, &batch()).unwrap();
    let expected = [(0, "u"), (1, "o")].map(|(row, reason)| Rejected {
        row,
        reason: reason.into(),
    });
    assert_eq!(produced.rejected, expected);
}

#[test]
fn rejecting_a_row_twice_or_one_that_is_not_there_is_refused() {
    assert_eq!(contract(&rejecting(&[1, 1])), "it rejected row 1 twice");
    assert_eq!(contract(&rejecting(&[2])), "it rejected row 2 of 2");
}

/// An answer that is an error of a kind, with a message, which blames one row.
fn refusing(kind: u32, row: u32) -> String {
    let (code, place) = numbers(&[row]);
    let place = place.replace("(i32.const 4)", "(i32.const 1)");
    code + &format!(
        "(local.set $call (call $alloc (i32.const 8) (i32.const 44)))
         (i32.store (local.get $call) (i32.const 1))
         (i32.store offset=4 (local.get $call) (i32.const {kind}))
         (call $put (i32.add (local.get $call) (i32.const 8)) (i32.const 16) (i32.const 3))
         (call $put (i32.add (local.get $call) (i32.const 16)) {place})
         (call $put (i32.add (local.get $call) (i32.const 24)) (i32.const 1) (i32.const 250))
         (local.get $call)"
    )
}

#[test]
fn an_error_of_the_plugin_keeps_its_kind_rows_and_time() {
    let kinds = [ErrorKind::Retryable, ErrorKind::Rejected, ErrorKind::Fatal];
    for (number, kind) in kinds.into_iter().enumerate() {
        let expected = CallError::Refused {
            kind,
            message: "out".into(),
            rows: vec![1],
            after: Some(Duration::from_millis(250)),
        };
        assert_eq!(error(&refusing(number as u32, 1)), expected);
    }
    assert_eq!(
        contract(&refusing(1, 2)),
        "its error blames row 2 of 2, and says: out"
    );
}

#[test]
fn a_log_flood_does_not_stop_a_call() {
    let guest = Guest {
        more: r#"(import "wasmill:plugin/host@0.1.0" "log" (func $log (param i32 i32 i32)))"#,
        process: Some(
            "(loop $again (call $log (i32.const 2) (i32.const 16) (i32.const 3))
               (local.set $call (i32.add (local.get $call) (i32.const 1)))
               (br_if $again (i32.lt_u (local.get $call) (i32.const 10000))))
             (call $produced (local.get $rows) (i32.const 0) (i32.const 0) (i32.const 0) (local.get $input) (local.get $columns))",
        ),
        ..Guest::default()
    };
    let transform = bind(&load(&guest.module()), &batch().schema()).unwrap();
    process(&transform, &batch()).unwrap();
}
