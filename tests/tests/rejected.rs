//! Rows that a hosted pipeline has rejected: counted, shown, given back once, discarded, and kept within a limit.

#![expect(clippy::unwrap_used, reason = "what a test unwraps is what it asserts")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use wasmill_tests::guests::Guest;
use wasmill_tests::picky::picky;
use wasmill_tests::server::{Server, apply, push};
use wasmill_tests::{Ended, delivered, wait_until, wasmill};

/// Counts the lines that a plugin lets pass.
const COPIES: &str = r#"name = "copies"

[epoch]
interval = "20ms"

[sources.lines]
type = "files"
path = "in"
poll_interval = "20ms"

[steps.copy]
input = "lines"
plugin = "copy@1"
on_error = "reject"

[steps.totals]
input = "copy"
plugin = "running-count"
group_by = ["line"]

[sinks.out]
input = "totals"
type = "files"
path = "counts"
"#;

/// A server on which acme runs a pipeline, with its token.
struct Hosted {
    server: Server,
    token: String,
    name: &'static str,
}

impl Hosted {
    /// Runs [`COPIES`], with `copy@1` that cannot bear a `!`, and `copy@2` that can.
    fn copies(server: Server) -> Self {
        let token = server.tenant("acme");
        for module in [picky(), Guest::default().module()] {
            let path = "/v1/tenants/acme/plugins/copy";
            let pushed = server.ask(&token, "PUT", path, &module);
            assert_eq!(pushed.status, 200, "{pushed:?}");
        }
        push(&server, &token, "acme", "running-count", "running-count");
        Self::start(server, token, "copies", COPIES)
    }

    fn start(server: Server, token: String, name: &'static str, text: &str) -> Self {
        fs::create_dir(server.files("acme").join("in")).unwrap();
        let applied = apply(&server, &token, "acme", text);
        assert_eq!(applied.status, 200, "{applied:?}");
        Self {
            server,
            token,
            name,
        }
    }

    /// Gives it a file whole, as its source wants it.
    fn give(&self, name: &str, text: impl AsRef<[u8]>) {
        let files = self.server.files("acme");
        fs::write(files.join(name), text).unwrap();
        fs::rename(files.join(name), files.join("in").join(name)).unwrap();
    }

    fn cli(&self, arguments: &[&str]) -> Ended {
        self.server.client(&self.token, arguments)
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/tenants/acme/pipelines/{}{rest}", self.name)
    }

    fn rejected(&self) -> Value {
        let answer = self
            .server
            .ask(&self.token, "GET", &self.path("/rejected"), b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json
    }

    /// Waits for so many rows that are open, and so many that were given back.
    fn wait_for_rejected(&self, open: u64, given_back: u64) -> Value {
        let mut rejected = Value::Null;
        wait_until(&format!("{open} open, {given_back} given back"), || {
            rejected = self.rejected();
            rejected["open"] == open && rejected["given_back"] == given_back
        });
        rejected
    }

    fn rows(&self, query: &str) -> Vec<Value> {
        let path = self.path(&format!("/rejected/rows{query}"));
        let mut answer = self.server.ask(&self.token, "GET", &path, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        std::mem::take(answer.json.as_array_mut().unwrap())
    }

    fn do_to(&self, what: &str, choice: &Value) -> Value {
        let path = self.path(&format!("/rejected/{what}"));
        self.server.done(&self.token, "POST", &path, choice)
    }

    /// The highest count of each line.
    fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for row in delivered(&self.server.files("acme").join("counts")) {
            let row: Value = serde_json::from_str(&row).unwrap();
            let count = counts.entry(row["line"].as_str().unwrap().to_owned());
            let count = count.or_default();
            *count = row["n"].as_u64().unwrap().max(*count);
        }
        counts
    }

    fn wait_for_counts(&self, counts: &[(&str, u64)]) {
        let counts = counts
            .iter()
            .map(|(line, count)| ((*line).to_owned(), *count));
        let counts: BTreeMap<_, _> = counts.collect();
        wait_until(&format!("{counts:?}"), || self.counts() == counts);
    }

    fn upgrade(&self) {
        let upgrade = json!({ "step": "copy", "plugin": "copy@2" });
        let path = self.path("/upgrade");
        let done = self.server.done(&self.token, "POST", &path, &upgrade);
        // Until then what is given back is for the version before.
        wait_until("the run of the new version", || {
            let view = self
                .server
                .done(&self.token, "GET", &self.path(""), &Value::Null);
            view["status"]["version"] == done["version"]
                && view["status"]["phase"]["phase"] == "running"
        });
    }

    /// The files below a folder of the pipeline's.
    fn kept(&self, folder: &str) -> Vec<String> {
        let pipeline = format!("tenants/acme/pipelines/{}", self.name);
        let mut folders = vec![self.server.data().join(pipeline).join(folder)];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push(path.file_name().unwrap().to_str().unwrap().to_owned()),
                }
            }
        }
        files.sort();
        files
    }
}

