//! `cargo xtask test`: everything that the tests need, then all tests.

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

/// The object store that some tests start. It has dependencies and a folder of its own.
fn build_s3_server() -> anyhow::Result<()> {
    let target = sh::target_dir().join("s3-server");
    let mut build = sh::cargo();
    build
        .args(["build", "--manifest-path", "tests/s3-server/Cargo.toml"])
        .env("CARGO_TARGET_DIR", target);
    sh::run(&mut build)
}
