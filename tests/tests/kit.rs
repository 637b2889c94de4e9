//! The commands for a plugin in the making: `plugin test`, `bench`, `dev` and `build`, where something is wrong, changes, or is missing.

use wasmill_tests::author::{cache, command, output, succeeded, text};
use wasmill_tests::{Running, copies, folder, plugins, wasmill};

/// A transform in C that keeps a count between calls, where the host does not know of it.
const COUNTS_CALLS: &str = r#"
#include <wasmill.h>

static int64_t calls;

static bool count(wm_call *call)
{
    calls++;
    for (uint32_t row = 0; row < call->input.rows; row++) {
        wm_push_int64(&call->ports[0].columns[0], calls);
        wm_emit(&call->ports[0], row);
    }
    return true;
}

WASMILL_TRANSFORM(
    .input = WM_COLUMNS({ "line", WM_UTF8 }),
    .output = WM_COLUMNS({ "call", WM_INT64 }),
    .process = count,
);
"#;

#[test]
fn a_plugin_that_is_not_deterministic_and_one_that_gives_something_else_are_told() {
    succeeded(command(&["plugin", "setup", "--lang", "c"]));
    let folder = folder(&[
        (
            "plugin.toml",
            "name = \"calls\"\nkind = \"transform\"\nlanguage = \"c\"\n",
        ),
        ("src/calls.c", COUNTS_CALLS),
        (
            "fixtures/two/case.toml",
            "schema = { line = \"utf8\" }\nlifetime = \"worker\"\n",
        ),
        ("fixtures/two/input/1000.jsonl", "{\"line\":\"a\"}\n"),
        ("fixtures/two/input/2000.jsonl", "{\"line\":\"b\"}\n"),
    ]);
    let dir = folder.path().to_str().expect("text");
    let hidden = command(&["plugin", "test", dir, "--update"]);
    assert_eq!(hidden.status.code(), Some(5), "{}", text(&hidden));
    let said = text(&hidden);
    assert!(
        said.contains("the plugin is not deterministic: when the process starts anew"),
        "{said}"
    );
    assert!(said.contains("-{\"call\":2}\n+{\"call\":1}"), "{said}");

    let case = folder.path().join("fixtures/two/case.toml");
    std::fs::write(case, "schema = { line = \"utf8\" }\n").expect("writable");
    let report = folder.path().join("report.xml");
    let report = report.to_str().expect("text");
    let unlike = command(&["plugin", "test", dir, "--junit", report]);
    let said = text(&unlike);
    assert_eq!(unlike.status.code(), Some(5), "{said}");
    assert!(said.contains("out/2000.jsonl, not as expected"), "{said}");
    assert!(!said.contains("deterministic"), "{said}");
    let report = std::fs::read_to_string(report).expect("it was written");
    assert!(
        report.contains("failures=\"1\"") && report.contains("2000.jsonl"),
        "{report}"
    );

    succeeded(command(&["plugin", "test", dir, "--update"]));
    let passed = succeeded(command(&["plugin", "test", dir]));
    assert!(passed.contains("1 of 1 fixtures passed"), "{passed}");
}

/// A transform in C that cannot bear a line of three characters.
const DIVIDES: &str = r#"
#include <wasmill.h>

static int64_t divide(int64_t a, int64_t b) { return a / b; }

static bool process(wm_call *call)
{
    wm_texts lines = wm_utf8(&call->input, 0);
    for (uint32_t row = 0; row < call->input.rows; row++) {
        wm_push_int64(&call->ports[0].columns[0], divide(100, (int64_t)wm_text_at(lines, row).length - 3));
        wm_emit(&call->ports[0], row);
    }
    return true;
}

WASMILL_TRANSFORM(
    .input = WM_COLUMNS({ "line", WM_UTF8 }),
    .output = WM_COLUMNS({ "n", WM_INT64 }),
    .process = process,
);
"#;

#[test]
fn a_trap_in_c_names_functions_and_with_debug_lines() {
    succeeded(command(&["plugin", "setup", "--lang", "c"]));
    let folder = folder(&[
        (
            "plugin.toml",
            "name = \"divides\"\nkind = \"transform\"\nlanguage = \"c\"\n",
        ),
        ("src/divides.c", DIVIDES),
        ("lines.txt", "long\nodd\n"),
        (
            "pipeline.toml",
            r#"
            name = "divided"
            epoch = { trigger = "available-now" }
            sources.lines = { type = "files", path = "lines.txt" }
            steps.divided = { input = "lines", plugin = "./target/plugins/divides.wasm", on_error = "fail" }
            sinks.out = { type = "print", input = "divided" }
            "#,
        ),
    ]);
    let dir = folder.path().to_str().expect("text");
    let pipeline = folder.path().join("pipeline.toml");
    let pipeline = pipeline.to_str().expect("text");
    let trapped = || {
        let ended = command(&["run", pipeline]);
        assert_eq!(ended.status.code(), Some(3), "{}", text(&ended));
        text(&ended)
    };

    succeeded(command(&["plugin", "build", dir]));
    let said = trapped();
    assert!(said.contains("row 1: the plugin trapped"), "{said}");
    assert!(said.contains("plugin_transform_process\n"), "{said}");

    succeeded(command(&["plugin", "build", dir, "--debug"]));
    let said = trapped();
    assert!(
        said.contains("\n  in divide (./src/divides.c:4)\n"),
        "{said}"
    );
}

