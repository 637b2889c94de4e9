//! The dashboard in a real browser: its pages load, its figures move, its buttons do what they say.

#![expect(clippy::unwrap_used, reason = "what a test unwraps is what it asserts")]

use std::fs;

use serde_json::Value;
use wasmill_tests::browser::Browser;
use wasmill_tests::guests::{ECHO, Guest};
use wasmill_tests::picky::picky;
use wasmill_tests::server::{Server, apply, push, put};

/// Goes on until it is stopped.
const LOAD: &str = r#"name = "load"

[epoch]
interval = "100ms"

[sources.made]
type = "generate"
rows_per_second = 200
words = 3

[sources.lines]
type = "files"
path = "in"
poll_interval = "50ms"

[steps.words]
input = "made"
plugin = "split-words"
config = { column = "text" }

[sinks.out]
input = "words"
type = "files"
path = "out"

[sinks.seen]
input = "lines"
type = "print"
"#;

/// A server on which acme runs a pipeline, with acme's token.
fn loaded() -> (Server, String) {
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    fs::create_dir(server.files("acme").join("in")).unwrap();
    push(&server, &token, "acme", "split-words", "split-words");
    let applied = apply(&server, &token, "acme", LOAD);
    assert_eq!(applied.status, 200, "{applied:?}");
    server.wait_for_phase(&token, "acme", "load", "running");
    (server, token)
}

/// Gives acme's pipelines a file to read, whole.
fn give(server: &Server, lines: &str) {
    let files = server.files("acme");
    fs::write(files.join("a"), lines).unwrap();
    fs::rename(files.join("a"), files.join("in").join("a")).unwrap();
}

/// A browser that has signed in with a token, as a person does.
fn signed_in(server: &Server, token: &str) -> Browser {
    let mut browser = Browser::start();
    browser.look_like(1280, "light");
    browser.open(&format!("http://{}/", server.address()));
    browser.click("#token");
    browser.write(token);
    browser.click("form button");
    browser.wait_for("document.querySelector('#bar')?.hidden === false");
    browser
}

/// Goes to a page of the dashboard, and waits until it shows figures or rows.
fn go(browser: &mut Browser, page: &str, text: &str) {
    browser.evaluate(&format!("location.hash = {}", Value::from(page)));
    browser.wait_for_text(text);
}

const PIPELINE: &str = "#/t/acme/pipelines/load";

#[test]
fn every_page_loads_without_an_error_and_fits_a_desk_and_a_phone() {
    let (server, token) = loaded();
    let own = [
        ("#/t/acme/pipelines", "1 of 1 pipeline running"),
        (PIPELINE, "current"),
        ("#/t/acme/plugins", "nothing"),
        ("#/t/acme/plugins/split-words", "nothing"),
        ("#/tenants", "1 of 20"),
    ];
    for holder in [&token, &server.admin] {
        let mut browser = signed_in(&server, holder);
        for (width, scheme) in [(1280, "light"), (1280, "dark"), (360, "light")] {
            browser.look_like(width, scheme);
            for (page, text) in own {
                go(&mut browser, page, text);
                let sizes = browser.evaluate(
                    "[document.documentElement.scrollWidth, document.documentElement.clientWidth]",
                );
                assert_eq!(sizes[0], sizes[1], "{page} is wider than {width}");
                assert_eq!(browser.nameless(), [Value::Null; 0], "{page}");
                assert_eq!(browser.errors(), [""; 0], "{page}");
            }
        }
        let grounds = ["light", "dark"].map(|scheme| {
            browser.look_like(1280, scheme);
            browser.evaluate("getComputedStyle(document.body).backgroundColor")
        });
        assert_ne!(grounds[0], grounds[1]);
    }
}

