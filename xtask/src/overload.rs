//! `cargo xtask overload`: the test of sources that are too fast, for as long as one likes.

use crate::plugins::Plugins;
use crate::sh;

/// Keep sources twice as fast as their pipelines, and watch memory and epochs
#[derive(Debug, clap::Args)]
pub struct Overload {
    /// How long each pipeline runs
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

impl Overload {
    pub fn run(self) -> anyhow::Result<()> {
        Plugins::default().run()?;
        let mut test = sh::cargo();
        test.args([
            "test",
            "--workspace",
            "--test",
            "overload",
            "--",
            "--nocapture",
        ]);
        test.env("OVERLOAD_SECONDS", (self.minutes * 60).to_string());
        sh::run(&mut test)
    }
}