#[test]
fn rows_are_given_back_to_a_mended_step_and_counted_once_though_the_server_is_killed() {
    let mut copies = Hosted::copies(Server::start(&[]));
    copies.give("1.txt", "be\nno!\nbe\nno!\nwhy!\n");
    let rejected = copies.wait_for_rejected(3, 0);
    let groups = rejected["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "{rejected}");
    assert_eq!(
        (&groups[0]["node"], &groups[0]["open"]),
        (&json!("copy"), &json!(3))
    );
    let reason = groups[0]["reason"].as_str().unwrap();
    assert!(reason.contains("unreachable"), "{reason}");
    copies.wait_for_counts(&[("be", 2)]);

    let rows = copies.rows("");
    let origins: Vec<_> = rows
        .iter()
        .map(|row| row["origin"].as_str().unwrap())
        .collect();
    let expected = [14, 10, 3].map(|byte| format!("in/1.txt at byte {byte}"));
    assert_eq!(origins, expected);
    assert_eq!(rows[0]["row"], json!({ "line": "why!" }));
    let digest = rows[0]["plugin"].as_str().unwrap();
    let versions = copies.cli(&["plugin", "versions", "copy", "--output", "json"]);
    let versions: Value = serde_json::from_str(&versions.succeeded().out).unwrap();
    let first = versions
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["version"] == 1);
    assert_eq!(first.unwrap()["digest"], digest);

    // The step is as it was, and so is what comes of it.
    let given = copies.do_to("replay", &json!({ "node": "copy" }));
    assert_eq!(given, json!({ "rows": 3, "left_out": 0, "why": [] }));
    copies.wait_for_rejected(3, 3);
    let again = copies.rows("?limit=1");
    let origin = again[0]["origin"].as_str().unwrap();
    assert!(origin.starts_with("again/copy/"), "{origin}");

    copies.upgrade();
    copies.do_to("replay", &json!({ "ids": [again[0]["id"]] }));
    copies.server.restart("KILL", &[]);
    copies.wait_for_counts(&[("be", 2), ("why!", 1)]);
    copies.do_to("replay", &json!({ "all": true }));
    copies.server.restart("KILL", &[]);
    copies.wait_for_counts(&[("be", 2), ("no!", 2), ("why!", 1)]);
    copies.wait_for_rejected(0, 6);
    copies.give("2.txt", "no!\nbe\n");
    copies.wait_for_counts(&[("be", 3), ("no!", 3), ("why!", 1)]);

    let discarded = copies.do_to("discard", &json!({ "all": true }));
    assert_eq!(discarded["rows"], 6);
    let rejected = copies.wait_for_rejected(0, 0);
    assert_eq!(rejected["bytes"], 0);
    let left = copies.kept("rejected");
    assert!(left.len() == 1 && left[0].starts_with("epoch-"), "{left:?}");
    let actions = copies.cli(&["audit", "--output", "json"]).succeeded().out;
    let actions: Vec<Value> = serde_json::from_str(&actions).unwrap();
    let said = |line: &Value| {
        let action = line["action"].as_str()?.strip_prefix("rejected ")?;
        Some(format!("{action} {} {}", line["before"], line["after"]))
    };
    let said: Vec<String> = actions.iter().filter_map(said).collect();
    assert_eq!(
        said,
        [
            r#"discard "6 rows" null"#,
            r#"replay null "2 rows""#,
            r#"replay null "1 row""#,
            r#"replay null "3 rows""#
        ]
    );
}

