//! `cargo xtask torture`: the crash test, for as long as one likes.

use crate::plugins::Plugins;
use crate::sh;

/// Kill pipelines at random moments, and compare what they end with
#[derive(Debug, clap::Args)]
pub struct Torture {
    /// How many seeds each pipeline is tried with
    #[arg(long, default_value_t = 20)]
    seeds: u64,

    /// The first seed, as a failure names it
    #[arg(long, default_value_t = 1)]
    first: u64,
}

impl Torture {
    pub fn run(self) -> anyhow::Result<()> {
        Plugins::default().run()?;
        let mut test = sh::cargo();
        test.args([
            "test",
            "--workspace",
            "--test",
            "torture",
            "--",
            "--nocapture",
        ]);
        test.env("SEEDS", self.seeds.to_string());
        test.env("FIRST_SEED", self.first.to_string());
        sh::run(&mut test)
    }
}
