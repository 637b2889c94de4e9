//! Finds, or installs, a way to compile Rust for `wasm32-unknown-unknown`.
//!
//! A compiler will do if the target's standard library lies beside it, or else the library's source, from which cargo
//! builds it. rustup brings the first; Debian's packages bring the second, for machines that reach a package mirror but
//! not rustup's servers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::output;

/// The target of every plugin in Rust.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's packages, in the order to try: a current compiler with the library's source, and the library itself.
const DEBIAN_PACKAGES: [&[&str]; 2] = [
    &["rustc-web", "rust-web-src"],
    &["rustc", "libstd-rust-dev-wasm32", "lld"],
];

const MANUAL: &str = "install one of\n  \
    rustup target add wasm32-unknown-unknown\n  \
    apt-get install rustc-web rust-web-src     (Debian 12, as root)\n  \
    rustup component add rust-src";

/// A compiler, and how it comes by the standard library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler; cargo's own if it is the one that cargo would take anyway.
    rustc: PathBuf,
    version: String,
    library: Library,
    /// The linker, if it does not lie where the compiler looks for it.
    linker: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Library {
    /// Compiled for the target.
    Installed,
    /// As source.
    Source,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.rustc.display(), self.version)?;
        match self.library {
            Library::Installed => write!(f, ", which has the target {TARGET}"),
            Library::Source => write!(
                f,
                ", with the standard library built for {TARGET} from its source"
            ),
        }
    }
}

impl Toolchain {
    /// Looks at the compiler that cargo takes, then at the distribution's.
    ///
    /// # Errors
    /// What to do, if neither will do.
    pub fn find() -> anyhow::Result<Self> {
        let compilers: Vec<Compiler> = compilers()
            .iter()
            .filter_map(|rustc| Compiler::ask(rustc))
            .collect();
        if compilers.is_empty() {
            bail!(
                "there is no Rust compiler: install Rust from https://rustup.rs, then run `wasmill plugin setup`"
            );
        }
        let linker = compilers.iter().find_map(Compiler::lld).or_else(wasm_ld);
        compilers
            .iter()
            .find_map(|compiler| compiler.toolchain(linker.as_deref()))
            .with_context(|| format!("no Rust compiler here compiles for {TARGET}: run `wasmill plugin setup`, or {MANUAL}"))
    }

    /// Has rustup add the target, else installs Debian's packages.
    ///
    /// # Errors
    /// What was tried, and what to install by hand.
    pub fn install() -> anyhow::Result<Self> {
        let mut tried = Vec::new();
        for attempt in attempts() {
            output::write(format!("$ {}\n", attempt.join(" ")).as_bytes())?;
            let done = run(&attempt);
            match (done, Self::find()) {
                (Ok(()), Ok(toolchain)) => return Ok(toolchain),
                (Ok(()), Err(_)) => tried.push(format!("`{}` was not enough", attempt.join(" "))),
                (Err(error), _) => tried.push(error.to_string()),
            }
        }
        let tried = if tried.is_empty() {
            "there is no rustup, and no apt-get that may install".to_owned()
        } else {
            tried.join("; ")
        };
        bail!("plugins cannot be compiled on this machine: {tried}\n{MANUAL}")
    }

    /// A `cargo build` for the target, with this toolchain.
    pub fn cargo_build(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--target", TARGET]);
        cargo.env("RUSTC", &self.rustc);
        if self.library == Library::Source {
            // A stable compiler takes the unstable flag if it is told that it builds itself.
            cargo
                .args(["-Z", "build-std=std,panic_abort"])
                .env("RUSTC_BOOTSTRAP", "1");
        }
        if let Some(linker) = &self.linker {
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        cargo
    }
}

/// The compilers to look at, the preferred first.
fn compilers() -> Vec<PathBuf> {
    let own = std::env::var_os("RUSTC").map_or("rustc".into(), PathBuf::from);
    vec![own, "/usr/bin/rustc".into()]
}

/// What a compiler says of itself.
struct Compiler {
    rustc: PathBuf,
    version: String,
    host: String,
    sysroot: PathBuf,
}

impl Compiler {
    fn ask(rustc: &Path) -> Option<Self> {
        let version = output(Command::new(rustc).arg("-vV"))?;
        let sysroot = output(Command::new(rustc).args(["--print", "sysroot"]))?;
        Some(Self {
            rustc: rustc.to_owned(),
            host: version
                .lines()
                .find_map(|line| line.strip_prefix("host: "))?
                .to_owned(),
            version: version.lines().next()?.to_owned(),
            sysroot: sysroot.trim().into(),
        })
    }

