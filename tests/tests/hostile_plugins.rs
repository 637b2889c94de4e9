//! Plugins that misbehave on one row of many: the message finds the row, and the other rows are delivered.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use wasmill::ids::Digest;
use wasmill::plugin::Engine;
use wasmill_tests::guests::{ECHO, Guest};
use wasmill_tests::picky::MARKED;
use wasmill_tests::{Ended, delivered, folder, hostile, run, wasmill};

/// Rows, and the number of the one at fault, which alone has the mark that the plugins look for.
#[derive(Clone, Copy)]
struct Input {
    rows: usize,
    bad: usize,
}

const INPUT: Input = Input {
    rows: 1000,
    bad: 617,
};

impl Input {
    /// The rows; all lines have one length, so that places are easy to say.
    fn lines(self) -> Vec<String> {
        (0..self.rows)
            .map(|row| format!("row {row:03}{}", if row == self.bad { "!" } else { "." }))
            .collect()
    }

    /// Where the row at fault came from.
    fn origin(self, folder: &Path) -> String {
        let byte = self.bad * self.lines()[0].len() + self.bad;
        format!("{} at byte {byte}", folder.join("in.txt").display())
    }
}

const PIPELINE: &str = r#"
name = "hostile"

[epoch]
trigger = "available-now"

[sources.lines]
type = "files"
path = "in.txt"

[steps.copy]
input = "lines"
plugin = "./guest.wasm"
on_error = "{on_error}"
limits = { {limits} }

[sinks.out]
input = "copy"
type = "files"
path = "out"
format = "text"

[rejected]
type = "files"
path = "rejected"
"#;

/// Recursion without end.
const DEEPER: &str = "(func $deeper (call $deeper) (call $deeper))";

/// What a plugin does when it meets the marked row.
struct Deed {
    /// What it is given.
    input: Input,
    /// Its instructions, within `process`.
    code: &'static str,
    /// The step's limits.
    limits: &'static str,
    /// What is said about it.
    message: &'static str,
    /// Whether the message under `on_error = "fail"` names the row.
    located: bool,
}

