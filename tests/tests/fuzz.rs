//! The API says of itself what it answers: schemathesis reads the OpenAPI document, asks whatever it allows and what it does not, and
//! holds every answer against it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wasmill_tests::python;
use wasmill_tests::server::{Server, apply, push};

/// Of the first days of November 2026.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// Of each operation: about half a minute of a small machine in all.
const EXAMPLES: &str = "12";
/// Not those that have the document forbid whatever is refused: which texts are a pipeline is not its to say.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,unsupported_method,allow_header_conformance,ignored_auth,use_after_free,\
                      ensure_resource_availability,missing_required_header";
/// It never ends.
const EVENTS: &str = "/v1/tenants/{tenant}/events";

const COUNTS: &str = "name = \"counts\"\n[sources.a]\ntype = \"generate\"\nrows_per_second = 10\nwords = 1\n[steps.b]\ninput = \"a\"\nplugin = \"split-words\"\nconfig = { column = \"text\" }\n[sinks.c]\ninput = \"b\"\ntype = \"print\"\n";

#[test]
fn every_answer_is_as_the_document_says_and_none_is_the_servers_fault() {
    let server = Server::start(&["--failed-logins", "100000"]);
    let token = server.tenant("acme");
    push(&server, &token, "acme", "split-words", "split-words");
    let applied = apply(&server, &token, "acme", COUNTS);
    assert_eq!(applied.status, 200, "{applied:?}");
    for (whose, token) in [
        ("the tenant", &token),
        ("the administrator", &server.admin.clone()),
    ] {
        let program = python::program(SCHEMATHESIS, "schemathesis");
        let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/hooks.py");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut fuzz = Command::new(program);
        fuzz.arg("run")
            .arg(format!("http://{}/openapi.json", server.address()))
            .args(["--header", &format!("Authorization: Bearer {token}")])
            .args(["--checks", CHECKS, "--exclude-path", EVENTS])
            .args(["--max-examples", EXAMPLES, "--seed", "1", "--workers", "2"])
            .args([
                "--generation-database",
                "none",
                "--request-timeout",
                "60",
                "--no-color",
            ])
            .env("SCHEMATHESIS_HOOKS", hooks)
            .current_dir(folder.path());
        let ended = fuzz.output().expect("it is installed");
        let said = String::from_utf8_lossy(&ended.stdout);
        if !ended.status.success() {
            let log = server.stop().err;
            panic!("as {whose}:\n{said}\n{log}");
        }
        println!("as {whose}:\n{said}");
    }
    server.stop().succeeded();
}

#[test]
fn every_reference_of_the_document_leads_to_something_in_it() {
    let server = Server::start(&[]);
    let document = server.exchange("", "GET", "/openapi.json", b"").json;
    let mut references = Vec::new();
    find_references(&document, &mut references);
    assert!(references.len() > 100, "{references:?}");
    let astray = |reference: &&str| {
        let inside = reference.strip_prefix('#');
        inside.is_none_or(|pointer| document.pointer(pointer).is_none())
    };
    let astray: Vec<&str> = references.into_iter().filter(astray).collect();
    assert_eq!(astray, Vec::<&str>::new());
    server.stop().succeeded();
}

fn find_references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            for member in members.values() {
                find_references(member, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                find_references(item, found);
            }
        }
        _ => {}
    }
}