#[test]
fn a_server_that_dies_while_it_gives_rows_back_neither_loses_nor_doubles_them() {
    for point in ["replay-begun", "replay-written"] {
        let mut command = wasmill();
        command.env("FAILPOINTS", format!("{point}=1*return"));
        let mut copies = Hosted::copies(Server::of(command, &[]));
        copies.give("1.txt", "no!\nno!\nbe\n");
        copies.wait_for_rejected(2, 0);
        copies.upgrade();
        let body = json!({ "all": true }).to_string();
        let path = copies.path("/rejected/replay");
        let mut stream = copies.server.connect();
        let token = &copies.token;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        assert_eq!(answer, b"", "it died before it answered");
        copies.server.restart("KILL", &[]);
        copies.wait_for_counts(&[("be", 1), ("no!", 2)]);
        copies.wait_for_rejected(0, 2);
        let again = copies
            .server
            .ask(&copies.token, "POST", &path, body.as_bytes());
        assert_eq!(again.status, 409, "{again:?}");
        copies.give("2.txt", "no!\n");
        copies.wait_for_counts(&[("be", 1), ("no!", 3)]);
    }
}

/// Copies JSON objects, of which the source wants a number.
const NUMBERS: &str = r#"name = "numbers"

[epoch]
interval = "20ms"

[sources.objects]
type = "files"
path = "in"
poll_interval = "20ms"
format = "json"
schema = { n = "int64" }
on_error = "reject"

[sinks.out]
input = "objects"
type = "files"
path = "out"
"#;

/// Clicks owed to campaigns; those that do not say when they were made are rejected.
const CLICKS: &str = r#"name = "clicks"

[epoch]
interval = "20ms"

[sources.impressions]
type = "files"
path = "in"
glob = "impressions*"
poll_interval = "20ms"
format = "json"
schema = { user = "utf8", campaign = "utf8", shown = "timestamp" }

[sources.clicks]
type = "files"
path = "in"
glob = "clicks*"
poll_interval = "20ms"
format = "json"
schema = { user = "utf8", clicked = "timestamp?", seen = "timestamp" }

[steps.attributed]
inputs = ["impressions", "clicks"]
plugin = "attribute-clicks@1"
group_by = ["user"]
config = { within = "30m" }
on_error = "reject"

[sinks.out]
input = "attributed"
type = "files"
path = "out"
"#;

#[test]
fn a_row_of_one_of_several_inputs_comes_again_as_one_of_that_input() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    push(
        &server,
        &token,
        "acme",
        "attribute-clicks",
        "attribute-clicks",
    );
    let mut clicks = Hosted::start(server, token, "clicks", CLICKS);
    let impression = r#"{"user":"ann","campaign":"spring","shown":"2026-05-25T12:00:00Z"}"#;
    clicks.give("impressions-1.json", format!("{impression}\n"));
    let click = r#"{"user":"ann","seen":"2026-05-25T12:05:00Z"}"#;
    clicks.give("clicks-1.json", format!("{click}\n"));
    clicks.wait_for_rejected(1, 0);
    let row = &clicks.rows("")[0];
    assert_eq!(
        (&row["node"], &row["input"]),
        (&json!("attributed"), &json!(1))
    );
    let id = row["id"].as_str().unwrap();
    let shown = clicks.cli(&["rejected", "show", "clicks", id]).succeeded();
    assert!(shown.out.contains("attributed, input 1\n"), "{}", shown.out);

    // As it was, the row is rejected again: as one of the same input.
    clicks.do_to("replay", &json!({ "all": true }));
    clicks.wait_for_rejected(1, 1);
    assert_eq!(clicks.rows("")[0]["input"], 1);

    let text = CLICKS.replace("\"30m\"", "\"30m\", clicked = \"seen\"");
    let applied = apply(&clicks.server, &clicks.token, "acme", &text);
    assert_eq!(applied.status, 200, "{applied:?}");
    let given = clicks.do_to("replay", &json!({ "all": true }));
    assert_eq!((&given["rows"], &given["left_out"]), (&json!(1), &json!(0)));
    clicks.server.restart("KILL", &[]);
    let out = clicks.server.files("acme").join("out");
    let owed = [r#"{"user":"ann","clicked":"2026-05-25T12:05:00Z","campaign":"spring"}"#];
    wait_until("the click", || delivered(&out) == owed);
    clicks.wait_for_rejected(0, 2);
    let mut file = 2;
    wait_until("the end of what was read again", || {
        clicks.give(
            &format!("impressions-{file}.json"),
            format!("{impression}\n"),
        );
        file += 1;
        clicks.rejected();
        clicks.kept("again").is_empty()
    });
}

