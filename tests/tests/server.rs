//! `wasmill serve` and its clients: what a tenant can do. What it cannot is in `server_limits.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use wasmill_tests::s3::S3Server;
use wasmill_tests::server::{COUNTS, Server, apply, component, push};
use wasmill_tests::token_server::tls;
use wasmill_tests::{delivered, run, wait_until, wasmill};

/// What a pipeline has counted so far: the highest count of each word.
fn counted(folder: &Path) -> BTreeMap<String, u64> {
    let mut counted = BTreeMap::new();
    for line in delivered(folder) {
        let row: Value = serde_json::from_str(&line).expect("a row is JSON");
        let count = counted
            .entry(row["word"].as_str().expect("a text").to_owned())
            .or_default();
        *count = row["n"].as_u64().expect("a number").max(*count);
    }
    counted
}

/// A server on which acme counts words, with its token.
fn counting() -> (Server, String) {
    counting_on(Server::start(&[]))
}

fn counting_on(server: Server) -> (Server, String) {
    counting_as(COUNTS, server)
}

fn counting_as(text: &str, server: Server) -> (Server, String) {
    let token = server.tenant("acme");
    fs::create_dir(server.files("acme").join("in")).expect("the folder is writable");
    push(&server, &token, "acme", "split-words", "split-words");
    push(&server, &token, "acme", "running-count", "running-count");
    let applied = apply(&server, &token, "acme", text);
    assert_eq!(applied.status, 200, "{applied:?}");
    (server, token)
}

/// Gives the pipeline a file whole, as its sources want it.
fn give(server: &Server, name: &str, text: &str) {
    let files = server.files("acme");
    fs::write(files.join(name), text).expect("the folder is writable");
    fs::rename(files.join(name), files.join("in").join(name)).expect("the folder is writable");
}

fn wait_for_counts(server: &Server, counts: &[(&str, u64)]) {
    let counts = counts
        .iter()
        .map(|(word, count)| ((*word).to_owned(), *count));
    let counts: BTreeMap<_, _> = counts.collect();
    let out = server.files("acme").join("out");
    wait_until(&format!("{counts:?}"), || counted(&out) == counts);
}

#[test]
fn a_pipeline_keeps_its_state_over_a_pause_an_upgrade_and_a_rollback() {
    let (server, token) = counting();
    give(&server, "1.txt", "to be or not to be\n");
    wait_for_counts(&server, &[("be", 2), ("not", 1), ("or", 1), ("to", 2)]);

    let call = |path: &str, body: Value| {
        let path = format!("/v1/tenants/acme/pipelines/counts/{path}");
        server.done(&token, "POST", &path, &body)
    };
    call("pause", Value::Null);
    server.wait_for_phase(&token, "acme", "counts", "paused");
    give(&server, "2.txt", "to do\n");
    call("resume", Value::Null);
    wait_for_counts(
        &server,
        &[("be", 2), ("do", 1), ("not", 1), ("or", 1), ("to", 3)],
    );

    let second = COUNTS.replace("50ms", "60ms");
    let applied = apply(&server, &token, "acme", &second);
    assert_eq!(
        (&applied.json["version"], &applied.json["changed"]),
        (&json!(2), &json!(true))
    );
    give(&server, "3.txt", "do be\n");
    wait_for_counts(
        &server,
        &[("be", 3), ("do", 2), ("not", 1), ("or", 1), ("to", 3)],
    );
    let again = apply(&server, &token, "acme", &second);
    assert_eq!(
        (&again.json["version"], &again.json["changed"]),
        (&json!(2), &json!(false))
    );

    call("rollback", json!({ "version": 1 }));
    wait_until("version 1", || {
        let status = server.wait_for_phase(&token, "acme", "counts", "running");
        status["version"] == 1
    });
    give(&server, "4.txt", "be\n");
    wait_for_counts(
        &server,
        &[("be", 4), ("do", 2), ("not", 1), ("or", 1), ("to", 3)],
    );
    server.stop().succeeded();
}

