//! Plugins in JavaScript and TypeScript: the SDK's own script, over esbuild and componentize-js.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::kit::Kit;
use super::tool::{self, Tool};
use crate::ids::Digest;

/// The packages that the SDK's lock file names, installed once for all versions of the SDK that name the same.
pub fn tool(kit: &Kit) -> anyhow::Result<Tool> {
    let sdk = kit.sdk("js");
    let lock = std::fs::read(sdk.join("package-lock.json"))?;
    let folder = kit.tool("npm", &Digest::of(&lock).hex()[..16]);
    let copied = |name: &str| vec!["cp".into(), sdk.join(name).into(), folder.join(name).into()];
    Ok(Tool {
        name: "componentize-js",
        // npm writes it when all packages are there.
        file: folder.join("node_modules").join(".package-lock.json"),
        install: vec![
            vec!["mkdir".into(), "-p".into(), folder.clone().into()],
            copied("package.json"),
            copied("package-lock.json"),
            // Not `ci`: it wants packages for every other platform too, and registries lack some.
            [
                "npm",
                "install",
                "--omit=dev",
                "--no-fund",
                "--no-audit",
                "--prefix",
            ]
            .map(Into::into)
            .into_iter()
            .chain([folder.clone().into()])
            .collect(),
        ],
        folder,
    })
}

/// The component of a folder's package.
pub fn build(folder: &Path, kit: &Kit) -> anyhow::Result<Vec<u8>> {
    let installed = tool(kit)?.find("js")?;
    let packages = installed.parent().expect("it lies among the packages");
    let sdk = kit.sdk("js");
    let link = sdk.join("node_modules");
    if !link.exists() {
        // Another process may have been faster.
        std::os::unix::fs::symlink(packages, &link).or_else(|error| match link.exists() {
            true => Ok(()),
            false => Err(error),
        })?;
    }
    let aside = tempfile::tempdir()?;
    let out = aside.path().join("plugin.wasm");
    let mut command = Command::new("node");
    command
        .arg(sdk.join("build.mjs"))
        .arg(folder)
        .arg(&out)
        .arg(kit.wit());
    tool::run(command)?;
    std::fs::read(&out).context("the SDK's script made no component")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_which_some_are_missing_are_not_installed() {
        let cache = tempfile::tempdir().unwrap();
        let kit = Kit::open(cache.path()).unwrap();
        let tool = || tool(&kit).unwrap();
        let packages = tool().file.parent().unwrap().to_owned();
        std::fs::create_dir_all(packages.join("esbuild")).unwrap();
        assert!(tool().find("js").is_err());
        std::fs::write(packages.join(".package-lock.json"), "{}").unwrap();
        assert!(tool().find("js").is_ok());
    }
}