#[test]
fn a_sources_records_come_again_as_they_were_unless_they_were_cut() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    let numbers = Hosted::start(server, token, "numbers", NUMBERS);
    let long = format!("{{\"n\": \"{}\"}}\n", "x".repeat(50_000));
    let too_long = format!("{{\"n\": \"{}\"}}\n", "y".repeat(2 << 20));
    let not_text = b"{\"n\": \"\xff\"}";
    numbers.give(
        "1.json",
        [
            b"{\"n\": 1}\n{\"n\": \"two\"}\n",
            not_text.as_slice(),
            b"\n",
            long.as_bytes(),
            too_long.as_bytes(),
        ]
        .concat(),
    );
    numbers.wait_for_rejected(4, 0);
    // What is not text is kept byte by byte.
    let kept = |rows: Vec<Value>| -> Vec<Value> {
        let bytes = rows.into_iter().map(|mut row| row["bytes"].take());
        bytes.filter(|bytes| !bytes.is_null()).collect()
    };
    assert_eq!(kept(numbers.rows("")), [BASE64_STANDARD.encode(not_text)]);
    let out = numbers.server.files("acme").join("out");
    assert_eq!(delivered(&out), ["{\"n\":1}"]);

    let text = NUMBERS.replace("int64", "utf8");
    let applied = apply(&numbers.server, &numbers.token, "acme", &text);
    assert_eq!(applied.status, 200, "{applied:?}");
    let given = numbers.do_to("replay", &json!({ "all": true }));
    assert_eq!((&given["rows"], &given["left_out"]), (&json!(3), &json!(1)));
    let why = given["why"].to_string();
    assert!(why.contains("only its first 4 KiB"), "{why}");
    let whole = long.trim_end().replace("\": ", "\":");
    wait_until("the rows", || {
        delivered(&out) == ["{\"n\":1}", "{\"n\":\"two\"}", &whole]
    });
    // What is not text yet is rejected again, as the very bytes that it was.
    numbers.wait_for_rejected(2, 3);
    let again = kept(numbers.rows(""));
    assert_eq!(again, [BASE64_STANDARD.encode(not_text)]);

    // What nobody takes any more stays, and says so.
    let text = text.replace("on_error = \"reject\"\n", "");
    let applied = apply(&numbers.server, &numbers.token, "acme", &text);
    assert_eq!(applied.status, 200, "{applied:?}");
    let refused = numbers.cli(&["rejected", "replay", "numbers", "--all"]);
    let said = refused.failed_with(3).err;
    assert!(said.contains("does not reject any more"), "{said}");
    numbers.give("2.json", "{\"n\": \"three\"}\n");
    wait_until("the row after", || delivered(&out).len() == 4);

    // And what came again once does not, when the source rejects again.
    let applied = apply(
        &numbers.server,
        &numbers.token,
        "acme",
        &NUMBERS.replace("int64", "utf8"),
    );
    assert_eq!(applied.status, 200, "{applied:?}");
    numbers.give("3.json", "{\"n\": \"four\"}\n");
    wait_until("the last row", || delivered(&out).len() >= 5);
    assert_eq!(delivered(&out)[4], "{\"n\":\"four\"}");
}

