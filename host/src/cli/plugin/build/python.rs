//! Plugins in Python: componentize-py, in a virtual environment of its own.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::folder::{Folder, is_made};
use super::fuse::fuse;
use super::immortal::immortalize;
use super::kit::Kit;
use super::tool::{self, Tool};

/// Of the tool that the SDK's README names.
const VERSION: &str = "0.25.1";

/// Modules of the bindings that the SDK imports: two interfaces of a sink with HTTP are called `types`.
const MODULES: [&str; 2] = [
    "wasmill:plugin/types@0.1.0=types",
    "wasi:http/types@0.2.12=http_types",
];

/// The tool.
pub fn tool(kit: &Kit) -> Tool {
    let folder = kit.tool("componentize-py", VERSION);
    Tool {
        name: "componentize-py",
        file: folder.join("bin").join("componentize-py"),
        install: tool::pip(&folder, &format!("componentize-py=={VERSION}")),
        folder,
    }
}

/// The component of a folder's `plugin.py`.
pub fn build(folder: &Folder, kit: &Kit) -> anyhow::Result<Vec<u8>> {
    let (kind, world) = (folder.kind()?, folder.world()?);
    let tool = tool(kit).find("python")?;
    // The tool writes beside what it reads.
    let aside = tempfile::tempdir()?;
    let (plugin, sdk) = (aside.path().join("plugin"), aside.path().join("sdk"));
    copy(&folder.path, &plugin)?;
    copy(&kit.sdk("python").join("src"), &sdk)?;
    let out = aside.path().join("plugin.wasm");
    let mut command = Command::new(tool);
    command
        .arg("--quiet")
        .arg("--wit-path")
        .arg(kit.wit())
        .args(["--world", &world])
        .args(
            MODULES
                .iter()
                .flat_map(|module| ["--import-interface-name", module]),
        )
        .args(["componentize", &format!("wasmill.guest.{kind}")])
        .arg("--python-path")
        .arg(&plugin)
        .arg("--python-path")
        .arg(&sdk)
        // It would take `wasi:http` for Python's own need too. What Python then imports beside that, the host answers.
        .args((!folder.http).then_some("--stub-wasi"))
        .arg("--output")
        .arg(&out)
        // Else the packages of an active environment come in too.
        .env_remove("VIRTUAL_ENV");
    tool::run(command)?;
    let component = std::fs::read(&out).context("componentize-py made no component")?;
    let slower = |why: &dyn std::fmt::Display| {
        eprintln!("warning: its instances take longer to make than they could: {why}");
    };
    let mut component = fuse(&component).unwrap_or_else(|unfit| {
        slower(&unfit);
        component
    });
    if let Err(unlisted) = immortalize(&mut component) {
        slower(&unlisted);
    }
    Ok(component)
}

/// The author's files below a folder.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_file() {
            std::fs::copy(&path, to.join(name))?;
        } else if !is_made(name) {
            copy(&path, &to.join(name))?;
        }
    }
    Ok(())
}
