//! What a token opens: nothing without one, with a wrong or a revoked one; what its holder may know of; and no more than it was made for.

use std::io::{BufRead as _, BufReader, Write as _};

use serde_json::{Value, json};
use wasmill_tests::server::{Answer, Server, apply, push};

/// What anyone may ask.
const OPEN: [&str; 3] = ["/healthz", "/openapi.json", "/readyz"];

/// Every operation of the served document, with some name at each place of its address.
fn operations(server: &Server) -> Vec<(String, String)> {
    let document = server.exchange("", "GET", "/openapi.json", b"").json;
    let paths = document["paths"].as_object().expect("it has paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let path = path
            .replace("{tenant}", "acme")
            .replace("{number}", "1")
            .replace("{row}", "1-0-0")
            .replace("{secret}", "api-token")
            .replace("{plugin}", "split-words")
            .replace("{pipeline}", "counts");
        assert!(
            !path.contains('{'),
            "{path} has a place that this test does not know"
        );
        let methods = item.as_object().expect("it has methods").keys();
        methods
            .map(move |method| (method.to_uppercase(), path.clone()))
            .collect::<Vec<_>>()
    });
    operations.collect()
}

#[test]
fn no_endpoint_answers_without_a_token_or_with_a_wrong_a_revoked_or_anothers_one() {
    let server = Server::start(&["--failed-logins", "1000"]);
    let own = server.tenant("acme");
    let other = server.tenant("other");
    push(&server, &own, "acme", "split-words", "split-words");
    let text = "name = \"counts\"\n[sources.a]\ntype = \"generate\"\nwords = 1\n[steps.b]\ninput = \"a\"\nplugin = \"split-words\"\nconfig = { column = \"text\" }\n[sinks.c]\ninput = \"b\"\ntype = \"print\"\n";
    assert_eq!(apply(&server, &own, "acme", text).status, 200);
    let revoked = server.token("acme", "lost");
    let tokens = server
        .ask(&server.admin, "GET", "/v1/tenants/acme/tokens", b"")
        .json;
    assert_eq!(tokens[1]["label"], "lost");
    let id = tokens[1]["id"].to_string();
    let revoke = ["tenant", "token", "revoke", "acme", &id];
    server.client(&server.admin, &revoke).succeeded();

    let operations = operations(&server);
    let (mut open, mut of_tenants, mut of_admins) = (Vec::new(), 0, 0);
    for (method, path) in &operations {
        let without = server.exchange("", method, path, b"");
        if without.status == 200 {
            open.push(path.as_str());
            continue;
        }
        let mut tried = vec![without];
        for token in ["", "wm_wrong", &revoked] {
            tried.push(server.ask(token, method, path, b""));
        }
        for answer in tried {
            assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
            assert_eq!(
                answer.json["error"]["code"], "unauthorized",
                "{method} {path}"
            );
        }
        if path.starts_with("/v1/tenants/acme") {
            of_tenants += 1;
            let foreign = server.ask(&other, method, path, b"");
            assert_eq!(foreign.status, 404, "{method} {path}: {foreign:?}");
            // It must not be told from a tenant that is not there.
            let nowhere = server.ask(&other, method, &path.replace("acme", "none"), b"");
            let said = |answer: &Answer| answer.json.to_string().replace("none", "acme");
            assert_eq!(said(&foreign), said(&nowhere), "{method} {path}");
        }
        // What only administrators do is no secret to the tenant that it is about.
        let is_own = ["/plugins/", "/pipelines/", "/secrets/"];
        if method != "GET" && !is_own.iter().any(|own| path.contains(own)) {
            of_admins += 1;
            let refused = server.ask(&own, method, path, b"");
            assert_eq!(refused.status, 403, "{method} {path}: {refused:?}");
        }
    }
    open.sort_unstable();
    assert_eq!(open, OPEN);
    assert!(
        of_tenants > 20 && of_admins > 3,
        "{of_tenants} {of_admins} {operations:?}"
    );

    let seen = server.ask(&other, "GET", "/v1/tenants", b"").json;
    let names: Vec<_> = seen
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["other"]);
    assert_eq!(server.ask(&own, "GET", "/v1/audit", b"").status, 403);
    // And all that was tried has changed nothing.
    assert_eq!(
        server
            .ask(&own, "GET", "/v1/tenants/acme/pipelines/counts", b"")
            .json["wanted"],
        "running"
    );
}

