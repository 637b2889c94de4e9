//! What tenants use, and what holds them to it: each limit holds, who is at it is slowed down or waits, and nothing is lost.

#![expect(clippy::unwrap_used, reason = "what a test unwraps is what it asserts")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmill_tests::jobs::runner_of;
use wasmill_tests::server::{COUNTS, Server, apply, push, put};
use wasmill_tests::{delivered, plugins, wait_until};

/// Makes as many rows as it may.
fn load(name: &str) -> String {
    format!(
        "name = \"{name}\"\n[epoch]\ninterval = \"50ms\"\n[sources.a]\ntype = \"generate\"\nrows_per_second = 100000\n[sinks.c]\ninput = \"a\"\ntype = \"files\"\npath = \"out\"\n"
    )
}

/// What [`COUNTS`] is made of.
const COUNTING: &[&str] = &["split-words", "running-count"];

/// A tenant with these plugins, and its token.
fn tenant(server: &Server, name: &str, plugins: &[&str]) -> String {
    let token = server.tenant(name);
    fs::create_dir(server.files(name).join("in")).unwrap();
    for plugin in plugins {
        push(server, &token, name, plugin, plugin);
    }
    token
}

fn start(server: &Server, token: &str, tenant: &str, text: &str) {
    let applied = apply(server, token, tenant, text);
    assert_eq!(applied.status, 200, "{applied:?}");
}

/// Sets quotas as an administrator does.
fn quota(server: &Server, tenant: &str, limits: &[&str]) -> Value {
    let arguments = [&["tenant", "quota", tenant, "--output", "json"], limits].concat();
    let shown = server.client(&server.admin, &arguments).succeeded().out;
    serde_json::from_str(&shown).unwrap()
}

fn usage(server: &Server, token: &str, tenant: &str, by: &str) -> Value {
    let path = format!("/v1/tenants/{tenant}/usage?{by}");
    server.done(token, "GET", &path, &Value::Null)
}

/// Gives a pipeline a file whole, as its sources want it.
fn give(server: &Server, tenant: &str, name: &str, text: &str) {
    let files = server.files(tenant);
    fs::write(files.join(name), text).unwrap();
    fs::rename(files.join(name), files.join("in").join(name)).unwrap();
}

/// The rows that [`COUNTS`] has delivered: how often each word came with each count.
fn counted(server: &Server, tenant: &str) -> BTreeMap<(String, u64), u32> {
    let mut counted = BTreeMap::new();
    for line in delivered(&server.files(tenant).join("out")) {
        let row: Value = serde_json::from_str(&line).unwrap();
        let word = row["word"].as_str().unwrap().to_owned();
        *counted
            .entry((word, row["n"].as_u64().unwrap()))
            .or_default() += 1;
    }
    counted
}

fn figures(server: &Server, token: &str, tenant: &str, pipeline: &str) -> Value {
    server.status(token, tenant, pipeline)["figures"].clone()
}

/// Waits until a pipeline has failed for this reason and waits for its next start.
fn wait_for_failure(server: &Server, token: &str, tenant: &str, reason: &str) {
    wait_until(reason, || {
        let status = server.status(token, tenant, "counts");
        let failure = status["failure"].as_str().unwrap_or_default();
        status["phase"]["phase"] == "waiting" && failure.contains(reason)
    });
}

/// schemathesis found it: the catalog refused what belongs to nobody, and the caller heard that the server had failed.
#[test]
fn who_applies_or_pushes_while_the_tenant_is_removed_hears_that_it_is_gone() {
    let server = Server::start(&[]);
    let component = fs::read(plugins().join("split-words.wasm")).unwrap();
    let text = load("slow").replace("100000", "1");
    for round in 0..12 {
        let name = &format!("gone-{round}");
        server.done(
            &server.admin,
            "POST",
            "/v1/tenants",
            &json!({ "name": name }),
        );
        thread::scope(|scope| {
            let applied = scope.spawn(|| apply(&server, &server.admin, name, &text));
            let pushed = scope.spawn(|| put(&server, &server.admin, name, "words", &component));
            thread::sleep(Duration::from_millis(round * 4));
            let path = format!("/v1/tenants/{name}");
            let removed = server.ask(&server.admin, "DELETE", &path, b"");
            assert!([204, 409].contains(&removed.status), "{removed:?}");
            for answer in [applied.join().unwrap(), pushed.join().unwrap()] {
                assert!([200, 404].contains(&answer.status), "{answer:?}");
            }
        });
    }
    server.stop().succeeded();
}

