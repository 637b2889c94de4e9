//! Pipelines of several tenants that are kept running: by real runners, which are killed, lose their supervisor, and run plugins that trap.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use wasmill::jobs::{Event, Jobs, JobsOptions, LogLevel, Phase, Quotas, Terms, Wanted};
use wasmill_tests::jobs::{
    COUNTS, Host, NUMBERS, Raw, TALK, above, count_of, define, give, has_delivered, home, numbers,
    options, signal, undisturbed, write_version,
};
use wasmill_tests::{PATIENCE, binary, wait_until};

#[expect(dead_code, reason = "the host's own tests use more of it")]
#[path = "../../host/src/plugin/tests/guests.rs"]
mod guests;

use guests::Guest;

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
    signal(runner, "KILL");
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
    let used = [&ours[0], &neighbour].map(|job| host.jobs.usage(&job.tenant));
    wait_until("the end of runners that have nothing to do", || {
        host.runner_of("acme").is_none() && host.runner_of("beta").is_none()
    });
    for (job, used) in [&ours[0], &neighbour].into_iter().zip(used) {
        wait_until("memory that is given back", || {
            host.jobs.usage(&job.tenant).memory_bytes == 0
        });
        let in_all = host.jobs.usage(&job.tenant).cpu_ms;
        assert!(
            used.cpu_ms > 0 && in_all >= used.cpu_ms,
            "{used:?}, {in_all}"
        );
    }
}

#[test]
fn a_runner_with_nothing_to_do_stays_for_what_its_tenant_starts_next() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = JobsOptions {
        keep_idle: PATIENCE,
        ..options(folder.path(), false)
    };
    let jobs = Jobs::start(options).expect("the folder is writable");
    let host = Host { folder, jobs };
    let [mut first, next] = ["first", "next"].map(|name| host.define("acme", name, COUNTS));
    host.jobs.set(first.clone());
    host.wait_for(&first, Phase::Running);
    let runner = host.runner_of("acme").expect("its pipeline runs");
    first.state = Wanted::Stopped;
    host.jobs.set(first.clone());
    host.wait_for(&first, Phase::Stopped);
    host.jobs.set(next.clone());
    host.wait_for(&next, Phase::Running);
    assert_eq!(host.runner_of("acme"), Some(runner));
    for job in [&first, &next] {
        host.jobs.remove(&job.tenant, &job.pipeline);
    }
    host.jobs.forget(&next.tenant);
    wait_until(
        "the end of the runner of a tenant that is forgotten",
        || host.runner_of("acme").is_none(),
    );
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
    let mut runner = Raw::running(&job);
    // As the kernel does it when the supervisor is killed.
    drop(runner.orders.take());
    let last = runner.wait_for(|report| report["report"] == "ended");
    assert_eq!(last["drained"], true, "{last}");
    assert!(runner.process.wait().expect("it has ended").success());
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
fn a_run_is_ended_at_once_on_order_and_its_runner_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let job = define(folder.path(), "acme", "numbers", NUMBERS);
    let mut runner = Raw::running(&job);
    runner.order(&json!({"order": "kill", "run": 1}));
    let failed = runner.wait_for(|report| report["report"] == "failed");
    assert_eq!(failed["failure"]["message"], "it was ended at once");
    runner.wait_for(|report| report["report"] == "figures" && report["runs"] == json!([]));
}

#[test]
fn a_runner_that_does_not_answer_any_more_is_replaced() {
    let host = Host::with_processes();
    let job = host.define("acme", "numbers", NUMBERS);
    host.jobs.set(job.clone());
    host.wait(&job, "a delivered epoch", has_delivered);
    let runner = host.runner_of("acme").expect("its pipeline runs");
    signal(runner, "STOP");
    host.wait_for(&job, Phase::Finished);
    assert_eq!(host.status(&job).restarts, 1);
    assert!(numbers(&job) == undisturbed());
}

#[test]
fn a_panic_of_the_host_costs_one_pipeline_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The first write of state in a runner panics, and no other.
    let script = format!(
        "#!/bin/sh\nFAILPOINTS='state=1*panic' exec '{}' \"$@\"\n",
        binary().display()
    );
    let panics = folder.path().join("panics");
    fs::write(&panics, script).expect("writable");
    fs::set_permissions(&panics, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut options = options(folder.path(), false);
    options.program.program = panics;
    let jobs = Jobs::start(options).expect("the folder is writable");
    let host = Host { folder, jobs };
    let neighbour = host.define("acme", "numbers", NUMBERS);
    host.jobs.set(neighbour.clone());
    host.wait(&neighbour, "a delivered epoch", has_delivered);
    let job = host.define("acme", "counts", COUNTS);
    give(&above(&job).join("in"), "a.txt", "to be or not to be\n");
    host.jobs.set(job.clone());
    host.wait(&job, "a restart", |status| status.restarts == 1);
    wait_until("its rows", || count_of(&job, "be") == Some(2));
    let log = host.jobs.logs(&job.tenant, &job.pipeline);
    assert!(
        log.iter()
            .any(|line| line.message.contains("a thread panicked")),
        "{log:?}"
    );
    host.wait_for(&neighbour, Phase::Finished);
    assert_eq!(host.status(&neighbour).restarts, 0);
    assert!(numbers(&neighbour) == undisturbed());
}

#[test]
fn a_quota_makes_the_plugins_of_a_tenant_slow() {
    let host = Host::with_processes();
    let job = host.define("acme", "endless", COUNTS);
    let guest = Guest {
        process: Some("(loop $for_ever (br $for_ever)) unreachable"),
        ..Guest::default()
    };
    let text = COUNTS.replace(
        r#"plugin = "split-words""#,
        "plugin = \"./endless.wasm\"\nlimits = { deadline = \"100ms\" }",
    );
    let text = text.replace(r#"group_by = ["word"]"#, r#"group_by = ["line"]"#);
    write_version(above(&job), 1, &text);
    fs::write(home(&job).join("endless.wasm"), guest.module()).expect("writable");
    give(&above(&job).join("in"), "a.txt", "to be\n");
    let quotas = Quotas {
        millicores: Some(100),
        ..Quotas::default()
    };
    let terms = Terms {
        quotas,
        ..Terms::default()
    };
    host.jobs.set_terms(&job.tenant, terms);
    host.jobs.set(job.clone());
    host.wait_for(&job, Phase::Running);
    let began = host.status(&job).since;
    host.wait(&job, "its deadline", |status| status.failure.is_some());
    let status = host.status(&job);
    assert!(
        status
            .failure
            .is_some_and(|failure| failure.contains("100ms"))
    );
    // Its tenth of a core, less what is saved at the start, takes nine times the deadline.
    let took = status.since.duration_since(began).as_secs_f64();
    assert!(took > 0.7, "{took}");
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
