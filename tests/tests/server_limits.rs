//! What nobody can do on a server: name what is another's, leave a tenant's folder, or hold the server up.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use wasmill_tests::server::{Server, apply, component, push, read};
use wasmill_tests::{PATIENCE, wait_until};

#[test]
fn names_stay_in_their_place() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    server.tenant("other");
    let wasm = fs::read(component("split-words")).unwrap();
    let wrong = [
        "..",
        ".",
        "%2e%2e",
        "..%2f..%2fx",
        "%2e%2e%2f%2e%2e%2fother%2ffiles%2fx",
        "a%2fb",
        "a.b",
        "Words",
        "WORDS",
        "a%00",
        "%ff",
        "a%5cb",
        "-a",
        "1a",
        "a%20b",
        &"a".repeat(64),
        "%e2%80%ae",
    ];
    for name in wrong {
        for path in ["plugins", "pipelines"] {
            let path = format!("/v1/tenants/acme/{path}/{name}");
            let body = if path.contains("plugins") {
                &wasm[..]
            } else {
                b"{\"text\": \"name = 'a'\"}"
            };
            let answer = server.ask(&token, "PUT", &path, body);
            assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
            assert!(
                answer.json["error"]["message"].is_string(),
                "{path}: {answer:?}"
            );
        }
        let of_tenant = server.ask(
            &server.admin,
            "GET",
            &format!("/v1/tenants/{name}/plugins"),
            b"",
        );
        assert_eq!(of_tenant.status, 404, "{name}: {of_tenant:?}");
        let new = json!({ "name": name }).to_string();
        let tenant = server.ask(&server.admin, "POST", "/v1/tenants", new.as_bytes());
        assert_eq!(tenant.status, 422, "{name}: {tenant:?}");
    }
    // Names that only differ in case are one folder on some disks: there are none.
    assert_eq!(
        server
            .ask(&token, "PUT", "/v1/tenants/acme/plugins/words", &wasm)
            .status,
        200
    );
    let tenants: Vec<_> = fs::read_dir(server.data().join("tenants"))
        .unwrap()
        .collect();
    assert_eq!(tenants.len(), 2);
    assert_eq!(
        server
            .ask(&token, "GET", "/v1/tenants/acme/plugins", b"")
            .json
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    let header = format!("Authorization: Bearer {token}\r\n");
    let announce = |path: &str, length: u64| {
        let mut stream = server.connect();
        write!(stream, "PUT {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n{header}\r\n").unwrap();
        read(stream)
    };
    let component = announce("/v1/tenants/acme/plugins/words", (64 << 20) + 1);
    assert_eq!(
        (component.status, &component.json["error"]["code"]),
        (413, &json!("too_large"))
    );
    let pipeline = announce("/v1/tenants/acme/pipelines/words", (1 << 20) + 1);
    assert_eq!(pipeline.status, 413, "{pipeline:?}");

    let mut unannounced = server.connect();
    write!(unannounced, "PUT /v1/tenants/acme/pipelines/words HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n{header}\r\n").unwrap();
    let piece = vec![b'x'; 64 << 10];
    for _ in 0..17 {
        let sent = write!(unannounced, "{:x}\r\n", piece.len())
            .and_then(|()| unannounced.write_all(&piece))
            .and_then(|()| unannounced.write_all(b"\r\n"));
        // It may have hung up by now.
        if sent.is_err() {
            break;
        }
    }
    unannounced.shutdown(std::net::Shutdown::Write).ok();
    assert_eq!(read(unannounced).status, 413);
}

#[test]
fn what_comes_too_slowly_is_given_up() {
    let server = Server::start(&["--request-timeout", "200ms"]);
    let token = server.tenant("acme");
    let mut stream = server.connect();
    write!(
        stream,
        "PUT /v1/tenants/acme/plugins/words HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 1000\r\nAuthorization: Bearer {token}\r\n\r\n\0asm"
    )
    .unwrap();
    let answer = read(stream);
    assert_eq!(
        (answer.status, &answer.json["error"]["code"]),
        (408, &json!("timeout"))
    );

    // Nor does a connection stay where a request never comes to its end, where none begins, and where no further one does.
    for sent in [
        "GET /v1/whoami HTTP/1.1\r\nHost: te",
        "",
        "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
    ] {
        let mut stream = server.connect();
        stream.write_all(sent.as_bytes()).unwrap();
        is_hung_up(&mut stream);
    }
}

