//! An epoch again: `wasmill replay` gives what it gave, says what another version would have given, and changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wasmill_tests::pipeline::{Pipeline, WORDS};
use wasmill_tests::{Ended, Running, copies, folder, plugins, run, wasmill};

/// A folder whose pipeline has run over three batches.
fn ran() -> Pipeline {
    let folder = Pipeline::remembering(&WORDS);
    folder.start(&[]).succeeded();
    folder
}

fn replay(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = wasmill();
    command.current_dir(folder).args(["replay", "checkpoint"]);
    run(command.args(arguments))
}

fn as_json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).expect("a JSON object")
}

/// All files below a folder.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            contents.extend(self::contents(&path));
        } else {
            let bytes = std::fs::read(&path).expect("readable");
            contents.insert(path, bytes);
        }
    }
    contents
}

/// The rows that a `files` sink wrote of an epoch.
fn written(folder: &Path, sink: &str, epoch: u64) -> Vec<Value> {
    let epoch = folder.join(sink).join(format!("epoch-{epoch:08}"));
    let lines = contents(&epoch).into_values();
    let lines = lines.map(|bytes| String::from_utf8(bytes).expect("text"));
    let lines: String = lines.collect();
    let rows = lines.lines().map(serde_json::from_str);
    rows.collect::<Result<_, _>>().expect("JSON lines")
}

#[test]
fn every_epoch_gives_again_what_it_gave_and_nothing_is_changed_by_that() {
    let folder = ran();
    let before = contents(folder.path());
    for epoch in 0..3 {
        for workers in ["1", "3"] {
            let number = epoch.to_string();
            let arguments = ["--epoch", &number, "--workers", workers, "--format", "json"];
            let again = replay(folder.path(), &arguments).succeeded();
            let again = as_json(&again);
            for sink in ["out", "windows"] {
                let given = written(folder.path(), sink, epoch);
                assert!(!given.is_empty());
                assert_eq!(
                    again["sinks"][sink]["rows"],
                    Value::from(given),
                    "{again:#}"
                );
            }
            assert_eq!(again["not_reproduced"], serde_json::json!({}));
        }
    }
    let shown = replay(folder.path(), &["--epoch", "1"]).succeeded();
    assert!(
        shown.out.contains("it gives the same again"),
        "{}",
        shown.out
    );
    let changed = r#"~ to: {"n":2,"word":"to"} -> {"n":3,"word":"to"}"#;
    assert!(shown.out.contains(changed), "{}", shown.out);
    assert!(
        before == contents(folder.path()),
        "a replay wrote something"
    );
}

#[test]
fn it_takes_nothing_but_the_checkpoint_and_the_input_files() {
    let folder = ran();
    let given = written(folder.path(), "out", 2);
    for gone in ["out", "windows"] {
        std::fs::remove_dir_all(folder.path().join(gone)).unwrap();
    }
    std::fs::remove_file(folder.path().join("pipeline.toml")).unwrap();
    let mut command = wasmill();
    command.env_remove("WASMILL_PLUGINS").current_dir("/");
    let checkpoint = folder.path().join("checkpoint");
    command.arg("replay").arg(checkpoint);
    let again = run(command.args(["--format", "json"])).succeeded();
    assert_eq!(as_json(&again)["sinks"]["out"]["rows"], Value::from(given));
}

#[test]
fn another_plugin_shows_what_it_would_have_given() {
    let folder = ran();
    let other = plugins().join("running-count-since.wasm");
    let plugin = format!("totals={}", other.display());
    let changed = replay(folder.path(), &["--epoch", "1", "--plugin", &plugin]).failed_with(5);
    for line in [
        "as it was, it gives the same again",
        "sink out: 2 rows, with the change 2",
        r#"-{"word":"do","n":1}"#,
        r#"+{"word":"do","n":1,"since":"1970-01-01T00:00:02Z"}"#,
        r#" {"word":"to","n":3}"#,
        "state of totals, as it was and with the change",
    ] {
        assert!(changed.out.contains(line), "{line}:\n{}", changed.out);
    }
    let unlike = replay(folder.path(), &["--plugin", &plugin, "--format", "json"]);
    assert!(as_json(&unlike)["is_compared"] == true, "{}", unlike.out);
    let same = plugins().join("running-count.wasm");
    let plugin = format!("totals={}", same.display());
    replay(folder.path(), &["--plugin", &plugin]).succeeded();

    let misspelt = replay(folder.path(), &["--plugin", "total=x.wasm"]).failed_with(2);
    assert!(
        misspelt.err.contains("did you mean `totals`"),
        "{}",
        misspelt.err
    );
    let refused = format!("totals={}", plugins().join("last-pages.wasm").display());
    let refused = replay(folder.path(), &["--plugin", &refused]).failed_with(3);
    let columns = "`n: int64` is gone, `pages: json` is new";
    assert!(refused.err.contains(columns), "{}", refused.err);
}