#[test]
fn the_latest_versions_of_a_pipeline_are_kept_and_plugins_of_older_ones_can_go() {
    let keep = ["--keep-versions", "2"];
    let (mut server, token) = counting_on(Server::start(&keep));
    push(&server, &token, "acme", "again", "split-words");
    let folder = server.data().join("tenants/acme/pipelines/counts/versions");
    let kept = || {
        let files = fs::read_dir(&folder).expect("there are some");
        let names = files.map(|file| file.expect("it is there").file_name());
        names.collect::<BTreeSet<_>>()
    };
    let remove = |server: &Server| {
        let path = "/v1/tenants/acme/plugins/split-words/versions/1";
        server.ask(&token, "DELETE", path, b"").status
    };
    let second = COUNTS.replace("\"split-words\"", "\"again\"");
    assert_ne!(second, COUNTS);
    assert_eq!(apply(&server, &token, "acme", &second).json["version"], 2);
    assert_eq!(kept(), BTreeSet::from(["1".into(), "2".into()]));
    assert_eq!(remove(&server), 409, "version 1 is made of it");

    let third = second.replace("50ms", "60ms");
    assert_eq!(apply(&server, &token, "acme", &third).json["version"], 3);
    assert_eq!(kept(), BTreeSet::from(["2".into(), "3".into()]));
    let versions = server.client(
        &token,
        &["pipeline", "versions", "counts", "--output", "json"],
    );
    let versions: Value = serde_json::from_str(&versions.succeeded().out).expect("it is JSON");
    let numbers: Vec<_> = versions
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["version"])
        .collect();
    assert_eq!(numbers, [3, 2]);
    assert_eq!(remove(&server), 204);
    let gone = server.ask(
        &token,
        "POST",
        "/v1/tenants/acme/pipelines/counts/rollback",
        b"{\"version\": 1}",
    );
    assert_eq!(gone.status, 404, "{gone:?}");

    // What a crash has left of a version that was to come or to go.
    fs::create_dir(folder.join("4")).expect("the folder is writable");
    server.restart("KILL", &keep);
    assert_eq!(kept(), BTreeSet::from(["2".into(), "3".into()]));
    give(&server, "1.txt", "a b a\n");
    wait_for_counts(&server, &[("a", 2), ("b", 1)]);
    server.stop().succeeded();
}

#[test]
fn a_killed_server_starts_again_what_should_run_and_counts_nothing_twice() {
    let (mut server, token) = counting();
    give(&server, "1.txt", "a b a\n");
    wait_for_counts(&server, &[("a", 2), ("b", 1)]);
    let token_again = server.restart("KILL", &[]);
    assert_eq!(token_again, None, "there is an administrator already");
    give(&server, "2.txt", "b c\n");
    wait_for_counts(&server, &[("a", 2), ("b", 2), ("c", 1)]);
    server.wait_for_phase(&token, "acme", "counts", "running");
    server.stop().succeeded();
}

#[test]
fn who_has_lost_the_administrators_token_gets_another() {
    let mut server = Server::start(&[]);
    let asked = |server: &Server, token: &str| server.ask(token, "GET", "/v1/whoami", b"").status;
    let new = server.restart("TERM", &["--new-admin-token"]).unwrap();
    assert_ne!(new, server.admin);
    assert_eq!(
        (asked(&server, &new), asked(&server, &server.admin)),
        (200, 200)
    );
    // The lost one is taken out of use, by whoever finds it in the list; the last one cannot be.
    let listed = ["admin", "token", "ls", "--output", "json"];
    let listed = server.client(&new, &listed).succeeded().out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let ids: Vec<String> = (0..2)
        .map(|place| listed[place]["id"].to_string())
        .collect();
    let revoke = |id: &str| server.client(&new, &["admin", "token", "revoke", id]);
    revoke(&ids[0]).succeeded();
    assert_eq!(asked(&server, &server.admin), 401);
    let last = revoke(&ids[1]).failed_with(3);
    assert!(last.err.contains("make another one first"), "{}", last.err);
    let made = ["admin", "token", "create", "--label", "ops"];
    let made = server.client(&new, &made).succeeded().out;
    assert_eq!(asked(&server, made.trim()), 200);
}

#[test]
fn pipelines_can_run_in_the_server_itself() {
    let server = Server::start(&["--in-process"]);
    let token = server.tenant("acme");
    let text = "name = \"p\"\n[epoch]\ninterval = \"50ms\"\n[sources.a]\ntype = \"generate\"\n[sinks.c]\ninput = \"a\"\ntype = \"print\"\n";
    assert_eq!(apply(&server, &token, "acme", text).status, 200);
    server.wait_for_phase(&token, "acme", "p", "running");
    server.stop().succeeded();
}