/// Waits until the server closes a connection; what it said before.
fn is_hung_up(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => (),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    said
}

/// What a plan of this file is refused for, each with its line.
fn refused(server: &Server, token: &str, text: &str) -> Vec<(u64, String)> {
    let body = json!({ "text": text }).to_string();
    let path = "/v1/tenants/acme/pipelines/p/plan";
    let answer = server.ask(token, "POST", path, body.as_bytes());
    assert_eq!(answer.status, 422, "{text}\n{answer:?}");
    let diagnostics = answer.json["error"]["diagnostics"].as_array();
    let diagnostics = diagnostics.unwrap_or_else(|| panic!("{text}\n{answer:?}"));
    let problems = diagnostics.iter().map(|one| {
        let message = one["message"].as_str().expect("a text").to_owned();
        (one["line"].as_u64().expect("a number"), message)
    });
    problems.collect()
}

#[test]
fn a_pipeline_reaches_no_file_address_or_plugin_that_is_not_its_tenants() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    let other = server.tenant("other");
    push(&server, &other, "other", "theirs", "split-words");
    push(&server, &token, "acme", "hook", "sink-webhook");
    let sink = "[sinks.c]\ninput = \"a\"\ntype = \"print\"\n";
    let source = |lines: &str| format!("name = \"p\"\n[sources.a]\n{lines}\n{sink}");
    let outside = "outside the tenant's files";
    for (lines, line, message) in [
        ("type = \"files\"\npath = \"/etc/passwd\"", 4, outside),
        ("type = \"files\"\npath = \"../../other/files\"", 4, outside),
        ("type = \"files\"\npath = \"../*.txt\"", 4, outside),
        ("type = \"queue\"\npath = \"/var\"", 4, outside),
        (
            "type = \"tcp\"\naddress = \"127.0.0.1:22\"",
            4,
            "not allowed to this tenant",
        ),
        (
            "type = \"tcp\"\nlisten = \"0.0.0.0:80\"",
            4,
            "not allowed to this tenant",
        ),
    ] {
        let found = refused(&server, &token, &source(lines));
        let is_meant = |(at, said): &(u64, String)| *at == line && said.contains(message);
        assert!(found.iter().any(is_meant), "{lines}: {found:?}");
    }
    let generate = "type = \"generate\"\nwords = 2";
    for (more, message) in [
        ("[checkpoint]\npath = \"here\"", "not the file's to choose"),
        (
            "[checkpoint]\npath = \"s3://bucket\"",
            "not the file's to choose",
        ),
        ("[state]\nspill = \"/tmp\"", outside),
        (
            "[sinks.d]\ninput = \"a\"\ntype = \"files\"\npath = \"/tmp/x\"",
            outside,
        ),
        ("[rejected]\ntype = \"files\"\npath = \"..\"", outside),
        (
            "[steps.d]\ninput = \"a\"\nplugin = \"theirs\"",
            "there is no plugin `theirs`",
        ),
        (
            "[steps.d]\ninput = \"a\"\nplugin = \"theirs@1\"",
            "there is no plugin `theirs`",
        ),
        (
            "[steps.d]\ninput = \"a\"\nplugin = \"split-words\"",
            "there is no plugin `split-words`",
        ),
        (
            "[steps.d]\ninput = \"a\"\nplugin = \"../../../../components/x.wasm\"",
            "not a plugin of the catalog",
        ),
        (
            "[sinks.d]\ninput = \"a\"\ntype = \"plugin\"\nplugin = \"hook\"\ngrants = { http = [\"169.254.169.254\"] }",
            "not allowed to this tenant",
        ),
    ] {
        let text = format!("{}{more}\n", source(generate));
        let found = refused(&server, &token, &text);
        let is_meant = |(_, said): &(u64, String)| said.contains(message);
        assert!(found.iter().any(is_meant), "{more}: {found:?}");
    }

    let policy = json!({ "allow_addresses": ["127.0.0.1:9999"] });
    server.done(&server.admin, "PUT", "/v1/tenants/acme/policy", &policy);
    let text = source("type = \"tcp\"\naddress = \"127.0.0.1:9999\"");
    let planned = server.done(
        &token,
        "POST",
        "/v1/tenants/acme/pipelines/p/plan",
        &json!({ "text": text }),
    );
    assert_eq!(planned["changes"][0], "a new pipeline");
}

