//! Tools of other languages: where they are, and how they come there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::output;

/// A tool that builds plugins of a language.
pub struct Tool {
    /// What it is called.
    pub name: &'static str,
    /// There once it is installed.
    pub file: PathBuf,
    /// Commands that install it.
    pub install: Vec<Vec<OsString>>,
}

impl Tool {
    /// Its file.
    ///
    /// # Errors
    /// How to install it.
    pub fn find(self, language: &str) -> anyhow::Result<PathBuf> {
        if !self.file.exists() {
            bail!(
                "{} is not installed: run `wasmill plugin setup --lang {language}`",
                self.name
            );
        }
        Ok(self.file)
    }

    /// Installs it, if it is not there.
    ///
    /// # Errors
    /// Which command failed.
    pub fn install(&self) -> anyhow::Result<()> {
        if self.file.exists() {
            return Ok(());
        }
        for words in &self.install {
            let shown: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            output::write(format!("$ {}\n", shown.join(" ")).as_bytes())?;
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            run(command)?;
        }
        match self.file.exists() {
            true => Ok(()),
            false => bail!(
                "{} was installed and is not at {}",
                self.name,
                self.file.display()
            ),
        }
    }
}

/// A virtual environment with one package of PyPI's.
pub fn pip(folder: PathBuf, package: &str) -> Vec<Vec<OsString>> {
    let python = folder.join("bin").join("python");
    let venv = ["python3", "-m", "venv"].map(OsString::from);
    let install = ["-m", "pip", "install", "--quiet", package].map(OsString::from);
    vec![
        venv.into_iter().chain([folder.into()]).collect(),
        [python.into()].into_iter().chain(install).collect(),
    ]
}

/// Runs a command to its end; what it says goes to standard error.
///
/// # Errors
/// When it is not there or fails.
pub fn run(mut command: Command) -> anyhow::Result<()> {
    let program = Path::new(command.get_program()).to_path_buf();
    let program = program.file_name().unwrap_or_default().to_string_lossy();
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    let status = command
        .status()
        .with_context(|| format!("`{program}` did not start"))?;
    match status.success() {
        true => Ok(()),
        false => bail!("`{program}` failed"),
    }
}
