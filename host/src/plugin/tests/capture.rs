//! Failed calls in files: which are kept, and that each is the same call again.

use std::path::Path;
use std::sync::Arc;

use super::super::capture::{Answer, Capture};
use super::super::{
    CallContext, CallError, Component, Engine, Grants, Keyed, Limits, Reducer, SinkPlugin,
    Transform, World,
};
use super::guests::{Guest, SinkGuest};
use super::keyed_guest::KeyedGuest;
use super::reducer_guest::ReducerGuest;
use super::{batch, context};
use crate::error::Failure;
use crate::ids::Epoch;

/// An engine that captures, and the folder it captures to.
fn capturing() -> (tempfile::TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(&folder.path().join("cache")).unwrap();
    engine.capture_to(&folder.path().join("captures")).unwrap();
    (folder, engine)
}

fn bound(engine: &Engine, process: Option<&str>) -> Transform {
    let guest = Guest {
        process,
        ..Guest::default()
    };
    let component = engine.load_bytes("guest", &guest.module()).unwrap();
    let config = serde_json::json!({"a": 1});
    let (limits, grants) = (Limits::default(), Grants::default());
    let schema = batch().schema();
    Transform::new(
        &component,
        &"step".into(),
        &config,
        &schema,
        &limits,
        &grants,
    )
    .unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("captures")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

const FILE: &str = "step-epoch-7-partition-3.capture";

#[test]
fn a_call_that_fails_is_kept_and_fails_again_in_the_same_way() {
    let (folder, engine) = capturing();
    let transform = bound(&engine, Some("unreachable"));
    let error = transform
        .open(&context())
        .unwrap()
        .process(&context(), &batch())
        .unwrap_err();
    assert_eq!(files(folder.path()), [FILE]);
    let capture = Capture::read(&folder.path().join("captures").join(FILE)).unwrap();
    assert_eq!(capture.header.error, error.to_string());
    assert_eq!(capture.header.context, context());
    assert_eq!(capture.header.config, serde_json::json!({"a": 1}));
    assert_eq!(capture.header.digest, transform.digest());
    assert_eq!(capture.batches(), [batch()]);
    let (_elsewhere, engine) = capturing();
    let component = engine.load_bytes("guest", &capture.component).unwrap();
    let again = capture.again(&component, &Grants::default()).unwrap();
    assert_eq!(again.unwrap_err(), error);
}

/// A plugin of each world that does this first of all in `describe` and in `open`.
fn one_of_each_world(describe: &str, open: &str) -> [Vec<u8>; 4] {
    let transform = Guest {
        describe,
        open,
        ..Guest::default()
    };
    let reducer = ReducerGuest {
        describe,
        open,
        ..ReducerGuest::default()
    };
    let keyed = KeyedGuest {
        describe,
        open,
        ..KeyedGuest::default()
    };
    let sink = SinkGuest {
        describe,
        open,
        ..SinkGuest::default()
    };
    [
        transform.module(),
        reducer.module(),
        keyed.module(),
        sink.module(),
    ]
}

/// Binds a plugin of any world and opens an instance; the outer error is of the binding.
fn opened(component: &Component) -> Result<Result<(), CallError>, Failure> {
    let (node, config, input) = ("step".into(), serde_json::json!({}), batch().schema());
    let (limits, grants, context) = (Limits::default(), Grants::default(), context());
    Ok(match component.world() {
        World::Transform => Transform::new(component, &node, &config, &input, &limits, &grants)?
            .open(&context)
            .map(drop),
        World::Reducer => Reducer::new(component, &node, &config, &input, &limits, &grants)?
            .open(&context)
            .map(drop),
        World::Keyed => {
            let inputs = [input.clone()];
            Keyed::new(component, &node, &config, &input, &inputs, &limits, &grants)?
                .open(&context)
                .map(drop)
        }
        World::Sink => {
            let runtime = Arc::new(tokio::runtime::Runtime::new().unwrap());
            SinkPlugin::new(component, &node, &config, &input, &limits, &grants)?
                .open(&runtime, &context)
                .map(drop)
        }
    })
}

#[test]
fn an_instance_that_cannot_be_opened_is_kept_with_its_call_and_is_opened_again() {
    let worlds = one_of_each_world("", "unreachable").into_iter();
    for (broken, mended) in worlds.zip(one_of_each_world("", "")) {
        let (folder, engine) = capturing();
        let broken = engine.load_bytes("guest", &broken).unwrap();
        let world = broken.world();
        let error = opened(&broken).unwrap().unwrap_err();
        assert_eq!(files(folder.path()), [FILE], "{world}");
        let capture = Capture::read(&folder.path().join("captures").join(FILE)).unwrap();
        assert_eq!(capture.header.error, error.to_string(), "{world}");
        assert_eq!(capture.header.context, context(), "{world}");
        assert_eq!(
            capture.call(),
            "`step`, `open` for epoch 7, partition 3",
            "{world}"
        );
        let again = |component| capture.again(component, &Grants::default()).unwrap();
        assert_eq!(again(&broken).unwrap_err(), error, "{world}");
        let mended = engine.load_bytes("guest", &mended).unwrap();
        assert!(
            matches!(again(&mended), Ok(Answer::Done(done)) if done == "opened"),
            "{world}"
        );
    }
}

#[test]
fn a_describe_that_traps_is_kept_and_made_again() {
    let worlds = one_of_each_world("unreachable", "").into_iter();
    for (broken, mended) in worlds.zip(one_of_each_world("", "")) {
        let (folder, engine) = capturing();
        let broken = engine.load_bytes("guest", &broken).unwrap();
        let world = broken.world();
        let failure = opened(&broken).unwrap_err();
        assert!(failure.message.contains("trapped"), "{world}: {failure}");
        let file = "step-describe.capture";
        assert_eq!(files(folder.path()), [file], "{world}");
        let capture = Capture::read(&folder.path().join("captures").join(file)).unwrap();
        assert_eq!(capture.call(), "`step`, `describe`", "{world}");
        let again = |component| capture.again(component, &Grants::default());
        assert_eq!(again(&broken).unwrap_err(), failure, "{world}");
        let mended = engine.load_bytes("guest", &mended).unwrap();
        let answer = again(&mended).unwrap();
        assert!(
            matches!(answer, Ok(Answer::Done(done)) if done == "described"),
            "{world}"
        );
    }
}

fn sink(engine: &Engine, guest: &SinkGuest<'_>) -> SinkPlugin {
    let component = engine.load_bytes("guest", &guest.module()).unwrap();
    let (node, config, input) = ("out".into(), serde_json::json!({}), batch().schema());
    let (limits, grants) = (Limits::default(), Grants::default());
    SinkPlugin::new(&component, &node, &config, &input, &limits, &grants).unwrap()
}

/// All that the host calls of a sink for a partition with two batches, until something fails.
fn delivered(sink: &SinkPlugin) -> Result<(), CallError> {
    let runtime = Arc::new(tokio::runtime::Runtime::new().unwrap());
    let (context, tokens) = (context(), [b"one".as_slice(), b"two"]);
    let mut instance = sink.open(&runtime, &context)?;
    instance.last_epoch(context.partition)?;
    instance.begin(&context, "key")?;
    instance.write(&context, &batch().slice(0, 1))?;
    instance.write(&context, &batch().slice(1, 1))?;
    instance.prepare(&context)?;
    instance.abort(Epoch(6), &tokens)?;
    instance.commit(Epoch(7), &tokens)
}

#[test]
fn each_call_of_a_sink_that_fails_is_kept_and_made_again_with_what_came_before_it() {
    let mended = SinkGuest {
        commit: "(br $done)",
        ..SinkGuest::default()
    };
    let trap = "unreachable";
    let second = "(if (i32.eq (global.get $writes) (i32.const 2)) (then unreachable))";
    let cases = [
        (
            SinkGuest {
                last_epoch: trap,
                ..SinkGuest::default()
            },
            "out-last-epoch-partition-3",
            "`out`, `last-epoch` of partition 3",
            "holds epoch 5",
        ),
        (
            SinkGuest {
                begin: trap,
                ..SinkGuest::default()
            },
            "out-epoch-7-partition-3",
            "`out`, `begin` of epoch 7, partition 3",
            "begun",
        ),
        (
            SinkGuest {
                write: second,
                ..SinkGuest::default()
            },
            "out-epoch-7-partition-3",
            "`out`, epoch 7, partition 3, call 0 of its instance, 1 rows",
            "written",
        ),
        (
            SinkGuest {
                prepare: trap,
                ..SinkGuest::default()
            },
            "out-epoch-7-partition-3",
            "`out`, `prepare` of epoch 7, partition 3, 2 rows",
            "prepared, with a token of 9 bytes",
        ),
        (
            SinkGuest {
                abort: trap,
                ..SinkGuest::default()
            },
            "out-abort-epoch-6",
            "`out`, `abort` of epoch 6",
            "aborted",
        ),
        (
            SinkGuest {
                commit: trap,
                ..SinkGuest::default()
            },
            "out-commit-epoch-7",
            "`out`, `commit` of epoch 7",
            "committed",
        ),
    ];
    for (broken, file, call, done) in cases {
        let (folder, engine) = capturing();
        let broken = sink(&engine, &broken);
        let error = delivered(&broken).unwrap_err();
        let file = format!("{file}.capture");
        assert_eq!(files(folder.path()), [file.as_str()], "{call}");
        let capture = Capture::read(&folder.path().join("captures").join(file)).unwrap();
        assert_eq!(capture.call(), call);
        let again = |component| capture.again(component, &Grants::default()).unwrap();
        assert_eq!(again(broken.component()).unwrap_err(), error, "{call}");
        match again(sink(&engine, &mended).component()).unwrap() {
            Answer::Done(was) => assert_eq!(was, done, "{call}"),
            Answer::Written(refused) => assert!(refused.is_empty() && done == "written"),
            answer => panic!("{call}: {answer:?}"),
        }
    }
    let (folder, engine) = capturing();
    delivered(&sink(&engine, &mended)).unwrap();
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn a_captured_call_of_a_mended_plugin_gives_its_rows() {
    let (folder, engine) = capturing();
    let broken = bound(&engine, Some("unreachable"));
    broken
        .open(&context())
        .unwrap()
        .process(&context(), &batch())
        .unwrap_err();
    let capture = Capture::read(&folder.path().join("captures").join(FILE)).unwrap();
    let mended = bound(&engine, None);
    let answer = capture
        .again(mended.component(), &Grants::default())
        .unwrap();
    let Ok(Answer::Produced(ports, produced)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(ports[0].name, "out");
    assert_eq!(produced.outputs[0].rows, batch().num_rows());
}

#[test]
fn of_a_partition_the_failing_call_with_the_fewest_rows_stays() {
    let (folder, engine) = capturing();
    let transform = bound(&engine, Some("unreachable"));
    let fail = |rows| {
        let rows = batch().slice(0, rows);
        transform
            .open(&context())
            .unwrap()
            .process(&context(), &rows)
            .unwrap_err();
        let file = folder.path().join("captures").join(FILE);
        Capture::read(&file).unwrap().header.rows
    };
    assert_eq!([fail(2), fail(1), fail(2)], [2, 1, 1]);
    let other = CallContext {
        epoch: Epoch(8),
        ..context()
    };
    transform
        .open(&context())
        .unwrap()
        .process(&other, &batch())
        .unwrap_err();
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn a_call_that_succeeds_leaves_no_file() {
    let (folder, engine) = capturing();
    bound(&engine, None)
        .open(&context())
        .unwrap()
        .process(&context(), &batch())
        .unwrap();
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn what_is_no_capture_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.capture");
    let read = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        Capture::read(&file).unwrap_err().to_string()
    };
    assert_eq!(read(b""), "it is no capture: it has no `call.json`");
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let call = br#"{"format": 2}"#;
    header.set_size(call.len() as u64);
    archive
        .append_data(&mut header, "call.json", &call[..])
        .unwrap();
    let later = archive.into_inner().unwrap();
    assert_eq!(
        read(&later),
        "it has the format 2, and this version of wasmill reads 1"
    );
}
