//! A supervisor with pipelines that read, count and talk, and what these have come to.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use wasmill::bounded::{Bounded, Bounds};
use wasmill::checkpoint::storage::Location;
use wasmill::ids::{PipelineName, TenantId};
use wasmill::jobs::{Desired, JobStatus, Jobs, JobsOptions, Phase, Wanted};

use crate::{PATIENCE, binary, delivered, plugins, run, wasmill};

/// Ends by itself, after some dozens of epochs.
pub const NUMBERS: &str = r#"
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
pub const COUNTS: &str = r#"
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
pub const TALK: &str = r#"
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
pub struct Host {
    /// Everything is in it.
    pub folder: TempDir,
    /// The supervisor.
    pub jobs: Jobs,
}

impl Host {
    /// Without any job; with runners that are processes, or threads.
    pub fn start(in_process: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let jobs = Jobs::start(options(folder.path(), in_process)).expect("the folder is writable");
        Self { folder, jobs }
    }

    /// As a server has it.
    pub fn with_processes() -> Self {
        Self::start(false)
    }

    /// The first version of a pipeline, not started yet.
    pub fn define(&self, tenant: &str, name: &str, text: &str) -> Desired {
        define(self.folder.path(), tenant, name, text)
    }

    /// How a job stands.
    pub fn status(&self, job: &Desired) -> JobStatus {
        let status = self.jobs.status(&job.tenant, &job.pipeline);
        status.expect("the job is known")
    }

    /// Waits until a job stands so, and shows its log if that does not come.
    pub fn wait(&self, job: &Desired, what: &str, mut is_so: impl FnMut(&JobStatus) -> bool) {
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
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a job is in a phase.
    pub fn wait_for(&self, job: &Desired, phase: Phase) {
        self.wait(job, &format!("{phase:?}"), |status| status.phase == phase);
    }

    /// The process that runs the pipelines of a tenant.
    pub fn runner_of(&self, tenant: &str) -> Option<u32> {
        runner_of(self.folder.path(), tenant)
    }
}

/// Of a supervisor whose folder is below this one.
pub fn options(folder: &Path, in_process: bool) -> JobsOptions {
    JobsOptions {
        data: folder.join("data"),
        program: Bounded {
            program: binary(),
            bounds: Bounds {
                time: PATIENCE,
                memory: 2 << 30,
            },
            cgroup: None,
        },
        cgroups: None,
        in_process,
        keep_idle: Duration::from_millis(200),
        // One for all tests: the plugins are the same.
        cache: plugins().with_file_name("compiled"),
        collector: None,
    }
}

/// Writes a pipeline's file, with the plugins beside it.
pub fn define(folder: &Path, tenant: &str, name: &str, text: &str) -> Desired {
    let folder = folder.join(tenant).join(name);
    fs::create_dir_all(folder.join("in")).expect("writable");
    Desired {
        tenant: TenantId::parse(tenant).expect("a name"),
        pipeline: PipelineName::parse(name).expect("a name"),
        version: 1,
        file: write_version(&folder, 1, text),
        checkpoint: Location::Folder(folder.join("checkpoint")),
        workers: 2,
        state: Wanted::Running,
        accept_changes: false,
    }
}

/// Writes a version of a pipeline below its folder, and says where its file is; `{home}` is that folder.
pub fn write_version(folder: &Path, version: u32, text: &str) -> PathBuf {
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
pub fn home(job: &Desired) -> &Path {
    job.file.parent().expect("in a folder")
}

/// The folder of all of its versions.
pub fn above(job: &Desired) -> &Path {
    home(job).parent().expect("in a folder")
}

/// Input that appears whole.
pub fn give(folder: &Path, name: &str, text: &str) {
    let aside = folder.with_file_name(format!("{name}.new"));
    fs::write(&aside, text).expect("writable");
    fs::rename(aside, folder.join(name)).expect("on one disk");
}

/// The process of a runner that this process has started: the one whose standard error is its tenant's log.
pub fn runner_of(folder: &Path, tenant: &str) -> Option<u32> {
    let log = folder.join("data/runners").join(format!("{tenant}.log"));
    let processes = fs::read_dir("/proc").expect("a Linux").flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.find(|id| {
        let link = fs::read_link(format!("/proc/{id}/fd/2"));
        *id != std::process::id() && link.is_ok_and(|link| link == log)
    })
}

/// Sends a signal, by the name `kill` knows.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

/// The rows that a pipeline of [`NUMBERS`] has delivered, in an order of their own.
pub fn numbers(job: &Desired) -> Vec<String> {
    let mut rows = delivered(&home(job).join("out"));
    rows.sort();
    rows
}

/// What [`NUMBERS`] gives when nothing happens to it.
pub fn undisturbed() -> Vec<String> {
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
pub fn count_of(job: &Desired, word: &str) -> Option<i64> {
    let rows = delivered(&above(job).join("out"));
    let latest = rows.iter().rev();
    let mut latest = latest.map(|row| serde_json::from_str::<Value>(row).expect("JSON"));
    latest.find(|row| row["word"] == word)?["n"].as_i64()
}

/// Whether it runs and an epoch has been delivered.
pub fn has_delivered(status: &JobStatus) -> bool {
    status.phase == Phase::Running && status.figures.delivered > 0
}

/// A runner without a supervisor: the test gives it orders.
pub struct Raw {
    /// The process.
    pub process: Child,
    /// Its input, unless it was closed.
    pub orders: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Raw {
    /// One that runs a pipeline.
    pub fn running(job: &Desired) -> Self {
        let mut process = wasmill()
            .args(["runner", "--cache"])
            .arg(plugins().with_file_name("compiled"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let reports = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut runner = Self {
            orders: process.stdin.take(),
            process,
            reports,
        };
        runner.order(&json!({"order": "hello", "protocol": 1}));
        runner.order(&json!({
            "order": "start", "run": 1, "tenant": "acme", "pipeline": "numbers", "file": job.file, "checkpoint": job.checkpoint,
            "workers": 1, "accept_changes": false,
        }));
        runner.wait_for(|report| report["runs"][0][1]["delivered"].as_u64() > Some(0));
        runner
    }

    /// Gives an order.
    pub fn order(&mut self, order: &Value) {
        let orders = self.orders.as_mut().expect("not closed yet");
        writeln!(orders, "{order}").expect("it listens");
    }

    /// Reads its reports until one is such.
    pub fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.reports.next().expect("it still speaks");
            let report: Value = serde_json::from_str(&line.expect("utf8")).expect("JSON");
            if is_it(&report) {
                return report;
            }
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Gone already where the test went well.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