impl Deed {
    fn module(&self) -> Vec<u8> {
        let Self { code, .. } = self;
        let process = format!(
            "(if (call $marked (i32.load offset=16 (local.get $input)) (i32.load offset=20 (local.get $input)))
               (then {code}))
             {ECHO}"
        );
        Guest {
            more: &format!("{MARKED}{DEEPER}"),
            process: Some(&process),
            ..Guest::default()
        }
        .module()
    }

    /// Runs the pipeline in a folder of its own.
    fn run(&self, on_error: &str, arguments: &[&str]) -> (TempDir, Ended) {
        let pipeline = PIPELINE
            .replace("{on_error}", on_error)
            .replace("{limits}", self.limits);
        let folder = folder(&[
            ("pipeline.toml", &pipeline),
            ("in.txt", &(self.input.lines().join("\n") + "\n")),
        ]);
        std::fs::write(folder.path().join("guest.wasm"), self.module()).expect("writable");
        let ended = run(wasmill()
            .arg("run")
            .arg(folder.path().join("pipeline.toml"))
            .args(arguments));
        (folder, ended)
    }

    /// Under each policy, what is said, counted, delivered and written aside.
    fn is_borne(&self) {
        self.ends_the_run_under_fail();

        let (folder, ended) = self.run("skip", &["--log", "json"]);
        let summary = ended.succeeded().summary();
        let counts = &summary["nodes"]["copy"];
        assert_eq!(counts["skipped"], 1, "{summary}");
        assert_eq!(counts["rejected"], 0, "{summary}");
        self.delivers_the_others(folder.path(), &summary);
        assert_eq!(delivered(&folder.path().join("rejected")), [""; 0]);

        let (folder, ended) = self.run("reject", &["--log", "json"]);
        let summary = ended.succeeded().summary();
        let counts = &summary["nodes"]["copy"];
        assert_eq!(counts["skipped"], 0, "{summary}");
        assert_eq!(counts["rejected"], 1, "{summary}");
        self.delivers_the_others(folder.path(), &summary);
        self.rejects_the_row(folder.path());
    }

    fn ends_the_run_under_fail(&self) {
        let (folder, ended) = self.run("fail", &[]);
        let ended = ended.failed_with(3);
        let place = match self.located {
            true => format!("`copy`, epoch 0, partition 0, row {}: ", self.input.bad),
            false => "`copy`, epoch 0, partition 0: ".to_owned(),
        };
        for text in [place.as_str(), self.message, "help: "] {
            assert!(ended.err.contains(text), "no `{text}` in:\n{}", ended.err);
        }
        assert_eq!(delivered(&folder.path().join("out")), [""; 0]);
    }

    fn delivers_the_others(&self, folder: &Path, summary: &Value) {
        let mut good = self.input.lines();
        good.remove(self.input.bad);
        assert!(delivered(&folder.join("out")) == good, "{summary}");
        let counts = &summary["nodes"]["copy"];
        assert_eq!(counts["rows_in"], self.input.rows, "{summary}");
        assert_eq!(counts["rows_out"], self.input.rows - 1, "{summary}");
        assert!(counts["traps"].as_u64() > Some(1), "{summary}");
    }

    fn rejects_the_row(&self, folder: &Path) {
        let rejected = delivered(&folder.join("rejected"));
        let [row] = rejected.as_slice() else {
            panic!("{rejected:?}")
        };
        let row: Value = serde_json::from_str(row).expect("a row is JSON");
        let digest = Digest::of(&self.module()).to_string();
        assert_eq!(row["epoch"], 0, "{row}");
        assert_eq!(row["partition"], 0, "{row}");
        assert_eq!(row["node"], "copy");
        assert_eq!(row["origin"], self.input.origin(folder));
        assert_eq!(row["plugin"], digest);
        let reason = row["reason"].as_str().expect("a text");
        assert!(reason.contains(self.message), "{reason}");
        assert_eq!(row["row"]["line"], self.input.lines()[self.input.bad]);
    }
}

#[test]
fn a_plugin_that_traps_on_a_row_loses_that_row_alone() {
    Deed {
        input: INPUT,
        code: "unreachable",
        limits: "",
        message: "the plugin trapped",
        located: true,
    }
    .is_borne();
}

#[test]
fn a_plugin_that_loops_forever_on_a_row_loses_that_row_alone() {
    // The row is found after three time-outs, for which the budget of 5 s has room, also on a machine that is late for them.
    Deed {
        input: Input { rows: 4, bad: 2 },
        code: "(loop $for_ever (br $for_ever))",
        limits: "deadline = '1s'",
        message: "the plugin did not return within 1s",
        located: false,
    }
    .is_borne();
}

#[test]
fn a_plugin_that_allocates_without_end_on_a_row_loses_that_row_alone() {
    Deed {
        input: INPUT,
        code: "(loop $more (drop (memory.grow (i32.const 1))) (br $more))",
        limits: "memory = '4MiB'",
        message: "the plugin went over its limit of 4MiB of memory",
        located: true,
    }
    .is_borne();
}

#[test]
fn a_plugin_that_recurses_without_end_on_a_row_loses_that_row_alone() {
    Deed {
        input: INPUT,
        code: "(call $deeper)",
        limits: "stack = '128KiB'",
        message: "the plugin went over its limit of 128KiB of stack",
        located: true,
    }
    .is_borne();
}

#[test]
fn a_plugin_that_returns_wrong_columns_for_a_row_loses_that_row_alone() {
    Deed {
        input: INPUT,
        code: "(return (call $produced (local.get $rows) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))",
        limits: "",
        message: "in port `out`, it made 0 columns where its plan says 1",
        located: true,
    }
    .is_borne();
}

