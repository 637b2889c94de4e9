//! A golden case is a folder: `pipeline.toml`, its input, and `expected/`, the folder `output/` and the standard output it gives.
//!
//! Every case runs on one worker, on three, and on two processes of two, and must give the same each time.
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
    let mut files = read(&scratch.path().join("output"));
    if !out.is_empty() {
        files.insert("stdout".into(), out);
    }
    files
        .into_iter()
        .map(|(path, text)| (path, without_times(&text)))
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
    for (path, text) in read(from) {
        if path.starts_with("expected") {
            continue;
        }
        let path = to.join(path);
        fs::create_dir_all(path.parent().expect("inside the folder")).expect("writable");
        fs::write(path, text).expect("writable");
    }
}

fn read(folder: &Path) -> Files {
    let mut files = Files::new();
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
                let name = path.strip_prefix(folder).expect("below it").to_owned();
                files.insert(
                    name,
                    fs::read_to_string(&path).expect("golden files are text"),
                );
            }
        }
    }
    files
}

/// Batch times are those of the run: they are blanked, in Spark's header and in rejected rows.
fn without_times(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(blank).collect();
    lines.join("\n") + if text.is_empty() { "" } else { "\n" }
}

fn blank(line: &str) -> String {
    if let Some(rest) = line.strip_prefix("Time: ")
        && rest.ends_with(" ms")
    {
        return "Time: <time> ms".to_owned();
    }
    let Some(start) = line.find("\"batch_time\":\"") else {
        return line.to_owned();
    };
    let value = start + "\"batch_time\":\"".len();
    let end = value + line[value..].find('"').expect("a JSON text ends");
    format!("{}<time>{}", &line[..value], &line[end..])
}
