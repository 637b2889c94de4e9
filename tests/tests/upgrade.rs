//! Upgrades on a server: a step's plugin is exchanged, the state stays, and what fails at first is taken back.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use wasmill_tests::guests::Guest;
use wasmill_tests::picky::picky;
use wasmill_tests::server::{Server, apply, push};
use wasmill_tests::{delivered, wait_until};

/// Copies the tenant's lines, counts how often each came, and keeps both.
const COPIES: &str = r#"name = "copies" # of lines

[epoch]
interval = "50ms"

[sources.lines]
type = "files"
path = "in"
poll_interval = "50ms"

[steps.copy]
input = "lines"
plugin = "copy"    # as it comes

[steps.totals]
input = "copy"
plugin = "running-count"
group_by = ["line"]

[sinks.lines-out]
input = "copy"
type = "files"
path = "lines"
format = "text"

[sinks.out]
input = "totals"
type = "files"
path = "counts"
"#;

/// A server on which acme's pipeline runs, with its token.
struct Copies {
    server: Server,
    token: String,
}

impl Copies {
    /// With `copy@1` that copies, `copy@2` that fails at a line with `!` in it, and two versions of `running-count`.
    fn start() -> Self {
        let server = Server::start(&[]);
        let token = server.tenant("acme");
        fs::create_dir(server.files("acme").join("in")).expect("the folder is writable");
        for module in [Guest::default().module(), picky()] {
            let path = "/v1/tenants/acme/plugins/copy";
            let pushed = server.ask(&token, "PUT", path, &module);
            assert_eq!(pushed.status, 200, "{pushed:?}");
        }
        push(&server, &token, "acme", "running-count", "running-count");
        let text = COPIES.replace("\"copy\"    #", "\"copy@1\"    #");
        let applied = apply(&server, &token, "acme", &text);
        assert_eq!(applied.status, 200, "{applied:?}");
        push(
            &server,
            &token,
            "acme",
            "running-count",
            "running-count-since",
        );
        Self { server, token }
    }

    /// Gives it a file with a line, whole, as its source wants it.
    fn give(&self, name: &str, line: &str) {
        let files = self.server.files("acme");
        let (here, there) = (files.join(name), files.join("in").join(name));
        fs::write(&here, format!("{line}\n")).expect("the folder is writable");
        fs::rename(here, there).expect("the folder is writable");
    }

    fn wait_for_lines(&self, lines: &[&str]) {
        let out = self.server.files("acme").join("lines");
        wait_until(&format!("{lines:?}"), || delivered(&out) == lines);
    }

    /// The highest count of each line.
    fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for row in delivered(&self.server.files("acme").join("counts")) {
            let row: Value = serde_json::from_str(&row).expect("a row is JSON");
            let line = row["line"].as_str().expect("a text").to_owned();
            let count = counts.entry(line).or_default();
            *count = row["n"].as_u64().expect("a number").max(*count);
        }
        counts
    }

    fn wait_for_count(&self, line: &str, count: u64) {
        wait_until(&format!("{count} times {line}"), || {
            self.counts().get(line) == Some(&count)
        });
    }

    fn view(&self) -> Value {
        let path = "/v1/tenants/acme/pipelines/copies";
        self.server.ask(&self.token, "GET", path, b"").json
    }

    fn wait_for_version(&self, version: u32, phase: &str) -> Value {
        let mut view = Value::Null;
        wait_until(&format!("version {version} to be {phase}"), || {
            view = self.view();
            view["status"]["version"] == version && view["status"]["phase"]["phase"] == phase
        });
        view
    }

    fn cli(&self, arguments: &[&str]) -> wasmill_tests::Ended {
        self.server.client(&self.token, arguments)
    }

    fn upgrade(&self, step: &str, plugin: &str, watch_epochs: u32) -> Value {
        let path = "/v1/tenants/acme/pipelines/copies/upgrade";
        let upgrade = json!({ "step": step, "plugin": plugin, "watch_epochs": watch_epochs });
        self.server.done(&self.token, "POST", path, &upgrade)
    }
}