/// A plugin that is built by copying one that is there.
fn copied() -> tempfile::TempDir {
    let manifest = copies("transform", "split-words");
    folder(&[
        ("plugin.toml", &manifest),
        ("fixtures/one/case.toml", "schema = { line = \"utf8\" }\n"),
        ("fixtures/one/input/1000.jsonl", "{\"line\":\"to be\"}\n"),
        (
            "fixtures/one/expected/out/1000.jsonl",
            "{\"word\":\"to\"}\n{\"word\":\"be\"}\n",
        ),
    ])
}

#[test]
fn a_plugin_is_built_and_tested_again_when_a_file_changes() {
    let folder = copied();
    let mut dev = wasmill();
    dev.env("WASMILL_CACHE", cache())
        .args(["plugin", "dev"])
        .arg(folder.path());
    let dev = Running::start(&mut dev);
    dev.wait_for("1 of 1 fixtures passed");
    dev.wait_for("waiting for a change");
    let input = folder.path().join("fixtures/one/input/1000.jsonl");
    std::fs::write(input, "{\"line\":\"to be or\"}\n").expect("writable");
    dev.wait_for("+{\"word\":\"or\"}");
    dev.wait_for("waiting for a change");
    dev.signal("INT");
    drop(dev.end());
}

#[test]
fn what_a_plugin_costs_is_measured() {
    let folder = copied();
    let dir = folder.path().to_str().expect("text");
    let measured = succeeded(command(&[
        "plugin", "bench", dir, "--rows", "100", "--format", "json",
    ]));
    let measured: serde_json::Value = serde_json::from_str(&measured).expect("JSON");
    assert_eq!(measured["rows"], 100);
    for figure in [
        "compile_us",
        "load_us",
        "instance_and_first_call_us",
        "call_of_one_row_us",
        "ns_per_row",
        "memory",
    ] {
        assert!(
            measured[figure].as_f64() > Some(0.0),
            "{figure}: {measured}"
        );
    }
    let text = succeeded(command(&["plugin", "bench", dir, "--rows", "1"]));
    assert!(text.contains("is the fixed cost of a call"), "{text}");
}

#[test]
fn rows_are_made_up_for_columns_of_any_type() {
    let manifest = copies("sink", "sink-log");
    let types =
        "boolean? int64 float64? decimal(5,2) date? timestamp utf8? binary json? decimal(38,0)?";
    let columns = types.split(' ').enumerate();
    let columns: Vec<String> = columns
        .map(|(at, of)| format!("c{at} = \"{of}\""))
        .collect();
    let case = format!("schema = {{ {} }}\n", columns.join(", "));
    let folder = folder(&[
        ("plugin.toml", &manifest),
        ("fixtures/one/case.toml", &case),
        ("fixtures/one/input/1000.jsonl", ""),
    ]);
    let dir = folder.path().to_str().expect("text");
    let bench = ["plugin", "bench", dir, "--rows", "100", "--format", "json"];
    let refused = text(&command(&bench));
    assert!(refused.contains("the fixture has no rows"), "{refused}");
    let measured = succeeded(command(&[&bench[..], &["--generated"]].concat()));
    let measured: serde_json::Value = serde_json::from_str(&measured).expect("JSON");
    assert_eq!(measured["rows"], 100);
}

#[test]
fn a_sink_costs_what_a_partition_of_an_epoch_does() {
    let manifest = copies("sink", "sink-log");
    let folder = folder(&[
        ("plugin.toml", &manifest),
        ("fixtures/one/case.toml", "schema = { line = \"utf8\" }\n"),
        ("fixtures/one/input/1000.jsonl", "{\"line\":\"to be\"}\n"),
    ]);
    let dir = folder.path().to_str().expect("text");
    let bench = ["plugin", "bench", dir, "--rows", "100", "--format", "json"];
    let measured = succeeded(command(&bench));
    let measured: serde_json::Value = serde_json::from_str(&measured).expect("JSON");
    for figure in ["instance_and_first_call_us", "ns_per_row", "memory"] {
        assert!(
            measured[figure].as_f64() > Some(0.0),
            "{figure}: {measured}"
        );
    }
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let empty = tempfile::tempdir().expect("a temporary folder");
    let nothing = command(&["plugin", "build", empty.path().to_str().expect("text")]);
    assert!(
        text(&nothing).contains("`wasmill plugin new` makes one"),
        "{}",
        text(&nothing)
    );

    let folder = folder(&[
        (
            "plugin.toml",
            "name = \"p\"\nkind = \"transform\"\nlanguage = \"python\"\n",
        ),
        ("plugin.py", ""),
    ]);
    let mut build = wasmill();
    build.env("WASMILL_CACHE", empty.path()).args([
        "plugin",
        "build",
        folder.path().to_str().expect("text"),
    ]);
    let missing = text(&output(&mut build));
    assert!(
        missing.contains("run `wasmill plugin setup --lang python`"),
        "{missing}"
    );
    let untested = command(&[
        "plugin",
        "test",
        folder.path().to_str().expect("text"),
        "--plugin",
        "x.wasm",
    ]);
    assert!(
        text(&untested).contains("there are no fixtures in"),
        "{}",
        text(&untested)
    );
}

#[test]
fn a_component_is_named_from_where_one_is() {
    let dir = plugins();
    let suite = ["plugin", "conform", "split-words", "--rows", "10"];
    let mut conform = wasmill();
    conform.args(suite).args(["--plugin", "split-words.wasm"]);
    succeeded(output(conform.current_dir(dir)));
}
