//! Plugins in Rust: a crate, compiled by cargo for WebAssembly.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::Made;
use super::toolchain::{TARGET, Toolchain};

/// The core module of a folder's crate.
///
/// # Errors
/// A missing toolchain, code that does not compile, a crate that is no plugin.
pub fn build(folder: &Path, debug: bool) -> anyhow::Result<Made> {
    let toolchain = Toolchain::find()?;
    let package = Package::read(folder)?;
    let module = package.compile(&toolchain, debug)?;
    let bytes =
        std::fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    Ok(Made {
        bytes,
        version: Some(package.version),
        out: package
            .target
            .join("plugins")
            .join(format!("{}.wasm", package.name)),
        name: package.name,
    })
}

/// The crate in a plugin's folder, as cargo sees it.
struct Package {
    name: String,
    version: String,
    manifest: PathBuf,
    /// The workspace's folder.
    root: PathBuf,
    /// Cargo's target folder.
    target: PathBuf,
}

impl Package {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let manifest = dir.join("Cargo.toml");
        let manifest = manifest.canonicalize().with_context(|| {
            format!(
                "there is no plugin in {}: it has no Cargo.toml",
                dir.display()
            )
        })?;
        let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
            .args([
                "metadata",
                "--no-deps",
                "--format-version",
                "1",
                "--manifest-path",
            ])
            .arg(&manifest)
            .stderr(Stdio::inherit())
            .output()
            .context("cargo did not start")?;
        if !output.status.success() {
            bail!("cargo cannot read {}", manifest.display());
        }
        Self::from_metadata(
            &serde_json::from_slice(&output.stdout).context("cargo's metadata")?,
            manifest,
        )
    }

    fn from_metadata(metadata: &Value, manifest: PathBuf) -> anyhow::Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let package = items(&metadata["packages"])
            .find(|package| package["manifest_path"].as_str().map(Path::new) == Some(&manifest))
            .with_context(|| {
                format!(
                    "{} is of a workspace and not of a crate; name a plugin's own folder",
                    manifest.display()
                )
            })?;
        let is_cdylib = items(&package["targets"])
            .any(|target| items(&target["crate_types"]).any(|kind| kind == "cdylib"));
        if !is_cdylib {
            bail!(
                "`{}` is not a plugin yet: its Cargo.toml needs\n\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n",
                text(&package["name"])
            );
        }
        Ok(Self {
            name: text(&package["name"]),
            version: text(&package["version"]),
            root: text(&metadata["workspace_root"]).into(),
            target: text(&metadata["target_directory"]).into(),
            manifest,
        })
    }

    /// Compiles the crate; the answer is the core module's file.
    fn compile(&self, toolchain: &Toolchain, debug: bool) -> anyhow::Result<PathBuf> {
        let mut cargo = toolchain.cargo_build();
        cargo.args([
            "--profile",
            "guest",
            "--message-format",
            "json-render-diagnostics",
            "--manifest-path",
        ]);
        cargo.arg(&self.manifest);
        // Guests have a folder of their own: another compiler's files and locks stay apart from those of the host.
        cargo.arg("--target-dir").arg(self.target.join("guests"));
        cargo.args(["--config", TARGET_FEATURES]);
        if !self.has_guest_profile()? {
            for setting in GUEST_PROFILE {
                cargo.args(["--config", setting]);
            }
        }
        if debug {
            for setting in DEBUG_PROFILE {
                cargo.args(["--config", setting]);
            }
        }
        let output = cargo
            .stderr(Stdio::inherit())
            .output()
            .context("cargo did not start")?;
        if !output.status.success() {
            bail!("`{}` does not compile for {TARGET}", self.name);
        }
        artifact(&String::from_utf8_lossy(&output.stdout), &self.manifest)
            .with_context(|| format!("cargo made no WebAssembly module of `{}`", self.name))
    }

    fn has_guest_profile(&self) -> anyhow::Result<bool> {
        let manifest = self.root.join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest)
            .with_context(|| format!("cannot read {}", manifest.display()))?;
        let table: toml::Table = text
            .parse()
            .with_context(|| format!("{} is not TOML", manifest.display()))?;
        Ok(table
            .get("profile")
            .is_some_and(|profiles| profiles.get("guest").is_some()))
    }
}

/// Every WebAssembly runtime of the component model has 128-bit vectors; the compiler does not assume them.
const TARGET_FEATURES: &str =
    "target.wasm32-unknown-unknown.rustflags=['-Ctarget-feature=+simd128']";

/// The profile `guest` of a workspace that does not define it: fast code, and the names that a trap's stack needs.
const GUEST_PROFILE: [&str; 6] = [
    "profile.guest.inherits='release'",
    "profile.guest.opt-level=3",
    "profile.guest.lto=true",
    "profile.guest.codegen-units=1",
    "profile.guest.panic='abort'",
    "profile.guest.strip='debuginfo'",
];

/// What a trap's lines need, over whatever the profile says.
const DEBUG_PROFILE: [&str; 2] = [
    "profile.guest.strip='none'",
    "profile.guest.debug='line-tables-only'",
];

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The module among cargo's messages.
fn artifact(messages: &str, manifest: &Path) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["manifest_path"].as_str().map(Path::new) == Some(manifest))
        .flat_map(|message| {
            items(&message["filenames"])
                .filter_map(|name| name.as_str().map(PathBuf::from))
                .collect::<Vec<_>>()
        })
        .find(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(kinds: &[&str]) -> Value {
        json!({
            "packages": [{
                "name": "upper", "version": "1.2.3", "manifest_path": "/w/upper/Cargo.toml",
                "targets": [{"crate_types": kinds}],
            }],
            "workspace_root": "/w", "target_directory": "/w/target",
        })
    }

    #[test]
    fn a_crate_that_is_no_plugin_is_told_what_it_lacks() {
        let package = |kinds: &[&str], manifest: &str| {
            Package::from_metadata(&metadata(kinds), manifest.into())
        };
        assert_eq!(
            package(&["cdylib", "rlib"], "/w/upper/Cargo.toml")
                .expect("a plugin")
                .name,
            "upper"
        );
        let error = package(&["lib"], "/w/upper/Cargo.toml")
            .err()
            .expect("no cdylib")
            .to_string();
        assert!(error.contains("crate-type"), "{error}");
        let error = package(&["cdylib"], "/w/Cargo.toml")
            .err()
            .expect("a workspace")
            .to_string();
        assert!(error.contains("a plugin's own folder"), "{error}");
    }

    #[test]
    fn the_module_is_found_among_cargos_messages() {
        let messages = [
            json!({"reason": "compiler-artifact", "manifest_path": "/dep/Cargo.toml", "filenames": ["/t/dep.wasm"]}),
            json!({"reason": "compiler-artifact", "manifest_path": "/w/Cargo.toml", "filenames": ["/t/a.rlib", "/t/a.wasm"]}),
            json!({"reason": "build-finished", "success": true}),
        ];
        let messages = messages.map(|message| message.to_string()).join("\n");
        assert_eq!(
            artifact(&messages, Path::new("/w/Cargo.toml")),
            Some("/t/a.wasm".into())
        );
        assert_eq!(artifact(&messages, Path::new("/x/Cargo.toml")), None);
    }
}
