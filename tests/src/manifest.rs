//! The output of a `files` sink as its manifests tell it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

/// Where a sink has its manifests.
pub const FOLDER: &str = "_manifest";

/// The lines of all files that are listed below the sink's folder, in the order of the manifests. What a manifest says of a file must be true.
pub fn listed(sink: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for manifest in paths(&sink.join(FOLDER)) {
        let text = fs::read_to_string(manifest).expect("JSON is UTF-8");
        let manifest: Value = serde_json::from_str(&text).expect("a manifest is JSON");
        let (mut rows, mut bytes) = (0, 0);
        for file in manifest["files"].as_array().expect("a list") {
            let text = fs::read_to_string(sink.join(file["path"].as_str().expect("a path")));
            let text = text.expect("what is listed is there");
            assert_eq!(file["bytes"], text.len(), "{file}");
            assert_eq!(
                file["xxh3"],
                format!("{:016x}", xxh3_64(text.as_bytes())),
                "{file}"
            );
            lines.extend(text.lines().map(str::to_owned));
            rows += file["rows"].as_u64().expect("a number");
            bytes += text.len();
        }
        assert!(
            manifest["first"].as_u64() <= manifest["last"].as_u64(),
            "{manifest}"
        );
        assert_eq!(
            (&manifest["rows"], &manifest["bytes"]),
            (&rows.into(), &bytes.into())
        );
    }
    lines
}

/// Checks every sink's folder at or below `output`: its manifests list all files that are there, and these alone.
pub fn check_below(output: &Path) {
    if !output.join(FOLDER).exists() {
        paths(output)
            .iter()
            .filter(|path| path.is_dir())
            .for_each(|path| check_below(path));
        return;
    }
    let folders = paths(output)
        .into_iter()
        .filter(|path| !path.ends_with(FOLDER));
    let files = folders.flat_map(|folder| paths(&folder));
    let text = files.map(|file| fs::read_to_string(file).expect("output is text"));
    let lines: Vec<String> = text
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(listed(output), lines, "{}", output.display());
}

fn paths(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    paths
}
