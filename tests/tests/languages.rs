//! Plugins in every language: begun with `plugin new`, built with `plugin build`, tested with `plugin test`, and all alike for `plugin conform`.
//!
//! The tools come from PyPI and npm, into a folder beside the build that stays there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use wasmill_tests::author::{cache, command, output, succeeded, text};
use wasmill_tests::http::{Answer, answering};
use wasmill_tests::{delivered, folder, guide, plugins, wasmill};

/// Rows of the large case: in a debug build, of interpreted languages.
const ROWS: &str = "20000";
/// The same of reducers, which take less time: what a call leaves behind would fill an instance's memory.
const REDUCED_ROWS: &str = "1000000";

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
        let component = std::fs::read(component).expect("it was built");
        assert!(core_modules(&component) <= 3, "{dir} is in pieces");
    }
    let example = sdk(language).join("examples").join("parse-json");
    conforms("parse-json", &[example.to_str().expect("text")]);
    posts_rows_as_in_rust(language);
}

/// The example of a sink with HTTP sends what its twin in Rust sends, to a server that is not always willing.
fn posts_rows_as_in_rust(language: &str) {
    let aside = tempfile::tempdir().expect("a temporary folder");
    let component = aside.path().join("sink-webhook.wasm");
    let example = sdk(language).join("examples").join("sink-webhook");
    let [example, out] = [&example, &component].map(|path| path.to_str().expect("text"));
    succeeded(command(&["plugin", "build", example, "--out", out]));
    let answers = [
        Answer::Status(200),
        Answer::Later(0),
        Answer::Status(200),
        Answer::Status(200),
        Answer::Status(422),
    ];
    let lines = "to be\nor\n\"not\" \u{e9}\n";
    let expected = Posted::of(&plugins().join("sink-webhook.wasm"), lines, &answers);
    assert_eq!(expected.requests.len(), 5);
    assert_eq!(Posted::of(&component, lines, &answers), expected);
    // What a request leaves behind in its instance is noticed when as many have done so as there is room for.
    let lines = "to be\n".repeat(10_500);
    let posted = Posted::of(&component, &lines, &[Answer::Status(200)]);
    assert_eq!(posted.requests.len(), 10_500);
    let (_folder, denied) = post(&component, "to be\n", "127.0.0.1:1", "127.0.0.1:2");
    let denied = text(&denied);
    assert!(
        denied.contains("the pipeline file does not grant requests to 127.0.0.1:1"),
        "{denied}"
    );
}

/// What a server got of a run.
#[derive(Debug, PartialEq, Eq)]
struct Posted {
    /// The key of each request, without the run, and the rows.
    requests: Vec<(String, Value)>,
    /// Reason and row of what it refused.
    rejected: Vec<(String, Value)>,
}

impl Posted {
    /// Runs a sink on lines of text, a row a request, with a server that answers in this order.
    fn of(sink: &Path, lines: &str, answers: &[Answer]) -> Self {
        let (address, received) = answering(answers);
        let address = address.to_string();
        let (folder, ended) = post(sink, lines, &address, &address);
        succeeded(ended);
        let requests = received.try_iter().map(|request| {
            let parts: Vec<&str> = request.key.split('/').collect();
            (parts[2..].join("/"), request.rows)
        });
        let rejected = delivered(&folder.path().join("rejected"));
        let rejected = rejected.iter().map(|row| {
            let row: Value = serde_json::from_str(row).expect("a row is JSON");
            let reason = row["reason"].as_str().expect("there is one");
            (reason.replace(&address, "SERVER"), row["row"].clone())
        });
        Self {
            requests: requests.collect(),
            rejected: rejected.collect(),
        }
    }
}

