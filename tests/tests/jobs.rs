//! Pipelines of several tenants that are kept running: by real runners, which are killed, lose their supervisor, and run plugins that trap.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;
use wasmill::ids::{PipelineName, TenantId};
use wasmill::jobs::{Desired, Event, JobStatus, Jobs, JobsOptions, LogLevel, Phase, Wanted};
use wasmill_tests::{PATIENCE, binary, delivered, plugins, run, wait_until, wasmill};

#[expect(dead_code, reason = "the host's own tests use more of it")]
#[path = "../../host/src/plugin/tests/guests.rs"]
mod guests;

use guests::Guest;

/// Ends by itself, after some dozens of epochs.
const NUMBERS: &str = r#"
name = "numbers"

[epoch]
interval = "50ms"

[sources.load]
type = "generate"
rows_per_second = 1000
rows = 3000
words = 2

[steps.words]
input = "load"
plugin = "split-words"
config = { column = "text", carry = true }

[steps.kept]
input = "words"
select = { value = "value", word = "word" }

[sinks.out]
input = "kept"
type = "files"
path = "out"
format = "json"
"#;

/// Goes on until it is stopped, and remembers. Its versions stand in folders of their own, and read and write the same.
const COUNTS: &str = r#"
name = "counts"

[epoch]
interval = "50ms"

[sources.lines]
type = "files"
path = "{home}/in"

[steps.words]
input = "lines"
plugin = "split-words"

[steps.counts]
input = "words"
plugin = "running-count"
group_by = ["word"]

[sinks.out]
input = "counts"
type = "files"
path = "{home}/out"
format = "json"
"#;

/// Prints and logs a word that is nobody else's.
const TALK: &str = r#"
name = "talk"

[epoch]
interval = "50ms"

[sources.lines]
type = "files"
path = "in"

[sinks.printed]
input = "lines"
type = "print"
format = "json"

[sinks.logged]
input = "lines"
type = "plugin"
plugin = "sink-log"
"#;

/// A supervisor, and the folder that everything is in.
struct Host {
    folder: TempDir,
    jobs: Jobs,
}

impl Host {
    fn start(in_process: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let jobs = Jobs::start(options(folder.path(), in_process)).expect("the folder is writable");
        Self { folder, jobs }
    }

    fn with_processes() -> Self {
        Self::start(false)
    }

    /// The first version of a pipeline, not started yet.
    fn define(&self, tenant: &str, name: &str, text: &str) -> Desired {
        define(self.folder.path(), tenant, name, text)
    }

    fn status(&self, job: &Desired) -> JobStatus {
        let status = self.jobs.status(&job.tenant, &job.pipeline);
        status.expect("the job is known")
    }

