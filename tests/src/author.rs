//! The command line of who writes a plugin: commands run to their end, however long tools are installed and compilers compile.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::{plugins, wasmill};

/// Where tools and compiled plugins are kept between runs.
pub fn cache() -> PathBuf {
    let beside = plugins();
    beside.with_file_name("plugin-tools")
}

/// A `wasmill` command, to its end: compiling takes its time.
pub fn command(arguments: &[&str]) -> Output {
    let mut command = wasmill();
    command.env("WASMILL_CACHE", cache()).args(arguments);
    output(&mut command)
}

/// A command, to its end.
pub fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("it starts")
}

/// How it ended, and all that it said.
pub fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

/// What it wrote, if it succeeded.
pub fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).expect("text")
}