#[test]
fn what_is_used_is_kept_by_plugin_day_and_pipeline_for_the_tenant_alone() {
    let mut server = Server::start(&[]);
    let (acme, other) = (tenant(&server, "acme", COUNTING), server.tenant("other"));
    give(&server, "acme", "1.txt", "to be or not to be\n");
    start(&server, &acme, "acme", COUNTS);
    let part = |server: &Server, by: &str, name: &str| {
        let parts = usage(server, &acme, "acme", &format!("by={by}"))["parts"].clone();
        let parts: Vec<Value> = serde_json::from_value(parts).unwrap();
        parts.into_iter().find(|part| part["name"] == name)
    };
    wait_until("the account", || {
        let words = part(&server, "plugin", "split-words@1");
        let total = &usage(&server, &acme, "acme", "")["total"];
        words.is_some_and(|words| words["plugin_cpu_us"].as_u64() > Some(0))
            && total["cpu_ms"].as_u64() > Some(0)
            && total["memory_byte_seconds"].as_u64() > Some(0)
    });
    let words = part(&server, "plugin", "split-words@1").unwrap();
    assert_eq!((&words["rows_in"], &words["calls"]), (&json!(1), &json!(1)));
    let whole = part(&server, "pipeline", "counts").unwrap();
    assert_eq!(
        (&whole["rows_in"], &whole["bytes_in"]),
        (&json!(1), &json!(19))
    );
    let parts = usage(&server, &acme, "acme", "by=day")["parts"].clone();
    let day = parts[0]["name"].as_str().unwrap().to_owned();
    assert_eq!(parts[0]["rows_in"], 1);

    // It is kept, and what comes after a start is added to it.
    server.restart("KILL", &[]);
    assert_eq!(part(&server, "day", &day).unwrap()["rows_in"], 1);
    give(&server, "acme", "2.txt", "that is\nthe question\n");
    wait_until("what came after the start", || {
        part(&server, "pipeline", "counts").unwrap()["rows_in"] == 3
    });
    let after =
        |since: &str| usage(&server, &acme, "acme", &format!("since={since}"))["parts"].clone();
    assert_eq!(after("2999-01-01"), json!([]));
    assert_ne!(after(&day), json!([]));
    assert_eq!(usage(&server, &other, "other", "")["parts"], json!([]));
    let wrong = server.ask(&acme, "GET", "/v1/tenants/acme/usage?since=x", b"");
    assert_eq!(wrong.status, 422, "{wrong:?}");

    let cli = [
        "tenant", "usage", "acme", "--by", "pipeline", "--since", &day,
    ];
    let shown = server.client(&acme, &cli).succeeded().out;
    assert!(
        shown.contains("PIPELINE") && shown.contains("counts"),
        "{shown}"
    );
    // What a removed pipeline has used stays in the account.
    server
        .client(&acme, &["pipeline", "stop", "counts"])
        .succeeded();
    server.wait_for_phase(&acme, "acme", "counts", "stopped");
    server
        .client(&acme, &["pipeline", "rm", "counts", "--yes"])
        .succeeded();
    assert_eq!(
        part(&server, "plugin", "split-words@1").unwrap()["rows_in"],
        3
    );
    server.stop().succeeded();
}

#[test]
fn plugins_that_want_more_memory_than_their_tenant_has_wait_and_lose_nothing() {
    let server = Server::start(&[]);
    let (acme, other) = (
        tenant(&server, "acme", COUNTING),
        tenant(&server, "other", COUNTING),
    );
    let set = quota(&server, "acme", &["--memory", "64KiB"]);
    assert_eq!(set["max_memory"], 64 << 10);
    for (token, name) in [(&acme, "acme"), (&other, "other")] {
        give(&server, name, "1.txt", "a b a\n");
        start(&server, token, name, COUNTS);
    }
    wait_for_failure(
        &server,
        &acme,
        "acme",
        "more than all plugins of its tenant may have together, 64KiB of memory",
    );
    let all = BTreeMap::from([(("a".to_owned(), 2), 1), (("b".to_owned(), 1), 1)]);
    wait_until("the neighbour", || counted(&server, "other") == all);
    assert_eq!(counted(&server, "acme"), BTreeMap::new());
    let runner = runner_of(server.data().parent().unwrap(), "acme").unwrap();
    let limits = fs::read_to_string(format!("/proc/{runner}/limits")).unwrap();
    let data = limits
        .lines()
        .find(|line| line.starts_with("Max data size"))
        .unwrap();
    let wall = (2_u64 << 30) + (64 << 10);
    assert!(data.contains(&wall.to_string()), "{data}");
    // It counts at once, and the pipeline comes back by itself.
    quota(&server, "acme", &["--memory", "none"]);
    wait_until("what had to wait", || counted(&server, "acme") == all);
    assert_eq!(server.status(&other, "other", "counts")["restarts"], 0);
}

