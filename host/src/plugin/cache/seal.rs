//! Files that only this user's Wasmill can have written: each carries a MAC made with a key that only this user can read.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ring::{digest, hmac};

use crate::key_file;

/// Of HMAC-SHA-256.
pub const MAC_BYTES: usize = digest::SHA256_OUTPUT_LEN;
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
        let key = key_file::open(&folder.join("key")).map_err(|error| {
            let message = format!("its key cannot be used: {error}; remove the folder");
            io::Error::new(error.kind(), message)
        })?;
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