#[test]
fn a_pipeline_is_managed_from_the_command_line() {
    let server = Server::start(&[]);
    let folder = server.files("acme");
    let file = server.data().join("counts.toml");
    fs::write(&file, COUNTS).unwrap();
    let file = file.to_str().unwrap();

    server
        .client(&server.admin, &["tenant", "create", "acme"])
        .succeeded();
    fs::create_dir(folder.join("in")).unwrap();
    let made = ["tenant", "token", "create", "acme", "--label", "laptop"];
    let token = server.client(&server.admin, &made).succeeded().out;
    let url = format!("http://{}", server.address());
    let login = ["login", &url, "--token", token.trim(), "--name", "work"];
    let said = run(&mut server.command(&login)).succeeded().out;
    assert_eq!(said, "logged in as acme/laptop, kept as context `work`\n");

    let cli = |arguments: &[&str]| run(&mut server.command(arguments));
    let refused = cli(&["pipeline", "apply", file, "--yes"])
        .failed_with(2)
        .err;
    assert!(refused.contains("--> pipeline.toml:13:10"), "{refused}");
    assert!(refused.contains("push it first"), "{refused}");
    for name in ["split-words", "running-count"] {
        let wasm = component(name);
        let pushed = cli(&["plugin", "push", wasm.to_str().unwrap()])
            .succeeded()
            .out;
        assert!(pushed.contains(&format!("{name}@1")), "{pushed}");
    }
    cli(&["pipeline", "apply", file]).failed_with(2);
    let planned = cli(&["pipeline", "apply", file, "--plan"]).succeeded().out;
    assert!(planned.contains("words is split-words@1"), "{planned}");
    let applied = cli(&["pipeline", "apply", file, "--yes"]).succeeded().out;
    assert!(applied.ends_with("counts is at version 1\n"), "{applied}");
    give(&server, "1.txt", "a a\n");
    wait_for_counts(&server, &[("a", 2)]);

    wait_until("what it has cost", || {
        let usage = cli(&["tenant", "usage", "acme", "--output", "json"]);
        let usage: Value = serde_json::from_str(&usage.succeeded().out).unwrap();
        usage["cpu_ms"].as_u64().unwrap() > 0 && usage["memory_bytes"].as_u64().unwrap() > 0
    });

    cli(&["pipeline", "stop", "counts"]).succeeded();
    server.wait_for_phase(token.trim(), "acme", "counts", "stopped");
    let listed = cli(&["pipeline", "ls", "--output", "json"]).succeeded().out;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["wanted"], "stopped");
    let pulled = folder.join("pulled.wasm");
    let pull = [
        "plugin",
        "pull",
        "split-words@1",
        "--file",
        pulled.to_str().unwrap(),
    ];
    fs::write(&pulled, "another").unwrap();
    let refused = cli(&pull).failed_with(2).err;
    assert!(refused.contains("is another"), "{refused}");
    cli(&[&pull as &[&str], &["--overwrite"]].concat()).succeeded();
    assert_eq!(
        fs::read(&pulled).unwrap(),
        fs::read(component("split-words")).unwrap()
    );
    cli(&pull).succeeded();

    let used = cli(&["plugin", "rm", "split-words@1"]).failed_with(3).err;
    assert!(used.contains("pipeline `counts`"), "{used}");
    cli(&["pipeline", "rm", "counts", "--yes"]).succeeded();
    assert!(!server.data().join("tenants/acme/pipelines/counts").exists());
    cli(&["plugin", "rm", "split-words@1"]).succeeded();

    let audit = cli(&["audit", "--output", "json"]).succeeded().out;
    let audit: Vec<Value> = serde_json::from_str(&audit).unwrap();
    let actions: Vec<_> = audit
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "plugin rm",
            "pipeline rm",
            "pipeline stop",
            "pipeline apply",
            "plugin push",
            "plugin push",
            "token create",
            "tenant create"
        ]
    );
    assert_eq!(
        audit[0]["before"].as_str().unwrap().len(),
        "sha256:".len() + 64
    );
}

#[test]
fn a_folder_has_one_server_and_strangers_are_not_served_in_the_clear() {
    let server = Server::start(&[]);
    let second = run(wasmill()
        .arg("serve")
        .arg("--data")
        .arg(server.data())
        .args(["--listen", "127.0.0.1:0"]));
    assert!(second.failed_with(3).err.contains("another server uses"));
    let open = run(wasmill()
        .arg("serve")
        .arg("--data")
        .arg(server.data().join("new"))
        .args(["--listen", "0.0.0.0:0"]));
    assert!(open.failed_with(2).err.contains("--tls-cert"));
    assert!(
        !server.data().join("new").exists(),
        "nothing is made before that"
    );
}