    fn wait(&self, job: &Desired, what: &str, mut is_so: impl FnMut(&JobStatus) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(job);
            if is_so(&status) {
                return;
            }
            if Instant::now() > deadline {
                let log = self.jobs.logs(&job.tenant, &job.pipeline);
                panic!("{what} did not come: {status:#?}\n{log:#?}");
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn wait_for(&self, job: &Desired, phase: Phase) {
        self.wait(job, &format!("{phase:?}"), |status| status.phase == phase);
    }

    fn runner_of(&self, tenant: &str) -> Option<u32> {
        runner_of(self.folder.path(), tenant)
    }
}

fn options(folder: &Path, in_process: bool) -> JobsOptions {
    JobsOptions {
        data: folder.join("data"),
        binary: binary(),
        in_process,
        // One for all tests: the plugins are the same.
        cache: plugins().with_file_name("compiled"),
    }
}

/// Writes a pipeline's file, with the plugins beside it.
fn define(folder: &Path, tenant: &str, name: &str, text: &str) -> Desired {
    let folder = folder.join(tenant).join(name);
    fs::create_dir_all(folder.join("in")).expect("writable");
    Desired {
        tenant: TenantId::parse(tenant).expect("a name"),
        pipeline: PipelineName::parse(name).expect("a name"),
        version: 1,
        file: write_version(&folder, 1, text),
        checkpoint: folder.join("checkpoint"),
        workers: 2,
        state: Wanted::Running,
        accept_changes: false,
    }
}

fn write_version(folder: &Path, version: u32, text: &str) -> PathBuf {
    let folder = folder.join(format!("v{version}"));
    fs::create_dir_all(folder.join("in")).expect("writable");
    for plugin in ["split-words", "running-count", "sink-log"] {
        let file = format!("{plugin}.wasm");
        let to = folder.join("plugins").join(&file);
        fs::create_dir_all(to.parent().expect("inside")).expect("writable");
        fs::copy(plugins().join(&file), to).expect("the plugins are built");
    }
    let file = folder.join("pipeline.toml");
    let home = folder.parent().expect("of all versions");
    let home = home.to_str().expect("a plain name");
    fs::write(&file, text.replace("{home}", home)).expect("writable");
    file
}

/// The folder of a version, which its paths count from.
fn home(job: &Desired) -> &Path {
    job.file.parent().expect("in a folder")
}

/// The folder of all of its versions.
fn above(job: &Desired) -> &Path {
    home(job).parent().expect("in a folder")
}

/// Input that appears whole.
fn give(folder: &Path, name: &str, text: &str) {
    let aside = folder.with_file_name(format!("{name}.new"));
    fs::write(&aside, text).expect("writable");
    fs::rename(aside, folder.join(name)).expect("on one disk");
}

/// The process of a runner that this process has started: the one whose standard error is its tenant's log.
fn runner_of(folder: &Path, tenant: &str) -> Option<u32> {
    let log = folder.join("data/runners").join(format!("{tenant}.log"));
    let processes = fs::read_dir("/proc").expect("a Linux").flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.find(|id| {
        let link = fs::read_link(format!("/proc/{id}/fd/2"));
        *id != std::process::id() && link.is_ok_and(|link| link == log)
    })
}

fn kill(process: u32) {
    let killed = Command::new("kill")
        .args(["-KILL", &process.to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
}

/// The rows that a pipeline of [`NUMBERS`] has delivered, in an order of their own.
fn numbers(job: &Desired) -> Vec<String> {
    let mut rows = delivered(&home(job).join("out"));
    rows.sort();
    rows
}

/// What [`NUMBERS`] gives when nothing happens to it.
fn undisturbed() -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = NUMBERS.replace(r#"interval = "50ms""#, r#"trigger = "available-now""#);
    fs::write(folder.path().join("pipeline.toml"), text).expect("writable");
    run(wasmill()
        .arg("run")
        .arg(folder.path().join("pipeline.toml")))
    .succeeded();
    let mut rows = delivered(&folder.path().join("out"));
    assert_eq!(rows.len(), 6000);
    rows.sort();
    rows
}

/// The last count of a word that [`COUNTS`] has delivered.
fn count_of(job: &Desired, word: &str) -> Option<i64> {
    let rows = delivered(&above(job).join("out"));
    let rows = rows
        .iter()
        .map(|row| serde_json::from_str::<Value>(row).expect("JSON"));
    let counts = rows
        .filter(|row| row["word"] == word)
        .filter_map(|row| row["n"].as_i64());
    counts.last()
}

fn has_delivered(status: &JobStatus) -> bool {
    status.phase == Phase::Running && status.figures.delivered > 0
}

#[test]
fn the_death_of_a_runner_costs_its_own_tenant_a_restart_and_nobody_a_row() {
    let host = Host::with_processes();
    let ours = ["one", "two"].map(|name| host.define("acme", name, NUMBERS));
    let neighbour = host.define("beta", "one", NUMBERS);
    for job in ours.iter().chain([&neighbour]) {
        host.jobs.set(job.clone());
    }
    for job in &ours {
        host.wait(job, "a delivered epoch", has_delivered);
    }
    let runner = host.runner_of("acme").expect("its pipelines run");
    assert_ne!(
        Some(runner),
        host.runner_of("beta"),
        "a process for each tenant"
    );
    kill(runner);
    for job in &ours {
        host.wait(job, "a restart", |status| status.restarts == 1);
    }
    let expected = undisturbed();
    for job in ours.iter().chain([&neighbour]) {
        host.wait_for(job, Phase::Finished);
        assert!(
            numbers(job) == expected,
            "rows of {}/{}",
            job.tenant,
            job.pipeline
        );
    }
    for job in &ours {
        let log = host.jobs.logs(&job.tenant, &job.pipeline);
        let told = log.iter().find(|line| line.level == LogLevel::Error);
        assert!(
            told.is_some_and(|line| line.message.contains("signal: 9")),
            "{log:?}"
        );
    }
    assert_eq!(host.status(&neighbour).restarts, 0);
    assert_eq!(host.jobs.list(Some(&neighbour.tenant)).len(), 1);
    assert_eq!(host.jobs.list(None).len(), 3);
    wait_until("the end of runners that have nothing to do", || {
        host.runner_of("acme").is_none() && host.runner_of("beta").is_none()
    });
}

#[test]
fn a_plugin_that_traps_fails_its_own_pipeline_again_and_again_until_it_is_mended() {
    let host = Host::with_processes();
    let mut bad = host.define("acme", "bad", COUNTS);
    let neighbour = host.define("acme", "good", COUNTS);
    let guest = Guest {
        process: Some("(unreachable)"),
        ..Guest::default()
    };
    let text = COUNTS.replace(r#"plugin = "split-words""#, r#"plugin = "./trap.wasm""#);
    let text = text.replace(r#"group_by = ["word"]"#, r#"group_by = ["line"]"#);
    fs::write(home(&bad).join("trap.wasm"), guest.module()).expect("writable");
    bad.file = write_version(above(&bad), 1, &text);
    for job in [&bad, &neighbour] {
        give(&above(job).join("in"), "a.txt", "to be or not to be\n");
        host.jobs.set(job.clone());
    }
    host.wait(&bad, "restarts", |status| {
        status.restarts >= 2 && matches!(status.phase, Phase::Waiting { .. })
    });
    let failure = host.status(&bad).failure.expect("it has failed");
    assert!(
        failure.contains("`words`") && failure.contains("unreachable"),
        "{failure}"
    );
    wait_until("the neighbour's rows", || {
        count_of(&neighbour, "be") == Some(2)
    });
    let before = host.status(&neighbour);
    assert_eq!(
        (before.phase, before.restarts),
        (Phase::Running, 0),
        "{before:?}"
    );
    bad.version = 2;
    bad.file = write_version(above(&bad), 2, COUNTS);
    host.jobs.set(bad.clone());
    wait_until("rows of the mended pipeline", || {
        count_of(&bad, "be") == Some(2)
    });
    host.wait(&bad, "its recovery", |status| status.failure.is_none());
    assert_eq!(host.status(&bad).version, 2);
    host.jobs.shutdown();
}

#[test]
fn a_pipeline_that_cannot_run_fails_once_and_says_why() {
    let host = Host::with_processes();
    let job = host.define(
        "acme",
        "wrong",
        &NUMBERS.replace("split-words", "split-wrods"),
    );
    host.jobs.set(job.clone());
    host.wait_for(&job, Phase::Failed);
    let status = host.status(&job);
    assert_eq!(status.restarts, 0);
    let failure = status.failure.expect("it has failed");
    assert!(
        failure.contains("there is no plugin called `split-wrods`"),
        "{failure}"
    );
    let log = host.jobs.logs(&job.tenant, &job.pipeline);
    assert!(
        log.iter()
            .any(|line| line.message.contains("did you mean `split-words`?")),
        "{log:?}"
    );
}

#[test]
fn a_pipeline_is_paused_resumed_changed_and_removed_and_keeps_its_state() {
    for in_process in [false, true] {
        let host = Host::start(in_process);
        let mut job = host.define("acme", "counts", COUNTS);
        let input = above(&job).join("in");
        give(&input, "a.txt", "to be\n");
        host.jobs.set(job.clone());
        wait_until("the first rows", || count_of(&job, "be") == Some(1));

        job.state = Wanted::Paused;
        host.jobs.set(job.clone());
        host.wait_for(&job, Phase::Paused);
        give(&input, "b.txt", "or not to be\n");
        job.state = Wanted::Running;
        host.jobs.set(job.clone());
        wait_until("the rows of the pause", || count_of(&job, "be") == Some(2));

        job.version = 2;
        job.file = write_version(above(&job), 2, &COUNTS.replace("50ms", "20ms"));
        host.jobs.set(job.clone());
        give(&input, "c.txt", "let it be\n");
        wait_until("the new version's rows", || count_of(&job, "be") == Some(3));
        host.wait(&job, "the new version", |status| {
            status.version == 2 && status.phase == Phase::Running
        });
        assert_eq!(host.status(&job).restarts, 0, "none of it was a failure");
        assert_eq!(count_of(&job, "not"), Some(1));

        host.jobs.remove(&job.tenant, &job.pipeline);
        assert_eq!(host.jobs.status(&job.tenant, &job.pipeline), None);
        host.jobs.shutdown();
        assert_eq!(host.runner_of("acme"), None);
    }
}

#[test]
fn a_shutdown_drains_and_the_next_supervisor_goes_on() {
    let host = Host::with_processes();
    let job = host.define("acme", "numbers", NUMBERS);
    host.jobs.set(job.clone());
    host.wait(&job, "a delivered epoch", has_delivered);
    host.jobs.shutdown();
    assert_eq!(host.status(&job).phase, Phase::Stopped);
    assert_eq!(host.runner_of("acme"), None);
    let before = numbers(&job).len();
    assert!(
        (1..6000).contains(&before),
        "it was stopped on its way: {before}"
    );
    host.jobs.set(job.clone());
    assert_eq!(
        host.status(&job).phase,
        Phase::Stopped,
        "nothing starts any more"
    );

    let jobs = Jobs::start(options(host.folder.path(), false)).expect("the folder is writable");
    let next = Host { jobs, ..host };
    next.jobs.set(job.clone());
    next.wait_for(&job, Phase::Finished);
    assert!(numbers(&job) == undisturbed());
}

#[test]
fn a_runner_whose_supervisor_is_gone_drains_and_ends() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let job = define(folder.path(), "acme", "numbers", NUMBERS);
    let mut runner = wasmill()
        .args(["runner", "--cache"])
        .arg(plugins().with_file_name("compiled"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut orders = runner.stdin.take().expect("piped");
    let start = serde_json::json!({
        "order": "start", "run": 1, "pipeline": "numbers", "file": job.file, "checkpoint": job.checkpoint,
        "workers": 1, "accept_changes": false,
    });
    writeln!(orders, "{}\n{start}", r#"{"order":"hello","protocol":1}"#).expect("it listens");
    let reports = BufReader::new(runner.stdout.take().expect("piped"));
    let mut orders = Some(orders);
    let mut last = Value::Null;
    for line in reports.lines() {
        let report: Value = serde_json::from_str(&line.expect("utf8")).expect("JSON");
        let delivered = &report["runs"][0][1]["delivered"];
        if delivered.as_u64().is_some_and(|epochs| epochs > 0) {
            // As the kernel does it when the supervisor is killed.
            drop(orders.take());
        }
        if report["report"] != "figures" {
            last = report;
        }
    }
    assert!(runner.wait().expect("it has ended").success());
    assert_eq!(
        (&last["report"], &last["drained"]),
        (&"ended".into(), &true.into()),
        "{last}"
    );
    let before = numbers(&job).len();
    assert!(
        (1..6000).contains(&before),
        "it was stopped on its way: {before}"
    );

    let jobs = Jobs::start(options(folder.path(), false)).expect("the folder is writable");
    let host = Host { folder, jobs };
    host.jobs.set(job.clone());
    host.wait_for(&job, Phase::Finished);
    assert!(numbers(&job) == undisturbed());
}

#[test]
fn what_a_pipeline_says_is_in_its_own_log_alone() {
    for in_process in [false, true] {
        let host = Host::start(in_process);
        let mut events = host.jobs.subscribe();
        let jobs = ["apple", "pear"].map(|word| {
            let job = host.define("acme", word, TALK);
            give(&home(&job).join("in"), "a.txt", &format!("{word}\n"));
            host.jobs.set(job.clone());
            (word, job)
        });
        for (word, job) in &jobs {
            let row = format!(r#"{{"line":"{word}"}}"#);
            wait_until("both lines", || {
                let log = host.jobs.logs(&job.tenant, &job.pipeline);
                let printed = log
                    .iter()
                    .any(|line| line.level == LogLevel::Print && line.message == row);
                let logged = log.iter().any(|line| {
                    line.level == LogLevel::Info
                        && line.node.as_deref() == Some("logged")
                        && line.message.starts_with(&row)
                });
                printed && logged
            });
        }
        host.jobs.shutdown();
        for ((_, job), other) in jobs.iter().zip(["pear", "apple"]) {
            let log = host.jobs.logs(&job.tenant, &job.pipeline);
            assert!(
                log.iter().all(|line| !line.message.contains(other)),
                "{log:?}"
            );
        }
        let mut heard = Vec::new();
        while let Ok(event) = events.try_recv() {
            if let Event::Status {
                pipeline, status, ..
            } = event
                && pipeline.as_str() == "pear"
                && heard.last() != Some(&status.phase)
            {
                heard.push(status.phase);
            }
        }
        let expected = [
            Phase::Starting,
            Phase::Running,
            Phase::Draining,
            Phase::Stopped,
        ];
        assert_eq!(heard, expected);
    }
}
