//! A pipeline whose checkpoint is a bucket goes on where it was as with a folder, and the newest of its processes wins.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use wasmill_tests::s3::S3Server;
use wasmill_tests::{
    Ended, Running, delivered, folder, free_addresses, run, start_cluster, wait_until, wasmill,
};

/// What every word's count is as the lines come in.
const COUNTED: &str = r#"
name = "counted"
partitions = 3

[epoch]
trigger = "available-now"
max_bytes = "1KiB"

[checkpoint]
path = "s3://bucket/some/prefix"
endpoint = "ENDPOINT"
allow_http = true

[sources.lines]
type = "files"
path = "in"

[steps.words]
input = "lines"
plugin = "split-words"

[steps.totals]
input = "words"
plugin = "running-count"
group_by = ["word"]

[sinks.out]
input = "totals"
type = "files"
path = "out"
format = "csv"
"#;

/// Ends only when it is told to.
const ENDLESS: &str = r#"
name = "endless"

[epoch]
interval = "50ms"

[checkpoint]
path = "s3://bucket/endless"
endpoint = "ENDPOINT"
allow_http = true
retain = 3

[sources.numbers]
type = "generate"
rows_per_second = 1000

[sinks.out]
input = "numbers"
type = "print"
"#;

/// A folder with the pipeline and its input.
fn prepared(endpoint: &str) -> tempfile::TempDir {
    let folder = folder(&[("pipeline.toml", &COUNTED.replace("ENDPOINT", endpoint))]);
    std::fs::create_dir(folder.path().join("in")).expect("the folder is writable");
    for file in 0..40 {
        let lines: String = (0..60)
            .map(|line| format!("word{} word{} again\n", (file * line) % 37, line % 11))
            .collect();
        std::fs::write(folder.path().join(format!("in/{file:02}.txt")), lines)
            .expect("the folder is writable");
    }
    folder
}

fn command(folder: &Path, workers: usize) -> Command {
    let mut command = wasmill();
    let workers = workers.to_string();
    command
        .args(["run", "--quiet", "--workers", &workers])
        .arg(folder.join("pipeline.toml"));
    S3Server::let_in(&mut command);
    command
}

/// The output of a run that nothing disturbs, and that keeps nothing.
fn expected() -> Vec<String> {
    let folder = prepared("");
    let file = folder.path().join("pipeline.toml");
    let text = std::fs::read_to_string(&file).expect("the file is there");
    let (start, end) = (
        text.find("[checkpoint]").expect("it has a checkpoint"),
        text.find("[sources").expect("it has sources"),
    );
    std::fs::write(&file, format!("{}{}", &text[..start], &text[end..]))
        .expect("the file is writable");
    run(&mut command(folder.path(), 2)).succeeded();
    let lines = delivered(&folder.path().join("out"));
    assert!(lines.len() > 1_000, "{} lines", lines.len());
    lines
}

/// The objects of a kind.
fn objects(server: &S3Server, kind: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(server.file(kind)).into_iter().flatten();
    let mut objects: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    objects.sort();
    objects
}

/// Kills a run when it has committed so many epochs more.
fn killed_after(server: &S3Server, folder: &Path, workers: usize, epochs: usize) {
    let before = objects(server, "some/prefix/commit").len();
    let running = Running::start(&mut command(folder, workers));
    wait_until("a commit", || {
        objects(server, "some/prefix/commit").len() >= before + epochs
    });
    running.signal("KILL");
    assert_eq!(
        running.end().status.code(),
        None,
        "it was killed before its end"
    );
}

#[test]
fn a_pipeline_killed_between_epochs_goes_on_elsewhere_with_its_state() {
    let server = S3Server::start();
    let folder = prepared(server.endpoint());
    killed_after(&server, folder.path(), 1, 4);
    killed_after(&server, folder.path(), 3, 3);
    for failpoint in ["plan-after", "state", "commit-before", "commit-after"] {
        let mut command = command(folder.path(), 2);
        let ended = run(command.env("FAILPOINTS", format!("{failpoint}=2*off->1*return")));
        assert_eq!(ended.status.code(), None, "{failpoint}: {}", ended.err);
    }
    let file = folder.path().join("pipeline.toml");
    let adapt = |_, command: &mut Command| {
        S3Server::let_in(command);
    };
    for process in start_cluster(&file, 2, 2, adapt) {
        process.end().succeeded();
    }
    assert_eq!(delivered(&folder.path().join("out")), expected());
    // Seven starts: the newest four are remembered, and nothing of the others' state is left.
    assert_eq!(objects(&server, "some/prefix/generation").len(), 4);
    let newest = objects(&server, "some/prefix/commit").pop().unwrap();
    let commit = std::fs::read_to_string(newest).unwrap();
    assert!(commit.contains("\"generation\":7"), "{commit}");
}