#[test]
fn a_pipeline_that_would_remember_too_much_waits_at_its_last_commit_and_goes_on_from_there() {
    let server = Server::start(&[]);
    let (acme, other) = (
        tenant(&server, "acme", COUNTING),
        tenant(&server, "other", COUNTING),
    );
    let words: Vec<String> = (0..500).map(|word| format!("word-{word:03}")).collect();
    let many = words.join(" ") + "\n";
    for (token, name) in [(&acme, "acme"), (&other, "other")] {
        give(&server, name, "1.txt", "a\n");
        start(&server, token, name, COUNTS);
        wait_until("a first epoch", || counted(&server, name).len() == 1);
    }
    wait_until("what it remembers", || {
        figures(&server, &acme, "acme", "counts")["state_bytes"].as_u64() > Some(0)
    });
    // More than one word takes, and less than five hundred do.
    quota(&server, "acme", &["--state", "6000"]);
    for name in ["acme", "other"] {
        give(&server, name, "2.txt", &many);
    }
    wait_for_failure(&server, &acme, "acme", "may remember 6KB");
    wait_until("the neighbour", || counted(&server, "other").len() == 501);
    assert_eq!(
        counted(&server, "acme").len(),
        1,
        "nothing of the epoch is visible"
    );
    quota(&server, "acme", &["--state", "1GiB"]);
    wait_until("what had to wait", || counted(&server, "acme").len() == 501);
    assert!(counted(&server, "acme").values().all(|times| *times == 1));
    wait_until("what both remember", || {
        let used = usage(&server, &acme, "acme", "");
        assert_eq!(used["quotas"]["state"], 1 << 30);
        used["state_bytes"].as_u64() > Some(6000)
    });
}

#[test]
fn sources_take_in_no_more_rows_than_their_tenant_may_and_a_neighbour_all_it_has() {
    let server = Server::start(&[]);
    let (acme, other) = (server.tenant("acme"), server.tenant("other"));
    quota(&server, "acme", &["--rows", "300"]);
    let began = Instant::now();
    for name in ["one", "two"] {
        start(&server, &acme, "acme", &load(name).replace("out", name));
    }
    start(&server, &other, "other", &load("free"));
    let rows = |token: &str, tenant: &str, name: &str| {
        figures(&server, token, tenant, name)["rows_in"]
            .as_u64()
            .unwrap_or_default()
    };
    wait_until("the neighbour", || rows(&other, "other", "free") > 50_000);
    wait_until("rows of both", || {
        ["one", "two"]
            .iter()
            .all(|name| rows(&acme, "acme", name) > 100)
    });
    let both: u64 = ["one", "two"]
        .iter()
        .map(|name| rows(&acme, "acme", name))
        .sum();
    // Of the second that a bucket holds, and twice what both may see in it at once.
    let most = 300.0 * (began.elapsed().as_secs_f64() + 2.0);
    assert!(both as f64 <= most, "{both} of {most}");
    wait_until("that it is said", || {
        figures(&server, &acme, "acme", "one")["held_ms"].as_u64() > Some(0)
    });
    let status = server
        .client(&acme, &["pipeline", "status", "one"])
        .succeeded()
        .out;
    assert!(
        status.contains("held back by the tenant's quotas"),
        "{status}"
    );
    assert!(usage(&server, &acme, "acme", "")["held_ms"].as_u64() > Some(0));
    assert_eq!(usage(&server, &other, "other", "")["held_ms"], 0);
    let before = rows(&acme, "acme", "one");
    quota(&server, "acme", &["--rows", "none"]);
    wait_until("all there is", || {
        rows(&acme, "acme", "one") > before + 50_000
    });
}