#[test]
fn tokens_go_over_tls() {
    let (certificate, key) = (tls("cert.pem"), tls("key.pem"));
    let server = Server::start(&[
        "--tls-cert",
        certificate.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ]);
    let url = format!("https://{}", server.address());
    let mut login = server.command(&["login", &url, "--token", &server.admin]);
    let distrusted = run(login.env_remove("SSL_CERT_FILE"));
    assert!(distrusted.failed_with(4).err.contains("certificate"));
    let trusted = run(login.env("SSL_CERT_FILE", &certificate)).succeeded();
    assert!(
        trusted.out.contains("logged in as admin/start"),
        "{}",
        trusted.out
    );
}

#[test]
fn a_machine_without_certificates_reaches_a_server_without_tls() {
    let server = Server::start(&[]);
    let nothing = tempfile::tempdir().expect("a temporary folder");
    let login = |scheme| {
        let url = format!("{scheme}://{}", server.address());
        let mut login = server.command(&["login", &url, "--token", &server.admin]);
        login
            .env("SSL_CERT_FILE", nothing.path().join("none.pem"))
            .env("SSL_CERT_DIR", nothing.path());
        run(&mut login)
    };
    let said = login("https").failed_with(4).err;
    assert!(said.contains("package `ca-certificates`"), "{said}");
    login("http").succeeded();
}

#[test]
fn top_shows_an_administrator_all_pipelines_and_a_tenant_its_own() {
    let server = Server::start(&[]);
    let tokens = ["acme", "beta"].map(|tenant| {
        let token = server.tenant(tenant);
        let text = "name = \"p\"\n[epoch]\ninterval = \"50ms\"\n[sources.a]\ntype = \"generate\"\nrows_per_second = 1000\n[sinks.c]\ninput = \"a\"\ntype = \"print\"\n";
        assert_eq!(apply(&server, &token, tenant, text).status, 200);
        server.wait_for_phase(&token, tenant, "p", "running");
        token
    });
    let top = |token: &str, more: &[&str]| {
        let all = [&["top", "--once", "--output", "json"], more].concat();
        let shown = server.client(token, &all).succeeded().out;
        assert_eq!(shown.lines().count(), 1, "{shown}");
        serde_json::from_str::<Value>(&shown).expect("JSON")
    };
    let names = |shown: &Value| {
        let lines = shown["pipelines"].as_array().expect("a list").iter();
        let names = lines.map(|line| line["tenant"].as_str().expect("a name").to_owned());
        names.collect::<Vec<_>>()
    };
    wait_until("rows", || {
        let shown = top(&server.admin, &["--sort", "rows"]);
        assert_eq!(shown["tenants"].as_array().map(Vec::len), Some(2));
        let mut found = names(&shown);
        found.sort();
        assert_eq!(found, ["acme", "beta"]);
        shown["pipelines"][1]["rows_per_second"].as_f64() > Some(0.0)
    });
    assert_eq!(names(&top(&tokens[0], &[])), ["acme"]);
    assert_eq!(names(&top(&server.admin, &["--tenant", "beta"])), ["beta"]);
    // There is no terminal, so the table comes once.
    let table = server.client(&tokens[1], &["top"]).succeeded().out;
    assert!(table.contains("beta    p         running"), "{table}");
}

#[test]
fn what_a_pipeline_says_of_its_files_has_no_path_of_the_server() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    let files = server.files("acme");
    fs::create_dir(files.join("in")).unwrap();
    fs::write(files.join("in/rows.jsonl"), "{\"n\": 1}\n{\"n\": \"x\"}\n").unwrap();
    let text = "name = \"p\"\n[epoch]\ninterval = \"50ms\"\n[sources.a]\ntype = \"files\"\npath = \"in\"\n\
        format = \"json\"\nschema = { n = \"int64\" }\n[sinks.c]\ninput = \"a\"\ntype = \"print\"\n";
    let applied = apply(&server, &token, "acme", text);
    assert_eq!(applied.status, 200, "{applied:?}");
    let mut failure = serde_json::Value::Null;
    wait_until("a failure", || {
        failure = server.status(&token, "acme", "p")["failure"].take();
        failure.is_string()
    });
    let logs = server.ask(&token, "GET", "/v1/tenants/acme/pipelines/p/logs", b"");
    let said = format!("{failure}{}", logs.json);
    assert!(said.contains("from in/rows.jsonl"), "{said}");
    let root = server.data();
    assert!(!said.contains(root.to_str().unwrap()), "{said}");
}

