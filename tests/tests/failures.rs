//! A worker or process that panics, fails or is killed ends the run everywhere, with one message, and never hangs.

use std::time::Instant;

use wasmill_tests::{Running, folder, start_cluster};

const PIPELINE: &str = r#"
name = "failing"

[epoch]
interval = "50ms"

[sources.rows]
type = "generate"
rows_per_second = 20000
words = 5
keys = 100

[steps.words]
input = "rows"
plugin = "split-words"
config = { column = "text" }

[steps.counts]
input = "words"
group_by = ["word"]
aggregate = { n = "count()" }

[sinks.out]
input = "counts"
type = "files"
path = "out"
sync = false
"#;

/// Runs a cluster, lets `break_it` act once the first epochs are out, and checks that every surviving process ends with
/// the one message. Prints how long that took.
fn breaks(
    processes: usize,
    workers: usize,
    failpoints: Option<(usize, String)>,
    break_it: impl FnOnce(&[Running]),
    killed: Option<usize>,
    message: &str,
) {
    let folder = folder(&[("pipeline.toml", PIPELINE)]);
    let running = start_cluster(
        &folder.path().join("pipeline.toml"),
        processes,
        workers,
        |process, command| {
            command.arg("--quiet");
            if let Some((at, failpoints)) = &failpoints
                && *at == process
            {
                command.env("FAILPOINTS", failpoints);
            }
        },
    );
    let first = folder.path().join("out/epoch-00000001");
    let began = Instant::now();
    while failpoints.is_none() && !first.exists() && began.elapsed() < wasmill_tests::PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    break_it(&running);
    let broken = Instant::now();
    for (process, running) in running.into_iter().enumerate() {
        let ended = running.end();
        if killed == Some(process) {
            continue;
        }
        assert!(!ended.status.success(), "process {process} succeeded");
        assert!(
            ended.err.contains(message),
            "process {process} said:\n{}",
            ended.err
        );
        assert_eq!(
            ended.err.matches("error").count(),
            1,
            "process {process} said:\n{}",
            ended.err
        );
        println!(
            "{processes} x {workers}: process {process} ended after {:?}",
            broken.elapsed()
        );
    }
}

const SHAPES: [(usize, usize); 3] = [(1, 2), (2, 1), (2, 2)];

/// Breaks each worker of each shape in its turn, once it has been at work for a while.
fn each_worker_breaks(action: &str, message: &str) {
    for (processes, workers) in SHAPES {
        for worker in 0..processes * workers {
            let failpoint = format!("worker-{worker}=20*off->{action}({message})");
            breaks(
                processes,
                workers,
                Some((worker / workers, failpoint)),
                |_| {},
                None,
                message,
            );
        }
    }
}

#[test]
fn a_panic_of_any_worker_ends_the_run_everywhere() {
    each_worker_breaks("panic", "made to panic");
}

#[test]
fn an_error_of_any_worker_ends_the_run_everywhere() {
    each_worker_breaks("return", "made to fail");
}

#[test]
fn the_kill_of_any_process_ends_the_run_everywhere() {
    for (processes, workers) in [(2, 1), (2, 2)] {
        for killed in 0..processes {
            let message = format!("process {killed} at 127.0.0.1");
            breaks(
                processes,
                workers,
                None,
                |running| running[killed].signal("KILL"),
                Some(killed),
                &message,
            );
        }
    }
}
