//! Plugins that cannot be loaded or bound: a failure that names the plugin and says what to do.

use std::time::Duration;

use super::super::Limits;
use super::guests::{Guest, dummy};
use super::{batch, bind, bind_with, engine, load};

#[test]
fn an_endless_describe_is_a_failure_that_names_the_plugin() {
    let guest = Guest {
        describe: "(loop $for_ever (br $for_ever))",
        ..Guest::default()
    };
    let limits = Limits {
        deadline: Duration::from_millis(50),
        ..Limits::default()
    };
    let failure = bind_with(&load(&guest.module()), &batch().schema(), limits).unwrap_err();
    assert_eq!(
        failure.message,
        "plugin `guest` failed in `describe`: the plugin did not return within 50ms"
    );
}

#[test]
fn too_many_instances_meet_their_limit() {
    let failure = bind_with(
        &load(&Guest::default().module()),
        &batch().schema(),
        Limits {
            instances: 0,
            ..Limits::default()
        },
    )
    .unwrap_err();
    assert!(
        failure
            .message
            .ends_with("the plugin went over its limit of 0 instances"),
        "{failure}"
    );
}

#[test]
fn describe_may_not_even_log() {
    let guest = Guest {
        more: r#"(import "wasmill:plugin/host@0.1.0" "log" (func $log (param i32 i32 i32)))"#,
        describe: "(call $log (i32.const 2) (i32.const 16) (i32.const 3))",
        ..Guest::default()
    };
    let failure = bind(&load(&guest.module()), &batch().schema()).unwrap_err();
    assert_eq!(
        failure.message,
        "plugin `guest` calls an import in `describe`, which must only compute"
    );
}

fn plan_failure(describe: &str) -> String {
    let guest = Guest {
        describe,
        ..Guest::default()
    };
    bind(&load(&guest.module()), &batch().schema())
        .expect_err("the plan cannot be")
        .to_string()
}

#[test]
fn a_plan_that_cannot_be_is_refused() {
    let name_of_column = "(call $put (local.get $names) (i32.const 16) (i32.const 3))";
    let failure = plan_failure(name_of_column);
    assert!(
        failure.contains("asks for the column `out`, which its input does not have"),
        "{failure}"
    );
    assert!(failure.contains("the input has `word`"), "{failure}");
    let type_of_column =
        "(call $put (i32.add (local.get $fields) (i32.const 8)) (i32.const 16) (i32.const 3))";
    assert!(plan_failure(type_of_column).contains("`out` is not a column type"));
    let no_port =
        "(call $put (i32.add (local.get $answer) (i32.const 12)) (i32.const 0) (i32.const 0))";
    assert!(plan_failure(no_port).contains("plans no output port"));
    let no_name = "(call $put (local.get $port) (i32.const 16) (i32.const 0))";
    assert!(plan_failure(no_name).contains("plans a port ``"));
    let no_columns =
        "(call $put (i32.add (local.get $port) (i32.const 8)) (i32.const 0) (i32.const 0))";
    assert!(plan_failure(no_columns).contains("without columns that carries none"));
    let refuses = "(i32.store (local.get $answer) (i32.const 1)) (i32.store offset=4 (local.get $answer) (i32.const 2))
        (call $put (i32.add (local.get $answer) (i32.const 8)) (i32.const 16) (i32.const 3))
        (call $put (i32.add (local.get $answer) (i32.const 16)) (i32.const 0) (i32.const 0))
        (call $put (i32.add (local.get $answer) (i32.const 24)) (i32.const 0) (i32.const 0))";
    let refusal = plan_failure(refuses);
    assert!(
        refusal.contains(
            "plugin `guest` refuses its input or configuration: out\n  help: its settings are in `config`; its input has `"
        ),
        "{refusal}"
    );
}

#[test]
fn a_forbidden_import_is_refused_with_its_name() {
    let module = dummy(
        "package test:files; interface disk { erase: func(); }
         world eraser { include wasmill:plugin/transform-plugin@0.1.0; import disk; }",
    );
    let failure = bind(&load(&module), &batch().schema()).unwrap_err();
    assert_eq!(
        failure.message,
        "plugin `guest` imports what no grant allows:\n  test:files/disk (erase)"
    );
}

#[test]
fn a_sink_cannot_be_a_step() {
    let module =
        dummy("package test:sinks; world writer { include wasmill:plugin/sink-plugin@0.1.0; }");
    let failure = bind(&load(&module), &batch().schema()).unwrap_err();
    assert_eq!(
        failure.message,
        "plugin `guest` is a sink, where a transform is needed"
    );
}

#[test]
fn what_is_no_plugin_is_named() {
    let failure = engine().load_bytes("notes", b"not wasm").unwrap_err();
    assert!(failure.message.starts_with("plugin `notes`: "), "{failure}");
}

#[test]
fn what_the_contract_does_not_need_is_not_compiled() {
    let features = [
        ("threads", "(memory $shared 1 1 shared)"),
        ("several memories", "(memory $second 1)"),
        ("64-bit memories", "(memory $wide i64 1)"),
        ("exceptions", "(tag $thrown)"),
        ("garbage collection", "(type $pair (struct (field i32)))"),
    ];
    for (feature, more) in features {
        let module = Guest {
            more,
            ..Guest::default()
        }
        .module();
        assert!(
            engine().load_bytes("guest", &module).is_err(),
            "{feature} are compiled"
        );
    }
}