#[test]
fn an_upgrade_exchanges_one_plugin_and_goes_on_with_the_state_that_it_migrates() {
    let copies = Copies::start();
    copies.give("1.txt", "be");
    copies.wait_for_count("be", 1);
    let upgrade = [
        "pipeline",
        "upgrade",
        "copies",
        "--step",
        "totals",
        "--plugin",
        "running-count",
    ];
    copies.cli(&upgrade).failed_with(2);
    let one_epoch = [&upgrade[..], &["--yes", "--watch-epochs", "1"]].concat();
    let said = copies.cli(&one_epoch).succeeded().out;
    assert!(
        said.contains("totals: running-count@1 -> running-count@2"),
        "{said}"
    );
    assert!(
        said.ends_with(
            "copies is at version 2; if it fails within 1 epochs, the one before comes back\n"
        ),
        "{said}"
    );
    let shown = copies.cli(&["pipeline", "show", "copies"]).succeeded().out;
    let expected = COPIES.replace("\"copy\"    #", "\"copy@1\"    #");
    assert_eq!(
        shown,
        expected.replace("\"running-count\"", "\"running-count@2\"")
    );

    copies.wait_for_version(2, "running");
    copies.give("2.txt", "be");
    copies.wait_for_count("be", 2);
    wait_until("the end of the trial", || copies.view()["trial"].is_null());
    let again = copies.upgrade("totals", "running-count@2", 3);
    assert_eq!(
        (&again["changed"], &again["version"]),
        (&json!(false), &json!(2))
    );

    // The way back is refused before anything stops.
    let before = copies.wait_for_version(2, "running");
    let back = [
        "pipeline",
        "upgrade",
        "copies",
        "--step",
        "totals",
        "--plugin",
        "running-count@1",
        "--yes",
    ];
    let refused = copies.cli(&back).failed_with(3).err;
    assert!(
        refused.contains("`totals`: ") && refused.contains("does not migrate"),
        "{refused}"
    );
    let other = [
        "pipeline", "upgrade", "copies", "--step", "total", "--plugin", "copy", "--yes",
    ];
    let refused = copies.cli(&other).failed_with(3).err;
    assert!(refused.contains("did you mean `totals`?"), "{refused}");
    let rolled = copies
        .cli(&["pipeline", "rollback", "copies"])
        .failed_with(3)
        .err;
    assert!(rolled.contains("does not migrate"), "{rolled}");
    let after = copies.view();
    assert_eq!(after["version"], 2);
    assert_eq!(after["status"]["since"], before["status"]["since"]);
    copies.server.stop().succeeded();
}

#[test]
fn a_version_that_fails_within_its_first_epochs_gives_way_to_the_one_before() {
    let copies = Copies::start();
    copies.give("1.txt", "one");
    copies.wait_for_lines(&["one"]);
    assert_eq!(copies.upgrade("copy", "copy@2", 2)["version"], 2);
    copies.wait_for_version(2, "running");
    copies.give("2.txt", "two!");
    copies.wait_for_lines(&["one", "two!"]);
    let view = copies.wait_for_version(1, "running");
    let trial = &view["trial"];
    assert_eq!(
        (&trial["version"], &trial["before"]),
        (&json!(2), &json!(1)),
        "{view}"
    );
    let failure = trial["failed"]["failure"].as_str().expect("a text");
    assert!(failure.contains("`copy`, epoch 1"), "{failure}");
    let said = copies
        .cli(&["pipeline", "status", "copies"])
        .succeeded()
        .out;
    assert!(
        said.contains(
            "version 2 has failed within 2 epochs, and version 1 is back: `copy`, epoch 1"
        ),
        "{said}"
    );
    let audit = copies
        .server
        .ask(&copies.token, "GET", "/v1/tenants/acme/audit", b"")
        .json;
    let last = &audit[0];
    assert_eq!(
        [
            &last["who"],
            &last["action"],
            &last["before"],
            &last["after"]
        ],
        ["the server", "pipeline fall back", "2", "1"]
    );

    // Once it has shown that it is good, a failure is one like any other.
    assert_eq!(copies.upgrade("copy", "copy@2", 2)["version"], 3);
    copies.wait_for_version(3, "running");
    copies.give("3.txt", "three");
    copies.wait_for_lines(&["one", "two!", "three"]);
    copies.give("4.txt", "four");
    copies.wait_for_lines(&["one", "two!", "three", "four"]);
    wait_until("the end of the trial", || copies.view()["trial"].is_null());
    copies.give("5.txt", "five!");
    let view = copies.wait_for_version(3, "waiting");
    assert_eq!(
        (&view["version"], &view["trial"]),
        (&json!(3), &Value::Null)
    );
}

#[test]
fn a_version_comes_back_only_if_it_can_go_on_with_the_state_that_there_is() {
    let copies = Copies::start();
    copies.give("1.txt", "one");
    copies.wait_for_count("one", 1);
    // It never gets so far as to be good.
    copies.upgrade("totals", "running-count@2", 1000);
    copies.wait_for_version(2, "running");
    copies.give("2.txt", "one");
    copies.wait_for_count("one", 2);
    assert_eq!(copies.upgrade("copy", "copy@2", 2)["version"], 3);
    copies.wait_for_version(3, "running");
    copies.give("3.txt", "one!");
    let view = copies.wait_for_version(3, "waiting");
    assert_eq!(view["version"], 3);
    wait_until("the verdict", || {
        !copies.view()["trial"]["failed"].is_null()
    });
    let trial = &copies.view()["trial"];
    assert_eq!(trial["before"], 1, "{trial}");
    let stays = trial["failed"]["stays"].as_str().expect("a text");
    assert!(
        stays.contains("`totals`: ") && stays.contains("does not migrate"),
        "{stays}"
    );
}

