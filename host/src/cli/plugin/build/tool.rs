//! Tools of other languages: where they are, and how they come there.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::output;

/// A tool that builds plugins of a language.
pub struct Tool {
    /// What it is called.
    pub name: &'static str,
    /// What it is installed to.
    pub folder: PathBuf,
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

    /// Installs it, if it is not there. Where another process is at it, that is waited for.
    ///
    /// # Errors
    /// Which command failed.
    pub fn install(&self) -> anyhow::Result<()> {
        if self.file.exists() {
            return Ok(());
        }
        let _only = self.lock()?;
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

    /// Keeps other processes from installing it, until what this gives is dropped.
    fn lock(&self) -> anyhow::Result<File> {
        let path = self.folder.with_added_extension("lock");
        let lock = || {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            let file = File::create(&path)?;
            file.lock()?;
            Ok::<_, std::io::Error>(file)
        };
        lock().with_context(|| format!("{} cannot be locked", path.display()))
    }
}

/// A virtual environment with one package of PyPI's.
pub fn pip(folder: &Path, package: &str) -> Vec<Vec<OsString>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_who_want_a_tool_install_it_once() {
        let aside = tempfile::tempdir().unwrap();
        let folder = aside.path().join("tools").join("hammer-1");
        // Fails if it is run again, and leaves time for that.
        let script = format!(
            "mkdir {0} && sleep 0.2 && touch {0}/hammer",
            folder.display()
        );
        let install = || {
            let tool = Tool {
                name: "hammer",
                file: folder.join("hammer"),
                folder: folder.clone(),
                install: vec![["sh", "-c", &script].map(OsString::from).into()],
            };
            tool.install().unwrap();
            assert!(tool.file.exists());
        };
        std::thread::scope(|scope| {
            scope.spawn(install);
            scope.spawn(install);
        });
    }
}