#[test]
fn of_two_processes_of_a_pipeline_the_older_stops() {
    let server = S3Server::start();
    let folder = folder(&[(
        "pipeline.toml",
        &ENDLESS.replace("ENDPOINT", server.endpoint()),
    )]);
    let start = || Running::start(&mut command(folder.path(), 1));
    let commits = || objects(&server, "endless/commit").pop();
    let older = start();
    wait_until("a commit", || commits().is_some());
    let newer = start();
    let older = older.end().failed_with(4);
    let message = "another process has taken over this pipeline: the checkpoint in `s3://bucket/endless` is of generation 2, and this process of 1";
    assert!(older.err.contains(message), "{}", older.err);
    let last = commits();
    wait_until("a commit of the newer one", || commits() > last);
    newer.signal("TERM");
    newer.end().succeeded();
}

#[test]
fn of_many_that_start_at_once_one_goes_on_and_each_other_says_why_it_does_not() {
    let server = S3Server::start();
    let folder = folder(&[(
        "pipeline.toml",
        &ENDLESS.replace("ENDPOINT", server.endpoint()),
    )]);
    let mut running: Vec<_> = (0..4)
        .map(|_| Running::start(&mut command(folder.path(), 1)))
        .collect();
    let mut ended: Vec<Ended> = Vec::new();
    wait_until("the others' end", || {
        if let Some(gone) = running.iter_mut().position(Running::has_ended) {
            ended.push(running.remove(gone).end());
        }
        running.len() <= 1
    });
    for ended in ended {
        let known = [
            "has taken over this pipeline",
            "at the same time",
            "start the pipeline again",
        ];
        assert!(
            known.iter().any(|why| ended.err.contains(why)),
            "{}",
            ended.err
        );
    }
    for survivor in running {
        survivor.signal("TERM");
        survivor.end().succeeded();
    }
    // Whoever it was, the records are whole.
    let after = Running::start(&mut command(folder.path(), 1));
    let newest = || objects(&server, "endless/commit").pop();
    let last = newest();
    wait_until("a commit", || newest() > last);
    after.signal("TERM");
    after.end().succeeded();
}

#[test]
fn an_object_that_is_cut_off_is_noticed_at_the_start() {
    let server = S3Server::start();
    let folder = prepared(server.endpoint());
    killed_after(&server, folder.path(), 2, 3);
    let segments = || {
        let folders = objects(&server, "some/prefix/state/totals");
        let segments = folders
            .iter()
            .flat_map(|folder| std::fs::read_dir(folder).unwrap());
        segments
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let plan = objects(&server, "some/prefix/plan").pop().unwrap();
    let commit = objects(&server, "some/prefix/commit").pop().unwrap();
    for (files, kind) in [
        (vec![plan], "plan/"),
        (vec![commit], "commit/"),
        (segments(), "state/totals/"),
    ] {
        let whole: Vec<_> = files
            .iter()
            .map(|file| std::fs::read(file).unwrap())
            .collect();
        for (file, whole) in files.iter().zip(&whole) {
            std::fs::write(file, &whole[..9]).unwrap();
        }
        let ended = run(&mut command(folder.path(), 1)).failed_with(4);
        let damaged = format!("`s3://bucket/some/prefix` is damaged: `{kind}");
        assert!(
            ended.err.contains(&damaged) && ended.err.contains("is cut off"),
            "{}",
            ended.err
        );
        for (file, whole) in files.iter().zip(&whole) {
            std::fs::write(file, whole).unwrap();
        }
    }
    run(&mut command(folder.path(), 2)).succeeded();
    assert_eq!(delivered(&folder.path().join("out")), expected());
}

#[test]
fn the_epochs_of_a_bucket_can_be_looked_at() {
    let server = S3Server::start();
    let folder = prepared(server.endpoint());
    killed_after(&server, folder.path(), 1, 2);
    let look = |arguments: &[&str]| {
        let mut command = wasmill();
        command
            .arg("epoch")
            .args(arguments)
            .env("AWS_ENDPOINT_URL", server.endpoint())
            .env("AWS_ALLOW_HTTP", "true");
        run(S3Server::let_in(&mut command))
    };
    let listed = look(&["ls", "s3://bucket/some/prefix"]).succeeded().out;
    assert!(
        listed.lines().count() > 2 && listed.contains("committed"),
        "{listed}"
    );
    let shown = look(&["show", "s3://bucket/some/prefix", "1"])
        .succeeded()
        .out;
    assert!(shown.contains("epoch 1 of "), "{shown}");
    let none = look(&["ls", "s3://bucket/other"]).failed_with(3);
    assert!(
        none.err
            .contains("there is no checkpoint in `s3://bucket/other`"),
        "{}",
        none.err
    );
}

#[test]
fn a_server_that_is_not_there_or_lets_nobody_in_is_named_within_seconds() {
    let nobody = format!("http://{}", free_addresses(1)[0]);
    let folder = prepared(&nobody);
    let began = Instant::now();
    let ended = run(&mut command(folder.path(), 1)).failed_with(4);
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert!(
        ended.err.contains(&nobody) && ended.err.contains("is the server up"),
        "{}",
        ended.err
    );
    let server = S3Server::start();
    let folder = prepared(server.endpoint());
    let mut stranger = command(folder.path(), 1);
    let ended = run(stranger.env("AWS_SECRET_ACCESS_KEY", "a guess")).failed_with(4);
    assert!(
        ended
            .err
            .contains("AWS_SECRET_ACCESS_KEY must be of someone"),
        "{}",
        ended.err
    );
}
