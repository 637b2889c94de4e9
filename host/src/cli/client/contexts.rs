//! The servers that a user has logged in to: `wasmill/config.toml` in the user's configuration folder, which nobody else can read.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contexts {
    /// The one that is meant when none is named.
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Saved>,
}

/// A server, and who one is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Where it is.
    pub url: String,
    /// What opens it.
    pub token: String,
    /// Whose things are meant.
    pub tenant: Option<String>,
}

impl Contexts {
    /// Where the file is.
    ///
    /// # Errors
    /// When no folder is known.
    pub fn path() -> Result<PathBuf, Failure> {
        let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let config = folder("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = || Some(PathBuf::from(folder("HOME")?).join(".config"));
        let config = config.or_else(home).ok_or_else(|| {
            Failure::external(
                "there is no folder to keep logins in: neither XDG_CONFIG_HOME nor HOME is set",
            )
            .help("set WASMILL_URL and WASMILL_TOKEN instead of logging in")
        })?;
        Ok(config.join("wasmill").join("config.toml"))
    }

    /// Reads the file; nothing is in one that is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(error).context(format!("{} cannot be read", path.display())),
        };
        toml::from_str(&text)
            .with_context(|| format!("{} is not as it was written", path.display()))
    }

    /// Writes the file, readable by its owner alone, all of it or nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let failed = || format!("{} cannot be written", path.display());
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).with_context(failed)?;
        // Temporary files are their owner's alone from the start.
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
        file.write_all(toml::to_string(self)?.as_bytes())
            .with_context(failed)?;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o600))
            .with_context(failed)?;
        file.persist(path).with_context(failed)?;
        Ok(())
    }

    /// The one of this name, or the current one.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, name: Option<&str>) -> Result<&Saved, Failure> {
        let name = name.or(self.current.as_deref()).ok_or_else(|| {
            Failure::user("it is not known which server is meant")
                .help("log in first: `wasmill login URL --token-stdin`; or set WASMILL_URL and WASMILL_TOKEN")
        })?;
        self.contexts.get(name).ok_or_else(|| {
            Failure::user(format!("there is no context called `{name}`"))
                .help("`wasmill context ls` lists them")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wasmill/config.toml");
        assert_eq!(Contexts::read(&path).unwrap(), Contexts::default());
        let saved = Saved {
            url: "http://127.0.0.1:7070".into(),
            token: "wm_x".into(),
            tenant: None,
        };
        let contexts = Contexts {
            current: Some("local".into()),
            contexts: [("local".to_owned(), saved.clone())].into(),
        };
        contexts.write(&path).unwrap();
        contexts.write(&path).unwrap();
        let read = Contexts::read(&path).unwrap();
        assert_eq!(read, contexts);
        assert_eq!(read.get(None).unwrap(), &saved);
        assert!(read.get(Some("other")).unwrap_err().help.is_some());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