#[test]
fn figures_move_and_what_a_pipeline_says_comes_as_text() {
    let (server, token) = loaded();
    let mut browser = signed_in(&server, &token);
    go(&mut browser, PIPELINE, "Latest epochs");
    browser.wait_for(
        "/^[1-9][0-9.k]* rows\\/s$/.test(document.querySelector('.tiles dd')?.textContent)",
    );
    browser.wait_for("/^[1-9]/.test(document.querySelector('.node.sink .rate')?.textContent)");
    let epochs = "document.querySelectorAll('.tiles dd')[4].textContent";
    let before = browser.evaluate(epochs);
    browser.wait_for(&format!("{epochs} !== {before}"));
    let drawn = "document.querySelector('.chart .line').getAttribute('d')";
    let before = browser.evaluate(drawn);
    browser.wait_for(&format!("{drawn} !== {before}"));

    let line = "<img src=/nowhere onerror=document.title='broken'>\n";
    give(&server, line);
    browser.wait_for_text("<img src=/nowhere");
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.log img').length"),
        0
    );
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn a_pipeline_is_paused_and_resumed_by_clicking() {
    let (server, token) = loaded();
    let mut browser = signed_in(&server, &token);
    browser.click("tbody a");
    let shows =
        |phase: &str| format!("document.querySelector('.title .pill')?.textContent === '{phase}'");
    browser.wait_for(&shows("running"));

    browser.click("#pause");
    browser.click("dialog button:not(#confirm)");
    browser.wait_for("!document.querySelector('dialog')");
    let path = "/v1/tenants/acme/pipelines/load";
    let wanted = server.ask(&token, "GET", path, b"").json["wanted"].take();
    assert_eq!(wanted, "running", "it was not confirmed");

    browser.click("#pause");
    browser.click("#confirm");
    browser.wait_for(&shows("paused"));
    server.wait_for_phase(&token, "acme", "load", "paused");
    browser.click("#resume");
    browser.click("#confirm");
    browser.wait_for(&shows("running"));
    server.wait_for_phase(&token, "acme", "load", "running");
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn a_page_that_is_open_goes_on_when_the_server_was_killed_and_is_back() {
    let (mut server, token) = loaded();
    let mut browser = signed_in(&server, &token);
    go(&mut browser, PIPELINE, "current");
    browser.wait_for("document.querySelector('#connection').textContent === 'Live'");
    browser.evaluate(
        "addEventListener('connection', ({ detail }) => (window.states ??= []).push(detail))",
    );
    server.kill_and_restart();
    browser.wait_for("!!window.states?.join().includes('lost,live')");
    // What comes now is of a new run.
    let epochs = "parseFloat(document.querySelectorAll('.tiles dd')[4].textContent)";
    let before = browser.evaluate(epochs);
    browser.wait_for(&format!("{epochs} > {before}"));
}

#[test]
fn who_has_no_right_token_stays_outside_and_the_first_tab_stop_skips_the_bar() {
    let (server, token) = loaded();
    let mut browser = Browser::start();
    let home = format!("http://{}/", server.address());
    browser.open(&home);
    browser.click("#token");
    browser.write("wm_wrong");
    browser.click("form button");
    browser.wait_for_text("the token opens nothing");
    browser.write(&token);
    browser.click("form button");
    browser.wait_for_text("1 of 1 pipeline running");

    browser.open(&home);
    browser.wait_for_text("1 of 1 pipeline running");
    browser.press("Tab", 9);
    let focused = "document.activeElement.textContent";
    assert_eq!(browser.evaluate(focused), "Skip to content");

    // Another's token, and one that is revoked while the page is open.
    let other = server.tenant("other");
    browser.evaluate(&format!(
        "sessionStorage.setItem('wasmill-token', '{other}')"
    ));
    go(&mut browser, PIPELINE, "there is no tenant `acme`");
    let revoke = ["tenant", "token", "revoke", "acme", "2"];
    server.client(&server.admin, &revoke).succeeded();
    browser.evaluate(&format!(
        "sessionStorage.setItem('wasmill-token', '{token}')"
    ));
    browser.evaluate("location.hash = '#/t/acme/plugins'");
    browser.wait_for("!!document.querySelector('#token')");
    assert_eq!(browser.evaluate("sessionStorage.length"), 0);
}

#[test]
fn no_script_but_its_own_runs_on_the_page() {
    let (server, token) = loaded();
    let mut browser = signed_in(&server, &token);
    browser.wait_for_text("1 of 1 pipeline running");
    browser.evaluate(
        "(() => { const script = document.createElement('script'); script.textContent = 'window.ran = true';
          document.body.append(script); })()",
    );
    assert_eq!(browser.evaluate("window.ran === undefined"), true);
    let errors = browser.errors();
    assert!(
        errors.len() == 1 && errors[0].contains("Content Security Policy"),
        "{errors:?}"
    );
    let framed = "fetch('/').then((answer) => answer.headers.get('content-security-policy').includes(\"frame-ancestors 'none'\"))";
    assert_eq!(browser.evaluate(framed), true);
}

/// Rejects lines with a `!`.
const PICKY: &str = r#"name = "picky"

[epoch]
interval = "50ms"

[sources.lines]
type = "files"
path = "in"
poll_interval = "50ms"

[steps.copy]
input = "lines"
plugin = "picky"
on_error = "reject"

[sinks.out]
input = "copy"
type = "files"
path = "copied"
"#;

