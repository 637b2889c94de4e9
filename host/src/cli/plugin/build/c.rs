//! Plugins in C: one call of a Clang that has a libc for WebAssembly, Zig's or the distribution's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use wasmparser::{Parser, Payload};

use super::folder::Folder;
use super::kit::Kit;
use super::tool::{self, Tool};

/// Of the compiler that the SDK's README names.
const ZIG: &str = "0.15.2";
/// Debian 12's.
const PACKAGES: [&str; 4] = ["clang", "lld", "wasi-libc", "libclang-rt-14-dev-wasm32"];
const TARGET: [&str; 2] = ["-target", "wasm32-wasi"];

const FLAGS: [&str; 7] = [
    "-mexec-model=reactor",
    "-O2",
    // A plugin's columns are constants, and the SDK's loops over them are written for that.
    "-flto",
    // As in Rust; Zig's is 16 MiB, all of which counts as a plugin's memory, and a Clang's 64 KiB.
    "-Wl,-z,stack-size=1048576",
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
        install: tool::pip(&folder, &format!("ziglang=={ZIG}")),
        folder,
    }
}

/// The core module of a folder's `src/*.c`.
pub fn build(folder: &Folder, kit: &Kit, debug: bool) -> anyhow::Result<Vec<u8>> {
    let (compiler, world) = (compiler(kit)?, folder.world()?.replace('-', "_"));
    let exports = world.strip_suffix("_plugin").unwrap_or(&world);
    let folder = &folder.path;
    let sdk = kit.sdk("c");
    let aside = tempfile::tempdir()?;
    let out = aside.path().join("plugin.wasm");
    // So that the same sources are the same module wherever they lie.
    let mapped = |from: &Path, to: &str| {
        let mut option = OsString::from("-ffile-prefix-map=");
        option.push(from);
        option.push(format!("/={to}"));
        option
    };
    let mut include = OsString::from("-I");
    include.push(sdk.join("include"));
    let mut command = Command::new(&compiler[0]);
    command
        .args(&compiler[1..])
        .args(TARGET)
        .args(FLAGS)
        .args(debug.then_some("-g"))
        .arg(mapped(&sdk, "wasmill/"))
        .arg(mapped(folder, ""))
        .arg("-fdebug-compilation-dir=.")
        .arg(include)
        .args(sources(&folder.join("src"))?)
        .args(sources(&sdk.join("src"))?)
        .arg(sdk.join("worlds/guest.c"))
        .arg(sdk.join(format!("worlds/{exports}.c")))
        .arg(sdk.join(format!("bindings/{world}.c")))
        .arg(sdk.join(format!("bindings/{world}_component_type.o")))
        .arg("-o")
        .arg(&out);
    tool::run(command)?;
    let module = std::fs::read(&out).context("the compiler made no module")?;
    match debug {
        true => Ok(module),
        false => without_lines(&module),
    }
}

/// A module without what says which line an instruction comes from, but with the names of its functions, which Zig's linker takes for the same.
/// Zig's libc has lines whatever is asked for.
fn without_lines(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut end = 0;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        let range = match (&payload, payload.as_section()) {
            (Payload::Version { range, .. }, _) => range.clone(),
            (_, Some((_, range))) => range,
            (_, None) => continue,
        };
        let start = std::mem::replace(&mut end, usize::try_from(range.end)?);
        let section = &module[start..end];
        let is_debug = matches!(&payload, Payload::CustomSection(custom) if custom.name().starts_with(".debug_"));
        if !is_debug {
            kept.extend_from_slice(section);
        }
    }
    Ok(kept)
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