#[test]
fn lines_beyond_the_tenants_are_dropped_counted_and_told() {
    let server = Server::start(&[]);
    let (acme, other) = (
        tenant(&server, "acme", &["sink-log"]),
        tenant(&server, "other", &["sink-log"]),
    );
    quota(&server, "acme", &["--log-lines", "3"]);
    let text = "name = \"talk\"\n[epoch]\ninterval = \"50ms\"\n[sources.a]\ntype = \"generate\"\nrows_per_second = 40\n[sinks.c]\ninput = \"a\"\ntype = \"plugin\"\nplugin = \"sink-log\"\n";
    start(&server, &acme, "acme", text);
    start(&server, &other, "other", text);
    let dropped = |token: &str, tenant: &str| {
        figures(&server, token, tenant, "talk")["log_lines_dropped"]
            .as_u64()
            .unwrap_or_default()
    };
    wait_until("lines that are dropped", || dropped(&acme, "acme") > 10);
    wait_until("that it is told", || {
        let log = server
            .ask(&acme, "GET", "/v1/tenants/acme/pipelines/talk/logs", b"")
            .json;
        log.to_string()
            .contains("lines were dropped: the tenant's pipelines said too many")
    });
    assert!(usage(&server, &acme, "acme", "")["log_lines_dropped"].as_u64() > Some(10));
    assert_eq!(dropped(&other, "other"), 0);
}

#[test]
fn quotas_are_shown_and_only_what_is_written_is_changed() {
    let server = Server::start(&[]);
    let acme = server.tenant("acme");
    quota(
        &server,
        "acme",
        &["--pipelines", "3", "--cpu", "500m", "--state", "1GiB"],
    );
    let set = quota(&server, "acme", &["--rows", "10000", "--log-lines", "100"]);
    let expected = json!([3, 2, 500, 1 << 30, 10000, 100, null]);
    let found: Vec<&Value> = [
        "max_pipelines",
        "max_workers",
        "plugin_millicores",
        "max_state_bytes",
        "max_rows_per_second",
        "max_log_lines_per_second",
        "max_memory",
    ]
    .iter()
    .map(|name| &set[name])
    .collect();
    assert_eq!(json!(found), expected);
    let shown = server
        .client(&acme, &["tenant", "quota", "acme"])
        .succeeded()
        .out;
    assert!(
        shown.contains("500m") && shown.contains("10000/s"),
        "{shown}"
    );
    let own = server.client(&acme, &["tenant", "quota", "acme", "--rows", "none"]);
    assert!(own.failed_with(3).err.contains("only administrators"));
    let none = server.client(&server.admin, &["tenant", "quota", "acme", "--rows", "0"]);
    assert!(none.failed_with(3).err.contains("nothing could run"));
}

#[test]
fn a_plugin_reaches_private_addresses_only_where_the_policy_names_their_host() {
    let (address, requests) =
        wasmill_tests::http::answering(&[wasmill_tests::http::Answer::Status(200)]);
    let server = Server::start(&[]);
    let acme = tenant(&server, "acme", &["sink-webhook"]);
    let policy = |private: Value| {
        let policy = json!({ "allow_http": [address.to_string()], "allow_private": private });
        server.done(&server.admin, "PUT", "/v1/tenants/acme/policy", &policy);
    };
    policy(json!([]));
    start(
        &server,
        &acme,
        "acme",
        &hook("hook", &address.to_string(), ""),
    );
    wait_until("a denial", || {
        let log = server
            .ask(&acme, "GET", "/v1/tenants/acme/pipelines/hook/logs", b"")
            .json;
        log.to_string().contains("allow_private")
    });
    assert!(requests.try_recv().is_err(), "nothing was sent");
    policy(json!([address.to_string()]));
    requests.recv_timeout(wasmill_tests::PATIENCE).unwrap();
    let wrong = json!({ "allow_private": ["http://x/"] }).to_string();
    let wrong = server.ask(
        &server.admin,
        "PUT",
        "/v1/tenants/acme/policy",
        wrong.as_bytes(),
    );
    assert_eq!(wrong.status, 422, "{wrong:?}");
}

/// Sends rows to a webhook.
fn hook(name: &str, to: &str, headers: &str) -> String {
    format!(
        "name = \"{name}\"\n[epoch]\ninterval = \"50ms\"\n[sources.a]\ntype = \"generate\"\nrows_per_second = 100\n[sinks.c]\ninput = \"a\"\ntype = \"plugin\"\nplugin = \"sink-webhook\"\nconfig = {{ url = \"http://{to}/\"{headers} }}\ngrants = {{ http = [\"{to}\"] }}\nretries = 0\n"
    )
}