#[test]
fn rejected_rows_are_listed_with_step_reason_and_origin_at_a_desk_on_a_phone_and_by_keyboard() {
    let (server, token) = loaded();
    let path = "/v1/tenants/acme/plugins/picky";
    assert_eq!(server.ask(&token, "PUT", path, &picky()).status, 200);
    assert_eq!(apply(&server, &token, "acme", PICKY).status, 200);
    let mut browser = signed_in(&server, &token);
    let page = "#/t/acme/pipelines/picky";
    go(&mut browser, page, "No rejected row waits for anything.");
    give(&server, "<img src=/nowhere>!\n");
    browser.wait_for_text("1 open");
    browser.wait_for_text("in/a at byte 0");
    let cells = "[...document.querySelectorAll('.rejected table:not([hidden])')].map((table) => table.innerText).join()";
    let shown = browser.evaluate(cells);
    let shown = shown.as_str().unwrap();
    assert!(
        shown.contains("copy") && shown.contains("unreachable"),
        "{shown}"
    );

    for width in [1280, 360] {
        browser.look_like(width, "light");
        let sizes = browser.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]",
        );
        assert_eq!(sizes[0], sizes[1], "it is wider than {width}");
        assert_eq!(browser.nameless(), [Value::Null; 0]);
    }
    // The row itself, without a mouse, and as text.
    browser.evaluate("document.querySelector('.rejected summary').focus()");
    browser.press(" ", 32);
    browser.wait_for("document.querySelector('.rejected details').open");
    browser.wait_for_text("<img src=/nowhere>!");
    assert_eq!(browser.errors(), [""; 0]);
}

/// Rows of PICKY that are not rejected take seconds.
const SLOW: &str = r#"
[steps.slow]
input = "copy"
plugin = "slow"
limits = { deadline = "60s" }
"#;

#[test]
fn a_rejected_row_is_listed_however_long_its_epoch_takes() {
    let (server, token) = loaded();
    let spin = Guest {
        more: r#"
  (func $spin (local $turns i64)
    (loop $next
      (local.set $turns (i64.add (local.get $turns) (i64.const 1)))
      (br_if $next (i64.lt_u (local.get $turns) (i64.const 5000000000)))))
"#,
        process: Some(&format!("(call $spin) {ECHO}")),
        ..Guest::default()
    };
    for (name, bytes) in [("picky", picky()), ("slow", spin.module())] {
        assert_eq!(put(&server, &token, "acme", name, &bytes).status, 200);
    }
    let late = PICKY.replace("input = \"copy\"", "input = \"slow\"") + SLOW;
    assert_eq!(apply(&server, &token, "acme", &late).status, 200);
    let mut browser = signed_in(&server, &token);
    let page = "#/t/acme/pipelines/picky";
    go(&mut browser, page, "No rejected row waits for anything.");
    give(&server, "bad!\ngood\n");
    browser.wait_for_text("1 open");
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn rejected_rows_are_replayed_and_discarded_by_clicking() {
    let (server, token) = loaded();
    let path = "/v1/tenants/acme/plugins/picky";
    assert_eq!(server.ask(&token, "PUT", path, &picky()).status, 200);
    assert_eq!(apply(&server, &token, "acme", PICKY).status, 200);
    give(&server, "one!\ntwo!\nthree!\n");
    let mut browser = signed_in(&server, &token);
    go(&mut browser, "#/t/acme/pipelines/picky", "3 open");

    browser.click("#discard-all");
    browser.click("dialog button:not(#confirm)");
    browser.wait_for("!document.querySelector('dialog')");
    browser.click("[aria-label^='Discard ']");
    browser.click("#confirm");
    browser.wait_for_text("1 discarded");
    browser.wait_for_text("2 open");
    browser.click("[aria-label^='Replay ']");
    browser.click("#confirm");
    browser.wait_for_text("1 given back");
    // The plugin rejects it again, as a row of its own.
    browser.wait_for_text("2 open · 1 given back");
    browser.click("#replay-all");
    browser.click("#confirm");
    browser.wait_for_text("2 open · 3 given back");
    browser.click("#discard-all");
    browser.click("#confirm");
    browser.wait_for_text("5 discarded");
    browser.wait_for_text("No rejected row waits for anything.");
    assert_eq!(
        browser.evaluate("document.querySelector('#replay-all').checkVisibility()"),
        false
    );
    assert_eq!(browser.errors(), [""; 0]);
    let path = "/v1/tenants/acme/pipelines/picky/rejected";
    let left = server.ask(&token, "GET", path, b"").json;
    assert_eq!((&left["open"], &left["given_back"]), (&0.into(), &0.into()));
}
