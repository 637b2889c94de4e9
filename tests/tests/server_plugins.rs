//! What is pushed to a server may be anything: it is compiled, checked and run, and the server and the neighbours stay what they are.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wasmill_tests::hostile::{self, Hostile};
use wasmill_tests::server::{Answer, Server, apply, component, push, put};
use wasmill_tests::signer::Signer;
use wasmill_tests::wait_until;

/// A pipeline that means no harm, and has rows for ever.
const WORDS: &str = r#"name = "words"
[epoch]
interval = "50ms"
[sources.a]
type = "generate"
words = 2
rows_per_second = 100
[steps.b]
input = "a"
plugin = "split-words"
config = { column = "text" }
[sinks.c]
input = "b"
type = "print"
"#;

/// What a user is told, whatever it was that refused.
fn said(answer: &Answer) -> String {
    let error = &answer.json["error"];
    assert_eq!(error["code"], "invalid", "{answer:?}");
    format!("{} {}", error["message"], error["drawn"])
}

/// The files in a folder of the server's data whose names end so.
fn files(server: &Server, folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.data().join(folder))
        .into_iter()
        .flatten();
    let paths = entries.map(|entry| entry.expect("readable").path());
    let is_meant = |path: &PathBuf| path.to_string_lossy().ends_with(ending);
    paths.filter(is_meant).collect()
}

#[test]
fn a_server_and_its_tenants_survive_every_hostile_plugin() {
    let server = Server::start(&[]);
    let (token, neighbour) = (server.tenant("evil"), server.tenant("good"));
    let policy = json!({ "max_pipelines": 100 });
    server.done(&server.admin, "PUT", "/v1/tenants/evil/policy", &policy);
    push(&server, &neighbour, "good", "split-words", "split-words");
    let lines = server.files("evil").join("in");
    fs::create_dir(&lines).expect("the folder is writable");
    fs::write(lines.join("lines.txt"), "to be\nor not\n").expect("the folder is writable");
    let applied = apply(&server, &neighbour, "good", WORDS);
    assert_eq!(applied.status, 200, "{applied:?}");
    server.wait_for_phase(&neighbour, "good", "words", "running");

    let all = hostile::all();
    assert!(all.len() >= 25, "{}", all.len());
    let mut run = Vec::new();
    for Hostile {
        name,
        bytes,
        expected,
    } in &all
    {
        let pushed = put(&server, &token, "evil", name, bytes);
        let refused = match pushed.status {
            200 => apply(&server, &token, "evil", &hostile::pipeline(name)),
            _ => pushed,
        };
        match refused.status {
            200 => run.push((name, expected)),
            _ => assert!(said(&refused).contains(expected), "{name}: {refused:?}"),
        }
    }
    assert!(run.len() >= 20, "{run:?}");
    for (name, expected) in run {
        let mut failure = Value::Null;
        wait_until(name, || {
            failure = server.status(&token, "evil", name)["failure"].take();
            failure.is_string()
        });
        // Rows are tried one by one before a step is given up, and some lie of one row otherwise than of two.
        let failure = failure.to_string();
        let is_typed = failure.contains(expected) || failure.contains("`b`, epoch 0");
        assert!(is_typed, "{name}: {failure}");
        let stop = format!("/v1/tenants/evil/pipelines/{name}/stop");
        server.done(&token, "POST", &stop, &Value::Null);
    }
    let delivered = || {
        let status = server.status(&neighbour, "good", "words");
        assert_eq!(status["restarts"], 0, "{status}");
        status["figures"]["rows_in"].as_u64().expect("a number")
    };
    let before = delivered();
    wait_until("the neighbour's rows", || delivered() > before);
    assert!(files(&server, "staging", "").is_empty());
    server.stop().succeeded();
}

#[test]
fn a_component_that_takes_too_long_to_compile_leaves_nothing_behind() {
    let server = Server::start(&["--compile-time", "20ms"]);
    let token = server.tenant("acme");
    let refused = put(
        &server,
        &token,
        "acme",
        "giant",
        &hostile::stalls_the_compiler(),
    );
    assert!(
        said(&refused).contains("took more than 20ms of processor time to compile"),
        "{refused:?}"
    );
    assert!(files(&server, "staging", "").is_empty());
    assert!(files(&server, "components", "").is_empty());
    assert!(files(&server, "cache", ".code").is_empty());
    let none = server
        .ask(&token, "GET", "/v1/tenants/acme/plugins", b"")
        .json;
    assert_eq!(none, json!([]));
}

