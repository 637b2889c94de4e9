//! A folder with `pipeline.toml` and what belongs to it.

use std::path::Path;

use tempfile::TempDir;

use crate::{Ended, folder, run, wasmill};

/// How often each word came, in all and in the last ten seconds.
const REMEMBERS: &str = r#"
name = "remembers"

[epoch]
trigger = "available-now"

[checkpoint]
path = "checkpoint"

[sources.lines]
type = "queue"
path = "in"

[steps.words]
input = "lines"
plugin = "split-words"

[steps.totals]
input = "words"
plugin = "running-count"
group_by = ["word"]

[steps.recent]
input = "words"
group_by = ["word"]
aggregate = { n = "count()" }
window = { length = "10s", slide = "1s" }

[sinks.out]
input = "totals"
type = "files"
path = "out"

[sinks.windows]
input = "recent"
type = "files"
path = "windows"
"#;

/// Three batches of words.
pub const WORDS: [(&str, &str); 3] = [
    ("1000.txt", "to be or not to be\n"),
    ("2000.txt", "to do\n"),
    ("3000.txt", "not to be\n"),
];

/// The folder of one pipeline.
pub struct Pipeline(TempDir);

impl Pipeline {
    /// With these files, one of them `pipeline.toml`.
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self(folder(files))
    }

    /// That counts words and remembers the counts, with these batches, each at the time that it is called by.
    pub fn remembering(batches: &[(&str, &str)]) -> Self {
        let pipeline = Self::of(&[("pipeline.toml", REMEMBERS)]);
        let folder = pipeline.path().join("in");
        std::fs::create_dir(&folder).expect("the folder is new");
        for (name, text) in batches {
            std::fs::write(folder.join(name), text).expect("writable");
        }
        pipeline
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs the pipeline to its end.
    pub fn start(&self, arguments: &[&str]) -> Ended {
        let mut command = wasmill();
        command
            .current_dir(self.path())
            .args(["run", "pipeline.toml"]);
        run(command.args(arguments))
    }

    /// Changes the pipeline.
    pub fn rewrite(&self, from: &str, to: &str) {
        let file = self.path().join("pipeline.toml");
        let text = std::fs::read_to_string(&file).expect("the pipeline is there");
        assert!(text.contains(from));
        std::fs::write(file, text.replace(from, to)).expect("writable");
    }
}