/// Every file below a folder that has this text in it.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if let Ok(bytes) = fs::read(&path)
            && bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_secret_reaches_its_plugin_and_nothing_else() {
    const TEXT: &str = "Bearer s3cr3t-0f-the-h00k";
    let (address, requests) =
        wasmill_tests::http::answering(&[wasmill_tests::http::Answer::Status(200)]);
    let mut server = Server::start(&[]);
    let (acme, other) = (
        tenant(&server, "acme", &["sink-webhook"]),
        server.tenant("other"),
    );
    let policy =
        json!({ "allow_http": [address.to_string()], "allow_private": [address.to_string()] });
    server.done(&server.admin, "PUT", "/v1/tenants/acme/policy", &policy);
    let text = hook(
        "hook",
        &address.to_string(),
        ", headers = { authorization = { secret = \"hook-token\" } }",
    );

    let missing = apply(&server, &acme, "acme", &text);
    assert_eq!(missing.status, 422, "{missing:?}");
    assert!(
        missing
            .json
            .to_string()
            .contains("there is no secret `hook-token`"),
        "{missing:?}"
    );
    let input = server.data().join("../token.txt");
    fs::write(&input, format!("{TEXT}\n")).unwrap();
    let set = wasmill_tests::run(
        server
            .command(&["secret", "set", "hook-token"])
            .env("WASMILL_URL", format!("http://{}", server.address()))
            .env("WASMILL_TOKEN", &acme)
            .stdin(fs::File::open(&input).unwrap()),
    );
    set.succeeded();
    fs::remove_file(input).unwrap();
    start(&server, &acme, "acme", &text);
    let request = requests.recv_timeout(wasmill_tests::PATIENCE).unwrap();
    assert_eq!(request.headers["authorization"], TEXT);

    // A start after the server's has it again.
    server.restart("TERM", &[]);
    while requests.try_recv().is_ok() {}
    let again = requests.recv_timeout(wasmill_tests::PATIENCE).unwrap();
    assert_eq!(again.headers["authorization"], TEXT);

    // Another tenant's of the same name is another, and there is none.
    push(&server, &other, "other", "sink-webhook", "sink-webhook");
    let policy = json!({ "allow_http": [address.to_string()] });
    server.done(&server.admin, "PUT", "/v1/tenants/other/policy", &policy);
    let theirs = apply(&server, &other, "other", &text);
    assert!(
        theirs.json.to_string().contains("there is no secret"),
        "{theirs:?}"
    );

    let core = &TEXT["Bearer ".len()..];
    assert_eq!(files_with(&server.data(), core), Vec::<String>::new());
    let own = "/v1/tenants/acme";
    for path in [
        format!("{own}/secrets"),
        format!("{own}/audit"),
        format!("{own}/usage"),
        format!("{own}/pipelines/hook"),
        format!("{own}/pipelines/hook/versions"),
        format!("{own}/pipelines/hook/versions/1"),
        format!("{own}/pipelines/hook/logs"),
        format!("{own}/pipelines/hook/graph"),
        "/v1/audit".to_owned(),
    ] {
        let answer = server.ask(&server.admin, "GET", &path, b"");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(!answer.json.to_string().contains(core), "{path}");
    }
    let body = json!({ "text": text.replace("50ms", "60ms") });
    let plan = server.done(&acme, "POST", "/v1/tenants/acme/pipelines/hook/plan", &body);
    assert!(!plan.to_string().contains(core));
    let listed = server.client(&acme, &["secret", "ls"]).succeeded().out;
    assert!(
        listed.contains("hook-token") && listed.contains("acme/test"),
        "{listed}"
    );
    server
        .client(&acme, &["secret", "rm", "hook-token"])
        .succeeded();
    assert_eq!(
        server
            .client(&acme, &["secret", "rm", "hook-token"])
            .failed_with(3)
            .out,
        ""
    );
    let audit = server
        .ask(&acme, "GET", "/v1/tenants/acme/audit?limit=2", b"")
        .json;
    assert_eq!(
        (&audit[0]["action"], &audit[0]["subject"]),
        (&json!("secret rm"), &json!("hook-token"))
    );
}
