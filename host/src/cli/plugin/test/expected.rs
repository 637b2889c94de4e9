//! What a fixture expects: a folder of files, compared row by row.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use similar::TextDiff;

use super::trial::Given;

/// The files below a folder, which may not be there.
pub fn read(folder: &Path) -> anyhow::Result<Given> {
    let mut files = Given::new();
    if folder.exists() {
        read_below(folder, folder, &mut files)
            .with_context(|| format!("{} cannot be read", folder.display()))?;
    }
    Ok(files)
}

fn read_below(root: &Path, folder: &Path, files: &mut Given) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_below(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root).expect("it is below");
            let text = std::fs::read_to_string(&path)?;
            files.insert(name.to_string_lossy().into_owned(), text);
        }
    }
    Ok(())
}

/// Puts these files there, and nothing else.
pub fn write(folder: &Path, files: &Given) -> anyhow::Result<()> {
    let written = || {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        for (name, text) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("it is below a folder"))?;
            std::fs::write(path, text)?;
        }
        Ok::<_, std::io::Error>(())
    };
    written().with_context(|| format!("{} cannot be written", folder.display()))
}

/// How files differ, with the rows that do; nothing if none does.
pub fn diff(expected: &Given, given: &Given) -> String {
    let names: BTreeSet<&String> = expected.keys().chain(given.keys()).collect();
    let mut text = String::new();
    for name in names {
        let [expected, given] = [expected, given].map(|files| files.get(name));
        if expected == given {
            continue;
        }
        let what = match (expected, given) {
            (None, _) => "not expected",
            (_, None) => "expected, and not given",
            _ => "not as expected",
        };
        let [expected, given] = [expected, given].map(|text| text.map_or("", String::as_str));
        let diff = TextDiff::from_lines(expected, given);
        // Writing to a String cannot fail.
        write!(text, "{name}, {what}\n{}", diff.unified_diff()).ok();
    }
    text
}
