//! Plugins in every language: begun with `plugin new`, built with `plugin build`, tested with `plugin test`, and all alike for `plugin conform`.
//!
//! The tools come from PyPI and npm, into a folder beside the build that stays there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use wasmill_tests::{Running, copies, folder, guide, plugins, wasmill};

/// Rows of the large case: in a debug build, of interpreted languages.
const ROWS: &str = "20000";

/// Where tools and compiled plugins are kept between runs.
fn cache() -> PathBuf {
    let beside = plugins();
    beside.with_file_name("plugin-tools")
}

/// A `wasmill` command, to its end: compiling takes its time.
fn command(arguments: &[&str]) -> Output {
    let mut command = wasmill();
    command.env("WASMILL_CACHE", cache()).args(arguments);
    output(&mut command)
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("it starts")
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).expect("text")
}

fn sdk(language: &str) -> PathBuf {
    PathBuf::from(succeeded(command(&["plugin", "sdk", language])).trim())
}

fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("a folder of the repository")
        .to_owned()
}

/// A new plugin of each kind passes its fixtures, and does what the plugin does that it began as; so does the fifth of the examples.
fn is_whole(language: &str) {
    succeeded(command(&["plugin", "setup", "--lang", language]));
    let aside = tempfile::tempdir().expect("a temporary folder");
    for (kind, suite) in [
        ("transform", "split-words"),
        ("keyed", "running-count"),
        ("reducer", "longest-word"),
        ("sink", "sink-log"),
    ] {
        let dir = aside.path().join(format!("my-{kind}"));
        let dir = dir.to_str().expect("text");
        succeeded(command(&[
            "plugin", "new", dir, "--lang", language, "--kind", kind,
        ]));
        let tested = succeeded(command(&["plugin", "test", dir]));
        assert!(tested.contains("passed  "), "{tested}");
        let component = format!("{dir}/target/plugins/my-{kind}.wasm");
        conforms(suite, &["--plugin", &component]);
        let inspected = succeeded(command(&["plugin", "inspect", &component]));
        let imports = inspected.lines().filter(|line| line.starts_with("imports"));
        let imports: Vec<&str> = imports.collect();
        assert!(!imports.is_empty(), "{inspected}");
        assert!(
            imports
                .iter()
                .all(|line| line.contains("wasmill:plugin/host") || line.contains("nothing")),
            "{inspected}"
        );
    }
    let example = sdk(language).join("examples").join("parse-json");
    conforms("parse-json", &[example.to_str().expect("text")]);
}

fn conforms(suite: &str, arguments: &[&str]) {
    let all = [&["plugin", "conform", suite, "--rows", ROWS], arguments].concat();
    let checked = succeeded(command(&all));
    assert!(
        checked.contains(&format!("passed  {ROWS}-rows")),
        "{checked}"
    );
}

/// What a language's page tells a newcomer to do works, and shows what the page shows.
fn the_page_is_true(language: &str) {
    let page = repository().join(format!("docs/plugins/{language}.md"));
    let page = std::fs::read_to_string(page).expect("there is a page");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let command = wasmill();
    let binary = Path::new(command.get_program())
        .parent()
        .expect("it lies in a folder");
    let old = std::env::var_os("PATH").expect("there is a path");
    let path = [binary.to_owned()]
        .into_iter()
        .chain(std::env::split_paths(&old));
    let path = std::env::join_paths(path).expect("a path of paths");
    let (cache, target) = (cache(), folder.path().join("split/target"));
    // The page names the SDK's place in the world; here it is this checkout's last commit.
    let checkout = format!("url.file://{}.insteadOf", repository().display());
    let environment = [
        ("PATH", Path::new(&path)),
        ("WASMILL_CACHE", cache.as_path()),
        ("CARGO_TARGET_DIR", target.as_path()),
        ("CARGO_NET_GIT_FETCH_WITH_CLI", Path::new("true")),
        ("GIT_CONFIG_COUNT", Path::new("1")),
        ("GIT_CONFIG_KEY_0", Path::new(&checkout)),
        (
            "GIT_CONFIG_VALUE_0",
            Path::new("https://github.com/wasmill/wasmill"),
        ),
    ];
    guide::follow(
        &page,
        "From nothing to a running pipeline",
        folder.path(),
        &environment,
    );
}

#[test]
fn plugins_in_python_are_begun_built_and_conform() {
    is_whole("python");
    the_page_is_true("python");
}

#[test]
fn plugins_in_javascript_are_begun_built_and_conform() {
    is_whole("js");
    the_page_is_true("js");
}

#[test]
fn what_the_page_on_rust_says_is_true() {
    the_page_is_true("rust");
}

#[test]
fn plugins_in_c_and_in_zig_without_an_sdk_are_built_and_conform() {
    is_whole("c");
    the_page_is_true("c");
    let zig = cache()
        .join("tools")
        .join("ziglang-0.15.2")
        .join("bin/python-zig");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let from = repository().join("tests/foreign/zig-split-words");
    for file in [
        "build.sh",
        "component-type.bin",
        "plugin.toml",
        "split_words.zig",
    ] {
        std::fs::copy(from.join(file), folder.path().join(file)).expect("it is there");
    }
    let dir = folder.path().to_str().expect("text");
    let mut conform = wasmill();
    conform.env("WASMILL_CACHE", cache()).env("ZIG", zig).args([
        "plugin",
        "conform",
        "split-words",
        dir,
        "--rows",
        ROWS,
    ]);
    succeeded(output(&mut conform));
    what_a_c_library_asks_of_wasi_is_answered_the_same_in_every_run();
}