#[test]
fn a_trial_outlives_the_server() {
    let mut copies = Copies::start();
    assert_eq!(copies.upgrade("copy", "copy@2", 2)["version"], 2);
    copies.server.restart("KILL", &[]);
    copies.give("1.txt", "one!");
    copies.wait_for_lines(&["one!"]);
    let view = copies.wait_for_version(1, "running");
    assert_eq!(view["trial"]["version"], 2, "{view}");
    copies.server.stop().succeeded();
}

#[test]
fn a_rollback_with_state_runs_all_input_since_again_on_the_state_of_then() {
    let copies = Copies::start();
    copies.give("1.txt", "be");
    copies.wait_for_count("be", 1);
    copies.upgrade("totals", "running-count@2", 1);
    copies.wait_for_version(2, "running");
    copies.give("2.txt", "be");
    copies.wait_for_count("be", 2);
    wait_until("the end of the trial", || copies.view()["trial"].is_null());

    let back = |to: &str| {
        let back = [
            "pipeline", "rollback", "copies", "--to", to, "--state", "--yes",
        ];
        copies.cli(&back)
    };
    let running = back("1").failed_with(3).err;
    assert!(running.contains("wasmill pipeline pause"), "{running}");
    copies.cli(&["pipeline", "pause", "copies"]).succeeded();
    copies
        .server
        .wait_for_phase(&copies.token, "acme", "copies", "paused");
    assert_eq!(copies.upgrade("copy", "copy@2", 0)["version"], 3);
    let never = back("3").failed_with(3).err;
    assert!(never.contains("no epoch of version 3"), "{never}");
    back("1").succeeded();
    back("1").succeeded();
    copies.cli(&["pipeline", "resume", "copies"]).succeeded();
    copies.wait_for_lines(&["be", "be", "be"]);
    copies.give("3.txt", "be");
    copies.wait_for_count("be", 3);
    copies.wait_for_version(1, "running");

    let rows = delivered(&copies.server.files("acme").join("counts"));
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| serde_json::from_str(row).expect("JSON"))
        .collect();
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row["n"].as_u64(), row["since"].is_string()))
        .collect();
    // Version 1, version 2, and version 1 twice, which knows nothing of version 2.
    assert_eq!(rows.len(), 4, "{seen:?}");
    assert_eq!(seen[2..], [(Some(2), false), (Some(3), false)]);
    let audit = copies
        .server
        .ask(&copies.token, "GET", "/v1/tenants/acme/audit", b"")
        .json;
    let set_back = audit
        .as_array()
        .expect("lines")
        .iter()
        .find(|line| line["action"] == "pipeline rollback");
    assert_eq!(
        set_back.expect("it is written down")["after"],
        "1 with the state after epoch 0"
    );
}

#[test]
fn a_shadow_shows_what_an_upgrade_would_change_and_changes_nothing_itself() {
    let copies = Copies::start();
    copies.give("1.txt", "be");
    copies.wait_for_count("be", 1);
    let shadow = |step: &str, plugin: &str, more: &[&str]| {
        let upgrade = [
            "pipeline", "upgrade", "copies", "--step", step, "--plugin", plugin, "--shadow", "1",
        ];
        let arguments = [&upgrade[..], more].concat();
        let mut command = copies.server.command(&arguments);
        command
            .env("WASMILL_URL", format!("http://{}", copies.server.address()))
            .env("WASMILL_TOKEN", &copies.token);
        std::thread::spawn(move || wasmill_tests::run(&mut command))
    };
    let next = std::cell::Cell::new(2);
    let with_lines = |shadow: std::thread::JoinHandle<wasmill_tests::Ended>| {
        // It compares what is committed after it has begun.
        wait_until("the end of the shadow", || {
            // No version remembers any of these lines.
            let line = format!("line {}", next.get());
            copies.give(&format!("{}.txt", next.get()), &line);
            next.set(next.get() + 1);
            copies.wait_for_count(&line, 1);
            shadow.is_finished()
        });
        shadow.join().expect("it does not panic")
    };

    // The other counter gives every row a time as well.
    let differs = with_lines(shadow("totals", "running-count@2", &[])).failed_with(5);
    assert!(
        differs.out.contains("sink out: 1 rows, with the change 1"),
        "{}",
        differs.out
    );
    assert!(
        differs.err.contains("1 of 1 epochs differ"),
        "{}",
        differs.err
    );
    assert_eq!(copies.view()["version"], 1);
    let lines = copies.server.files("acme").join("lines");
    wait_until("every line once", || {
        let come = delivered(&lines).len();
        assert!(come < next.get(), "{come} of {}", next.get() - 1);
        come == next.get() - 1
    });

    // Nothing differs as long as no line has a `!`, so it goes on without being asked.
    let same = with_lines(shadow("copy", "copy@2", &[])).succeeded();
    assert!(
        same.out
            .contains(": no difference\ncopies is at version 2;"),
        "{}",
        same.out
    );
    let anyway = with_lines(shadow("totals", "running-count@2", &["--yes"])).succeeded();
    assert!(anyway.out.contains("with the change"), "{}", anyway.out);
    copies.wait_for_version(3, "running");
}
