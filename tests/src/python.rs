//! Programs that come from PyPI, each in an environment of its own, kept beside the build with the tools of the SDKs.

use std::path::PathBuf;
use std::process::Command;

use crate::plugins;

/// A program of a package, `name==version`, which is installed if it is not there.
///
/// # Panics
/// When it cannot be installed.
pub fn program(package: &str, program: &str) -> PathBuf {
    let tools = plugins().with_file_name("plugin-tools").join("tools");
    let environment = tools.join(package.replace("==", "-"));
    let file = environment.join("bin").join(program);
    if !file.exists() {
        let mut venv = Command::new("python3");
        succeed(venv.args(["-m", "venv"]).arg(&environment));
        let mut install = Command::new(environment.join("bin/python"));
        succeed(install.args(["-m", "pip", "install", "--quiet", package]));
    }
    assert!(file.exists(), "{package} has no {program}");
    file
}

fn succeed(command: &mut Command) {
    let status = command.status().expect("Python 3 is installed");
    assert!(status.success(), "{command:?}: {status}");
}