/// The compiler is there when this is called.
fn what_a_c_library_asks_of_wasi_is_answered_the_same_in_every_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(repository().join("tests/foreign/c-on-wasi/."))
        .arg(folder.path())
        .status();
    assert!(copied.expect("cp starts").success());
    let dir = folder.path().to_str().expect("text");
    let tested = succeeded(command(&["plugin", "test", dir]));
    assert!(tested.contains("passed  asked"), "{tested}");
    let component = format!("{dir}/target/plugins/asks-wasi.wasm");
    let inspected = succeeded(command(&["plugin", "inspect", &component]));
    assert!(inspected.contains("wasi:random/random"), "{inspected}");
    assert!(inspected.contains("answered by stubs"), "{inspected}");
}

#[test]
fn plugins_in_rust_conform() {
    for suite in [
        "split-words",
        "parse-json",
        "running-count",
        "longest-word",
        "sink-log",
    ] {
        let component = plugins().join(format!("{suite}.wasm"));
        let component = component.to_str().expect("text");
        conforms(suite, &["--plugin", component]);
        let dir = repository().join("plugins").join(suite);
        let dir = dir.to_str().expect("text");
        succeeded(command(&["plugin", "test", dir, "--plugin", component]));
    }
}

#[test]
fn a_new_plugin_in_rust_passes_its_fixtures() {
    let aside = tempfile::tempdir().expect("a temporary folder");
    let dir = aside.path().join("shout");
    let dir = dir.to_str().expect("text");
    let checkout = repository();
    let checkout = checkout.to_str().expect("text");
    succeeded(command(&[
        "plugin", "new", dir, "--lang", "rust", "--sdk", checkout,
    ]));
    // The versions of the repository, which are here already.
    let lock = repository().join("Cargo.lock");
    std::fs::copy(lock, Path::new(dir).join("Cargo.lock")).expect("it is there");
    let mut test = wasmill();
    test.env("WASMILL_CACHE", cache())
        .env("CARGO_TARGET_DIR", cache().join("crates"))
        .args(["plugin", "test", dir]);
    let tested = succeeded(output(&mut test));
    assert!(tested.contains("4 of 4 fixtures passed"), "{tested}");
}

/// The folders of an SDK's examples in the repository.
fn examples(language: &str) -> Vec<PathBuf> {
    let folder = repository()
        .join("guest-sdk")
        .join(language)
        .join("examples");
    let entries = std::fs::read_dir(folder).expect("the SDK has examples");
    let examples: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    assert_eq!(examples.len(), 5);
    examples
}

/// The files of a folder that end in `.c`.
fn c_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect()
}

#[test]
fn the_sdk_for_python_and_its_examples_pass_their_own_tests() {
    let sdk = repository().join("guest-sdk/python");
    let tested = |folder: &Path, arguments: &[&str]| {
        let mut tests = Command::new("python3");
        tests
            .current_dir(folder)
            .env("PYTHONPATH", sdk.join("src"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["-m", "unittest"])
            .args(arguments);
        succeeded(output(&mut tests));
    };
    tested(&sdk, &["discover", "tests"]);
    for example in examples("python") {
        tested(&example, &[]);
    }
}

/// In a copy: what npm installs is nothing that a checkout should have.
#[test]
fn the_sdk_for_javascript_and_its_examples_pass_their_own_tests() {
    let aside = tempfile::tempdir().expect("a temporary folder");
    let mut copy = Command::new("cp");
    copy.arg("-r")
        .arg(repository().join("guest-sdk/js"))
        .arg(aside.path());
    succeeded(output(&mut copy));
    let sdk = aside.path().join("js");
    for arguments in [
        &["install", "--no-fund", "--no-audit"][..],
        &["test"],
        &["run", "types"],
    ] {
        let mut npm = Command::new("npm");
        npm.current_dir(&sdk).args(arguments);
        succeeded(output(&mut npm));
    }
}

#[test]
fn the_sdk_for_c_and_its_examples_pass_their_own_tests() {
    let sdk = repository().join("guest-sdk/c");
    let aside = tempfile::tempdir().expect("a temporary folder");
    let library = [c_files(&sdk.join("src")), c_files(&sdk.join("testing"))].concat();
    let of_sdk = c_files(&sdk.join("tests"))
        .into_iter()
        .map(|test| vec![test]);
    let of_examples = examples("c").into_iter().map(|example| {
        [
            c_files(&example.join("src")),
            c_files(&example.join("tests")),
        ]
        .concat()
    });
    for (number, sources) in of_sdk.chain(of_examples).enumerate() {
        let program = aside.path().join(number.to_string());
        let mut compile = Command::new("cc");
        compile
            .args([
                "-std=c11",
                "-g",
                "-O1",
                "-fsanitize=address,undefined",
                "-fno-sanitize-recover=undefined",
            ])
            .arg("-I")
            .arg(sdk.join("include"))
            .args(&sources)
            .args(&library)
            .arg("-o")
            .arg(&program);
        succeeded(output(&mut compile));
        succeeded(output(&mut Command::new(&program)));
    }
}

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
