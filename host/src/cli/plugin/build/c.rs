//! Plugins in C: one call of a Clang that has a libc for WebAssembly, Zig's or the distribution's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::folder::Folder;
use super::kit::Kit;
use super::tool::{self, Tool};

/// Of the compiler that the SDK's README names.
const ZIG: &str = "0.15.2";
/// Debian 12's.
const PACKAGES: [&str; 4] = ["clang", "lld", "wasi-libc", "libclang-rt-14-dev-wasm32"];
const TARGET: [&str; 2] = ["-target", "wasm32-wasi"];

const FLAGS: [&str; 5] = [
    "-mexec-model=reactor",
    "-O2",
    "-msimd128",
    "-mbulk-memory",
    // Zig leaves assertions out when it optimises.
    "-UNDEBUG",
];

/// Zig, from PyPI.
pub fn tool(kit: &Kit) -> Tool {
    let folder = kit.tool("ziglang", ZIG);
    Tool {
        name: "ziglang",
        // A script of the package's; the environment's own are there before it.
        file: folder.join("bin").join("python-zig"),
        install: tool::pip(folder, &format!("ziglang=={ZIG}")),
    }
}

/// The core module of a folder's `src/*.c`.
pub fn build(folder: &Folder, kit: &Kit, debug: bool) -> anyhow::Result<Vec<u8>> {
    let (compiler, kind) = (compiler(kit)?, folder.world()?);
    let folder = &folder.path;
    let sdk = kit.sdk("c");
    let aside = tempfile::tempdir()?;
    let out = aside.path().join("plugin.wasm");
    let mapped = |from: &Path, to: &str| {
        let mut option = OsString::from("-ffile-prefix-map=");
        option.push(from);
        option.push(format!("={to}"));
        option
    };
    let mut include = OsString::from("-I");
    include.push(sdk.join("include"));
    let mut command = Command::new(&compiler[0]);
    command
        .args(&compiler[1..])
        .args(TARGET)
        .args(FLAGS)
        .arg(if debug { "-g" } else { "-Wl,--strip-debug" })
        .arg(mapped(&sdk, "wasmill"))
        .arg(mapped(folder, "."))
        .arg(include)
        .args(sources(&folder.join("src"))?)
        .args(sources(&sdk.join("src"))?)
        .arg(sdk.join("worlds/guest.c"))
        .arg(sdk.join(format!("worlds/{kind}.c")))
        .arg(sdk.join(format!("bindings/{kind}_plugin.c")))
        .arg(sdk.join(format!("bindings/{kind}_plugin_component_type.o")))
        .arg("-o")
        .arg(&out);
    tool::run(command)?;
    std::fs::read(&out).context("the compiler made no module")
}

/// The C files of a folder, in the order of their names: so the same sources are the same module.
fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let files = std::fs::read_dir(folder).and_then(|entries| {
        let paths = entries.map(|entry| Ok(entry?.path()));
        paths.collect::<std::io::Result<Vec<PathBuf>>>()
    });
    let mut sources = files.with_context(|| format!("{} cannot be read", folder.display()))?;
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
    if sources.is_empty() {
        bail!("there is no C file in {}", folder.display());
    }
    sources.sort();
    Ok(sources)
}

/// Zig if it is installed, else a Clang that links a module.
fn compiler(kit: &Kit) -> anyhow::Result<Vec<OsString>> {
    let missing = match tool(kit).find("c") {
        Ok(zig) => return Ok(vec![zig.into(), "cc".into()]),
        Err(missing) => missing,
    };
    let clang = vec![OsString::from("clang")];
    match links(&clang) {
        true => Ok(clang),
        false => bail!(
            "{missing}, or, on Debian 12 as root, `apt-get install {}`",
            PACKAGES.join(" ")
        ),
    }
}

fn links(compiler: &[OsString]) -> bool {
    let probe = || {
        let aside = tempfile::tempdir().ok()?;
        let source = aside.path().join("probe.c");
        std::fs::write(
            &source,
            "#include <string.h>\nint f(const char *s) { return strlen(s); }\n",
        )
        .ok()?;
        let mut command = Command::new(&compiler[0]);
        command
            .args(&compiler[1..])
            .args(TARGET)
            .arg("-mexec-model=reactor")
            .arg(&source);
        command.arg("-o").arg(aside.path().join("probe.wasm"));
        let done = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .ok()?;
        done.success().then_some(())
    };
    probe().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_without_the_compiler_is_no_compiler() {
        let cache = tempfile::tempdir().unwrap();
        let kit = Kit::open(cache.path()).unwrap();
        let bin = kit.tool("ziglang", ZIG).join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        // What is left when the second command of the installation fails.
        std::fs::write(bin.join("python"), "").unwrap();
        assert!(tool(&kit).find("c").is_err());
        std::fs::write(bin.join("python-zig"), "").unwrap();
        assert_eq!(tool(&kit).find("c").unwrap(), bin.join("python-zig"));
    }
}
