//! Tenants go, and leave nothing to whoever comes after them.

use std::fs;

use serde_json::{Value, json};
use wasmill_tests::server::{COUNTS, Server, apply, push};
use wasmill_tests::wait_until;

fn components(server: &Server) -> usize {
    let folder = server.data().join("components");
    fs::read_dir(folder).expect("readable").count()
}

/// What was done, latest first.
fn actions(log: &Value) -> Vec<&str> {
    let lines = log.as_array().expect("a list").iter();
    lines.filter_map(|line| line["action"].as_str()).collect()
}

#[test]
fn a_tenant_that_is_removed_leaves_the_audit_log_and_nothing_else() {
    let server = Server::start(&[]);
    let (acme, beta) = (server.tenant("acme"), server.tenant("beta"));
    for (token, tenant) in [(&acme, "acme"), (&beta, "beta")] {
        push(&server, token, tenant, "split-words", "split-words");
    }
    push(&server, &acme, "acme", "running-count", "running-count");
    server.done(
        &acme,
        "PUT",
        "/v1/tenants/acme/secrets/key",
        &json!({ "value": "12345678" }),
    );
    let lines = server.files("acme").join("in");
    fs::create_dir(&lines).expect("the folder is writable");
    fs::write(lines.join("a.txt"), "to be\n").expect("the folder is writable");
    let applied = apply(&server, &acme, "acme", COUNTS);
    assert_eq!(applied.status, 200, "{applied:?}");
    wait_until("what it has used", || {
        let usage = server.done(&acme, "GET", "/v1/tenants/acme/usage", &Value::Null);
        usage["parts"] != json!([])
    });

    let remove = ["tenant", "rm", "acme", "--yes"];
    let refused = server.client(&server.admin, &remove);
    assert!(refused.err.contains("has pipelines: counts"), "{refused:?}");
    let own = server.ask(&acme, "DELETE", "/v1/tenants/acme", b"");
    assert_eq!(own.status, 403, "a tenant does not remove itself: {own:?}");

    for command in [
        &["pipeline", "stop", "counts"] as &[&str],
        &["pipeline", "rm", "counts", "--yes"],
    ] {
        wait_until("the pipeline's end", || {
            server.client(&acme, command).status.success()
        });
    }
    assert_eq!(components(&server), 2);
    server.client(&server.admin, &remove).succeeded();

    assert_eq!(server.ask(&acme, "GET", "/v1/whoami", b"").status, 401);
    assert!(!server.data().join("tenants/acme").exists());
    assert_eq!(components(&server), 1, "the other tenant has one too");
    let again = server.ask(&server.admin, "DELETE", "/v1/tenants/acme", b"");
    assert_eq!(again.status, 404, "{again:?}");
    let log = server.done(&server.admin, "GET", "/v1/audit", &Value::Null);
    assert_eq!(actions(&log)[..2], ["tenant rm", "pipeline rm"]);

    // Another of the same name has nothing of it, and does not learn what it did.
    let acme = server.tenant("acme");
    let of = |what: &str| {
        let path = format!("/v1/tenants/acme/{what}");
        server.done(&acme, "GET", &path, &Value::Null)
    };
    assert_eq!(actions(&of("audit")), ["token create", "tenant create"]);
    for what in ["plugins", "pipelines", "secrets"] {
        assert_eq!(of(what), json!([]), "{what}");
    }
    assert_eq!(of("usage")["parts"], json!([]));
}