#[test]
fn a_component_that_takes_too_much_memory_to_compile_is_refused() {
    let server = Server::start(&["--compile-memory", "64MiB"]);
    let token = server.tenant("acme");
    let refused = put(
        &server,
        &token,
        "acme",
        "giant",
        &hostile::stalls_the_compiler(),
    );
    assert!(
        said(&refused).contains("more than 64MiB of memory to compile"),
        "{refused:?}"
    );
    assert!(files(&server, "cache", ".code").is_empty());
}

#[test]
fn compiled_code_is_no_plugin() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    push(&server, &token, "acme", "split-words", "split-words");
    let code = files(&server, "cache", ".code");
    let code = fs::read(&code[0]).expect("readable");
    assert!(code.starts_with(b"\x7fELF"));
    let refused = put(&server, &token, "acme", "code", &code);
    assert!(said(&refused).contains("is not WebAssembly"), "{refused:?}");
}

/// When a file was written.
fn written(path: &Path) -> std::time::SystemTime {
    let metadata = fs::metadata(path).expect("it is there");
    metadata.modified().expect("the system knows")
}

#[test]
fn a_runner_runs_the_code_of_the_push_and_compiles_none_itself() {
    let mut server = Server::start(&[]);
    let token = server.tenant("acme");
    push(&server, &token, "acme", "split-words", "split-words");
    let code = files(&server, "cache", ".code");
    assert_eq!(code.len(), 1);
    let before = written(&code[0]);
    let applied = apply(&server, &token, "acme", WORDS);
    assert_eq!(applied.status, 200, "{applied:?}");
    server.wait_for_phase(&token, "acme", "words", "running");
    assert_eq!(
        (files(&server, "cache", ".code"), written(&code[0])),
        (code.clone(), before)
    );

    // Where the code is gone, as after an update of wasmill, it has to be compiled by a process that may: here in no time.
    fs::remove_file(&code[0]).expect("ours");
    server.restart("TERM", &["--compile-time", "1ms"]);
    let mut failure = Value::Null;
    wait_until("a failure", || {
        failure = server.status(&token, "acme", "words")["failure"].take();
        failure.is_string()
    });
    assert!(
        failure
            .to_string()
            .contains("took more than 1ms of processor time to compile"),
        "{failure}"
    );
    assert!(files(&server, "cache", ".code").is_empty());
    server.restart("TERM", &[]);
    server.wait_for_phase(&token, "acme", "words", "running");
    assert_eq!(files(&server, "cache", ".code"), code);
}

#[test]
fn a_signature_counts_if_it_is_a_trusted_keys_and_of_this_component() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    let (signer, stranger) = (Signer::with_keys(), Signer::with_keys());
    let policy = |policy: Value| {
        let set = server.ask(
            &server.admin,
            "PUT",
            "/v1/tenants/acme/policy",
            policy.to_string().as_bytes(),
        );
        (set.status, set.json["error"]["message"].to_string())
    };
    let (status, message) = policy(json!({ "require_signature": true }));
    assert!(
        status == 422 && message.contains("lets nothing be pushed"),
        "{message}"
    );
    let (status, message) = policy(json!({ "trusted_keys": ["RWnonsense"] }));
    assert!(
        status == 422 && message.contains("not a minisign public key"),
        "{message}"
    );
    let (status, message) =
        policy(json!({ "trusted_keys": [signer.key()], "require_signature": true }));
    assert_eq!(status, 200, "{message}");

    let (file, signature) = signer.sign("split-words");
    let (_, of_another) = signer.sign("running-count");
    let (_, of_a_stranger) = stranger.sign("split-words");
    let push = |more: &[&str]| {
        let command = [&["plugin", "push", &file], more].concat();
        server.client(&token, &command)
    };
    let refused = |more: &[&str], why: &str| {
        let ended = push(more).failed_with(3);
        assert!(ended.err.contains(why), "{}", ended.err);
    };
    refused(&[], "is not signed");
    refused(
        &["--signature", &of_another],
        "is not one of this component",
    );
    refused(
        &["--signature", &of_a_stranger],
        &format!("key {}, which this tenant does not trust", stranger.id()),
    );
    refused(
        &["--signature", &signer.path("pub")],
        "not one in minisign's format",
    );
    let none = server
        .ask(&token, "GET", "/v1/tenants/acme/plugins", b"")
        .json;
    assert_eq!(none, json!([]));

    push(&["--signature", &signature]).succeeded();
    let shown = server
        .client(&token, &["plugin", "show", "split-words"])
        .succeeded()
        .out;
    assert!(
        shown.contains(&format!("signed by     {}\n", signer.id())),
        "{shown}"
    );
    let audit = server
        .client(&token, &["audit", "--output", "json"])
        .succeeded()
        .out;
    assert!(
        audit.contains(&format!("signed by {}", signer.id())),
        "{audit}"
    );

    // Who pulls it can check it with the same tool.
    let (pulled, proof) = (signer.path("pulled.wasm"), signer.path("pulled.minisig"));
    let pull = [
        "plugin",
        "pull",
        "split-words",
        "--file",
        &pulled,
        "--signature",
        &proof,
    ];
    server.client(&token, &pull).succeeded();
    signer.judges_true("pulled.wasm", "pulled.minisig");
}