#[test]
fn limits_of_the_policy_hold() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    let policy = json!({ "max_pipelines": 1, "max_workers": 1 });
    server.done(&server.admin, "PUT", "/v1/tenants/acme/policy", &policy);
    let text = |name: &str| {
        format!(
            "name = \"{name}\"\n[sources.a]\ntype = \"generate\"\n[sinks.c]\ninput = \"a\"\ntype = \"print\"\n"
        )
    };
    assert_eq!(apply(&server, &token, "acme", &text("one")).status, 200);
    let second = apply(&server, &token, "acme", &text("two"));
    assert_eq!(second.status, 409, "{second:?}");
    let body = json!({ "text": text("one"), "workers": 2 }).to_string();
    let wide = server.ask(
        &token,
        "PUT",
        "/v1/tenants/acme/pipelines/one",
        body.as_bytes(),
    );
    assert_eq!(wide.status, 422, "{wide:?}");
}

#[test]
fn an_upgrade_that_asks_for_more_has_to_be_allowed() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    let policy = json!({ "allow_http": ["127.0.0.1:1"] });
    server.done(&server.admin, "PUT", "/v1/tenants/acme/policy", &policy);
    push(&server, &token, "acme", "log", "sink-log");
    push(&server, &token, "acme", "hook", "sink-webhook");
    let sink = |rest: &str| {
        format!(
            "name = \"p\"\n[sources.a]\ntype = \"generate\"\n[sinks.c]\ninput = \"a\"\ntype = \"plugin\"\n{rest}\n"
        )
    };
    let first = apply(&server, &token, "acme", &sink("plugin = \"log\""));
    assert_eq!(first.status, 200, "{first:?}");
    let text = sink(
        "plugin = \"hook\"\nconfig = { url = \"http://127.0.0.1:1/\" }\ngrants = { http = [\"127.0.0.1:1\"] }",
    );
    let second = apply(&server, &token, "acme", &text);
    assert_eq!(second.status, 409, "{second:?}");
    let message = second.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("c: hook@1 asks for http"), "{message}");
    let body = json!({ "text": text, "allow": true, "from_version": 1 });
    let allowed = server.done(&token, "PUT", "/v1/tenants/acme/pipelines/p", &body);
    assert_eq!(allowed["version"], 2);
    // Who planned against version 1 is told that it is not current any more.
    let body = json!({ "text": sink("plugin = \"log\""), "from_version": 1 }).to_string();
    let late = server.ask(
        &token,
        "PUT",
        "/v1/tenants/acme/pipelines/p",
        body.as_bytes(),
    );
    assert_eq!(late.status, 409, "{late:?}");
}

#[test]
fn a_rollback_asks_the_policy_again() {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    let policy = |addresses: Value| {
        let policy = json!({ "allow_addresses": addresses });
        server.done(&server.admin, "PUT", "/v1/tenants/acme/policy", &policy);
    };
    let source = |lines: &str| {
        format!("name = \"p\"\n[sources.a]\n{lines}\n[sinks.c]\ninput = \"a\"\ntype = \"print\"\n")
    };
    policy(json!(["127.0.0.1:1"]));
    let first = source("type = \"tcp\"\naddress = \"127.0.0.1:1\"");
    assert_eq!(apply(&server, &token, "acme", &first).status, 200);
    let body = json!({ "text": source("type = \"generate\""), "accept_changes": true });
    server.done(&token, "PUT", "/v1/tenants/acme/pipelines/p", &body);
    policy(json!([]));
    let back = server.ask(
        &token,
        "POST",
        "/v1/tenants/acme/pipelines/p/rollback",
        b"{\"version\": 1}",
    );
    assert_eq!(back.status, 422, "{back:?}");
    assert_eq!(
        server
            .ask(&token, "GET", "/v1/tenants/acme/pipelines/p", b"")
            .json["version"],
        2
    );
}

