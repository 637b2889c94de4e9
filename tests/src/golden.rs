//! A golden case is a folder: `pipeline.toml`, its input, and `expected/`, the folder `output/` and the standard output it gives.
//!
//! Every case runs on one worker, on three, and on two processes of two, and must give the same each time. The manifests of `files` sinks are
//! no part of it: they must list just the files that are there.
//! `UPDATE=1` writes what one worker gives as the new expectation: read the difference before you commit it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::start_cluster;

/// The ways a case is run: processes and workers of each.
pub const WAYS: [(usize, usize); 3] = [(1, 1), (1, 3), (2, 2)];

/// The text of each file below a folder, by its path in it.
type Files = BTreeMap<PathBuf, String>;

/// All cases, by name.
pub fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of golden cases")
        .map(|entry| entry.expect("readable").path())
        .collect();
    cases.sort();
    cases
}

/// Runs a case in one way; answers what it gave.
pub fn run(case: &Path, processes: usize, workers: usize) -> Files {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    copy(case, scratch.path());
    let running = start_cluster(
        &scratch.path().join("pipeline.toml"),
        processes,
        workers,
        |_, _| {},
    );
    let mut out = String::new();
    for process in running {
        let ended = process.end().succeeded();
        out.push_str(&ended.out);
    }
    let output = scratch.path().join("output");
    crate::manifest::check_below(&output);
    let mut files = read(&output);
    files.retain(|path, _| !path.iter().any(|name| name == crate::manifest::FOLDER));
    if !out.is_empty() {
        files.insert("stdout".into(), out);
    }
    files
        .into_iter()
        .map(|(path, text)| (path, blanked(&text, scratch.path())))
        .collect()
}

/// What a case should give.
pub fn expected(case: &Path) -> Files {
    read(&case.join("expected"))
}

/// Makes `files` the expectation of a case.
pub fn update(case: &Path, files: &Files) {
    let folder = case.join("expected");
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("removable");
    }
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("inside the folder")).expect("writable");
        fs::write(path, text).expect("writable");
    }
}

fn copy(from: &Path, to: &Path) {
    for name in names(from) {
        if !name.starts_with("expected") {
            let path = to.join(&name);
            fs::create_dir_all(path.parent().expect("inside the folder")).expect("writable");
            fs::copy(from.join(&name), path).expect("copied");
        }
    }
}

fn read(folder: &Path) -> Files {
    let text = |name: &PathBuf| fs::read_to_string(folder.join(name)).expect("output is text");
    names(folder)
        .into_iter()
        .map(|name| (name.clone(), text(&name)))
        .collect()
}

/// The files below a folder, by their path in it.
fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                names.push(path.strip_prefix(folder).expect("below it").to_owned());
            }
        }
    }
    names
}

/// What differs from run to run is blanked: batch times, the scratch folder, and the digests of plugins (another compiler
/// makes other components of the same source).
fn blanked(text: &str, scratch: &Path) -> String {
    let mut blanked = String::new();
    for line in text.lines() {
        let line = line.replace(&*scratch.to_string_lossy(), "<case>");
        let line = blank(&line, "\"batch_time\":\"", "\"");
        let line = blank(&line, "sha256:", "\"");
        blanked.push_str(&blank(&line, "Time: ", " ms"));
        blanked.push('\n');
    }
    blanked
}

/// Replaces what stands between `before` and `after`, if both are there.
fn blank(line: &str, before: &str, after: &str) -> String {
    let Some(start) = line.find(before).map(|at| at + before.len()) else {
        return line.to_owned();
    };
    let Some(end) = line[start..].find(after).map(|at| start + at) else {
        return line.to_owned();
    };
    format!("{}<...>{}", &line[..start], &line[end..])
}