#[test]
fn an_unsigned_version_has_no_signature_to_pull() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    push(&server, &token, "acme", "split-words", "split-words");
    let path = "/v1/tenants/acme/plugins/split-words/versions/1/signature";
    assert_eq!(server.ask(&token, "GET", path, b"").status, 404);
}

#[test]
fn a_version_that_is_removed_leaves_neither_component_nor_code() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    push(&server, &token, "acme", "split-words", "split-words");
    let kept = [
        files(&server, "cache", ".code"),
        files(&server, "cache", ".proof"),
    ];
    push(&server, &token, "acme", "words", "filter-regex");
    assert_eq!(files(&server, "components", ".wasm").len(), 2);
    assert_eq!(files(&server, "cache", ".code").len(), 2);
    let path = "/v1/tenants/acme/plugins/words/versions/1";
    assert_eq!(server.ask(&token, "DELETE", path, b"").status, 204);
    assert_eq!(files(&server, "components", ".wasm").len(), 1);
    let left = [
        files(&server, "cache", ".code"),
        files(&server, "cache", ".proof"),
    ];
    assert_eq!(left, kept);
}

#[test]
fn a_tenant_keeps_no_more_plugins_than_it_may() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    let words = fs::read(component("split-words")).expect("it is built");
    let filter = fs::read(component("filter-regex")).expect("it is built");
    let most = words.len() + filter.len() - 1;
    let policy = json!({ "max_plugin_bytes": most });
    server.done(&server.admin, "PUT", "/v1/tenants/acme/policy", &policy);
    push(&server, &token, "acme", "split-words", "split-words");
    let refused = put(&server, &token, "acme", "filter-regex", &filter);
    assert_eq!(refused.status, 409, "{refused:?}");
    let message = refused.json["error"]["message"].as_str();
    assert!(
        message.is_some_and(|message| message.contains("would take more than")),
        "{refused:?}"
    );
    assert_eq!(files(&server, "cache", ".code").len(), 1);
    // The same bytes again, under whatever name, take no more.
    assert_eq!(put(&server, &token, "acme", "again", &words).status, 200);
    let usage = server
        .ask(&token, "GET", "/v1/tenants/acme/usage", b"")
        .json;
    assert_eq!(usage["plugin_bytes"], words.len());
    let path = "/v1/tenants/acme/plugins/split-words/versions/1";
    assert_eq!(server.ask(&token, "DELETE", path, b"").status, 204);
    let still = put(&server, &token, "acme", "filter-regex", &filter);
    assert_eq!(still.status, 409, "`again` has it: {still:?}");
    let path = "/v1/tenants/acme/plugins/again/versions/1";
    assert_eq!(server.ask(&token, "DELETE", path, b"").status, 204);
    assert_eq!(
        put(&server, &token, "acme", "filter-regex", &filter).status,
        200
    );
}

#[test]
fn a_start_removes_components_that_no_version_names() {
    let mut server = Server::start(&[]);
    let token = server.tenant("acme");
    push(&server, &token, "acme", "split-words", "split-words");
    let kept = files(&server, "components", ".wasm");
    // What a server leaves that is killed between keeping a component and naming it.
    let stray = server
        .data()
        .join(format!("components/{}.wasm", "ab".repeat(32)));
    fs::write(&stray, b"half of a push").expect("writable");
    server.restart("KILL", &[]);
    assert_eq!(files(&server, "components", ".wasm"), kept);
    let path = "/v1/tenants/acme/plugins/split-words/versions/1/component";
    assert_eq!(server.ask(&token, "GET", path, b"").status, 200);
}
