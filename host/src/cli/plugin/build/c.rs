//! Plugins in C: one call of a Clang that has a libc for WebAssembly, Zig's or the distribution's.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::kit::Kit;
use super::tool::{self, Tool};

/// Of the compiler that the SDK's README names.
const ZIG: &str = "0.15.2";
/// Debian 12's.
const PACKAGES: [&str; 4] = ["clang", "lld", "wasi-libc", "libclang-rt-14-dev-wasm32"];
const TARGET: [&str; 2] = ["-target", "wasm32-wasi"];

const FLAGS: [&str; 6] = [
    "-mexec-model=reactor",
    "-O2",
    "-msimd128",
    "-mbulk-memory",
    // Zig leaves assertions out when it optimises.
    "-UNDEBUG",
    "-Wl,--strip-debug",
];

/// Zig, from PyPI.
pub fn tool(kit: &Kit) -> Tool {
    let folder = kit.tool("ziglang", ZIG);
    Tool {
        name: "ziglang",
        file: folder.join("bin").join("python"),
        install: tool::pip(folder, &format!("ziglang=={ZIG}")),
    }
}

/// The core module of a folder's `src/*.c`.
pub fn build(folder: &Path, kind: &str, kit: &Kit) -> anyhow::Result<Vec<u8>> {
    let compiler = compiler(kit)?;
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
fn sources(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut sources: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    if sources.is_empty() {
        bail!("there is no C file in {}", folder.display());
    }
    sources.sort();
    Ok(sources)
}

/// Zig if it is installed, else a Clang that links a module.
fn compiler(kit: &Kit) -> anyhow::Result<Vec<OsString>> {
    if let Ok(python) = tool(kit).find("c") {
        return Ok(vec![
            python.into(),
            "-m".into(),
            "ziglang".into(),
            "cc".into(),
        ]);
    }
    let clang = vec![OsString::from("clang")];
    if links(&clang) {
        return Ok(clang);
    }
    tool(kit).find("c").map(|_| Vec::new()).with_context(|| {
        format!(
            "or, on Debian 12 as root: apt-get install {}",
            PACKAGES.join(" ")
        )
    })
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
