//! What a pipeline remembers: looked at with `wasmill state`, taken over by a new version of a plugin, refused by another one.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use wasmill_tests::pipeline::{Pipeline, WORDS};
use wasmill_tests::{Ended, delivered, run, wasmill};

fn state(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = wasmill();
    run(command.current_dir(folder).arg("state").args(arguments))
}

#[test]
fn what_is_remembered_can_be_listed_shown_exported_and_compared() {
    let folder = Pipeline::remembering(&WORDS);
    folder.start(&[]).succeeded();
    let listed = state(folder.path(), &["ls", "checkpoint", "--format", "json"]).succeeded();
    let listed: Vec<Value> = listed
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let rows: Vec<_> = listed
        .iter()
        .map(|step| {
            (
                step["step"].as_str().unwrap(),
                step["rows"].as_u64().unwrap(),
            )
        })
        .collect();
    // The window has a row for each key of each pane: 4 keys in the first, 2 in the second, 3 in the third.
    assert_eq!(rows, [("recent", 9), ("totals", 5)]);
    let shown = state(folder.path(), &["get", "checkpoint", "totals", "to"]).succeeded();
    assert_eq!(shown.out, "n                4\nword             \"to\"\n");
    let before = [
        "get",
        "checkpoint",
        "totals",
        "to",
        "--epoch",
        "0",
        "--format",
        "json",
    ];
    let before = state(folder.path(), &before).succeeded();
    assert_eq!(before.out, "{\"n\":2,\"word\":\"to\"}\n");
    let exported = state(folder.path(), &["export", "checkpoint", "totals"]).succeeded();
    let counts: Vec<_> = exported.out.lines().collect();
    assert_eq!(counts[0], r#"{"n":3,"word":"be"}"#);
    assert_eq!(counts.len(), 5);
    let changed = ["diff", "checkpoint", "totals", "--from", "0", "--to", "1"];
    let changed = state(folder.path(), &changed).succeeded();
    let lines: Vec<_> = changed.out.lines().collect();
    assert_eq!(lines[0], r#"+ do: nothing -> {"n":1,"word":"do"}"#);
    assert_eq!(
        lines[1],
        r#"~ to: {"n":2,"word":"to"} -> {"n":3,"word":"to"}"#
    );
    let gone = state(folder.path(), &["get", "checkpoint", "totals", "question"]).failed_with(3);
    assert!(gone.err.contains("remembers nothing"), "{}", gone.err);
    let misspelt = state(folder.path(), &["export", "checkpoint", "total"]).failed_with(3);
    assert!(
        misspelt.err.contains("did you mean `totals`"),
        "{}",
        misspelt.err
    );
    let never = state(folder.path(), &["ls", "checkpoint", "--epoch", "9"]).failed_with(3);
    assert!(never.err.contains("after epoch 9"), "{}", never.err);
}

#[test]
fn a_new_version_of_a_plugin_goes_on_with_the_state_it_migrates() {
    let folder = Pipeline::remembering(&WORDS);
    folder.start(&[]).succeeded();
    std::fs::write(folder.path().join("in/4000.txt"), "to question\n").unwrap();
    folder.rewrite("\"running-count\"", "\"running-count-since\"");
    folder.start(&["--workers", "3"]).succeeded();
    let rows = delivered(&folder.path().join("out"));
    // The JSON of a row leaves out what is null: nobody knows since when `to` was counted.
    let last = [
        r#"{"word":"question","n":1,"since":"1970-01-01T00:00:04Z"}"#,
        r#"{"word":"to","n":5}"#,
    ];
    assert_eq!(rows[rows.len() - 2..], last);
    // Keys that were not called since are still of the old version, and are migrated when they are.
    std::fs::write(folder.path().join("in/5000.txt"), "be\n").unwrap();
    folder.start(&[]).succeeded();
    let be = state(folder.path(), &["get", "checkpoint", "totals", "be"]).succeeded();
    assert!(be.out.contains("n                4"), "{}", be.out);
    // The way back is not paved: version 1 does not know version 2.
    folder.rewrite("\"running-count-since\"", "\"running-count\"");
    let refused = folder.start(&[]).failed_with(3);
    assert!(
        refused.err.contains("`totals`: ") && refused.err.contains("`since: timestamp?` is gone"),
        "{}",
        refused.err
    );
}

#[test]
fn a_plugin_with_other_state_a_step_that_is_gone_and_other_partitions_are_refused_unless_confirmed()
{
    let folder = Pipeline::remembering(&WORDS);
    folder.start(&[]).succeeded();
    folder.rewrite(
        "plugin = \"running-count\"",
        "plugin = \"last-pages\"\nconfig = { page = \"word\" }",
    );
    let other = folder.start(&[]).failed_with(3);
    assert!(other.err.contains("`n: int64` is gone"), "{}", other.err);
    std::fs::write(folder.path().join("in/4000.txt"), "to\n").unwrap();
    folder.start(&["--accept-changes"]).succeeded();
    let forgotten = state(folder.path(), &["export", "checkpoint", "totals"]).succeeded();
    assert_eq!(forgotten.out.lines().count(), 1, "{}", forgotten.out);
    folder.rewrite(
        "name = \"remembers\"",
        "name = \"remembers\"\npartitions = 3",
    );
    let cut = folder.start(&["--accept-changes"]).failed_with(3);
    assert!(
        cut.err
            .contains("keeps state in 8 partitions, and the pipeline has 3"),
        "{}",
        cut.err
    );
    folder.rewrite("partitions = 3", "");
    folder.rewrite("length = \"10s\"", "length = \"20s\"");
    let panes = folder.start(&[]).failed_with(3);
    assert!(
        panes.err.contains("window of 10000 ms every 1000 ms"),
        "{}",
        panes.err
    );
}

#[test]
fn a_join_over_windows_keeps_what_it_reads_of_each_side_and_refuses_it_for_another_window_or_other_columns()
 {
    let folder = Pipeline::of(&[
        (
            "pipeline.toml",
            r#"
name = "joins"

[epoch]
trigger = "available-now"

[checkpoint]
path = "checkpoint"

[sources.views]
type = "queue"
path = "views"
format = "json"
schema = { user = "utf8", page = "utf8", agent = "utf8" }

[sources.clicks]
type = "queue"
path = "clicks"
format = "json"
schema = { name = "utf8", target = "utf8" }

[steps.joined]
inputs = ["views", "clicks"]
join = "inner"
on = { user = "name" }
window = { length = ["3s", "1s"] }

[steps.short]
input = "joined"
select = { what = "page", target = "target" }

[sinks.out]
input = "short"
type = "files"
path = "out"
"#,
        ),
        (
            "views/1000.jsonl",
            r#"{"user":"ann","page":"/a","agent":"x"}"#,
        ),
        (
            "views/2000.jsonl",
            r#"{"user":"bob","page":"/b","agent":"y"}"#,
        ),
        ("clicks/2000.jsonl", r#"{"name":"bob","target":"buy"}"#),
    ]);
    folder.start(&[]).succeeded();
    let exported = |side| state(folder.path(), &["export", "checkpoint", side]).succeeded();
    assert_eq!(
        exported("joined.left").out,
        "{\"page\":\"/a\",\"pane\":1,\"user\":\"ann\"}\n{\"page\":\"/b\",\"pane\":2,\"user\":\"bob\"}\n"
    );
    let listed = state(folder.path(), &["ls", "checkpoint"]).succeeded();
    let ends = listed
        .out
        .lines()
        .map(|line| line.find("  pane").or(line.find("  key")));
    assert_eq!(ends.collect::<Vec<_>>(), [Some(50); 3], "{}", listed.out);
    // The click was in the window that has ended, and in no later one.
    assert_eq!(exported("joined.right").out, "");
    let late = r#"{"name":"ann","target":"see"}"#;
    std::fs::write(folder.path().join("clicks/3000.jsonl"), late).unwrap();
    folder.start(&[]).succeeded();
    let rows = delivered(&folder.path().join("out"));
    let expected = [
        r#"{"what":"/b","target":"buy"}"#,
        r#"{"what":"/a","target":"see"}"#,
    ];
    assert_eq!(rows, expected);
    folder.rewrite("\"3s\"", "\"4s\"");
    let other = folder.start(&[]).failed_with(3);
    assert!(
        other
            .err
            .contains("`pane: window of 3000 ms every 1000 ms` is gone"),
        "{}",
        other.err
    );
    folder.rewrite("\"4s\"", "\"3s\"");
    folder.rewrite("what = \"page\"", "what = \"agent\"");
    let other = folder.start(&[]).failed_with(3);
    assert!(
        other
            .err
            .contains("`page: utf8` is gone, `agent: utf8` is new"),
        "{}",
        other.err
    );
    std::fs::write(folder.path().join("clicks/4000.jsonl"), late).unwrap();
    folder.start(&["--accept-changes"]).succeeded();
    assert_eq!(delivered(&folder.path().join("out")), expected);
}

#[test]
fn a_damaged_segment_is_noticed_before_anything_is_read() {
    let folder = Pipeline::remembering(&WORDS);
    folder.start(&[]).succeeded();
    let steps = folder.path().join("checkpoint/state/totals");
    let partition = std::fs::read_dir(steps).unwrap().next().unwrap().unwrap();
    let segment = std::fs::read_dir(partition.path()).unwrap().next().unwrap();
    let segment = segment.unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    std::fs::write(folder.path().join("in/4000.txt"), "to\n").unwrap();
    let ended = folder.start(&[]).failed_with(4);
    assert!(
        ended.err.contains("is damaged: `state/totals/") && ended.err.contains("checksum"),
        "{}",
        ended.err
    );
    assert_eq!(delivered(&folder.path().join("out")).len(), 9);
}

#[test]
fn a_key_with_more_rows_than_a_call_takes_is_called_several_times() {
    let folder = Pipeline::of(&[(
        "pipeline.toml",
        r#"
name = "one-key"

[epoch]
trigger = "available-now"
max_bytes = "12MiB"
max_live_bytes = "1GiB"

[sources.rows]
type = "generate"
rows_per_second = 1_000_000
rows = 200_000
keys = 1

[steps.counts]
input = "rows"
plugin = "running-count"
group_by = ["key"]

[steps.ones]
input = "rows"
select = { key = "key", sum = "value", count = "1" }

[steps.sums]
input = "ones"
plugin = "sum-and-count"
group_by = ["key"]

[steps.total]
input = "sums"
aggregate = { sum = "sum(sum)", count = "sum(count)" }

[sinks.out]
input = "counts"
type = "files"
path = "out"

[sinks.totals]
input = "total"
type = "files"
path = "totals"
"#,
    )]);
    folder.start(&[]).succeeded();
    let counts = delivered(&folder.path().join("out"));
    assert_eq!(
        counts.last().map(String::as_str),
        Some(r#"{"key":0,"n":200000}"#)
    );
    let totals = delivered(&folder.path().join("totals")).into_iter();
    let totals: Vec<Value> = totals
        .map(|row| serde_json::from_str(&row).unwrap())
        .collect();
    let sum = |column: &str| {
        totals
            .iter()
            .filter_map(|row| row[column].as_u64())
            .sum::<u64>()
    };
    assert_eq!((sum("sum"), sum("count")), (199_999 * 100_000, 200_000));
}

/// `attribute-clicks` says `whole_groups`: clicks that came without the impressions before them would be owed to none.
#[test]
fn a_key_that_is_wanted_whole_comes_in_one_call_and_is_named_when_it_is_too_large() {
    let both = |rows: u64| {
        let mut input = (String::new(), String::new());
        for row in 0..rows {
            let (hour, minute, second) = (row / 3600, row / 60 % 60, row % 60);
            let at = format!("2026-05-25T{hour:02}:{minute:02}:{second:02}Z");
            writeln!(
                input.0,
                r#"{{"user":"ann","campaign":"c{row}","shown":"{at}"}}"#
            )
            .unwrap();
            writeln!(input.1, r#"{{"user":"ann","clicked":"{at}"}}"#).unwrap();
        }
        input
    };
    let (impressions, clicks) = both(9_000);
    let folder = Pipeline::of(&[
        (
            "pipeline.toml",
            r#"
name = "clicks"

[epoch]
trigger = "available-now"

[sources.impressions]
type = "queue"
path = "impressions"
format = "json"
schema = { user = "utf8", campaign = "utf8", shown = "timestamp" }

[sources.clicks]
type = "queue"
path = "clicks"
format = "json"
schema = { user = "utf8", clicked = "timestamp" }

[steps.attributed]
inputs = ["impressions", "clicks"]
plugin = "attribute-clicks"
group_by = ["user"]
config = { within = "0s" }

[steps.owed]
input = "attributed"
aggregate = { clicks = "count()", campaigns = "count(campaign)" }

[sinks.out]
input = "owed"
type = "files"
path = "out"
"#,
        ),
        ("impressions/1.jsonl", &impressions),
        ("clicks/1.jsonl", &clicks),
    ]);
    folder.start(&[]).succeeded();
    let owed = [r#"{"clicks":9000,"campaigns":9000}"#];
    assert_eq!(delivered(&folder.path().join("out")), owed);
    let (impressions, clicks) = both(40_000);
    std::fs::write(folder.path().join("impressions/1.jsonl"), impressions).unwrap();
    std::fs::write(folder.path().join("clicks/1.jsonl"), clicks).unwrap();
    folder.rewrite("path = \"out\"", "path = \"out-of-more\"");
    let ended = folder.start(&[]).failed_with(3);
    assert!(
        ended
            .err
            .contains(r#"the key {"user":"ann"} has more rows"#)
            && ended.err.contains("65536"),
        "{}",
        ended.err
    );
}

#[test]
fn a_crash_while_state_is_written_loses_and_repeats_nothing() {
    let undisturbed = Pipeline::remembering(&WORDS);
    undisturbed.start(&[]).succeeded();
    let folder = Pipeline::remembering(&WORDS);
    for point in [
        "state=1*off->1*return",
        "state=3*off->1*return",
        "commit-before=1*off->1*return",
    ] {
        let mut command = wasmill();
        command
            .current_dir(folder.path())
            .args(["run", "pipeline.toml", "--workers", "2"]);
        let ended = run(command.env("FAILPOINTS", point));
        assert_eq!(ended.status.code(), None, "{point}: {}", ended.err);
    }
    folder.start(&[]).succeeded();
    for out in ["out", "windows"] {
        let (found, expected) = (folder.path().join(out), undisturbed.path().join(out));
        assert_eq!(delivered(&found), delivered(&expected), "{out}");
    }
    let exported = |folder: &Path| {
        state(folder, &["export", "checkpoint", "totals"])
            .succeeded()
            .out
    };
    assert_eq!(exported(folder.path()), exported(undisturbed.path()));
}

/// The table of Spark's guide on fault tolerance: files of 10, 20, 30 ... lines, and the driver dies at the fourth.
#[test]
fn a_driver_that_dies_at_the_fourth_of_ten_files_counts_the_lines_of_each_once() {
    let folder = Pipeline::of(&[(
        "pipeline.toml",
        r#"
name = "lines-of-files"

[epoch]
trigger = "available-now"

[checkpoint]
path = "checkpoint"

[sources.files]
type = "queue"
path = "in"

[steps.lines]
input = "files"
aggregate = { lines = "count()" }

[steps.ever]
input = "files"
select = { all = "'lines'" }

[steps.total]
input = "ever"
plugin = "running-count"
group_by = ["all"]

[sinks.of-each]
input = "lines"
type = "files"
path = "each"
format = "csv"
header = false

[sinks.of-all]
input = "total"
type = "files"
path = "all"
"#,
    )]);
    let put = |file: usize| {
        let path = folder.path().join(format!("in/{file}000.txt"));
        std::fs::create_dir_all(folder.path().join("in")).expect("writable");
        std::fs::write(path, "line\n".repeat(10 * file)).expect("writable");
    };
    (1..=4).for_each(put);
    let mut command = wasmill();
    command
        .current_dir(folder.path())
        .args(["run", "pipeline.toml"]);
    let ended = run(command.env("FAILPOINTS", "commit-before=3*off->1*return"));
    assert_eq!(ended.status.code(), None, "{}", ended.err);
    // Files go on coming while nobody looks.
    (5..=7).for_each(put);
    folder.start(&["--workers", "2"]).succeeded();
    (8..=10).for_each(put);
    folder.start(&[]).succeeded();
    let expected: Vec<_> = (1..=10).map(|file| (10 * file).to_string()).collect();
    assert_eq!(delivered(&folder.path().join("each")), expected);
    let totals = delivered(&folder.path().join("all"));
    assert_eq!(totals.len(), 10);
    assert_eq!(totals[9], r#"{"all":"lines","n":550}"#);
}