    fn rustlib(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib")
    }

    fn lld(&self) -> Option<PathBuf> {
        let lld = self.rustlib().join(&self.host).join("bin/rust-lld");
        lld.exists().then_some(lld)
    }

    fn toolchain(&self, any_linker: Option<&Path>) -> Option<Toolchain> {
        let library = if self.rustlib().join(TARGET).join("lib").is_dir() {
            Library::Installed
        } else if self.rustlib().join("src/rust/library/Cargo.lock").exists() {
            Library::Source
        } else {
            return None;
        };
        let linker = match self.lld() {
            Some(_) => None,
            None => Some(any_linker?.to_owned()),
        };
        Some(Toolchain {
            rustc: self.rustc.clone(),
            version: self.version.clone(),
            library,
            linker,
        })
    }
}

/// The linker of an LLVM that is on the path; Debian adds its version to the name.
fn wasm_ld() -> Option<PathBuf> {
    let names = std::iter::once("wasm-ld".to_owned())
        .chain((14..=22).rev().map(|version| format!("wasm-ld-{version}")));
    let path = std::env::var_os("PATH")?;
    names
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(&name)))
        .find(|file| file.is_file())
}

/// The commands that may bring a toolchain, in the order to try.
fn attempts() -> Vec<Vec<&'static str>> {
    let mut attempts = Vec::new();
    if output(Command::new("rustup").arg("--version")).is_some() {
        attempts.push(vec!["rustup", "target", "add", TARGET]);
    }
    let root = output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    if root && output(Command::new("apt-get").arg("--version")).is_some() {
        attempts.push(vec!["apt-get", "update", "-q"]);
        for packages in DEBIAN_PACKAGES {
            let mut install = vec!["apt-get", "install", "-y", "-q", "--no-install-recommends"];
            install.extend(packages);
            attempts.push(install);
        }
    }
    attempts
}

fn run(command: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(command[0])
        .args(&command[1..])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("`{}` did not start", command[0]))?;
    if !status.success() {
        bail!("`{}` failed ({status})", command.join(" "));
    }
    Ok(())
}

/// What a command prints, if it is there and succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then_some(())?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(files: &[&str]) -> (tempfile::TempDir, Compiler) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for file in files {
            let path = folder.path().join("lib/rustlib").join(file);
            std::fs::create_dir_all(path.parent().expect("the file is in a folder"))
                .expect("a folder");
            std::fs::write(path, "").expect("a file");
        }
        let compiler = Compiler {
            rustc: "rustc".into(),
            version: "rustc 1.96.0".into(),
            host: "x86_64-unknown-linux-gnu".into(),
            sysroot: folder.path().to_owned(),
        };
        (folder, compiler)
    }

    const LLD: &str = "x86_64-unknown-linux-gnu/bin/rust-lld";
    const SOURCE: &str = "src/rust/library/Cargo.lock";

    #[test]
    fn an_installed_target_is_taken_before_the_source() {
        let (_folder, both) = compiler(&[LLD, SOURCE, "wasm32-unknown-unknown/lib/libcore.rlib"]);
        let toolchain = both.toolchain(None).expect("the target is there");
        assert_eq!(
            (toolchain.library, toolchain.linker),
            (Library::Installed, None)
        );
    }

    #[test]
    fn a_compiler_without_a_linker_borrows_one() {
        let (_folder, source_only) = compiler(&[SOURCE]);
        assert_eq!(source_only.toolchain(None), None);
        let toolchain = source_only
            .toolchain(Some(Path::new("/lld")))
            .expect("a linker is there");
        assert_eq!(
            (toolchain.library, toolchain.linker),
            (Library::Source, Some("/lld".into()))
        );
    }

    #[test]
    fn a_compiler_with_neither_library_nor_source_will_not_do() {
        let (_folder, bare) = compiler(&[LLD]);
        assert_eq!(bare.toolchain(None), None);
    }
}
