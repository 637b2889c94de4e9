//! `cargo xtask bench`: builds what the benchmark needs, in release mode, and runs it.

use std::ffi::OsString;

use crate::plugins::Plugins;
use crate::sh;

/// Measure Wasmill against a hand-written program, against itself, and with --spark against Spark
///
/// Runs real pipelines with what they are compared with in turns, and prints medians. All files are kept in the folder
/// bench of cargo's target folder.
#[derive(Debug, clap::Args)]
pub struct Bench {
    /// Passed on to the benchmark: --only NAME, --spark, --json FILE, --megabytes N, --runs N
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

impl Bench {
    pub fn run(self) -> anyhow::Result<()> {
        let built = Plugins { release: true }.run()?;
        // Without the failpoints of the crash tests, so it shares the library with the binary just built.
        let package = ["--package", "wasmill-tests", "--bin", "bench"];
        let build = ["build", "--release", "--no-default-features"];
        sh::run(sh::cargo().args(build).args(package))?;
        let target = sh::target_dir();
        let mut bench = sh::command(target.join("release/bench"));
        bench.arg("run").arg("--wasmill").arg(built.wasmill);
        bench.arg("--plugins").arg(built.plugins);
        bench.arg("--dir").arg(target.join("bench"));
        sh::run(bench.args(self.options))
    }
}
