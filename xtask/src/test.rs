//! `cargo xtask test`: everything that the tests need, then all tests.

use anyhow::bail;

use crate::plugins::Plugins;
use crate::sh;

/// Build the plugins and run every test
#[derive(Debug, clap::Args)]
pub struct Test {
    /// Passed on to cargo-nextest, or to cargo test where there is none: a filter, `--package NAME`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Test {
    pub fn run(self) -> anyhow::Result<()> {
        if self.arguments.is_empty() {
            check_languages()?;
            check_tools()?;
        }
        Plugins::default().run()?;
        build_s3_server()?;
        let mut tests = sh::cargo();
        if sh::works(sh::cargo().args(["nextest", "--version"])) {
            tests.args(["nextest", "run"]);
        } else {
            // Unit and integration tests only, as nextest has it: the examples in the documentation follow.
            tests.args(["test", "--lib", "--bins", "--tests"]);
        }
        sh::run(tests.arg("--workspace").args(&self.arguments))?;
        if self.arguments.is_empty() {
            sh::run(sh::cargo().args(["test", "--workspace", "--doc"]))?;
        }
        Ok(())
    }
}

/// Plugins of other languages are built by tests, with tools that these install.
fn check_languages() -> anyhow::Result<()> {
    let venv = ["-c", "import venv, ensurepip"];
    if !sh::works(sh::command("python3").args(venv)) {
        bail!("the tests need Python 3 with venv: on Debian, apt-get install python3-venv");
    }
    let is_new = "process.exit(process.versions.node.split('.')[0] >= 20 ? 0 : 1)";
    if !sh::works(sh::command("node").args(["-e", is_new]))
        || !sh::works(sh::command("npm").arg("--version"))
    {
        bail!("the tests need Node.js 20 or later with npm: https://nodejs.org");
    }
    Ok(())
}

/// Programs that are not ours, by which tests judge what is: a browser at the dashboard, Prometheus's own tool at the metrics, a signer, a registry
/// of components and who looks into it. They are
/// installed where the user may install.
fn check_tools() -> anyhow::Result<()> {
    let tools = [
        ("chromium", "--version", "chromium"),
        ("promtool", "--version", "prometheus"),
        ("minisign", "-v", "minisign"),
        ("docker-registry", "--version", "docker-registry"),
        ("skopeo", "--version", "skopeo"),
    ];
    for (program, version, package) in tools {
        let is_there = || sh::works(sh::command(program).arg(version));
        let install = ["install", "--yes", "--no-install-recommends", package];
        if !is_there() {
            sh::works(sh::command("apt-get").args(install));
        }
        if !is_there() {
            bail!("the tests need {program}: on Debian, apt-get install {package}");
        }
    }
    Ok(())
}

/// The object store that some tests start. It has dependencies and a folder of its own.
fn build_s3_server() -> anyhow::Result<()> {
    let target = sh::target_dir().join("s3-server");
    let mut build = sh::cargo();
    build
        .args(["build", "--manifest-path", "tests/s3-server/Cargo.toml"])
        .env("CARGO_TARGET_DIR", target);
    sh::run(&mut build)
}