#[test]
fn rejected_rows_are_kept_within_a_limit_and_what_is_dropped_is_counted() {
    let copies = Hosted::copies(Server::start(&["--keep-rejected", "40KiB"]));
    for file in 0..10 {
        copies.give(&format!("{file}.txt"), "no!\nno!\n");
        // Each in an epoch of its own.
        wait_until("the rows", || {
            let rejected = copies.rejected();
            let rows = rejected["open"].as_u64().unwrap() + rejected["dropped"].as_u64().unwrap();
            rows == 2 * (file + 1)
        });
    }
    let rejected = copies.rejected();
    assert!(
        rejected["bytes"].as_u64() <= rejected["limit"].as_u64(),
        "{rejected}"
    );
    assert_eq!(rejected["limit"], 40 << 10);
    assert_eq!(rejected["open"], 8, "{rejected}");
    assert_eq!(rejected["dropped"], 12, "{rejected}");
    let said = copies.cli(&["rejected", "ls", "copies"]).succeeded().out;
    assert!(said.contains("12 rows were dropped"), "{said}");
}

#[test]
fn rejected_rows_are_managed_from_the_command_line() {
    let copies = Hosted::copies(Server::start(&[]));
    let nothing = copies.cli(&["rejected", "ls", "copies"]).succeeded().out;
    assert_eq!(nothing.lines().count(), 1, "{nothing}");
    copies.give("1.txt", "no!\nwhy!\n");
    copies.wait_for_rejected(2, 0);
    let listed = copies.cli(&["rejected", "ls", "copies"]).succeeded().out;
    assert!(
        listed.lines().nth(1).unwrap().starts_with("copy  sha256:"),
        "{listed}"
    );
    let shown = copies.cli(&["rejected", "show", "copies", "--limit", "1"]);
    let shown = shown.succeeded().out;
    let id = shown.lines().nth(1).unwrap().split(' ').next().unwrap();
    let row = copies
        .cli(&["rejected", "show", "copies", id])
        .succeeded()
        .out;
    assert!(row.contains("origin  in/1.txt at byte 4\n"), "{row}");
    assert!(row.ends_with("\n{\"line\":\"why!\"}\n"), "{row}");

    for verb in ["replay", "discard"] {
        let unsaid = copies.cli(&["rejected", verb, "copies"]).failed_with(2).err;
        assert!(unsaid.contains("--all"), "{unsaid}");
        let none = copies.cli(&["rejected", verb, "copies", "--node", "totals"]);
        assert!(none.failed_with(3).err.contains("no such rows"));
    }
    let discarded = copies
        .cli(&["rejected", "discard", "copies", id])
        .succeeded()
        .out;
    assert_eq!(discarded, "discarded: 1\n");
    copies
        .cli(&["rejected", "show", "copies", id])
        .failed_with(3);
    copies.upgrade();
    let replayed = copies.cli(&["rejected", "replay", "copies", "--node", "copy"]);
    assert_eq!(replayed.succeeded().out, "given back: 1\n");
    copies.wait_for_counts(&[("no!", 1)]);

    // The server has no store for a pipeline that has its own.
    let own = COPIES
        .replace("\"copies\"", "\"own\"")
        .replace("\"counts\"", "\"own\"");
    let own = format!("{own}\n[rejected]\ntype = \"files\"\npath = \"turned-away\"\n");
    let applied = apply(&copies.server, &copies.token, "acme", &own);
    assert_eq!(applied.status, 200, "{applied:?}");
    let said = copies.cli(&["rejected", "ls", "own"]).failed_with(3).err;
    assert!(said.contains("writes its rejected rows itself"), "{said}");
    // And nobody sees another's.
    let other = copies.server.tenant("other");
    let foreign = copies
        .server
        .ask(&other, "GET", &copies.path("/rejected/rows"), b"");
    assert_eq!(foreign.status, 404, "{foreign:?}");
}

#[test]
fn what_was_given_back_and_read_for_good_takes_no_room() {
    let copies = Hosted::copies(Server::start(&[]));
    copies.give("1.txt", "no!\n");
    copies.wait_for_rejected(1, 0);
    copies.upgrade();
    copies.do_to("replay", &json!({ "all": true }));
    copies.wait_for_counts(&[("no!", 1)]);
    // As long as an epoch that is kept might be run again with it, it stays.
    let mut file = 2;
    wait_until("its end", || {
        copies.give(&format!("{file}.txt"), "be\n");
        file += 1;
        copies.rejected();
        copies.kept("again").is_empty()
    });
    copies.wait_for_rejected(0, 1);
    let counts = copies.counts();
    assert_eq!(counts["no!"], 1);
}