#[test]
fn a_plugin_in_the_making_is_tried_on_a_recorded_epoch_at_every_change() {
    let pipeline = ran();
    let plugin = folder(&[("plugin.toml", &copies("keyed", "running-count"))]);
    let mut dev = wasmill();
    dev.args(["plugin", "dev"]).arg(plugin.path());
    dev.arg("--checkpoint")
        .arg(pipeline.path().join("checkpoint"));
    let dev = Running::start(dev.args(["--step", "totals", "--epoch", "1"]));
    dev.wait_for("as it was, it gives the same again");
    dev.wait_for("waiting for a change");
    std::fs::write(
        plugin.path().join("plugin.toml"),
        copies("keyed", "running-count-since"),
    )
    .expect("writable");
    dev.wait_for(r#"+{"word":"do","n":1,"since":"1970-01-01T00:00:02Z"}"#);
    dev.wait_for("waiting for a change");
    dev.signal("INT");
    drop(dev.end());
}

#[test]
fn another_pipeline_file_shows_what_it_would_have_given() {
    let folder = ran();
    folder.rewrite(
        "[sinks.out]\ninput = \"totals\"",
        "[sinks.out]\ninput = \"frequent\"",
    );
    folder.rewrite(
        "[steps.recent]",
        "[steps.frequent]\ninput = \"totals\"\nfilter = \"n > 1\"\n\n[steps.recent]",
    );
    let arguments = ["--epoch", "1", "--pipeline", "pipeline.toml"];
    let changed = replay(folder.path(), &arguments).failed_with(5);
    assert!(
        changed.out.contains("sink out: 2 rows, with the change 1"),
        "{}",
        changed.out
    );
    // The state is the same, so nothing is said of it.
    assert!(!changed.out.contains("state of"), "{}", changed.out);
}

#[test]
fn an_epoch_that_fails_is_run_again_with_what_would_mend_it() {
    let json = "[sources.lines]\nformat = \"json\"\nschema = { line = \"utf8\" }";
    let folder = Pipeline::remembering(&[
        ("1000.jsonl", "{\"line\":\"to be\"}\n"),
        ("2000.jsonl", "{\"line\":\"or not\"}\n{\"line\":7}\n"),
    ]);
    folder.rewrite("[sources.lines]", json);
    folder.start(&[]).failed_with(3);
    let fails = replay(folder.path(), &["--epoch", "1"]).failed_with(3);
    assert!(fails.err.contains("2000.jsonl"), "{}", fails.err);
    folder.rewrite("[sources.lines]", "[sources.lines]\non_error = \"skip\"");
    let arguments = ["--epoch", "1", "--pipeline", "pipeline.toml"];
    let mended = replay(folder.path(), &arguments).succeeded();
    for line in [
        "as it was, it fails:",
        r#"{"word":"not","n":1}"#,
        "lines: 1 skipped",
    ] {
        assert!(mended.out.contains(line), "{line}:\n{}", mended.out);
    }
}

/// Counts by a kind that a table says.
const BY_KIND: &str = r#"
name = "kinds"

[epoch]
trigger = "available-now"

[checkpoint]
path = "checkpoint"

[sources.lines]
type = "queue"
path = "in"

[sources.kinds]
type = "table"
path = "kinds.jsonl"
format = "json"
schema = { word = "utf8", kind = "utf8" }

[steps.words]
input = "lines"
plugin = "split-words"

[steps.known]
inputs = ["words", "kinds"]
join = "inner"
on = ["word"]

[steps.totals]
input = "known"
plugin = "running-count"
group_by = ["kind"]

[sinks.out]
input = "totals"
type = "print"
"#;

#[test]
fn what_cannot_be_reproduced_is_said() {
    let folder = Pipeline::of(&[
        ("pipeline.toml", BY_KIND),
        ("kinds.jsonl", "{\"word\":\"to\",\"kind\":\"particle\"}\n"),
        ("in/1000.txt", "to be or not to be\n"),
    ]);
    folder.start(&[]).succeeded();
    replay(folder.path(), &[]).succeeded();
    let other = "{\"word\":\"to\",\"kind\":\"preposition\"}\n";
    std::fs::write(folder.path().join("kinds.jsonl"), other).unwrap();
    let unlike = replay(folder.path(), &[]).failed_with(5);
    for line in [
        "it does not give the same again",
        "- particle: ",
        "+ preposition: ",
    ] {
        assert!(unlike.out.contains(line), "{line}:\n{}", unlike.out);
    }
}

#[test]
fn what_is_forgotten_is_refused() {
    let folder = Pipeline::remembering(&[
        ("1000.txt", "one\n"),
        ("2000.txt", "two\n"),
        ("3000.txt", "three\n"),
        ("4000.txt", "four\n"),
    ]);
    folder.rewrite("[checkpoint]", "[checkpoint]\nretain = 2");
    folder.start(&[]).succeeded();
    let gone = replay(folder.path(), &["--epoch", "1"]).failed_with(3);
    assert!(gone.err.contains("holds no epoch 1"), "{}", gone.err);
    let half = replay(folder.path(), &["--epoch", "2"]).failed_with(3);
    assert!(
        half.err.contains("the state before epoch 2"),
        "{}",
        half.err
    );
    replay(folder.path(), &["--epoch", "3"]).succeeded();
}

#[test]
fn code_goes_when_no_epoch_names_it() {
    let folder = Pipeline::remembering(&[("1000.txt", "one\n")]);
    folder.rewrite("[checkpoint]", "[checkpoint]\nretain = 1");
    let kept = |kind: &str| {
        let kept = std::fs::read_dir(folder.path().join("checkpoint").join(kind));
        kept.expect("a folder").count()
    };
    folder.start(&[]).succeeded();
    assert_eq!((kept("code"), kept("component")), (1, 2));
    folder.rewrite("running-count", "running-count-since");
    std::fs::write(folder.path().join("in/2000.txt"), "two\n").unwrap();
    folder.start(&[]).succeeded();
    // At its first commit the older epoch was there still.
    assert_eq!((kept("code"), kept("component")), (2, 3));
    std::fs::write(folder.path().join("in/3000.txt"), "three\n").unwrap();
    folder.start(&[]).succeeded();
    assert_eq!((kept("code"), kept("component")), (1, 2));
}
