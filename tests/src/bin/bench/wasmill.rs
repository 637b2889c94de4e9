//! Wasmill end to end, as a user runs it: files, the plugin `split-words`, `count()`, files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::{self, Finished};
use crate::counts::{self, Counts};
use crate::text::Text;

/// A pipeline file and where its output goes.
pub struct Pipeline {
    file: PathBuf,
    output: PathBuf,
    cache: PathBuf,
}

impl Pipeline {
    /// Writes the pipeline file; what an earlier run has put out is removed.
    pub fn write(dir: &Path, text: &Text, plugin: &Path) -> anyhow::Result<Self> {
        let output = dir.join("wasmill");
        if output.exists() {
            fs::remove_dir_all(&output)?;
        }
        let file = dir.join("word-count.toml");
        let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
        fs::write(
            &file,
            format!(
                r#"name = "word-count"

[epoch]
trigger = "available-now"

[sources.lines]
type = "files"
path = {input}

[steps.words]
input = "lines"
plugin = {plugin}

[steps.counts]
input = "words"
group_by = ["word"]
aggregate = {{ n = "count()" }}

[sinks.out]
input = "counts"
type = "files"
path = {output}
format = "csv"
header = false
"#,
                input = quoted(&text.dir),
                plugin = quoted(&plugin.canonicalize()?),
                output = quoted(&output),
            ),
        )?;
        let cache = dir.join("cache");
        Ok(Self {
            file,
            output,
            cache,
        })
    }

    /// Runs it on so many workers; the time includes the start of the process.
    pub fn run(&self, wasmill: &Path, workers: u32) -> anyhow::Result<Finished> {
        let mut command = Command::new(wasmill);
        command
            .arg("run")
            .arg(&self.file)
            .args(["--quiet", "--workers", &workers.to_string()]);
        child::run(command.env("WASMILL_CACHE", &self.cache))
    }

    /// What it counted, added up over its epochs.
    pub fn counts(&self) -> anyhow::Result<Counts> {
        counts::of_folder(&self.output, "part-")
    }
}