#[test]
fn a_plugin_whose_offsets_lie_for_a_row_loses_that_row_alone() {
    Deed {
        input: INPUT,
        code: "(i32.store offset=4 (i32.load offset=8 (local.get $input)) (i32.const 0x7fffff))",
        limits: "",
        message: "in port `out`, column `line` (utf8, 1 rows)",
        located: true,
    }
    .is_borne();
}

#[test]
fn a_timeout_loses_the_smallest_chunk_that_the_budget_reached() {
    let slow = Deed {
        input: INPUT,
        code: "(loop $for_ever (br $for_ever))",
        limits: "deadline = '1s'",
        message: "the plugin did not return within 1s",
        located: false,
    };
    let (folder, ended) = slow.run("reject", &["--log", "json"]);
    let summary = ended.succeeded().summary();
    let rejected: Vec<Value> = delivered(&folder.path().join("rejected"))
        .iter()
        .map(|row| serde_json::from_str(row).expect("a row is JSON"))
        .collect();
    // The budget of 5 s has room for the first time-out, and not for the eleven that would find the row: how many it has room
    // for is up to the machine.
    let lost = rejected.len();
    assert!(lost > 1 && lost <= INPUT.rows / 2, "{summary}");
    assert_eq!(summary["nodes"]["copy"]["rejected"], lost);
    let lines = INPUT.lines();
    let begin = lines
        .iter()
        .position(|line| rejected[0]["row"]["line"] == **line)
        .expect("one of ours");
    let range = begin..begin + lost;
    assert!(range.contains(&INPUT.bad), "{range:?}");
    for (row, line) in rejected.iter().zip(&lines[range.clone()]) {
        assert_eq!(row["row"]["line"], **line);
        assert_eq!(row["reason"], slow.message);
    }
    let others = [&lines[..range.start], &lines[range.end..]].concat();
    assert!(delivered(&folder.path().join("out")) == others, "{summary}");
}

#[test]
fn a_failing_call_is_captured_with_its_row_and_made_again_elsewhere() {
    let deed = Deed {
        input: INPUT,
        code: "unreachable",
        limits: "",
        message: "the plugin trapped",
        located: true,
    };
    let captures = tempfile::tempdir().expect("writable");
    let capture = captures.path().to_str().expect("a text");
    let (folder, ended) = deed.run("reject", &["--capture", capture]);
    ended.succeeded();
    drop(folder);
    let file = captures.path().join("copy-epoch-0-partition-0.capture");
    let replay = |arguments: &[&str]| {
        run(wasmill()
            .args(["plugin", "replay"])
            .arg(&file)
            .args(arguments))
    };
    let again = replay(&[]).failed_with(3);
    for text in [
        "`copy`, epoch 0, partition 0",
        ", 1 rows",
        "row 617!",
        "then     the plugin trapped",
        "now      the plugin trapped",
        "\n  in ",
    ] {
        assert!(again.out.contains(text), "no `{text}` in:\n{}", again.out);
    }
    let mended = captures.path().join("mended.wasm");
    std::fs::write(&mended, Guest::default().module()).expect("writable");
    let now = replay(&["--plugin", mended.to_str().expect("a text")]).succeeded();
    assert!(
        now.out
            .contains("now      1 rows on `out`, one for each row"),
        "{}",
        now.out
    );
}

#[test]
fn every_component_that_means_harm_ends_with_an_error_that_says_what_it_did() {
    let cache = tempfile::tempdir().expect("writable");
    let engine = Engine::new(cache.path()).expect("an empty folder is a cache");
    let all = hostile::all();
    assert!(all.len() >= 25, "{}", all.len());
    let mut wrong = String::new();
    for component in &all {
        let met = component.meet(&engine);
        let said = met.error.unwrap_or_default();
        if !said.contains(component.expected) {
            let (name, expected) = (component.name, component.expected);
            wrong += &format!("{name}: not `{expected}`, but `{said}`\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