#[test]
fn the_document_says_which_endpoints_want_a_token() {
    let server = Server::start(&[]);
    let document = server.exchange("", "GET", "/openapi.json", b"").json;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let wants = operation["security"].is_array();
            assert_eq!(wants, !OPEN.contains(&path.as_str()), "{method} {path}");
        }
    }
}

#[test]
fn wrong_tokens_are_soon_not_listened_to_and_right_ones_still_are() {
    let server = Server::start(&["--failed-logins", "3"]);
    let wrong = || server.ask("wm_wrong", "GET", "/v1/whoami", b"").status;
    assert_eq!([wrong(), wrong(), wrong(), wrong()], [401, 401, 401, 429]);
    assert_eq!(
        server.ask(&server.admin, "GET", "/v1/whoami", b"").status,
        200
    );
}

#[test]
fn a_token_opens_no_more_than_it_was_made_for() {
    let server = Server::start(&[]);
    let own = server.tenant("acme");
    let make = |scope: &str| {
        let create = [
            "tenant", "token", "create", "acme", "--label", scope, "--scope", scope,
        ];
        let made = server.client(&server.admin, &create);
        made.succeeded().out.trim().to_owned()
    };
    let (looking, scraping) = (make("read"), make("metrics"));
    for (method, path) in operations(&server) {
        if OPEN.contains(&path.as_str()) || path.ends_with("/events") {
            continue;
        }
        // Whoever may do all is asked for comparison alone where nothing changes.
        let looks = server.ask(&looking, &method, &path, b"");
        match method.as_str() {
            "GET" => assert_eq!(
                looks.status,
                server.ask(&own, "GET", &path, b"").status,
                "{path}"
            ),
            _ => assert_eq!(looks.status, 403, "{method} {path}: {looks:?}"),
        }
        let scrapes = server.ask(&scraping, &method, &path, b"");
        match path.as_str() {
            "/metrics" => assert_eq!(scrapes.status, 200),
            _ => assert_eq!(scrapes.status, 403, "{method} {path}: {scrapes:?}"),
        }
    }
    let who = server.ask(&looking, "GET", "/v1/whoami", b"").json;
    assert_eq!(
        who,
        json!({ "who": "acme/read", "tenant": "acme", "role": "tenant", "scope": "read" })
    );
    let listed = server.client(&server.admin, &["tenant", "token", "ls", "acme"]);
    assert!(listed.succeeded().out.contains("metrics"));
}

#[test]
fn one_that_only_looks_leaves_the_last_that_administers_in_use() {
    let server = Server::start(&[]);
    let create = [
        "admin", "token", "create", "--label", "screen", "--scope", "read",
    ];
    server.client(&server.admin, &create).succeeded();
    let revoked = server.client(&server.admin, &["admin", "token", "revoke", "1"]);
    let said = revoked.failed_with(3).err;
    assert!(said.contains("nobody could administer"), "{said}");
}

#[test]
fn a_stream_of_events_ends_with_its_token() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    let mut stream = server.connect();
    write!(
        stream,
        "GET /v1/tenants/acme/events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert!(lines.next().unwrap().unwrap().contains("200 OK"));
    let tokens = "/v1/tenants/acme/tokens";
    let id = &server.ask(&server.admin, "GET", tokens, b"").json[0]["id"];
    server.done(
        &server.admin,
        "DELETE",
        &format!("{tokens}/{id}"),
        &Value::Null,
    );
    // It would go on for ever; the connection itself may be used for another request.
    assert!(
        lines.any(|line| line.unwrap() == "0"),
        "the last piece has come"
    );
}