/// Runs a sink on lines of text, to a server, with a grant for a host, in a folder that stays.
fn post(sink: &Path, lines: &str, to: &str, granted: &str) -> (tempfile::TempDir, Output) {
    let sink = sink.display();
    let pipeline = format!(
        r#"
name = "posts"
[epoch]
trigger = "available-now"
[sources.lines]
type = "files"
path = "in.txt"
[sinks.hook]
input = "lines"
type = "plugin"
plugin = "{sink}"
config = {{ url = "http://{to}/rows", batch_rows = 1, headers = {{ X-From = "test" }} }}
grants = {{ http = ["{granted}"] }}
limits = {{ deadline = "10m" }}
on_error = "reject"
[rejected]
type = "files"
path = "rejected"
"#
    );
    let folder = folder(&[("pipeline.toml", &pipeline), ("in.txt", lines)]);
    let file = folder.path().join("pipeline.toml");
    let ended = command(&["run", file.to_str().expect("text")]);
    (folder, ended)
}

/// What a component's code is in: one, and what binds it to the host.
fn core_modules(component: &[u8]) -> usize {
    wasmparser::Parser::new(0)
        .parse_all(component)
        .filter(|payload| matches!(payload, Ok(wasmparser::Payload::ModuleSection { .. })))
        .count()
}

fn conforms(suite: &str, arguments: &[&str]) {
    let rows = match suite {
        "longest-word" => REDUCED_ROWS,
        _ => ROWS,
    };
    let all = [&["plugin", "conform", suite, "--rows", rows], arguments].concat();
    let checked = succeeded(command(&all));
    assert!(
        checked.contains(&format!("passed  {rows}-rows")),
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

/// Every page that a count lies on would be copied for an instance that only reads the object.
#[test]
fn python_does_not_count_who_uses_what_the_snapshot_holds() {
    succeeded(command(&["plugin", "setup", "--lang", "python"]));
    let plugin = r#"
import sys
from dataclasses import dataclass
from wasmill import transform

@dataclass
class Line:
    line: str

SAMPLES = [Line, Line("made at the top"), {"a": ("b", 1 << 40)}, lambda: "of a constant"]

@transform.filter
def keep(row: Line) -> bool:
    held = [SAMPLES, *SAMPLES, *SAMPLES[2]["a"], SAMPLES[3].__code__.co_consts[0], sys.modules, transform]
    return all(map(sys._is_immortal, held)) and not sys._is_immortal(row)
"#;
    let rows = "{\"line\":\"to be\"}\n";
    let folder = folder(&[
        (
            "plugin.toml",
            "name = \"counted\"\nkind = \"transform\"\nlanguage = \"python\"\n",
        ),
        ("plugin.py", plugin),
        ("fixtures/one/case.toml", "schema = { line = \"utf8\" }\n"),
        ("fixtures/one/input/1000.jsonl", rows),
        ("fixtures/one/expected/out/1000.jsonl", rows),
    ]);
    let path = folder.path().to_str().expect("text");
    let tested = succeeded(command(&["plugin", "test", path]));
    assert!(tested.contains("passed  one"), "{tested}");
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
    assert_eq!(examples.len(), 6);
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
    let compile = |arguments: &[&str], sources: &[PathBuf]| {
        let mut compile = Command::new("cc");
        compile
            .current_dir(aside.path())
            .args(["-std=c11", "-g", "-O1", "-fsanitize=address,undefined"])
            .arg("-fno-sanitize-recover=undefined")
            .arg("-I")
            .arg(sdk.join("include"))
            .args(arguments)
            .args(sources);
        succeeded(output(&mut compile));
    };
    let library = [c_files(&sdk.join("src")), c_files(&sdk.join("testing"))].concat();
    compile(&["-c"], &library);
    let objects: Vec<_> = library
        .iter()
        .map(|source| Path::new(source.file_stem().expect("a file")).with_extension("o"))
        .collect();

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
        let program = number.to_string();
        compile(&["-o", &program], &[sources, objects.clone()].concat());
        succeeded(output(&mut Command::new(aside.path().join(program))));
    }
}