#[test]
fn a_tenant_hears_of_its_own_pipelines_alone() {
    let server = Server::start(&[]);
    let (acme, other) = (server.tenant("acme"), server.tenant("other"));
    let text = "name = \"mine\"\n[epoch]\ninterval = \"50ms\"\n[sources.a]\ntype = \"generate\"\nrows_per_second = 100\n[sinks.c]\ninput = \"a\"\ntype = \"print\"\n";
    assert_eq!(
        apply(&server, &other, "other", &text.replace("mine", "theirs")).status,
        200
    );
    assert_eq!(apply(&server, &acme, "acme", text).status, 200);
    server.wait_for_phase(&other, "other", "theirs", "running");
    let mut stream = server.connect();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /v1/tenants/acme/events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {acme}\r\n\r\n"
    )
    .unwrap();
    let (mut heard, mut kinds) = (0, std::collections::BTreeSet::new());
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            let event: Value = serde_json::from_str(data).unwrap();
            assert_eq!(
                (&event["tenant"], &event["pipeline"]),
                (&json!("acme"), &json!("mine"))
            );
            kinds.insert(event["event"].as_str().unwrap().to_owned());
            heard += 1;
        }
        if heard >= 20 && kinds.len() == 2 {
            break;
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["log", "status"]);
}

#[test]
fn an_address_has_so_many_connections_and_gets_back_what_it_closes() {
    // A quarter of them: two.
    let server = Server::start(&["--connections", "8"]);
    let is_answered = |stream: &mut TcpStream| {
        let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
        let answer = asked.and_then(|()| stream.read(&mut [0; 4096]));
        answer.is_ok_and(|read| read > 0)
    };
    let mut held = [server.connect(), server.connect()];
    assert!(held.iter_mut().all(is_answered));
    assert_eq!(is_hung_up(&mut server.connect()), b"");
    let [mut first, second] = held;
    drop(second);
    wait_until("a place that is free again", || {
        is_answered(&mut server.connect())
    });
    write!(
        first,
        "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        server.admin
    )
    .unwrap();
    let metrics = String::from_utf8(is_hung_up(&mut first)).unwrap();
    let count = |name: &str| {
        let count = metrics.lines().find_map(|line| line.strip_prefix(name));
        count.and_then(|count| count.trim().parse::<u64>().ok())
    };
    assert!(
        matches!(count("wasmill_http_connections "), Some(1..=2)),
        "{metrics}"
    );
    assert!(
        matches!(count("wasmill_http_connections_refused_total "), Some(1..)),
        "{metrics}"
    );
}

#[test]
fn a_tenant_has_so_many_streams_and_another_its_own() {
    let server = Server::start(&[]);
    let (acme, other) = (server.tenant("acme"), server.tenant("other"));
    let status_of = |tenant: &str, token: &str| {
        let mut stream = BufReader::new(server.connect());
        stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream.get_mut(),
            "GET /v1/tenants/{tenant}/events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        .unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        (line.split_whitespace().nth(1).map(str::to_owned), stream)
    };
    let opened: Vec<_> = (0..32).map(|_| status_of("acme", &acme)).collect();
    for (status, _) in &opened {
        assert_eq!(status.as_deref(), Some("200"));
    }
    assert_eq!(status_of("acme", &acme).0.as_deref(), Some("503"));
    assert_eq!(status_of("other", &other).0.as_deref(), Some("200"));
    drop(opened);
    wait_until("a stream that is free again", || {
        status_of("acme", &acme).0.as_deref() == Some("200")
    });
}

#[test]
fn a_server_may_open_as_many_files_as_the_system_lets_it() {
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -S -n 256; exec \"$0\" \"$@\""])
        .arg(wasmill_tests::binary());
    let server = Server::of(command, &[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<&str> = files.unwrap().split_whitespace().collect();
    assert_eq!(words[3], words[4], "{words:?}");
}
