//! Failed calls in files: which are kept, and that each is the same call again.

use std::path::Path;

use super::super::capture::{Answer, Capture};
use super::super::{CallContext, Engine, Grants, Limits, Transform};
use super::guests::Guest;
use super::{batch, context};
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
    of(engine, &guest)
}

fn opening(engine: &Engine, open: &str) -> Transform {
    let guest = Guest {
        open,
        ..Guest::default()
    };
    of(engine, &guest)
}

fn of(engine: &Engine, guest: &Guest<'_>) -> Transform {
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

#[test]
fn an_instance_that_cannot_be_opened_is_kept_with_its_call_and_is_opened_again() {
    let (folder, engine) = capturing();
    let broken = opening(&engine, "unreachable");
    let error = broken.open(&context()).err().unwrap();
    assert_eq!(files(folder.path()), [FILE]);
    let capture = Capture::read(&folder.path().join("captures").join(FILE)).unwrap();
    assert_eq!(capture.header.error, error.to_string());
    assert_eq!(capture.header.context, context());
    let again = |component| capture.again(component, &Grants::default()).unwrap();
    assert_eq!(again(broken.component()).unwrap_err(), error);
    let mended = opening(&engine, "");
    assert!(matches!(again(mended.component()), Ok(Answer::Opened)));
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
