//! Plugins in Python: componentize-py, in a virtual environment of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::kit::Kit;
use super::tool::{self, Tool};

/// Of the tool that the SDK's README names.
const VERSION: &str = "0.25.1";

/// The tool.
pub fn tool(kit: &Kit) -> Tool {
    let folder = kit.tool("componentize-py", VERSION);
    Tool {
        name: "componentize-py",
        file: folder.join("bin").join("componentize-py"),
        install: tool::pip(folder, &format!("componentize-py=={VERSION}")),
    }
}

/// The component of a folder's `plugin.py`.
pub fn build(folder: &Path, kind: &str, kit: &Kit) -> anyhow::Result<Vec<u8>> {
    let tool = tool(kit).find("python")?;
    // The tool writes beside what it reads.
    let aside = tempfile::tempdir()?;
    let (plugin, sdk) = (aside.path().join("plugin"), aside.path().join("sdk"));
    copy(folder, &plugin)?;
    copy(&kit.sdk("python").join("src"), &sdk)?;
    let out = aside.path().join("plugin.wasm");
    let mut command = Command::new(tool);
    command
        .arg("--quiet")
        .arg("--wit-path")
        .arg(kit.wit())
        .args(["--world", &format!("{kind}-plugin")])
        .args(["componentize", &format!("wasmill.guest.{kind}")])
        .arg("--python-path")
        .arg(&plugin)
        .arg("--python-path")
        .arg(&sdk)
        .args(["--stub-wasi", "--output"])
        .arg(&out)
        // Else the packages of an active environment come in too.
        .env_remove("VIRTUAL_ENV");
    tool::run(command)?;
    std::fs::read(&out).context("componentize-py made no component")
}

/// Python's files below a folder, without what tools have made.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let name = PathBuf::from(path.file_name().unwrap_or_default());
        let is_made = name == Path::new("__pycache__") || name.to_string_lossy().starts_with('.');
        if path.is_dir() && !is_made && name != Path::new("target") {
            copy(&path, &to.join(name))?;
        } else if path.is_file() {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
