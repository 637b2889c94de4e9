//! A key in a file that its owner alone can read, made at its first use.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// As long as what makes MACs and ciphers with it wants.
pub const KEY_BYTES: usize = 32;

/// The key in a file, made and kept there if there is none.
///
/// # Errors
/// When it cannot be read or made, others can read it, or it is no key.
pub fn open(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match fs::read(path) {
        Ok(bytes) => {
            private(path)?;
            bytes.try_into().map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "it is damaged: a key has 32 bytes",
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
            file.as_file().sync_all()?;
            match file.persist_noclobber(path) {
                Ok(_) => Ok(fresh),
                // Another process was faster: its key is the key.
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => open(path),
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
            "others can read it",
        )),
    }
}

#[cfg(not(unix))]
fn private(_path: &Path) -> io::Result<()> {
    Ok(())
}
