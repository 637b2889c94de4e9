//! Plugins that take all of the processor, where there is a quota.

use std::time::{Duration, Instant};

use super::guests::Guest;
use super::*;

/// How long an endless loop goes on until its deadline, with a quota.
fn endless(millicores: u32, deadline: Duration) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(folder.path()).unwrap();
    engine.quota().set(Some(millicores));
    let guest = Guest {
        process: Some("(loop $for_ever (br $for_ever)) unreachable"),
        ..Guest::default()
    };
    let component = engine.load_bytes("guest", &guest.module()).unwrap();
    let limits = Limits {
        deadline,
        ..Limits::default()
    };
    let transform = bind_with(&component, &batch().schema(), limits).unwrap();
    let began = Instant::now();
    let error = process(&transform, &batch()).unwrap_err();
    assert_eq!(error, CallError::Deadline(deadline));
    began.elapsed()
}

#[test]
fn a_deadline_is_processor_time_of_which_a_quota_leaves_little() {
    let deadline = Duration::from_millis(100);
    let took = endless(200, deadline);
    // A fifth of a core, less what is saved at the start.
    assert!(took >= deadline * 4, "{took:?}");
}

#[test]
fn a_call_ends_even_if_the_quota_lets_it_do_next_to_nothing() {
    let deadline = Duration::from_millis(20);
    let took = endless(1, deadline);
    assert!(took >= deadline * 20, "{took:?}");
}

#[test]
fn instances_share_the_memory_that_there_is_and_give_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(folder.path()).unwrap();
    let guest = Guest {
        process: Some("(loop $more (drop (memory.grow (i32.const 1))) (br $more)) unreachable"),
        ..Guest::default()
    };
    let component = engine.load_bytes("guest", &guest.module()).unwrap();
    // Whoever has the memory, it can be described.
    engine.memory().set(Some(1));
    let transform = bind(&component, &batch().schema()).unwrap();
    let error = |error| match error {
        CallError::Quota(what) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        error(transform.open(&context()).err().unwrap()),
        "1B of memory"
    );
    engine.memory().set(Some(4 << 20));
    let waiting = transform.open(&context()).unwrap();
    let held = engine.memory().held();
    assert!(held > 0);
    assert_eq!(
        error(process(&transform, &batch()).unwrap_err()),
        "4MiB of memory"
    );
    assert_eq!(
        engine.memory().held(),
        held,
        "what has failed holds nothing"
    );
    drop(waiting);
    assert_eq!(engine.memory().held(), 0);
    let used = transform.counters().read();
    assert!(used.cpu_nanos > 0, "{used:?}");
}

#[test]
fn without_a_quota_any_more_nothing_sleeps() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(folder.path()).unwrap();
    engine.quota().set(Some(100));
    assert!(engine.quota().is_limited());
    engine.quota().set(None);
    assert!(!engine.quota().is_limited());
    assert_eq!(engine.quota().slept(), Duration::ZERO);
}
