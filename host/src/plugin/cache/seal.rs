//! Files that only this user's Wasmill can have written: each carries a MAC made with a key that only this user can read.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ring::{digest, hmac};

/// Of HMAC-SHA-256.
pub const MAC_BYTES: usize = digest::SHA256_OUTPUT_LEN;
const KEY_BYTES: usize = 32;
/// How much of a file is read at a time.
const BLOCK: usize = 1 << 20;

/// A folder of such files.
#[derive(Debug)]
pub struct Seal {
    folder: PathBuf,
    key: hmac::Key,
}

impl Seal {
    /// Makes folder and key on first use.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let key = key(&folder.join("key"))?;
        Ok(Self {
            folder: folder.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the file of this name is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What was written under this name.
    ///
    /// # Errors
    /// When there is no such file, or its MAC is not that of its name and content.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut content = fs::read(self.path(name))?;
        let start = content.len().checked_sub(MAC_BYTES).ok_or_else(damaged)?;
        let found = content.split_off(start);
        let mut mac = self.mac(name);
        mac.update(&content);
        match mac.sign().as_ref() == found {
            true => Ok(content),
            false => Err(damaged()),
        }
    }

    /// Writes it with its MAC.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut mac = self.mac(name);
        mac.update(content);
        self.write_bare(name, &[content, mac.sign().as_ref()])
    }

    /// Writes aside and renames: a reader sees a whole file or none.
    pub fn write_bare(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.persist(self.path(name))?;
        Ok(())
    }

    /// The MAC of a file that does not carry its own.
    pub fn mac_of(&self, name: &str) -> io::Result<[u8; MAC_BYTES]> {
        let (mut file, mut mac) = (fs::File::open(self.path(name))?, self.mac(name));
        let mut block = vec![0; BLOCK];
        loop {
            match file.read(&mut block)? {
                0 => break,
                read => mac.update(&block[..read]),
            }
        }
        let mac = mac.sign();
        Ok(mac.as_ref().try_into().expect("a MAC has its length"))
    }

    /// A MAC that begins with the name: a file under another one is not that file.
    fn mac(&self, name: &str) -> hmac::Context {
        let mut mac = hmac::Context::with_key(&self.key);
        mac.update(name.as_bytes());
        mac
    }
}

/// What a file is that fails its check.
pub fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its checksum does not fit")
}

/// The key in `path`, made and kept there, readable by its owner alone, if there is none.
fn key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match fs::read(path) {
        Ok(bytes) => {
            private(path)?;
            bytes.try_into().map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "its key is damaged; remove the folder",
                )
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut fresh = [0; KEY_BYTES];
            getrandom::fill(&mut fresh).map_err(|error| io::Error::other(error.to_string()))?;
            let folder = path.parent().unwrap_or(Path::new("."));
            // A temporary file is readable by its owner alone from the start.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&fresh)?;
            match file.persist_noclobber(path) {
                Ok(_) => Ok(fresh),
                // Another process was faster: its key is the key.
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => key(path),
                Err(error) => Err(error.error),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    match fs::metadata(path)?.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others can read its key; remove the folder",
        )),
    }
}

#[cfg(not(unix))]
fn private(_path: &Path) -> io::Result<()> {
    Ok(())
}
