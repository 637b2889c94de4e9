//! Processes find each other, or say why not.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use wasmill_tests::{Running, folder, free_addresses, plugins, run, start_cluster, wasmill};

const ENDLESS: &str = r#"
name = "endless"

[epoch]
interval = "50ms"

[sources.rows]
type = "generate"
rows_per_second = 1000

[steps.total]
input = "rows"
aggregate = { n = "count()" }

[sinks.out]
input = "total"
type = "print"
"#;

#[test]
fn a_drain_asked_of_any_process_ends_all_of_them_well() {
    for asked in [0, 1] {
        let folder = folder(&[("pipeline.toml", ENDLESS)]);
        let running = start_cluster(&folder.path().join("pipeline.toml"), 2, 1, |_, _| {});
        running[0].wait_for("Time: ");
        running[asked].signal("TERM");
        for process in running {
            process.end().succeeded();
        }
    }
}

#[test]
fn a_process_that_does_not_come_is_named() {
    let folder = folder(&[("pipeline.toml", ENDLESS)]);
    let hosts = folder.path().join("hosts.txt");
    let addresses = free_addresses(2);
    std::fs::write(&hosts, addresses.join("\n")).unwrap();
    for process in [0, 1] {
        let mut command = wasmill();
        command
            .arg("run")
            .arg(folder.path().join("pipeline.toml"))
            .args(["--workers", "1", "--start-timeout", "300ms"]);
        command
            .arg("--hosts")
            .arg(&hosts)
            .args(["--process", &process.to_string()]);
        let ended = run(command.env("WASMILL_TOKEN", "x")).failed_with(4);
        let missing = 1 - process;
        let expected = format!("process {missing} at {} did not appear", addresses[missing]);
        assert!(ended.err.contains(&expected), "{}", ended.err);
    }
}

#[test]
fn processes_with_different_pipelines_refuse_each_other() {
    let folder = folder(&[
        ("a/p.toml", ENDLESS),
        ("b/p.toml", &ENDLESS.replace("1000", "999")),
    ]);
    refuse_each_other(folder.path());
}

#[test]
fn processes_with_different_components_refuse_each_other() {
    let step = r#"
[steps.words]
input = "rows"
plugin = "./plugin.wasm"
config = { column = "text" }

[sinks.printed]
input = "words"
type = "print"
"#;
    let sink = r#"
[sinks.hook]
input = "rows"
type = "plugin"
plugin = "./plugin.wasm"
config = { url = "http://127.0.0.1:9/" }
grants = { http = ["127.0.0.1:9"] }
"#;
    for (plugin, node) in [("split-words", step), ("sink-webhook", sink)] {
        let rows = "rows_per_second = 1000\nwords = 1\n";
        let pipeline = ENDLESS.replace("rows_per_second = 1000\n", rows) + node;
        let folder = folder(&[("a/p.toml", &pipeline), ("b/p.toml", &pipeline)]);
        let mut component = std::fs::read(plugins().join(plugin).with_extension("wasm")).unwrap();
        std::fs::write(folder.path().join("a/plugin.wasm"), &component).unwrap();
        // A section that tools may add and nobody reads, with a name of one byte: the same program, another component.
        component.extend([0, 2, 1, b'x']);
        std::fs::write(folder.path().join("b/plugin.wasm"), &component).unwrap();
        refuse_each_other(folder.path());
    }
}

/// Runs `a/p.toml` and `b/p.toml` as two processes of one run, and expects both to refuse.
fn refuse_each_other(folder: &Path) {
    let hosts = folder.join("hosts.txt");
    std::fs::write(&hosts, free_addresses(2).join("\n")).expect("the folder is writable");
    let start = |process: &str, file: &str| {
        let mut command = wasmill();
        command
            .arg("run")
            .arg(folder.join(file))
            .args(["--workers", "1", "--process", process]);
        Running::start(command.arg("--hosts").arg(&hosts).env("WASMILL_TOKEN", "x"))
    };
    let processes = [start("0", "a/p.toml"), start("1", "b/p.toml")];
    // Were they to agree, they would run on and on.
    for process in &processes {
        process.wait_for("the pipeline file or a plugin differs");
    }
    for process in processes {
        assert!(!process.end().status.success());
    }
}

#[test]
fn a_stranger_on_the_port_is_turned_away_and_the_run_starts_all_the_same() {
    let folder = folder(&[("pipeline.toml", ENDLESS)]);
    let hosts = folder.path().join("hosts.txt");
    let addresses = free_addresses(2);
    std::fs::write(&hosts, addresses.join("\n")).unwrap();
    let start = |process: &str| {
        let mut command = wasmill();
        command
            .arg("run")
            .arg(folder.path().join("pipeline.toml"))
            .args(["--workers", "1", "--process", process]);
        Running::start(command.arg("--hosts").arg(&hosts).env("WASMILL_TOKEN", "x"))
    };
    let first = start("0");
    let mut stranger = loop {
        match TcpStream::connect(&addresses[0]) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    stranger
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    first.wait_for("turned away a connection");
    let second = start("1");
    first.wait_for("Time: ");
    first.signal("INT");
    first.end().succeeded();
    second.end().succeeded();
}
