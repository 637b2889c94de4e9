//! `wasmill plugin dev`: builds and tests a plugin whenever its sources change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;

use super::build::folder::{Folder, Recipe, is_made};
use crate::cli::output;
use crate::ids::NodeName;

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_millis(300);

/// Build and test a plugin whenever its sources change
///
/// Runs `wasmill plugin test` at once and after every change of a file in the folder. With --checkpoint, builds the plugin and runs an
/// epoch of a pipeline again with it instead, and shows how what it gives differs from what the epoch gave: the pipeline may be running.
/// Ends with Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill plugin dev plugins/split-words
  wasmill plugin dev . --checkpoint /data/words/checkpoint --step words --epoch 12")]
pub struct Dev {
    /// The plugin's folder
    #[arg(default_value = ".")]
    dir: PathBuf,

    /// The checkpoint of a pipeline with recorded epochs, a folder or an s3:// address
    #[arg(long, requires = "step")]
    checkpoint: Option<String>,

    /// The step of that pipeline whose plugin this is
    #[arg(long, requires = "checkpoint")]
    step: Option<NodeName>,

    /// The epoch; the last committed one unless said
    #[arg(long, requires = "checkpoint")]
    epoch: Option<u64>,
}

impl Dev {
    /// Goes on until it is ended.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn run(self) -> anyhow::Result<()> {
        loop {
            let seen = self.stamps()?;
            self.once()?;
            output::write(b"waiting for a change\n")?;
            while self.stamps()? == seen {
                std::thread::sleep(INTERVAL);
            }
        }
    }

    /// Of each file of the author's, when it was changed and its size.
    fn stamps(&self) -> anyhow::Result<Stamps> {
        let mut stamps = Stamps::new();
        add_stamps(&self.dir, &mut stamps)
            .with_context(|| format!("{} cannot be read", self.dir.display()))?;
        // A file that is wrong at the moment says so when it is built.
        if let Ok(Folder {
            recipe: Recipe::Command { component, .. },
            ..
        }) = Folder::read(&self.dir)
        {
            stamps.remove(&self.dir.join(component));
        }
        Ok(stamps)
    }

    /// What fails says so itself; the next change may mend it.
    fn once(&self) -> anyhow::Result<()> {
        let (Some(checkpoint), Some(step)) = (&self.checkpoint, &self.step) else {
            return wasmill(|command| command.args(["plugin", "test"]).arg(&self.dir)).map(drop);
        };
        let aside = tempfile::tempdir()?;
        let component = aside.path().join("plugin.wasm");
        let built = wasmill(|command| {
            let build = command.args(["plugin", "build"]).arg(&self.dir);
            build.arg("--out").arg(&component)
        })?;
        if built {
            let plugin = format!("{step}={}", component.display());
            let epoch = self.epoch.map(|epoch| format!("--epoch={epoch}"));
            wasmill(|command| {
                let replay = command.args(["replay", checkpoint, "--plugin", &plugin]);
                replay.args(epoch)
            })?;
        }
        Ok(())
    }
}

/// Runs this program with other arguments; answers whether it succeeded.
fn wasmill(arguments: impl FnOnce(&mut Command) -> &mut Command) -> anyhow::Result<bool> {
    let program = std::env::current_exe().context("this program is nowhere")?;
    let mut command = Command::new(program);
    arguments(&mut command).stdin(Stdio::null());
    Ok(command.status()?.success())
}

type Stamps = BTreeMap<PathBuf, (SystemTime, u64)>;

fn add_stamps(dir: &Path, stamps: &mut Stamps) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        // A file that an editor has just replaced is seen the next time.
        let Ok(metadata) = path.metadata() else {
            continue;
        };
        if metadata.is_file() {
            stamps.insert(path, (metadata.modified()?, metadata.len()));
        } else if !is_made(path.file_name().unwrap_or_default()) {
            add_stamps(&path, stamps)?;
        }
    }
    Ok(())
}