#[test]
fn checkpoints_can_be_in_a_bucket_and_a_killed_server_goes_on_from_there() {
    let bucket = S3Server::start();
    let there = ["--store", "s3://bucket/all"];
    let (mut server, token) = counting_on(Server::knowing(&bucket.variables(), &there));
    give(&server, "1.txt", "a b a\n");
    wait_for_counts(&server, &[("a", 2), ("b", 1)]);
    let records = bucket.file("all/tenants/acme/pipelines/counts/commit");
    assert!(records.exists());
    let pipeline = server.data().join("tenants/acme/pipelines/counts");
    assert!(!pipeline.join("checkpoint").exists());

    server.restart("KILL", &there);
    give(&server, "2.txt", "b c\n");
    wait_for_counts(&server, &[("a", 2), ("b", 2), ("c", 1)]);

    server
        .client(&token, &["pipeline", "stop", "counts"])
        .succeeded();
    server.wait_for_phase(&token, "acme", "counts", "stopped");
    server
        .client(&token, &["pipeline", "rm", "counts", "--yes"])
        .succeeded();
    let left = fs::read_dir(&records).map_or(0, Iterator::count);
    assert_eq!(left, 0, "what a removed pipeline remembered is gone");
    server.stop().succeeded();
}

/// Gives the pipeline a file, and waits until its checkpoint in the bucket has these counts.
fn counts_in(bucket: &S3Server, server: &Server, file: (&str, &str), counts: &[(&str, u64)]) {
    give(server, file.0, file.1);
    let row = |(word, n): &(&str, u64)| format!("{{\"n\":{n},\"word\":\"{word}\"}}");
    let counts: BTreeSet<_> = counts.iter().map(row).collect();
    let checkpoint = "s3://bucket/all/tenants/acme/pipelines/counts";
    wait_until(&format!("{counts:?}"), || {
        let mut export = server.command(&["state", "export", checkpoint, "totals"]);
        let lines = run(export.envs(bucket.variables())).out;
        lines.lines().map(str::to_owned).collect::<BTreeSet<_>>() == counts
    });
}

#[test]
fn another_machine_goes_on_from_what_a_lost_one_had_in_its_bucket() {
    let bucket = S3Server::start();
    let keys = tempfile::tempdir().unwrap();
    let path = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    let key = path("secrets.key");
    let there = ["--store", "s3://bucket/all", "--secrets-key", &key];
    // What it writes to its machine's disk would be lost with that.
    let text = COUNTS.replace("type = \"files\"\npath = \"out\"", "type = \"print\"");
    let (mut first, token) = counting_as(&text, Server::knowing(&bucket.variables(), &there));
    counts_in(&bucket, &first, ("1.txt", "a b a\n"), &[("a", 2), ("b", 1)]);
    let secret = json!({ "value": "12345678" });
    first.done(&token, "PUT", "/v1/tenants/acme/secrets/key", &secret);
    wait_until("a copy of all that", || {
        let copies = fs::read_dir(bucket.file("all/server/catalog"));
        let mut copies = copies.into_iter().flatten().filter_map(Result::ok);
        copies.any(|copy| {
            let bytes = fs::read(copy.path()).unwrap_or_default();
            bytes.windows(10).any(|text| text == b"secret set")
        })
    });
    first.kill();

    let second = first.successor(&there, "acme", "in");
    let counts = [("a", 2), ("b", 2), ("c", 1)];
    counts_in(&bucket, &second, ("2.txt", "b c\n"), &counts);
    let secrets = second.done(&token, "GET", "/v1/tenants/acme/secrets", &Value::Null);
    assert_eq!(secrets[0]["name"], "key");
    let pull = ["plugin", "pull", "split-words", "-o", &path("pulled.wasm")];
    second.client(&token, &pull).succeeded();

    // Who comes back is told that it is too late, and who is replaced notices.
    let data = first.data();
    let back = [
        &["serve", "--data", data.to_str().unwrap()] as &[&str],
        &there,
    ]
    .concat();
    let refused = run(first.command(&back).envs(bucket.variables()))
        .failed_with(3)
        .err;
    assert!(refused.contains("another server has begun"), "{refused}");
    let third = second.successor(&there, "acme", "in");
    let replaced = second.end().failed_with(4).err;
    assert!(
        replaced.contains("another server has taken over"),
        "{replaced}"
    );
    let counts = [("a", 2), ("b", 3), ("c", 2)];
    counts_in(&bucket, &third, ("3.txt", "b c\n"), &counts);
    third.stop().succeeded();
}
